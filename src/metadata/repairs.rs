//! Moving a segment's pieces: claim it, place pieces, replace the list.
//!
//! Every claim raises the segment's incarnation, so pieces that a claim places
//! have ids that no other placing has or had: a delete that comes late cannot
//! hit them. The newest claim alone can replace the list.

use super::epochs::{Lease, check};
use super::nodes::NodeState;
use super::segments::{PiecePlace, SegmentRow, encode_pieces, find, segment_row};
use super::tx::{MetadataError, Operation, Tx, params};
use crate::types::{Incarnation, SegmentId};

/// A page of all segments, ascending by id.
pub struct ScanSegments {
    /// Begin after this one.
    pub after: Option<SegmentId>,
    /// At most so many.
    pub limit: u32,
}

impl Operation for ScanSegments {
    type Output = Vec<SegmentRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<SegmentRow>, MetadataError> {
        let sql = "SELECT segment_id, layout, mac_key, root, epoch, revision, pieces FROM segments \
                   WHERE segment_id > ?1 ORDER BY segment_id LIMIT ?2";
        let after = self.after.as_ref().map_or(&[][..], |id| id.as_bytes());
        tx.query(sql, params![after, self.limit]).await?.iter().map(segment_row).collect()
    }
}

/// Claims a segment in order to place pieces of it. Answers its row and the
/// incarnation for the new pieces; none if it is gone.
pub struct ClaimSegment {
    /// Which.
    pub segment: SegmentId,
}

impl Operation for ClaimSegment {
    type Output = Option<(SegmentRow, Incarnation)>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let sql = "UPDATE segments SET incarnation = incarnation + 1 WHERE segment_id = ?1 RETURNING incarnation";
        let Some(row) = tx.first(sql, params![self.segment.as_bytes()]).await? else { return Ok(None) };
        let incarnation = Incarnation(row.u32(0)?);
        Ok(find(tx, &[self.segment]).await?.pop().map(|row| (row, incarnation)))
    }
}

/// Replaces pieces of a claimed segment. Answers false, and changes nothing,
/// if the segment is gone or somebody has claimed it since: then whoever
/// placed the new pieces condemns them.
pub struct ReplacePieces {
    /// Which segment.
    pub segment: SegmentId,
    /// The incarnation of the claim, which all new pieces bear.
    pub claim: Incarnation,
    /// Pieces that leave the list: they are condemned.
    pub removed: Vec<PiecePlace>,
    /// Pieces that are durable on their nodes now.
    pub placed: Vec<PiecePlace>,
    /// The lease under which they were placed.
    pub lease: Lease,
}

impl Operation for ReplacePieces {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        check(tx, &self.lease).await?;
        let claimed = "SELECT 1 FROM segments WHERE segment_id = ?1 AND incarnation = ?2";
        if tx.first(claimed, params![self.segment.as_bytes(), self.claim.0]).await?.is_none() {
            return Ok(false);
        }
        let Some(row) = find(tx, &[self.segment]).await?.pop() else { return Ok(false) };
        let mut pieces = row.pieces;
        pieces.retain(|place| !self.removed.contains(place));
        pieces.extend(&self.placed);
        pieces.sort_by_key(|place| place.piece);
        if !pieces.is_sorted_by(|one, next| one.piece < next.piece) {
            return Err(MetadataError::Failed(format!("segment {}: a piece would be placed twice", self.segment)));
        }
        let sql = "UPDATE segments SET pieces = ?2, revision = revision + 1 WHERE segment_id = ?1";
        tx.execute(sql, params![self.segment.as_bytes(), &encode_pieces(&pieces)]).await?;
        super::garbage::condemn(tx, self.segment, &self.removed).await?;
        Ok(true)
    }
}

/// Whether no upload that began before the node was drained can still place
/// a piece on it: all leases are past that epoch. Leases that have run out are
/// removed, so that a process which died does not hold this up.
pub struct IsDrained {
    /// The node, by its number.
    pub node: u32,
}

impl Operation for IsDrained {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let now = tx.now().await?;
        tx.execute("DELETE FROM leases WHERE expires_ms < ?1", params![now]).await?;
        let sql = "SELECT 1 FROM nodes WHERE node_no = ?1 AND state = ?2 \
                   AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.oldest_epoch <= nodes.drain_epoch)";
        Ok(tx.first(sql, params![self.node, NodeState::Draining as i64]).await?.is_some())
    }
}
