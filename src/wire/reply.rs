//! What a node answers: space, pages of its inventory, and errors.

use serde::{Deserialize, Serialize};

use super::{WireError, text};
use crate::types::limits::{INVENTORY_PAGE_MAX, JSON_REPLY_BYTES_MAX, SENTENCE_BYTES_MAX};
use crate::types::{Epoch, PieceId};

/// A node's space. Live, trash, dead and overhead bytes are what its logs take;
/// with the free bytes they are its capacity, unless that was lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of pieces that are neither trashed nor deleted.
    pub live_bytes: u64,
    /// Bytes of pieces in the trash.
    pub trash_bytes: u64,
    /// Bytes of deleted pieces that compaction has not given back yet.
    pub dead_bytes: u64,
    /// Bytes of records that are not pieces.
    pub overhead_bytes: u64,
    /// Bytes of the capacity that nothing uses.
    pub free_bytes: u64,
    /// Bytes of pieces that the node would still take: a little less, or what
    /// its disk has room for.
    pub writable_bytes: u64,
    /// Bytes that the volunteer promised.
    pub capacity_bytes: u64,
    /// Number of pieces, live and in the trash.
    pub pieces: u64,
    /// Number of pieces in the trash.
    pub trashed: u64,
    /// Number of pieces that the node knows it has lost or that its disk
    /// changed, and that were not stored anew or purged since.
    pub damaged: u64,
    /// Rises with every piece that is found damaged, so that a door knows when
    /// to ask which ones. Counted anew by every start of the node's process.
    #[serde(default)]
    pub damage_version: u64,
    /// Whether the volunteer wants to leave: the pieces shall be moved elsewhere.
    #[serde(default)]
    pub leaving: bool,
    /// Whether the node's store is gone from its disk: what it still gives, it
    /// gives from files that nobody finds any more once its process ends.
    #[serde(default)]
    pub failed: bool,
}

/// How many pieces a list request changed; the others were so already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The number.
    pub changed: u64,
}

/// Why a node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For the program.
    pub kind: ErrorKind,
    /// For people, at most 1,024 bytes.
    pub sentence: String,
}

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The node does not have the piece.
    Missing,
    /// The node has another piece under that id.
    Conflict,
    /// It would exceed the node's capacity.
    Full,
    /// The node had the piece, and its disk lost or changed it.
    Damaged,
    /// The node's store is broken; the sentence says how.
    Failed,
    /// The node has no memory for the request now: try later, or another node.
    Busy,
    /// The node is shutting down.
    Closing,
    /// The request is malformed, too large or out of range.
    Invalid,
    /// A path or method that the node does not know.
    Unsupported,
    /// A kind that a later version knows.
    #[serde(other)]
    Other,
}

impl ErrorKind {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::Missing => 404,
            Self::Conflict => 409,
            Self::Full => 507,
            Self::Damaged => 410,
            Self::Failed | Self::Other => 500,
            Self::Busy | Self::Closing => 503,
            Self::Invalid => 400,
            Self::Unsupported => 501,
        }
    }
}

impl ErrorBody {
    /// An error; a sentence that is too long is cut.
    pub fn new(kind: ErrorKind, sentence: impl AsRef<str>) -> Self {
        Self { kind, sentence: text::clipped(sentence.as_ref(), SENTENCE_BYTES_MAX) }
    }

    /// Reads a reply's body.
    pub fn decode(json: &[u8]) -> Result<Self, WireError> {
        let body: Self = decode_json("error", json)?;
        WireError::limit("sentence", body.sentence.len(), SENTENCE_BYTES_MAX)?;
        Ok(body)
    }

    /// The reply's body.
    pub fn encode(&self) -> Vec<u8> {
        encode_json(self)
    }
}

impl From<WireError> for ErrorBody {
    fn from(error: WireError) -> Self {
        let kind = if matches!(error, WireError::Unknown(_)) { ErrorKind::Unsupported } else { ErrorKind::Invalid };
        Self::new(kind, error.to_string())
    }
}

impl Usage {
    /// Reads a reply's body.
    /// One whose numbers cannot be true is refused: sums over nodes are made of them.
    pub fn decode(json: &[u8]) -> Result<Self, WireError> {
        let usage: Self = decode_json("usage", json)?;
        usage.check().map(|()| usage)
    }

    /// Whether the numbers could be true: no disk holds an exbibyte.
    pub(super) fn check(&self) -> Result<(), WireError> {
        let parts = [self.live_bytes, self.trash_bytes, self.dead_bytes, self.overhead_bytes, self.free_bytes];
        let sizes = parts.iter().chain([&self.writable_bytes, &self.capacity_bytes, &self.pieces, &self.trashed]);
        let possible = sizes.copied().all(|size| size < 1 << 60) && self.writable_bytes <= self.free_bytes;
        match possible {
            true => Ok(()),
            false => Err(WireError::malformed("usage", "its numbers cannot be true")),
        }
    }

