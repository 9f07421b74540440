//! Where a store's bytes are, and how many more it may take.

use super::index::Index;
use super::record::HEADER_BYTES;
use super::room::Space;
use super::{StoreOptions, Usage};
use crate::types::limits::LOG_BYTES_MAX;

/// Bytes kept back for every piece, so that it can be trashed and purged in a
/// store that is full.
const DELETES_BYTES: u64 = 2 * HEADER_BYTES as u64;

/// Bytes kept back for every piece, so that it can stand in two checkpoints:
/// the last one stays until the next is whole.
const CHECKPOINTS_BYTES: u64 = 2 * 44;

/// Bytes kept back for every piece.
pub(super) const KEPT_BYTES: u64 = DELETES_BYTES + CHECKPOINTS_BYTES;

/// Bytes of the disk that puts leave alone, so that deletes can be written and
/// compaction can make room: a hundredth, 64 MiB at most.
pub(super) fn disk_reserve(disk_bytes: u64) -> u64 {
    (disk_bytes / 100).min(64 << 20)
}

/// Bytes of a log in a store of this capacity: small enough that compaction,
/// which needs room for one log, finds it within the capacity.
pub(super) fn log_bytes_max(options: &StoreOptions) -> u64 {
    let asked = options.log_bytes_max.min(LOG_BYTES_MAX);
    asked.min((options.capacity_bytes / 16).max(64 << 10)).max(HEADER_BYTES as u64 * 2)
}

/// Bytes that puts may still add to what was promised, headers included, where
/// checkpoints take `checkpoint_bytes` now.
pub(super) fn writable_bytes(index: &Index, checkpoint_bytes: u64, options: &StoreOptions) -> u64 {
    let logs: u64 = index.logs.values().map(|log| log.length).sum();
    let pieces = index.pieces.len() as u64;
    let checkpoints = checkpoint_bytes.max(pieces * CHECKPOINTS_BYTES);
    let compaction = options.log_bytes_max.min(options.capacity_bytes / 16);
    options.capacity_bytes.saturating_sub(logs + checkpoints + pieces * DELETES_BYTES + compaction)
}

/// Adds up the logs. Checkpoints count against what puts may add, and nowhere
/// else.
pub(super) fn usage(index: &Index, checkpoint_bytes: u64, space: Space, options: &StoreOptions) -> Usage {
    let promised_bytes = writable_bytes(index, checkpoint_bytes, options);
    let mut usage = Usage {
        capacity_bytes: options.capacity_bytes,
        pieces: index.pieces.len() as u64,
        trashed: index.trashed,
        promised_bytes,
        writable_bytes: promised_bytes.min(space.for_puts),
        disk_free_bytes: space.free,
        ..Usage::default()
    };
    let mut used = 0;
    for log in index.logs.values() {
        used += log.length;
        usage.live_bytes += log.live;
        usage.trash_bytes += log.trash;
        usage.overhead_bytes += log.overhead;
        usage.dead_bytes += log.dead();
    }
    usage.free_bytes = options.capacity_bytes.saturating_sub(used);
    usage
}
