//! Pieces that their own node says its disk has lost or changed.

use super::dialect::Lock;
use super::nodes::NodeState;
use super::tx::{MetadataError, Operation, Tx, params};
use crate::types::PieceId;

/// Adds pieces to what is known of a node's damage. They stay for as long as
/// the node is a member: a piece that is made anew has another id. The node's row
/// tells other processes that there is news.
pub struct RecordDamage {
    /// The node, by its number.
    pub node: u32,
    /// The pieces; those that are known already are passed over.
    pub pieces: Vec<PieceId>,
}

impl Operation for RecordDamage {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let member = "SELECT 1 FROM nodes WHERE node_no = ?1 AND state < ?2";
        if tx.first_locked(Lock::Exists, member, params![self.node, NodeState::Gone as i64]).await?.is_none() {
            return Ok(());
        }
        let sql = "INSERT INTO damaged (node_no, piece_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        let mut pieces: Vec<&PieceId> = self.pieces.iter().collect();
        pieces.sort();
        let rows: Vec<_> = pieces.iter().map(|piece| params![self.node, piece.as_bytes()].to_vec()).collect();
        if tx.execute_each(sql, &rows).await? > 0 {
            tx.execute("UPDATE nodes SET damage = damage + 1 WHERE node_no = ?1", params![self.node]).await?;
        }
        Ok(())
    }
}

/// The damaged pieces of one node, ascending.
pub struct DamageOf {
    /// The node, by its number.
    pub node: u32,
}

impl Operation for DamageOf {
    type Output = Vec<PieceId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<PieceId>, MetadataError> {
        let sql = "SELECT piece_id FROM damaged WHERE node_no = ?1 ORDER BY piece_id";
        let rows = tx.query(sql, params![self.node]).await?;
        rows.iter().map(|row| Ok(PieceId::from_bytes(row.array(0)?))).collect()
    }
}

/// All damaged pieces: node number and piece, ascending.
pub struct ListDamage;

impl Operation for ListDamage {
    type Output = Vec<(u32, PieceId)>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<(u32, PieceId)>, MetadataError> {
        let rows = tx.query("SELECT node_no, piece_id FROM damaged ORDER BY node_no, piece_id", &[]).await?;
        rows.iter().map(|row| Ok((row.u32(0)?, PieceId::from_bytes(row.array(1)?)))).collect()
    }
}
