//! Checksums in rows: an algorithm has a number for good.

use super::codec::{Reader, Writer};
use super::tx::MetadataError;
use crate::digest::{Algorithm, Checksum, ChecksumKind, StoredChecksum};

const ALGORITHMS: [(u8, Algorithm); 5] = [
    (1, Algorithm::Crc32),
    (2, Algorithm::Crc32c),
    (3, Algorithm::Crc64Nvme),
    (4, Algorithm::Sha1),
    (5, Algorithm::Sha256),
];

pub(super) fn algorithm_number(algorithm: Algorithm) -> u8 {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).expect("every algorithm has a number").0
}

pub(super) fn algorithm_of(number: u8) -> Result<Algorithm, MetadataError> {
    let found = ALGORITHMS.iter().find(|(known, _)| *known == number);
    found.map(|(_, algorithm)| *algorithm).ok_or_else(|| MetadataError::Corrupt("an unknown checksum".into()))
}

/// A checksum in a row: the algorithm's number, then the value.
pub(super) fn encode_checksum(checksum: &Checksum) -> Vec<u8> {
    let mut row = Writer::new(algorithm_number(checksum.algorithm));
    row.raw(&checksum.value).finish()
}

pub(super) fn decode_checksum(bytes: &[u8]) -> Result<Checksum, MetadataError> {
    let (number, value) = bytes.split_first().ok_or_else(|| MetadataError::Corrupt("an empty checksum".into()))?;
    let algorithm = algorithm_of(*number)?;
    match value.len() == algorithm.value_bytes() {
        true => Ok(Checksum { algorithm, value: value.to_vec() }),
        false => Err(MetadataError::Corrupt("a checksum of the wrong length".into())),
    }
}

/// An object's checksum: kind (1: full object, 2: composite), number of parts
/// (0: none), then the checksum.
pub(super) fn encode_stored(stored: &StoredChecksum) -> Vec<u8> {
    let kind = match stored.kind {
        ChecksumKind::FullObject => 1,
        ChecksumKind::Composite => 2,
    };
    let mut row = Writer::new(kind);
    row.u32(stored.parts.unwrap_or(0)).raw(&encode_checksum(&stored.checksum)).finish()
}

pub(super) fn decode_stored(bytes: &[u8]) -> Result<StoredChecksum, MetadataError> {
    let kind = match bytes.first() {
        Some(1) => ChecksumKind::FullObject,
        Some(2) => ChecksumKind::Composite,
        _ => return Err(MetadataError::Corrupt("an unknown kind of checksum".into())),
    };
    let mut row = Reader::new("a checksum", bytes, bytes[0])?;
    let parts = Some(row.u32()?).filter(|parts| *parts > 0);
    let checksum = decode_checksum(&bytes[5..])?;
    Ok(StoredChecksum { checksum, kind, parts })
}

/// An upload's checksum in a row: the algorithm's number, plus 16 for a
/// composite one.
pub(super) fn encode_upload_checksum(checksum: (Algorithm, ChecksumKind)) -> u64 {
    let composite = if checksum.1 == ChecksumKind::Composite { 16 } else { 0 };
    u64::from(algorithm_number(checksum.0)) + composite
}

pub(super) fn decode_upload_checksum(number: u64) -> Result<(Algorithm, ChecksumKind), MetadataError> {
    let kind = if number & 16 == 0 { ChecksumKind::FullObject } else { ChecksumKind::Composite };
    Ok((algorithm_of((number & 15) as u8)?, kind))
}
