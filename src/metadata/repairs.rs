//! Moving a segment's pieces: claim it, place pieces, replace the list.
//!
//! Every claim raises the segment's incarnation, so pieces that a claim places
//! have ids that no other placing has or had: a delete that comes late cannot
//! hit them. The newest claim alone can replace the list.

use std::collections::BTreeSet;

use super::dialect::Lock;
use super::epochs::{Lease, check, run_out};
use super::nodes::{NodeRow, NodeState, find as find_node};
use super::segments::{PiecePlace, SegmentRow, encode_pieces, find, segment_row};
use super::standing::{ChangeNode, ChangeRefusal, NodeChange};
use super::tx::{MetadataError, Operation, Tx, params};
use crate::types::{Epoch, Incarnation, NodeId, SegmentId};

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
        let sql = "SELECT segment_id, layout, mac_key, root, epoch, revision, pieces, live_bytes FROM segments \
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
        let sql = "UPDATE segments SET incarnation = incarnation + 1 WHERE segment_id = ?1 \
                   RETURNING segment_id, layout, mac_key, root, epoch, revision, pieces, live_bytes, incarnation";
        let row = tx.first(sql, params![self.segment.as_bytes()]).await?;
        row.map(|row| Ok((segment_row(&row)?, Incarnation(row.u32(8)?)))).transpose()
    }
}

/// Replaces pieces of a claimed segment, once: that uses the claim up.
///
/// Answers false, and changes nothing, if the segment is gone, if somebody has
/// claimed it since, if one of the nodes takes no pieces any more, or if a new
/// piece was condemned meanwhile. Then, and after a failure, whoever placed
/// the new pieces condemns them ([`CondemnPieces`](super::CondemnPieces)
/// spares what is in the list after all).
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
        if tx.first_locked(Lock::Change, claimed, params![self.segment.as_bytes(), self.claim.0]).await?.is_none() {
            return Ok(false);
        }
        if !self.may_be_placed(tx).await? {
            return Ok(false);
        }
        let Some(row) = find(tx, &[self.segment]).await?.pop() else { return Ok(false) };
        let (removed, mut pieces): (Vec<_>, Vec<_>) =
            row.pieces.into_iter().partition(|place| self.removed.contains(place));
        pieces.extend(&self.placed);
        pieces.sort_by_key(|place| place.piece);
        if !pieces.is_sorted_by(|one, next| one.piece < next.piece) {
            return Err(MetadataError::Failed(format!("segment {}: a piece would be placed twice", self.segment)));
        }
        let sql = "UPDATE segments SET pieces = ?2, revision = revision + 1, incarnation = incarnation + 1 \
                   WHERE segment_id = ?1";
        tx.execute(sql, params![self.segment.as_bytes(), &encode_pieces(&pieces)]).await?;
        super::garbage::condemn(tx, &[(self.segment, removed)]).await?;
        Ok(true)
    }
}

