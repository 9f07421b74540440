//! Storage nodes as the operator knows them.

use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::types::NodeId;

/// How a node stands with the operator. Stored as its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Takes and gives pieces.
    Active = 1,
    /// Gives pieces, takes none.
    Suspended = 2,
    /// Gives pieces; they are being moved elsewhere.
    Draining = 3,
    /// Gone for good; its pieces count as lost.
    Gone = 4,
}

impl NodeState {
    fn from_number(number: i64) -> Result<Self, MetadataError> {
        [Self::Active, Self::Suspended, Self::Draining, Self::Gone]
            .into_iter()
            .find(|state| *state as i64 == number)
            .ok_or_else(|| MetadataError::Corrupt(format!("node state {number} is unknown")))
    }
}

/// A registered node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// What piece lists call it. Never given to another node.
    pub number: u32,
    /// Its public key.
    pub node: NodeId,
    /// How it stands.
    pub state: NodeState,
    /// The folder of a node that `cairn up` runs itself; none for a volunteer's.
    pub place: Option<String>,
    /// How often it had started when it was last heard of.
    pub start_counter: u64,
    /// How far its log was then.
    pub log_position: u64,
}

fn node_row(row: &Row) -> Result<NodeRow, MetadataError> {
    Ok(NodeRow {
        number: row.u32(0)?,
        node: NodeId::from_bytes(row.array(1)?),
        state: NodeState::from_number(row.int(2)?)?,
        place: row.optional(3)?.map(super::codec::text).transpose()?,
        start_counter: row.u64(4)?,
        log_position: row.u64(5)?,
    })
}

/// All nodes, ascending by number.
pub struct ListNodes;

impl Operation for ListNodes {
    type Output = Vec<NodeRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<NodeRow>, MetadataError> {
        let sql = "SELECT node_no, node_id, state, place, start_counter, log_position FROM nodes ORDER BY node_no";
        tx.query(sql, &[]).await?.iter().map(node_row).collect()
    }
}

/// Puts a node of this process into a folder. One that is known already and
/// was given up is taken back: its pieces are there again.
pub struct PlaceNode {
    /// Its public key.
    pub node: NodeId,
    /// Its folder.
    pub place: String,
    /// The node whose folder was lost: it is given up.
    pub instead_of: Option<NodeId>,
}

impl Operation for PlaceNode {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        if let Some(lost) = &self.instead_of {
            let sql = "UPDATE nodes SET state = ?2 WHERE node_id = ?1";
            tx.execute(sql, params![lost.as_bytes(), NodeState::Gone as i64]).await?;
        }
        let place = self.place.as_str();
        tx.execute("UPDATE nodes SET place = NULL WHERE place = ?1", params![place]).await?;
        let taken = "UPDATE nodes SET place = ?2, state = CASE state WHEN ?3 THEN ?4 ELSE state END WHERE node_id = ?1";
        let (gone, active) = (NodeState::Gone as i64, NodeState::Active as i64);
        if tx.execute(taken, params![self.node.as_bytes(), place, gone, active]).await? == 1 {
            return Ok(());
        }
        let number = tx.next("node").await?;
        let now = tx.now().await?;
        let insert = "INSERT INTO nodes (node_no, node_id, state, place, labels, joined_ms, start_counter, log_position) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)";
        let labels = super::codec::Writer::new(1).finish();
        tx.execute(insert, params![number, self.node.as_bytes(), active, place, &labels, now]).await?;
        Ok(())
    }
}

/// What a node said of itself when it came. Answers whether it has gone back
/// behind what was recorded: then what it acknowledged since is missing.
pub struct RecordHello {
    /// The node.
    pub node: NodeId,
    /// How often it has started.
    pub start_counter: u64,
    /// How far its log is.
    pub log_position: u64,
}

impl Operation for RecordHello {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let sql = "SELECT start_counter, log_position FROM nodes WHERE node_id = ?1";
        let row = tx.first(sql, params![self.node.as_bytes()]).await?;
        let row = row.ok_or_else(|| MetadataError::Failed(format!("node {} is not registered", self.node)))?;
        let back = self.start_counter < row.u64(0)? || self.log_position < row.u64(1)?;
        let update = "UPDATE nodes SET start_counter = ?2, log_position = ?3 WHERE node_id = ?1";
        // What a node says of itself must not be able to break its row.
        let (starts, position) = (self.start_counter.min(i64::MAX as u64), self.log_position.min(i64::MAX as u64));
        tx.execute(update, params![self.node.as_bytes(), starts, position]).await?;
        Ok(back)
    }
}
