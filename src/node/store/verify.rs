//! Reading pieces only to see whether they are still what was stored, so that
//! damage is known before somebody needs the piece.

use super::index::Entry;
use super::log::LogFile;
use super::{PieceStore, StoreError, Verified, blocking};
use crate::types::PieceId;

/// Pieces in one step, at most.
const PIECES_MAX: usize = 4096;

impl PieceStore {
    /// Reads the pieces after `after`, in the order of their ids, from the disk
    /// and not from the page cache, and compares each with its checksum: one
    /// at least, and no more once `bytes_max` were read. What is damaged is
    /// listed from then on.
    pub async fn verify(&self, after: Option<PieceId>, bytes_max: u64) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        let page = self.inventory(after, PIECES_MAX);
        let complete = page.len() < PIECES_MAX;
        let count = page.len();
        for (read, (id, _)) in page.into_iter().enumerate() {
            // Purged or moved meanwhile: its place is looked up at the last moment.
            if let Some((file, entry)) = self.inner.shared.find(&id) {
                verified.pieces += 1;
                verified.bytes += entry.record_bytes();
                if blocking(move || Ok(!sound(&file, &id, &entry))).await? {
                    self.inner.shared.note_damaged(id, &entry);
                    verified.damaged.push(id);
                }
            }
            if verified.bytes >= bytes_max || read + 1 == count {
                verified.last = Some(id).filter(|_| !complete || read + 1 < count);
                break;
            }
        }
        Ok(verified)
    }
}

/// Whether the disk still has what was stored. The page cache is neither
/// believed nor filled.
fn sound(file: &LogFile, id: &PieceId, entry: &Entry) -> bool {
    let drop_cache = || {
        let bytes = std::num::NonZero::new(entry.record_bytes());
        let _ = rustix::fs::fadvise(&file.file, u64::from(entry.offset), bytes, rustix::fs::Advice::DontNeed);
    };
    drop_cache();
    let sound = file.read_piece(id, entry).is_ok();
    drop_cache();
    sound
}
