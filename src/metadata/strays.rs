//! Pieces that a node holds and nobody refers to, by their ids alone: of
//! uploads that never came to their commit, of processes that died, of nodes
//! that came back with an old disk. Who walks all segments finds them and
//! condemns them; they go to the node's trash and are purged a week later.
//!
//! A piece is purged only after a walk that began when it was condemned
//! already has found no list that names it (`checked`), whatever the clocks say.

use super::dialect::Lock;
use super::epochs::{Holder, run_out};
use super::garbage::{CondemnedPiece, ForgetCondemned, condemned_piece};
use super::nodes::NodeState;
use super::tx::{MetadataError, Operation, Tx, params};
use crate::types::{Epoch, PieceId};

/// The oldest epoch in which anybody can still write: no piece of an older one
/// that is in no list now will ever be in one. Leases that have run out are
/// removed, so that what their holders wrote cannot be committed any more.
///
/// Who condemns what it does not find takes this first and looks afterwards.
pub struct OldestEpoch {
    /// The process that asks: its own lease stays, whatever the clock says.
    pub own: Holder,
}

impl Operation for OldestEpoch {
    type Output = Epoch;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Epoch, MetadataError> {
        // Leases that are being taken or renewed stand in the table after this.
        let newest = tx.counter("epoch", Lock::Change).await?;
        let (before, after) = run_out(tx.now().await?);
        // Waits for commits under these leases, which keep them as they are.
        let sql = "DELETE FROM leases WHERE (expires_ms < ?1 OR expires_ms > ?2) AND holder <> ?3";
        tx.execute(sql, params![before, after, &self.own.0]).await?;
        let row = tx.first("SELECT oldest_epoch FROM leases ORDER BY oldest_epoch LIMIT 1", &[]).await?;
        Ok(Epoch(row.map_or(Ok(newest + 1), |row| row.u64(0))?))
    }
}

/// Those of some nodes that have not been compared with the lists for so long,
/// those first that wait longest.
pub struct NodesToCompare {
    /// Among these, by their numbers.
    pub nodes: Vec<u32>,
    /// Milliseconds of the database's clock.
    pub older_than_ms: u64,
}

impl Operation for NodesToCompare {
    type Output = Vec<u32>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u32>, MetadataError> {
        let now = tx.now().await?.0;
        let nodes: Vec<i64> = self.nodes.iter().map(|node| i64::from(*node)).collect();
        // A time that has not come yet was written before the clock was set back.
        let sql = "SELECT node_no FROM nodes WHERE node_no IN (SELECT value FROM rarray(?1)) AND state < ?2 \
                   AND (reclaimed_ms IS NULL OR reclaimed_ms <= ?3 OR reclaimed_ms > ?4) \
                   ORDER BY COALESCE(reclaimed_ms, 0), node_no";
        let values = params![&nodes[..], NodeState::Gone as i64, now - self.older_than_ms as i64, now];
        tx.query(sql, values).await?.iter().map(|row| row.u32(0)).collect()
    }
}

/// A page of a node's condemned pieces.
pub struct CondemnedOf {
    /// The node, by its number.
    pub node: u32,
    /// Begin after this one.
    pub after: Option<CondemnedPiece>,
    /// At most so many.
    pub limit: u32,
}

impl Operation for CondemnedOf {
    type Output = Vec<CondemnedPiece>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<CondemnedPiece>, MetadataError> {
        let (segment, piece, incarnation) = match &self.after {
            Some(CondemnedPiece { segment, place }) => {
                (&segment.as_bytes()[..], i64::from(place.piece.0), place.incarnation.0)
            }
            None => (&[][..], -1, 0),
        };
        let sql = "SELECT node_no, segment_id, piece, incarnation FROM condemned WHERE node_no = ?1 \
                   AND (segment_id, piece, incarnation) > (?2, ?3, ?4) \
                   ORDER BY segment_id, piece, incarnation LIMIT ?5";
        let values = params![self.node, segment, piece, incarnation, self.limit];
        tx.query(sql, values).await?.iter().map(condemned_piece).collect()
    }
}

