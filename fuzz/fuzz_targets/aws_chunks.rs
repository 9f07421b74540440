//! Bodies in aws-chunked framing: where they are cut on their way changes nothing.

#![no_main]

use cairn::gateway::front::fuzz::chunks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (declared, step, body) = input;
    let whole = chunks(body, declared.into(), usize::MAX);
    assert_eq!(chunks(body, declared.into(), step.into()), whole);
    assert!(whole.is_none_or(|bytes| bytes.len() == usize::from(declared)));
});
