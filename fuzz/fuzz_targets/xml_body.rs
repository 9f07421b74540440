//! XML bodies and conditional headers.

#![no_main]

use cairn::gateway::s3::fuzz::{body, condition};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    body(input);
    if let Ok(text) = str::from_utf8(input) {
        condition(text);
    }
});
