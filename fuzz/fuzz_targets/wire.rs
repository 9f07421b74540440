//! What nodes and doors say to each other: decoded strictly, and what is taken survives being written.

#![no_main]

use cairn::wire::{Answer, ErrorBody, Hello, Usage, decode_ids, decode_inventory, encode_ids, encode_inventory};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(hello) = Hello::decode(input) {
        assert_eq!(Hello::decode(&hello.encode().expect("encodes")).ok(), Some(hello));
    }
    let _ = Answer::decode(input);
    let _ = ErrorBody::decode(input);
    let _ = Usage::decode(input);
    if let Ok(ids) = decode_ids(input) {
        assert_eq!(encode_ids(&ids), input);
    }
    if let Ok(entries) = decode_inventory(input) {
        assert_eq!(decode_inventory(&encode_inventory(&entries)).ok(), Some(entries));
    }
});
