//! Looks after the node's folder as long as the node runs: whether it is still
//! there, whether its disk has room, and whether all that had to be written
//! down was.

use std::sync::Arc;
use std::time::Duration;

use super::run::Inner;
use super::store::StoreError;
use crate::types::limits::PIECE_BYTES_MAX;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A disk that was short of room has enough again when this fits: not the
/// first piece that a compaction makes room for.
const ROOM_AGAIN_BYTES: u64 = 16 * PIECE_BYTES_MAX as u64;

/// Looks until the order to stop comes.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut stopped = inner.stop.subscribe();
    tokio::select! {
        _ = stopped.wait_for(|&stopped| stopped) => {}
        () = watch(&inner) => {}
    }
}

async fn watch(inner: &Arc<Inner>) {
    let mut short = false;
    loop {
        short = inner.tell_of_room(short);
        tokio::time::sleep(LOOK_EVERY).await;
        match inner.store.check_folder().await {
            Ok(()) => {
                let inner = inner.clone();
                let _ = tokio::task::spawn_blocking(move || inner.write_state()).await;
            }
            Err(StoreError::Closed) => return,
            // It has said so in the log, once; and nothing is written where another folder may be.
            Err(_) => {}
        }
    }
}

/// A disk that holds less than the node promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortOfRoom {
    /// Bytes that the file system has free.
    pub(super) free_bytes: u64,
    /// Bytes that the node would still take, if the disk did.
    pub(super) promised_bytes: u64,
}

impl Inner {
    /// Whether the disk has less room than this where the promise has it.
    pub(super) fn short_of(&self, bytes: u64) -> Option<ShortOfRoom> {
        let usage = self.store.usage();
        let short = usage.writable_bytes < bytes && usage.promised_bytes >= bytes;
        let short = short && self.store.failure().is_none();
        short.then_some(ShortOfRoom { free_bytes: usage.disk_free_bytes, promised_bytes: usage.promised_bytes })
    }

    /// Logs when the disk becomes too full for a piece, and when that has
    /// passed. Answers whether it is.
    fn tell_of_room(&self, was_short: bool) -> bool {
        let short = self.short_of(if was_short { ROOM_AGAIN_BYTES } else { PIECE_BYTES_MAX as u64 });
        match short {
            Some(short) if !was_short => {
                tracing::warn!(
                    "the disk is full: {}; the node takes no pieces until there is room",
                    self.sentence(short)
                );
            }
            None if was_short => tracing::info!("the disk of {} has room for pieces again", self.dir.display()),
            _ => {}
        }
        short.is_some()
    }

    /// Blocks for an fsync, and only if something could not be written before.
    fn write_state(&self) {
        match self.state().catch_up() {
            Ok(true) => tracing::info!("what the node remembers is written down again"),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "what the node remembers still cannot be written down"),
        }
    }
}
