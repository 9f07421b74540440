//! Doors for the fuzzers of what stands in a node's folder: built for them only.

use super::checkpoint;
use super::record::{HEADER_BYTES, Header, Place, RecordError, decode, seal};

/// Reads a checkpoint as it is, and as if its checksum were right.
pub fn checkpoint(bytes: &[u8]) {
    let _ = checkpoint::read(bytes, bytes.len() as u64);
    let mut sealed = bytes.to_vec();
    sealed.extend(crc_fast::crc64_nvme(bytes).to_le_bytes());
    if let Ok(Some(checkpoint)) = checkpoint::read(sealed.as_slice(), sealed.len() as u64) {
        let bytes = checkpoint.pieces.capacity() * 48 + checkpoint.logs.len() * 48 + checkpoint.graves.len() * 20;
        assert!(bytes <= 8 * sealed.len(), "{} bytes became {bytes}", sealed.len());
    }
}

/// Reads a record as if its checksum were right.
pub fn sealed_record(bytes: &[u8], place: Place) -> Result<(Header, [u8; HEADER_BYTES]), RecordError> {
    let mut bytes: [u8; HEADER_BYTES] = *bytes.first_chunk().ok_or(RecordError::Short)?;
    seal(&mut bytes, place);
    decode(&bytes, place).map(|header| (header, bytes))
}