    /// Bytes that the node's logs take.
    pub fn used_bytes(&self) -> u64 {
        self.live_bytes + self.trash_bytes + self.dead_bytes + self.overhead_bytes
    }

    /// The reply's body.
    pub fn encode(&self) -> Vec<u8> {
        encode_json(self)
    }
}

impl Changed {
    /// Reads a reply's body.
    pub fn decode(json: &[u8]) -> Result<Self, WireError> {
        decode_json("count", json)
    }

    /// The reply's body.
    pub fn encode(&self) -> Vec<u8> {
        encode_json(self)
    }
}

fn encode_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of numbers and strings have a JSON form")
}

fn decode_json<T: for<'de> Deserialize<'de>>(what: &'static str, json: &[u8]) -> Result<T, WireError> {
    WireError::limit(what, json.len(), JSON_REPLY_BYTES_MAX)?;
    serde_json::from_slice(json).map_err(|error| WireError::malformed(what, error))
}

/// A piece in a node's inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Which.
    pub id: PieceId,
    /// The upload epoch that it came with.
    pub epoch: Epoch,
    /// Its length in bytes.
    pub length: u64,
    /// Whether it is in the trash.
    pub trashed: bool,
}

const ENTRY_BYTES: usize = 33;

/// A page of an inventory. Per piece, ascending by id:
///
/// ```text
/// offset  bytes  content
///      0     16  piece id
///     16      8  epoch, big-endian
///     24      8  length in bytes, big-endian
///     32      1  0: live, 1: in the trash
/// ```
pub fn encode_inventory(entries: &[InventoryEntry]) -> Vec<u8> {
    let mut body = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        body.extend_from_slice(entry.id.as_bytes());
        body.extend_from_slice(&entry.epoch.0.to_be_bytes());
        body.extend_from_slice(&entry.length.to_be_bytes());
        body.push(u8::from(entry.trashed));
    }
    body
}

/// Reads such a page (at most 10,000 pieces).
pub fn decode_inventory(body: &[u8]) -> Result<Vec<InventoryEntry>, WireError> {
    let (records, rest) = body.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(WireError::malformed("inventory", "the last entry is cut"));
    }
    WireError::limit("inventory", records.len(), INVENTORY_PAGE_MAX)?;
    let entries = records.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    if !entries.is_sorted_by(|one, next| one.id < next.id) {
        return Err(WireError::malformed("inventory", "its ids do not ascend"));
    }
    Ok(entries)
}

fn entry(record: &[u8; ENTRY_BYTES]) -> Result<InventoryEntry, WireError> {
    let malformed = |reason: &dyn ToString| WireError::malformed("inventory", reason.to_string());
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    if record[32] > 1 {
        return Err(malformed(&"an unknown state"));
    }
    Ok(InventoryEntry {
        id: PieceId::from_slice(&record[..16]).map_err(|error| malformed(&error))?,
        epoch: Epoch(number(&record[16..24])),
        length: number(&record[24..32]),
        trashed: record[32] == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(count: u8) -> Vec<InventoryEntry> {
        let entry = |number: u8| InventoryEntry {
            id: PieceId::from_bytes([number; 16]),
            epoch: Epoch(u64::from(number) << 40),
            length: 2_098_176,
            trashed: number % 2 == 1,
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn replies_survive_their_encoding() {
        let usage = Usage { live_bytes: 1 << 59, trashed: 3, ..Usage::default() };
        assert_eq!(Usage::decode(&usage.encode()), Ok(usage));
        let boast = Usage { writable_bytes: 2, free_bytes: 1, ..usage };
        for lie in [boast, Usage { live_bytes: u64::MAX, ..usage }, Usage { capacity_bytes: 1 << 60, ..usage }] {
            assert!(Usage::decode(&lie.encode()).is_err(), "{lie:?}");
        }
        let older = String::from_utf8(usage.encode()).unwrap().replace(",\"failed\":false", "");
        assert!(!older.contains("failed") && Usage::decode(older.as_bytes()) == Ok(usage));
        let error = ErrorBody::new(ErrorKind::Full, "no room");
        assert_eq!(ErrorBody::decode(&error.encode()), Ok(error));
        assert_eq!(decode_inventory(&encode_inventory(&page(200))), Ok(page(200)));
    }

    #[test]
    fn malformed_replies_are_refused() {
        let good = encode_inventory(&page(3));
        assert!(decode_inventory(&good[1..]).is_err());
        assert!(decode_inventory(&[&good[33..66], &good[..33]].concat()).is_err());
        assert!(decode_inventory(&[&good[..33], &good[..33]].concat()).is_err());
        assert!(decode_inventory(&[&good[..32], &[2]].concat()).is_err());
        assert!(Usage::decode(b"{}").is_err());
        assert!(Usage::decode(&vec![b' '; JSON_REPLY_BYTES_MAX + 1]).is_err());
        assert!(ErrorBody::decode(b"<html>").is_err());
    }
}
