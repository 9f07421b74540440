//! The decoder of log records: whatever the bytes, it answers, and what it
//! takes for a record it writes back byte for byte.

#![no_main]

use cairn::node::store::fuzz::sealed_record;
use cairn::node::store::record::{HEADER_BYTES, Place, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, u64, &[u8])| {
    let (log, offset, bytes) = input;
    let place = Place { log, offset };
    if let Ok(header) = decode(bytes, place) {
        assert_eq!(header.encode(place), bytes[..HEADER_BYTES]);
    }
    if let Ok((header, sealed)) = sealed_record(bytes, place) {
        assert_eq!(header.encode(place), sealed);
    }
});
