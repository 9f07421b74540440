//! What a store is told and what it says: options, states, reports.

use crate::types::{Epoch, PieceId};

/// A node's durable log position: the number of the last record that is
/// durable. It only rises, also over restarts; one that fell is a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPosition(pub u64);

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes that the logs may take, all together. Puts beyond it are refused.
    pub capacity_bytes: u64,
    /// Bytes of one log, at most (`limits::LOG_BYTES_MAX`). In small stores
    /// logs are smaller still: a sixteenth of the capacity.
    pub log_bytes_max: u64,
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Damaged stretches and bodies in the logs; each may have been several records.
    pub damaged_records: u64,
    /// Pieces known to be damaged or gone. Those of which a header is left stay
    /// readable by range: some of their shares may be good.
    pub lost: Vec<PieceId>,
    /// Pieces at the end of the newest log that were not whole: a crash during
    /// a put, or damage to pieces that had just been acknowledged.
    pub torn: Vec<PieceId>,
    /// Bytes cut off the newest log.
    pub torn_bytes: u64,
    /// Pieces in the store, live and in the trash.
    pub pieces: u64,
    /// Whether the checkpoint saved reading the logs.
    pub from_checkpoint: bool,
    /// Records read from the logs: with a checkpoint only those after it.
    pub records_read: u64,
}

/// Whether a piece is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PieceState {
    /// Wanted.
    Live,
    /// Deleted, still readable, can be restored.
    Trash,
}

/// What the store knows of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceInfo {
    /// Bytes of the piece.
    pub length: u64,
    /// The epoch in which it was uploaded.
    pub epoch: Epoch,
    /// Live or in the trash.
    pub state: PieceState,
}

/// Where the bytes are. Live, trash, dead and overhead are together exactly
/// the bytes of the logs, and with the free bytes the capacity. Nothing is
/// allocated ahead, so `du` shows the same but for a started disk block per
/// file and for folders. The checkpoint is no part of them: it is paid for by
/// what puts may add, where room for two of them is kept back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of live pieces, headers included.
    pub live_bytes: u64,
    /// Bytes of pieces in the trash, headers included.
    pub trash_bytes: u64,
    /// Bytes that compaction gives back.
    pub dead_bytes: u64,
    /// Bytes of records that are not pieces.
    pub overhead_bytes: u64,
    /// Capacity less the bytes of the logs.
    pub free_bytes: u64,
    /// Bytes that puts may still add to what was promised: free bytes less what
    /// is kept back for deletes, checkpoints and compaction.
    pub promised_bytes: u64,
    /// The same, or what the disk has for puts if that is less, as of a moment ago.
    pub writable_bytes: u64,
    /// Bytes that the file system has free, the last of which puts leave alone.
    pub disk_free_bytes: u64,
    /// The promised capacity.
    pub capacity_bytes: u64,
    /// Pieces, live and in the trash.
    pub pieces: u64,
    /// Pieces in the trash.
    pub trashed: u64,
}

/// What one step of compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// The log that was rewritten and unlinked.
    pub log: Option<u32>,
    /// Bytes that came back.
    pub freed_bytes: u64,
    /// Bytes that were written again.
    pub moved_bytes: u64,
    /// Pieces that were found damaged.
    pub lost: Vec<PieceId>,
}

/// What one step of verification read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The last piece that was read; the next step goes on after it. None once
    /// there are no more.
    pub last: Option<PieceId>,
    /// Pieces that were read.
    pub pieces: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Those that are damaged.
    pub damaged: Vec<PieceId>,
}
