//! The frame around a hello and its answer.
//!
//! ```text
//! offset  bytes  content
//!      0      3  "Crn"
//!      3      1  format of the frame: 1
//!      4      4  length of what follows, big-endian, at most 65,536
//!      8      …  JSON (UTF-8)
//! ```

use super::WireError;
use crate::types::limits::HELLO_BYTES_MAX;

/// Bytes before a frame's JSON.
pub const FRAME_HEADER_BYTES: usize = 8;

const MAGIC: [u8; 4] = *b"Crn\x01";

/// A frame with this JSON. The callers keep it within the limit.
pub fn encode_frame(json: &[u8]) -> Result<Vec<u8>, WireError> {
    WireError::limit("frame", json.len(), HELLO_BYTES_MAX)?;
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + json.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&(json.len() as u32).to_be_bytes());
    frame.extend_from_slice(json);
    Ok(frame)
}

/// How many bytes of JSON follow this header.
pub fn frame_length(header: &[u8; FRAME_HEADER_BYTES]) -> Result<usize, WireError> {
    let (magic, length) = header.split_at(MAGIC.len());
    if magic[..3] != MAGIC[..3] {
        return Err(WireError::NotCairn);
    }
    if magic[3] != MAGIC[3] {
        return Err(WireError::malformed("frame", format!("format {} is unknown", magic[3])));
    }
    let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    WireError::limit("frame", length, HELLO_BYTES_MAX)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(frame: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
        frame[..FRAME_HEADER_BYTES].try_into().unwrap()
    }

    #[test]
    fn a_frame_says_its_length() {
        let frame = encode_frame(b"{}").unwrap();
        assert_eq!(frame, b"Crn\x01\0\0\0\x02{}");
        assert_eq!(frame_length(&header(&frame)), Ok(2));
        assert!(encode_frame(&vec![0; HELLO_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn other_protocols_and_oversized_frames_are_refused() {
        assert_eq!(frame_length(b"GET / HT"), Err(WireError::NotCairn));
        assert!(matches!(frame_length(b"Crn\x02\0\0\0\x02"), Err(WireError::Malformed { .. })));
        assert!(matches!(frame_length(b"Crn\x01\0\x01\0\x01"), Err(WireError::TooLarge { .. })));
        assert_eq!(frame_length(b"Crn\x01\0\x01\0\0"), Ok(HELLO_BYTES_MAX));
    }
}
