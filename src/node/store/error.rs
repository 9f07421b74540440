//! What can go wrong with a store, told by what the caller should do.

use std::io;
use std::path::Path;

use crate::types::PieceId;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such piece.
    #[error("no such piece")]
    Missing,
    /// The id is taken by a piece with other bytes.
    #[error("another piece with this id is stored")]
    Conflict,
    /// The bytes asked for are not all within the piece.
    #[error("the range is not within the piece of {length} bytes")]
    OutOfRange {
        /// Bytes of the piece.
        length: u64,
    },
    /// More bytes than any piece has.
    #[error("{length} bytes are too many for a piece")]
    TooLarge {
        /// Bytes of what was offered.
        length: u64,
    },
    /// No room: the promised capacity or the disk itself. Nothing was written;
    /// reads and deletes go on.
    #[error("no room for {needed_bytes} more bytes; {writable_bytes} are left")]
    Full {
        /// Bytes that the piece would have taken.
        needed_bytes: u64,
        /// Bytes that puts can still take; 0 where the disk is full.
        writable_bytes: u64,
    },
    /// The piece is stored, but what comes back is not what went in.
    #[error("piece {id} is damaged")]
    Damaged {
        /// Which piece.
        id: PieceId,
    },
    /// It could not be made durable: the folder is gone, or the disk fails.
    #[error("the store cannot write: {0}")]
    Failed(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Another process, or another part of this one, has the folder open.
    #[error("the folder is in use by another process")]
    Locked,
    /// The folder was written by a version that this program does not know.
    #[error("the folder holds records of format {found}, which this version does not know")]
    Version {
        /// The format that was found.
        found: u8,
    },
    /// Reading or setting up the folder failed.
    #[error("{0}")]
    Io(String),
}

impl StoreError {
    /// An error with the file it happened to.
    pub(super) fn io(doing: &str, path: &Path, error: &io::Error) -> StoreError {
        StoreError::Io(format!("{doing} {}: {error}", path.display()))
    }
}
