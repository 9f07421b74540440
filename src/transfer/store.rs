//! Segments in: ciphertext encoded and stored, strays condemned.

use tokio::runtime::Handle;

use super::upload::Upload;
use super::{Plan, Transfer, TransferError};
use crate::metadata::{CondemnPieces, CondemnedPiece, NewSegment, PiecePlace};
use crate::segment::{EncodedSegment, Layout, MacKey, encode};
use crate::types::{Epoch, Revision, SegmentId};

impl Transfer {
    /// Encodes ciphertext into a segment and stores it: its pieces are durable
    /// on nodes of at least `o` failure domains afterwards. What was sent but
    /// is not part of the answer is condemned, all of it if this fails.
    ///
    /// `plan` is the one by which the ciphertext was cut. A segment whose
    /// pieces exceed the memory for pieces takes all of that memory.
    pub async fn store(&self, plan: Plan, ciphertext: Vec<u8>, epoch: Epoch) -> Result<NewSegment, TransferError> {
        let id = SegmentId::from_bytes(self.env.random());
        let layout = Layout::for_length(plan.coding(), ciphertext.len() as u64)
            .map_err(|error| TransferError::Corrupt { segment: id, reason: error.to_string() })?;
        let reserved = self.budget.pieces.reserve(layout.piece_bytes() * usize::from(plan.scheme().total())).await?;
        let mac_key: [u8; 32] = self.env.random();
        let encoded = tokio::task::spawn_blocking(move || encode(&layout, &MacKey::from_bytes(mac_key), &ciphertext));
        let EncodedSegment { pieces, root } = encoded.await.map_err(|_| TransferError::Closing)?;
        let pieces = Upload::new(self.clone(), plan.scheme(), id, epoch, pieces).run().await?;
        drop(reserved);
        let layout = layout.to_bytes().to_vec();
        let (revision, live_bytes) = (Revision(1), 0);
        Ok(NewSegment { segment: id, layout, mac_key, root, epoch, revision, live_bytes, pieces })
    }

    /// Condemns the pieces of segments that will not be committed.
    pub fn abandon(&self, segments: &[NewSegment]) {
        segments.iter().for_each(|row| self.condemn(row.segment, &row.pieces));
    }

    /// Hands pieces over to the worker that deletes. Not waited for: what is
    /// lost on the way is found by the reclaim pass.
    pub(super) fn condemn(&self, segment: SegmentId, places: &[PiecePlace]) {
        // Also called while things are dropped, perhaps outside of a runtime.
        let (false, Ok(runtime)) = (places.is_empty(), Handle::try_current()) else {
            return;
        };
        let pieces = places.iter().map(|&place| CondemnedPiece { segment, place }).collect();
        let metadata = self.metadata.clone();
        runtime.spawn(async move {
            if let Err(error) = metadata.write(CondemnPieces { pieces }).await {
                tracing::debug!(%error, "stray pieces are left to the reclaim pass");
            }
        });
    }
}
