//! One record of a log: a header of 64 bytes and, for a piece, its body.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `C1 52 45 43` |
//! | 4 | 1 | format: 1 |
//! | 5 | 1 | kind: 1 log, 2 piece, 3 trash, 4 restore, 5 purge |
//! | 6 | 1 | flags: 1 first of its batch, 2 moved here by compaction, 4 in the trash |
//! | 7 | 1 | zero |
//! | 8 | 16 | piece id; in a log record the log's random identity |
//! | 24 | 8 | epoch; in a log record the number of the log before it that is wholly durable, or 0 |
//! | 32 | 8 | sequence number |
//! | 40 | 4 | body length in bytes; 0 unless a piece |
//! | 44 | 4 | zero |
//! | 48 | 8 | CRC-64/NVME of the body |
//! | 56 | 8 | CRC-64/NVME of log number (4 bytes), offset of the record in its log (8 bytes), bytes 0 to 55 |
//!
//! Integers are little-endian. The header's checksum covers the place where
//! the record stands, so that what looks like a record inside a body, or a
//! stale copy of another log, is not taken for one. "First of its batch" says
//! that everything before it in the log was durable when it was written.

use crate::types::{Epoch, PieceId};

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 64;
/// Bytes that every record begins with.
pub const MAGIC: [u8; 4] = [0xC1, b'R', b'E', b'C'];
/// The format that this program writes.
pub const FORMAT: u8 = 1;
/// Bytes of a piece, at most: room above the 2 MiB of the largest coding.
pub const BODY_BYTES_MAX: u32 = 16 << 20;

const FIRST_OF_BATCH: u8 = 1;
const MOVED: u8 = 2;
const IN_TRASH: u8 = 4;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A log begins here.
    Log,
    /// A piece and its body.
    Piece,
    /// The piece is in the trash.
    Trash,
    /// The piece is live again.
    Restore,
    /// The piece is gone.
    Purge,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the log.
    pub log: u32,
    /// Bytes from the beginning of the log.
    pub offset: u64,
}

/// A record without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the record says.
    pub kind: Kind,
    /// All that stands before it in the log was durable before it was written.
    pub first_of_batch: bool,
    /// Compaction copied it here, with the piece's latest sequence number.
    pub moved: bool,
    /// A moved piece that is in the trash.
    pub in_trash: bool,
    /// The piece, or the identity of the log.
    pub id: PieceId,
    /// The epoch in which the piece was uploaded.
    pub epoch: Epoch,
    /// Orders what was done to a piece.
    pub sequence: u64,
    /// Bytes of the body.
    pub length: u32,
    /// CRC-64/NVME of the body.
    pub body_checksum: u64,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than a header has.
    #[error("too short for a record")]
    Short,
    /// No magic, or a checksum that does not match.
    #[error("not a record")]
    Noise,
    /// An intact record of a format that this program does not know.
    #[error("a record of format {0}, which this version does not know")]
    Format(u8),
    /// An intact record that contradicts itself.
    #[error("a record that contradicts itself")]
    Malformed,
}

/// The CRC-64/NVME that bodies carry.
pub fn body_checksum(body: &[u8]) -> u64 {
    crc_fast::crc64_nvme(body)
}

impl Header {
    /// The bytes of this header at its place.
    pub fn encode(&self, place: Place) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = FORMAT;
        bytes[5] = self.kind.code();
        bytes[6] = self.flags();
        bytes[8..24].copy_from_slice(self.id.as_bytes());
        bytes[24..32].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.length.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.body_checksum.to_le_bytes());
        seal(&mut bytes, place);
        bytes
    }

    /// Bytes of the record: header and body.
    pub fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.length)
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        flag(self.first_of_batch, FIRST_OF_BATCH) | flag(self.moved, MOVED) | flag(self.in_trash, IN_TRASH)
    }
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Log => 1,
            Kind::Piece => 2,
            Kind::Trash => 3,
            Kind::Restore => 4,
            Kind::Purge => 5,
        }
    }

    fn from_code(code: u8) -> Option<Kind> {
        [Kind::Log, Kind::Piece, Kind::Trash, Kind::Restore, Kind::Purge].into_iter().find(|kind| kind.code() == code)
    }
}

