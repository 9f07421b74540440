//! A segment to its nodes: starts all `n` pieces, is done at `o`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::{Transfer, TransferError};
use crate::metadata::{CondemnPieces, CondemnedPiece, NewSegment, PiecePlace};
use crate::segment::{EncodedSegment, Layout, MacKey, encode};
use crate::transport::NodeError;
use crate::types::{Epoch, Incarnation, PieceNumber, Revision, SegmentId};

/// The least time that the last `n − o` pieces get after `o` are safe.
const GRACE_MIN: Duration = Duration::from_millis(30);
/// Nodes chosen beyond those that a scheme needs and half as many again, to
/// stand in for nodes that fail.
const SPARES_MIN: usize = 4;
/// The longest that an upload may take altogether.
const DEADLINE: Duration = Duration::from_secs(120);

impl Transfer {
    /// Encodes ciphertext into a segment and stores it: its pieces are durable
    /// on at least `o` nodes afterwards. What was sent but is not part of the
    /// answer is condemned.
    pub async fn store(&self, ciphertext: Vec<u8>, epoch: Epoch) -> Result<NewSegment, TransferError> {
        let id = SegmentId::from_bytes(self.env.random());
        let layout = Layout::for_length(self.coding, ciphertext.len() as u64)
            .map_err(|error| TransferError::Corrupt { segment: id, reason: error.to_string() })?;
        let piece_bytes = layout.piece_bytes();
        let reserved = self.budget.pieces.reserve(piece_bytes * usize::from(self.scheme.total())).await?;
        let mac_key: [u8; 32] = self.env.random();
        let encoded = tokio::task::spawn_blocking(move || encode(&layout, &MacKey::from_bytes(mac_key), &ciphertext));
        let EncodedSegment { pieces, root } = encoded.await.map_err(|_| TransferError::Closing)?;
        let upload = Upload { transfer: self, segment: id, epoch, pieces };
        let pieces = upload.run(piece_bytes as u64).await?;
        drop(reserved);
        let layout = layout.to_bytes().to_vec();
        Ok(NewSegment { segment: id, layout, mac_key, root, epoch, revision: Revision(1), pieces })
    }

    /// Condemns the pieces of segments that will not be committed.
    pub fn abandon(&self, segments: &[NewSegment]) {
        let pieces = segments.iter().flat_map(|row| condemned(row.segment, &row.pieces)).collect();
        self.condemn(pieces);
    }

    /// Hands pieces over to the worker that deletes. Not waited for: what is
    /// lost on the way is found by the reclaim pass.
    pub(super) fn condemn(&self, pieces: Vec<CondemnedPiece>) {
        // Also called while things are dropped, perhaps outside of a runtime.
        let (false, Ok(runtime)) = (pieces.is_empty(), Handle::try_current()) else {
            return;
        };
        let metadata = self.metadata.clone();
        runtime.spawn(async move {
            if let Err(error) = metadata.write(CondemnPieces { pieces }).await {
                tracing::debug!(%error, "stray pieces are left to the reclaim pass");
            }
        });
    }
}

struct Upload<'t> {
    transfer: &'t Transfer,
    segment: SegmentId,
    epoch: Epoch,
    pieces: Vec<Bytes>,
}

type Outcome = (PiecePlace, Result<(), NodeError>);

impl Upload<'_> {
    /// Answers where the pieces are, ascending.
    async fn run(&self, piece_bytes: u64) -> Result<Vec<PiecePlace>, TransferError> {
        let optimal = usize::from(self.transfer.scheme.optimal());
        let seed = u64::from_le_bytes(self.transfer.env.random());
        let total = self.pieces.len();
        let chosen = self.transfer.fleet.choose(total + total / 2 + SPARES_MIN, piece_bytes, seed);
        if chosen.len() < optimal {
            return Err(TransferError::TooFewNodes { needed: optimal, available: chosen.len() });
        }
        let mut spare = chosen.into_iter();
        let mut doubtful: Vec<PiecePlace> = Vec::new();
        let mut running = FuturesUnordered::new();
        for (number, node) in (0u16..).zip(spare.by_ref().take(self.pieces.len())) {
            let place = PiecePlace { piece: PieceNumber(number), node, incarnation: Incarnation(1) };
            doubtful.push(place);
            running.push(self.put(place));
        }
        let mut stored: Vec<PiecePlace> = Vec::new();
        let begun = Instant::now();
        let mut deadline = begun + DEADLINE;
        while let Ok(Some((place, outcome))) = timeout_at(deadline, running.next()).await {
            self.transfer.fleet.observe(place.node, outcome.is_ok());
            match outcome {
                Ok(()) => stored.push(place),
                Err(error) => {
                    tracing::debug!(node = place.node, %error, "a piece was not stored");
                    if stored.len() < optimal
                        && let Some(node) = spare.next()
                    {
                        let place = PiecePlace { node, ..place };
                        doubtful.push(place);
                        running.push(self.put(place));
                    }
                }
            }
            if stored.len() == optimal && deadline == begun + DEADLINE {
                deadline = Instant::now() + (begun.elapsed() / 4).max(GRACE_MIN);
            }
        }
        drop(running);
        doubtful.retain(|place| !stored.contains(place));
        self.transfer.condemn(condemned(self.segment, &doubtful));
        if stored.len() < optimal {
            self.transfer.condemn(condemned(self.segment, &stored));
            return Err(TransferError::TooFewNodes { needed: optimal, available: stored.len() });
        }
        stored.sort_by_key(|place| place.piece);
        Ok(stored)
    }

    async fn put(&self, place: PiecePlace) -> Outcome {
        let (Some(node), Some(id)) =
            (self.transfer.fleet.node_id(place.node), self.transfer.piece_id(self.segment, &place))
        else {
            return (place, Err(NodeError::Offline));
        };
        let body = self.pieces[usize::from(place.piece.0)].clone();
        (place, self.transfer.fleet.nodes().put_piece(node, id, self.epoch, body).await)
    }
}

fn condemned(segment: SegmentId, places: &[PiecePlace]) -> Vec<CondemnedPiece> {
    places.iter().map(|&place| CondemnedPiece { segment, place }).collect()
}