impl ReplacePieces {
    /// A node that is about to leave must not be given a piece behind the back
    /// of who makes sure that it has none; a piece that was condemned is on
    /// its way to the trash. Nobody condemns one of a segment that is locked.
    async fn may_be_placed(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        if self.placed.iter().any(|place| place.incarnation != self.claim) {
            let segment = self.segment;
            return Err(MetadataError::Failed(format!("segment {segment}: a piece was placed without its claim")));
        }
        let nodes: BTreeSet<i64> = self.placed.iter().map(|place| place.node.into()).collect();
        let nodes: Vec<i64> = nodes.into_iter().collect();
        let sql = "SELECT 1 FROM nodes WHERE node_no IN (SELECT value FROM rarray(?1)) AND state < ?2 ORDER BY node_no";
        let values = params![&nodes[..], NodeState::Draining as i64];
        if tx.query_locked(Lock::Exists, sql, values).await?.len() != nodes.len() {
            return Ok(false);
        }
        let sql = "SELECT node_no, piece FROM condemned WHERE node_no IN (SELECT value FROM rarray(?1)) \
                   AND segment_id = ?2 AND incarnation = ?3";
        let rows = tx.query(sql, params![&nodes[..], self.segment.as_bytes(), self.claim.0]).await?;
        for row in &rows {
            let (node, piece) = (row.u32(0)?, row.u32(1)?);
            if self.placed.iter().any(|place| place.node == node && u32::from(place.piece.0) == piece) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether no upload that began before the node was drained can still place
/// a piece on it: all leases are past the epoch of that moment, which is
/// answered then. Leases that have run out and are in the way are removed, so
/// that a process which died does not hold this up.
pub struct IsDrained {
    /// The node, by its number.
    pub node: u32,
}

impl Operation for IsDrained {
    type Output = Option<Epoch>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Epoch>, MetadataError> {
        let sql = "SELECT drain_epoch FROM nodes WHERE node_no = ?1 AND state = ?2";
        let values = params![self.node, NodeState::Draining as i64];
        let Some(row) = tx.first_locked(Lock::Exists, sql, values).await? else {
            return Ok(None);
        };
        // Leases that are being taken or renewed stand in the table after this.
        tx.counter("epoch", Lock::Change).await?;
        let (epoch, (before, after)) = (row.u64(0)?, run_out(tx.now().await?));
        let sql = "DELETE FROM leases WHERE oldest_epoch <= ?1 AND (expires_ms < ?2 OR expires_ms > ?3)";
        tx.execute(sql, params![epoch, before, after]).await?;
        let sql = "SELECT 1 FROM leases WHERE oldest_epoch <= ?1 LIMIT 1";
        Ok(tx.first(sql, params![epoch]).await?.is_none().then_some(Epoch(epoch)))
    }
}

/// Lets a drained node go: it has left. Refused if it is not the same draining
/// any more in which it was found empty.
pub struct LetGo {
    /// The node.
    pub node: NodeId,
    /// What [`IsDrained`] answered before it was found empty.
    pub drained_since: Epoch,
    /// Why, for people.
    pub reason: String,
}

impl Operation for LetGo {
    type Output = Result<NodeRow, ChangeRefusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let node = self.node;
        let sql = "SELECT 1 FROM nodes WHERE node_id = ?1 AND drain_epoch = ?2";
        if tx.first_locked(Lock::Change, sql, params![node.as_bytes(), self.drained_since.0]).await?.is_none() {
            let state = find_node(tx, node).await?.map(|row| row.state);
            return Ok(Err(state.map_or(ChangeRefusal::Unknown(node), |state| ChangeRefusal::State { node, state })));
        }
        ChangeNode { node, change: NodeChange::Leave, reason: Some(self.reason.clone()) }.run(tx).await
    }
}

/// Members that came back with an older state than they had shown, and whose
/// inventory has not been compared with the lists since: each node's number,
/// and how often it has come back so.
pub struct ListRolledBack;

impl Operation for ListRolledBack {
    type Output = Vec<(u32, u64)>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<(u32, u64)>, MetadataError> {
        let sql = "SELECT node_no, rollbacks FROM nodes WHERE rollbacks > compared AND state < ?1 ORDER BY node_no";
        let rows = tx.query(sql, params![NodeState::Gone as i64]).await?;
        rows.iter().map(|row| Ok((row.u32(0)?, row.u64(1)?))).collect()
    }
}

/// Notes that a node's inventory was compared with the lists, and that no list
/// names a piece which it has not.
pub struct MarkCompared {
    /// The node, by its number.
    pub node: u32,
    /// How often it had come back with an older state when that began.
    pub rollbacks: u64,
}

impl Operation for MarkCompared {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "UPDATE nodes SET compared = ?2 WHERE node_no = ?1 AND compared < ?2";
        tx.execute(sql, params![self.node, self.rollbacks]).await.map(drop)
    }
}
