//! Join tokens: as text, and as content behind a checksum that is right.

#![no_main]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn::wire::JoinToken;
use libfuzzer_sys::fuzz_target;

fn check(text: &str) {
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = str::from_utf8(input) {
        check(text);
    }
    let sum = digest(&SHA256, input);
    let body = [&sum.as_ref()[..4], input].concat();
    check(&format!("cairn-join-1-{}", URL_SAFE_NO_PAD.encode(body)));
});