/// Reads the header at the beginning of `bytes`, which were found at `place`.
/// Never allocates and never panics, whatever the bytes are.
pub fn decode(bytes: &[u8], place: Place) -> Result<Header, RecordError> {
    let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(RecordError::Short)?;
    if bytes[..4] != MAGIC || u64_at(bytes, 56) != header_checksum(bytes, place) {
        return Err(RecordError::Noise);
    }
    if bytes[4] != FORMAT {
        return Err(RecordError::Format(bytes[4]));
    }
    let mut id = [0; PieceId::BYTES];
    id.copy_from_slice(&bytes[8..24]);
    let header = Header {
        kind: Kind::from_code(bytes[5]).ok_or(RecordError::Malformed)?,
        first_of_batch: bytes[6] & FIRST_OF_BATCH != 0,
        moved: bytes[6] & MOVED != 0,
        in_trash: bytes[6] & IN_TRASH != 0,
        id: PieceId::from_bytes(id),
        epoch: Epoch(u64_at(bytes, 24)),
        sequence: u64_at(bytes, 32),
        length: u64_at(bytes, 40) as u32,
        body_checksum: u64_at(bytes, 48),
    };
    let longest = if header.kind == Kind::Piece { BODY_BYTES_MAX } else { 0 };
    let known = header.encode(place) == *bytes;
    if known && header.length <= longest { Ok(header) } else { Err(RecordError::Malformed) }
}

/// Gives a header the checksum for its place.
pub(super) fn seal(bytes: &mut [u8; HEADER_BYTES], place: Place) {
    let checksum = header_checksum(bytes, place);
    bytes[56..].copy_from_slice(&checksum.to_le_bytes());
}

fn header_checksum(bytes: &[u8; HEADER_BYTES], place: Place) -> u64 {
    let mut covered = [0; 12 + HEADER_BYTES - 8];
    covered[..4].copy_from_slice(&place.log.to_le_bytes());
    covered[4..12].copy_from_slice(&place.offset.to_le_bytes());
    covered[12..].copy_from_slice(&bytes[..HEADER_BYTES - 8]);
    crc_fast::crc64_nvme(&covered)
}

fn u64_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place = Place { log: 7, offset: 4096 };

    fn header() -> Header {
        Header {
            kind: Kind::Piece,
            first_of_batch: true,
            moved: false,
            in_trash: false,
            id: PieceId::from_bytes(*b"0123456789abcdef"),
            epoch: Epoch(0x0102_0304_0506_0708),
            sequence: 42,
            length: 3,
            body_checksum: body_checksum(b"abc"),
        }
    }

    #[test]
    fn the_bytes_are_as_the_table_says() {
        let bytes = header().encode(PLACE);
        assert_eq!(bytes[..8], [0xC1, b'R', b'E', b'C', 1, 2, 1, 0]);
        assert_eq!(&bytes[8..24], b"0123456789abcdef");
        assert_eq!(bytes[24..32], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[32..48], [42, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes, PLACE), Ok(header()));
    }

    #[test]
    fn a_record_is_one_only_where_it_was_written() {
        let bytes = header().encode(PLACE);
        assert_eq!(decode(&bytes, Place { log: 8, ..PLACE }), Err(RecordError::Noise));
        assert_eq!(decode(&bytes, Place { offset: 4097, ..PLACE }), Err(RecordError::Noise));
        assert_eq!(decode(&bytes[..63], PLACE), Err(RecordError::Short));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = header().encode(PLACE);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped, PLACE), Err(RecordError::Noise), "bit {bit}");
        }
    }

    #[test]
    fn intact_records_that_make_no_sense_are_told_apart() {
        let resealed = |offset: usize, value: u8| {
            let mut bytes = header().encode(PLACE);
            bytes[offset] = value;
            seal(&mut bytes, PLACE);
            decode(&bytes, PLACE)
        };
        assert_eq!(resealed(4, 2), Err(RecordError::Format(2)));
        for (offset, value) in [(5, 0), (5, 6), (5, 3), (6, 8), (7, 1), (43, 1), (44, 1)] {
            assert_eq!(resealed(offset, value), Err(RecordError::Malformed), "byte {offset} = {value}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_never_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..200), log: u32, offset: u64) {
            let decoded = decode(&bytes, Place { log, offset });
            prop_assert!(decoded.is_err());
        }
    }
}
