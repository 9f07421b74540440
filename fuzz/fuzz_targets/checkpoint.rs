//! The decoder of checkpoints, also behind a checksum that is right: it
//! answers, and takes no more memory than a small multiple of what it reads.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cairn::node::store::fuzz::checkpoint(input));
