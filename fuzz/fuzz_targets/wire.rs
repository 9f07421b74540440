//! What nodes and doors say to each other: decoded strictly, and what is taken
//! survives being written. Requests have a target of their own.

#![no_main]

use cairn::types::limits::HELLO_BYTES_MAX;
use cairn::wire::{
    Answer, Changed, Credential, ErrorBody, Hello, Standing, Usage, decode_dial, decode_ids, decode_inventory,
    encode_ids, encode_inventory, frame_length,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(header) = input.first_chunk() {
        assert!(frame_length(header).is_ok_and(|length| length <= HELLO_BYTES_MAX) || frame_length(header).is_err());
    }
    if let Ok(hello) = Hello::decode(input) {
        assert_eq!(Hello::decode(&hello.encode().expect("encodes")).ok(), Some(hello));
    }
    if let Ok(answer) = Answer::decode(input) {
        assert_eq!(Answer::decode(&answer.encode().expect("encodes")).ok(), Some(answer));
    }
    if let Ok(error) = ErrorBody::decode(input) {
        assert_eq!(ErrorBody::decode(&error.encode()).ok(), Some(error));
    }
    if let Ok(usage) = Usage::decode(input) {
        assert_eq!(Usage::decode(&usage.encode()).ok(), Some(usage));
    }
    if let Ok(changed) = Changed::decode(input) {
        assert_eq!(Changed::decode(&changed.encode()).ok(), Some(changed));
    }
    if let Ok(standing) = Standing::decode(input) {
        assert_eq!(Standing::decode(&standing.encode()).ok(), Some(standing));
    }
    if let Ok(ids) = decode_ids(input) {
        assert_eq!(encode_ids(&ids), input);
    }
    if let Ok(entries) = decode_inventory(input) {
        assert_eq!(decode_inventory(&encode_inventory(&entries)).ok(), Some(entries));
    }
    let Ok(text) = str::from_utf8(input) else { return };
    let _ = decode_dial(text);
    if let Ok(credential) = text.parse::<Credential>() {
        assert_eq!(credential.to_string().parse(), Ok(credential));
    }
});