/// A page of a node's strays, ascending, each with whether it was checked.
pub struct StraysOf {
    /// The node, by its number.
    pub node: u32,
    /// Begin after this one.
    pub after: Option<PieceId>,
    /// At most so many.
    pub limit: u32,
}

impl Operation for StraysOf {
    type Output = Vec<(PieceId, bool)>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<(PieceId, bool)>, MetadataError> {
        let after = self.after.as_ref().map_or(&[][..], |id| id.as_bytes());
        let sql =
            "SELECT piece_id, checked FROM strays WHERE node_no = ?1 AND piece_id > ?2 ORDER BY piece_id LIMIT ?3";
        let rows = tx.query(sql, params![self.node, after, self.limit]).await?;
        rows.iter().map(|row| Ok((PieceId::from_bytes(row.array(0)?), row.int(1)? != 0))).collect()
    }
}

fn columns(node: u32, pieces: &[PieceId]) -> Vec<Vec<super::tx::Param<'_>>> {
    let mut pieces: Vec<&PieceId> = pieces.iter().collect();
    pieces.sort_unstable();
    pieces.dedup();
    pieces.into_iter().map(|piece| params![node, piece.as_bytes()].to_vec()).collect()
}

/// Condemns pieces that no list names, of a node that is a member. Answers
/// how many were not condemned before.
pub struct CondemnStrays {
    /// The node, by its number.
    pub node: u32,
    /// Their ids.
    pub pieces: Vec<PieceId>,
}

impl Operation for CondemnStrays {
    type Output = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, MetadataError> {
        let member = "SELECT 1 FROM nodes WHERE node_no = ?1 AND state < ?2";
        if tx.first_locked(Lock::Exists, member, params![self.node, NodeState::Gone as i64]).await?.is_none() {
            return Ok(0);
        }
        let sql = "INSERT INTO strays (node_no, piece_id, checked) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING";
        Ok(tx.execute_each(sql, &columns(self.node, &self.pieces)).await? as u64)
    }
}

/// A walk over all segments, which began when these pieces were condemned
/// already, has found that no list names them.
pub struct CheckStrays {
    /// The node, by its number.
    pub node: u32,
    /// Their ids.
    pub pieces: Vec<PieceId>,
}

impl Operation for CheckStrays {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "UPDATE strays SET checked = 1 WHERE node_no = ?1 AND piece_id = ?2";
        tx.execute_each(sql, &columns(self.node, &self.pieces)).await.map(drop)
    }
}

/// Takes back that pieces were condemned, since a list names them. After that
/// the node is told to take them out of its trash.
pub struct Reprieve {
    /// The node, by its number.
    pub node: u32,
    /// Ids of pieces that were taken for strays.
    pub strays: Vec<PieceId>,
    /// Pieces that were condemned by their place.
    pub condemned: Vec<CondemnedPiece>,
}

impl Operation for Reprieve {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        ForgetStrays { node: self.node, pieces: self.strays.clone() }.run(tx).await?;
        ForgetCondemned { pieces: self.condemned.clone() }.run(tx).await
    }
}

/// Notes that a node was compared with the lists just now.
pub struct MarkReclaimed {
    /// The node, by its number.
    pub node: u32,
}

impl Operation for MarkReclaimed {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let now = tx.now().await?;
        tx.execute("UPDATE nodes SET reclaimed_ms = ?2 WHERE node_no = ?1", params![self.node, now]).await.map(drop)
    }
}

fn ids(rows: &[super::tx::Row]) -> Result<Vec<PieceId>, MetadataError> {
    rows.iter().map(|row| Ok(PieceId::from_bytes(row.array(0)?))).collect()
}

pub(super) const STRAYS_TO_TRASH: &str =
    "SELECT piece_id FROM strays WHERE node_no = ?1 AND trashed_ms IS NULL LIMIT ?2";

