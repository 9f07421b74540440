//! Requests of doors, as a node reads them: method, target and fields.

#![no_main]

use cairn::wire::{Fields, Request};
use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "get"];

fuzz_target!(|input: (u8, &str, [Option<&str>; 3])| {
    let (method, target, [epoch, range, length]) = input;
    let method = METHODS[usize::from(method) % METHODS.len()];
    if let Ok(request) = Request::decode(method, target, Fields { epoch, range, length }) {
        assert_eq!(request.method(), method);
        let again = Request::decode(method, &request.target(), Fields { epoch, range, length });
        assert_eq!(again.ok(), Some(request));
    }
});
