//! What the callers of a store and its writer share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::damage::Damage;
use super::index::{Entry, Index};
use super::log::LogFile;
use super::queue::Queue;
use super::room::Room;
use crate::types::PieceId;

/// What callers and the writer share. Only the writer changes pieces.
pub(super) struct Shared {
    pub index: RwLock<Index>,
    pub queue: Queue,
    pub position: AtomicU64,
    pub failure: Mutex<Option<String>>,
    pub room: Room,
    pub damage: Damage,
    /// Bytes of the checkpoint, and of one that is being written.
    pub checkpoint_bytes: AtomicU64,
}

impl Shared {
    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        // A panic while it was changed would be a bug in `Index`; what is on
        // disk is right either way, and reads verify what they find.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &PieceId) -> Option<(Arc<LogFile>, Entry)> {
        let index = self.index();
        let entry = index.pieces.get(id)?;
        let log = index.logs.get(&entry.log)?;
        Some((Arc::clone(&log.file), *entry))
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn fail(&self, reason: String) {
        tracing::error!(reason, "the piece store is gone; nothing more is stored");
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Lists a piece whose record at this place is damaged, unless it has been
    /// stored anew or purged since.
    pub(super) fn note_damaged(&self, id: PieceId, entry: &Entry) {
        let index = self.index();
        if index.pieces.get(&id).is_some_and(|now| now.place() == entry.place()) {
            self.damage.note([id]);
        }
    }
}