/// Strays of a node that are not in its trash yet, as far as is known.
pub struct StraysToTrash {
    /// The node, by its number.
    pub node: u32,
    /// At most so many.
    pub limit: u32,
}

impl Operation for StraysToTrash {
    type Output = Vec<PieceId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<PieceId>, MetadataError> {
        ids(&tx.query(STRAYS_TO_TRASH, params![self.node, self.limit]).await?)
    }
}

/// Notes that strays are in their node's trash since now, if they were not before.
pub struct MarkStraysTrashed {
    /// The node, by its number.
    pub node: u32,
    /// Their ids.
    pub pieces: Vec<PieceId>,
}

impl Operation for MarkStraysTrashed {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let now = tx.now().await?;
        let mut rows = columns(self.node, &self.pieces);
        rows.iter_mut().for_each(|row| row.push(now.into()));
        let sql = "UPDATE strays SET trashed_ms = ?3 WHERE node_no = ?1 AND piece_id = ?2 AND trashed_ms IS NULL";
        tx.execute_each(sql, &rows).await.map(drop)
    }
}

pub(super) const STRAYS_TO_PURGE: &str =
    "SELECT piece_id FROM strays WHERE node_no = ?2 AND trashed_ms < ?1 AND checked = 1 LIMIT ?3";

/// Strays that have been in their node's trash for long enough, and that no
/// list names.
pub struct StraysToPurge {
    /// The node, by its number.
    pub node: u32,
    /// Milliseconds of the database's clock.
    pub older_than_ms: u64,
    /// At most so many.
    pub limit: u32,
}

impl Operation for StraysToPurge {
    type Output = Vec<PieceId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<PieceId>, MetadataError> {
        let before = tx.now().await?.0 - self.older_than_ms as i64;
        ids(&tx.query(STRAYS_TO_PURGE, params![before, self.node, self.limit]).await?)
    }
}

/// Forgets strays that their node has purged.
pub struct ForgetStrays {
    /// The node, by its number.
    pub node: u32,
    /// Their ids.
    pub pieces: Vec<PieceId>,
}

impl Operation for ForgetStrays {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "DELETE FROM strays WHERE node_no = ?1 AND piece_id = ?2";
        tx.execute_each(sql, &columns(self.node, &self.pieces)).await.map(drop)
    }
}

/// Forgets what is condemned on nodes that are no members: nobody can tell
/// them. One that joins again is compared with the lists, which finds whatever
/// it brings along. Answers whether there may be more.
pub struct ForgetDeparted {
    /// Rows of each kind, at most.
    pub limit: u32,
}

impl Operation for ForgetDeparted {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let sql = "SELECT node_no FROM nodes WHERE state >= ?1 ORDER BY node_no";
        let rows = tx.query_locked(Lock::Exists, sql, params![NodeState::Gone as i64]).await?;
        let nodes: Vec<i64> = rows.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
        let condemned = "DELETE FROM condemned WHERE (node_no, segment_id, piece, incarnation) IN \
                         (SELECT node_no, segment_id, piece, incarnation FROM condemned \
                          WHERE node_no IN (SELECT value FROM rarray(?1)) LIMIT ?2)";
        let strays = "DELETE FROM strays WHERE (node_no, piece_id) IN (SELECT node_no, piece_id FROM strays \
                      WHERE node_no IN (SELECT value FROM rarray(?1)) LIMIT ?2)";
        let values = params![&nodes[..], self.limit];
        let condemned = tx.execute(condemned, values).await?;
        let strays = tx.execute(strays, values).await?;
        // Compared at once when they join again.
        let sql = "UPDATE nodes SET reclaimed_ms = NULL WHERE node_no IN (SELECT value FROM rarray(?1)) \
                   AND reclaimed_ms IS NOT NULL";
        tx.execute(sql, params![&nodes[..]]).await?;
        Ok(condemned.max(strays) >= self.limit as usize)
    }
}
