//! One segment's repair: claim it, judge it again, make pieces anew, replace
//! the list. Whatever fails or crashes leaves stray pieces and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::census::Census;
use super::judge::{Plan, Verdict};
use crate::metadata::{
    ClaimSegment, CondemnPieces, CondemnedPiece, Metadata, MetadataError, PiecePlace, ReplacePieces, SegmentRow,
};
use crate::objects::Epochs;
use crate::transfer::{Transfer, TransferError};
use crate::types::{Incarnation, PieceNumber, SegmentId};

/// Repairs segments. Cheap to clone.
#[derive(Clone)]
pub(super) struct Repairer {
    pub(super) metadata: Metadata,
    pub(super) transfer: Transfer,
    pub(super) epochs: Epochs,
}

/// How a repair ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The list has what it needs.
    Done {
        /// Pieces that were made anew because they were lost.
        repaired: u64,
        /// Nodes that are being emptied, for each piece that left them.
        moved: Vec<u32>,
        /// Whether more would have been wanted.
        short: bool,
    },
    /// The segment is gone, or somebody else has repaired it.
    Nothing,
    /// As far as this process knows, the segment needs nothing.
    NotNeeded,
    /// No node takes what is to be placed.
    NoNodes,
    /// Too few good shares are left on the nodes that are connected.
    Beyond {
        /// Those of them that have answered for their piece.
        asked: BTreeSet<u32>,
        /// Good shares of the stripe of which there are too few.
        readable: usize,
    },
    /// It failed; nothing has changed.
    Failed(RepairError),
}

/// Why a repair failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairError {
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("its layout is damaged: {0}")]
    Layout(#[from] crate::segment::LayoutError),
}

impl Repairer {
    /// Repairs a segment. `lost` are pieces that somebody knows to be lost.
    pub(super) async fn repair(self, segment: SegmentId, lost: Vec<PiecePlace>, census: Arc<Census>) -> Outcome {
        self.attempt(segment, &lost, &census).await.unwrap_or_else(Outcome::Failed)
    }

    async fn attempt(&self, segment: SegmentId, lost: &[PiecePlace], census: &Census) -> Result<Outcome, RepairError> {
        // Held until the list is replaced: what is placed bears its epoch.
        let guard = self.epochs.begin();
        let Some((row, claim)) = self.metadata.write(ClaimSegment { segment }).await? else {
            return Ok(Outcome::Nothing);
        };
        let verdict = census.judge(&self.transfer, &row, lost)?;
        if verdict.need().is_none() {
            return Ok(Outcome::NotNeeded);
        }
        let plan = verdict.plan();
        let wanted: Vec<(PieceNumber, u32)> = plan.wanted.iter().copied().zip(self.choose(&row, &plan)).collect();
        let placed = match wanted.is_empty() {
            true => Vec::new(),
            false => match self.transfer.rebuild(&row, wanted, claim, guard.epoch(), &plan.avoid).await {
                Err(TransferError::TooFewShares { readable, answered, .. }) => {
                    return Ok(Outcome::Beyond { asked: answered, readable });
                }
                placed => placed?,
            },
        };
        let fleet = self.transfer.fleet();
        let domains: Vec<_> = placed.iter().map(|place| (*place, fleet.domain_of(place.node))).collect();
        let removed = verdict.removed_by(&domains);
        if placed.is_empty() && removed.is_empty() {
            return Ok(Outcome::NoNodes);
        }
        let lease = guard.lease();
        let replace = ReplacePieces { segment, claim, removed: removed.clone(), placed: placed.clone(), lease };
        match self.metadata.write(replace).await {
            Ok(true) => {
                let mut row = row;
                row.pieces.retain(|place| !removed.contains(place));
                row.pieces.extend(&placed);
                let short = census.judge(&self.transfer, &row, lost)?.need().is_some();
                Ok(done(&verdict, &removed, placed.len(), short))
            }
            Ok(false) => {
                self.condemn(segment, placed).await?;
                Ok(Outcome::Nothing)
            }
            Err(error) => {
                // Pieces that are in the list after all are spared.
                self.condemn(segment, placed).await?;
                Err(error.into())
            }
        }
    }

    /// A node for each piece that is wanted, as far as there are any: in a
    /// domain of its own; else one that has lost its piece; else, for what is
    /// there instead of another piece, any.
    fn choose(&self, row: &SegmentRow, plan: &Plan) -> Vec<u32> {
        let (fleet, count) = (self.transfer.fleet(), plan.wanted.len());
        let mut nodes = self.transfer.choose_for_repair(row, count, &plan.taken);
        let mut row = row.clone();
        row.pieces.retain(|place| !plan.again.contains(&place.node));
        while nodes.len() < count {
            row.pieces.extend(nodes.iter().map(|&node| holder(node)));
            let taken: Vec<u64> =
                plan.taken.iter().copied().chain(nodes.iter().map(|&node| fleet.domain_of(node))).collect();
            let mut more = self.transfer.choose_for_repair(&row, 1, &taken);
            if more.is_empty() && nodes.len() < plan.instead {
                more = self.transfer.choose_for_repair(&row, 1, &[]);
            }
            if more.is_empty() {
                break;
            }
            nodes.extend(more);
        }
        nodes
    }

    async fn condemn(&self, segment: SegmentId, placed: Vec<PiecePlace>) -> Result<(), MetadataError> {
        let pieces = placed.into_iter().map(|place| CondemnedPiece { segment, place }).collect();
        self.metadata.write(CondemnPieces { pieces }).await
    }
}

/// Has a node count as one that holds a piece.
fn holder(node: u32) -> PiecePlace {
    PiecePlace { piece: PieceNumber(u16::MAX), node, incarnation: Incarnation(0) }
}

fn done(verdict: &Verdict, removed: &[PiecePlace], placed: usize, short: bool) -> Outcome {
    let moved = verdict.moved(removed);
    Outcome::Done { repaired: placed.saturating_sub(moved.len()) as u64, moved, short }
}
