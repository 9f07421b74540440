//! Storage nodes as the operator knows them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::audits::verdict_of;
use super::codec::{Reader, Writer, decode_labels, encode_labels};
use super::dialect::Lock;
use super::epochs::Holder;
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::audit::Verdict;
use crate::types::{InstanceId, NodeId, UnixMillis};

/// How a node stands with the operator. Stored as its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Takes and gives pieces.
    Active = 1,
    /// Gives pieces, takes none.
    Suspended = 2,
    /// Gives pieces; they are being moved elsewhere.
    Draining = 3,
    /// Given up; its pieces count as lost.
    Gone = 4,
    /// Its pieces are elsewhere, and it has gone as it wanted to.
    Left = 5,
}

impl NodeState {
    fn from_number(number: i64) -> Result<Self, MetadataError> {
        [Self::Active, Self::Suspended, Self::Draining, Self::Gone, Self::Left]
            .into_iter()
            .find(|state| *state as i64 == number)
            .ok_or_else(|| MetadataError::Corrupt(format!("node state {number} is unknown")))
    }

    /// Whether its pieces can be read.
    pub fn is_member(self) -> bool {
        self < Self::Gone
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Draining => "draining",
            Self::Gone => "gone",
            Self::Left => "left",
        }
    }
}

/// A node's space, as it said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeSpace {
    /// Bytes that the volunteer promised.
    pub capacity_bytes: u64,
    /// Bytes that its logs take.
    pub used_bytes: u64,
    /// Bytes of pieces that it would still take.
    pub writable_bytes: u64,
    /// Pieces on it, live and in the trash.
    pub pieces: u64,
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
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// The folder of a node that `cairn up` runs itself; none for a volunteer's.
    pub place: Option<String>,
    /// What the operator says of it: by its token.
    pub labels: BTreeMap<String, String>,
    /// What its volunteer says of it. Nothing may depend on it.
    pub said: BTreeMap<String, String>,
    /// When it joined.
    pub joined: UnixMillis,
    /// When it was seen last; none before it came the first time.
    pub seen: Option<UnixMillis>,
    /// Where its first connection came from last.
    pub address: Option<IpAddr>,
    /// Its software and version.
    pub software: String,
    /// Its space, if it has said so.
    pub space: Option<NodeSpace>,
    /// Shares that it gave and that were wrong.
    pub wrong_shares: u64,
    /// How often it came back with an older state than it had shown.
    pub rollbacks: u64,
    /// How often it had started when it was last heard of.
    pub start_counter: u64,
    /// How far its log was then.
    pub log_position: u64,
    /// Which start of its process was let in last.
    pub instance: Option<InstanceId>,
    /// Which process recorded last that it sees it; none if it has been let in
    /// since.
    pub seen_by: Option<Holder>,
    /// Whether its store is gone from its disk, as it said last.
    pub failing: bool,
    /// Rises whenever damage of it becomes known.
    pub damage: u64,
    /// What audits have concluded. A node with a verdict other than good is
    /// suspended, or draining.
    pub verdict: Verdict,
}

const COLUMNS: usize = 21;

fn node_row(row: &Row) -> Result<NodeRow, MetadataError> {
    debug_assert_eq!(row.0.len(), COLUMNS);
    Ok(NodeRow {
        number: row.u32(0)?,
        node: NodeId::from_bytes(row.array(1)?),
        state: NodeState::from_number(row.int(2)?)?,
        reason: row.maybe_text(3)?,
        place: row.maybe_text(4)?,
        labels: decode_labels(row.bytes(5)?)?,
        said: row.optional(6)?.map(decode_labels).transpose()?.unwrap_or_default(),
        joined: UnixMillis(row.int(7)?),
        seen: row.maybe_u64(8)?.map(|time| UnixMillis(time as i64)),
        address: row.maybe_text(9)?.and_then(|address| address.parse().ok()),
        software: row.maybe_text(10)?.unwrap_or_default(),
        space: row.optional(11)?.map(decode_space).transpose()?,
        wrong_shares: row.u64(12)?,
        rollbacks: row.u64(13)?,
        start_counter: row.u64(14)?,
        log_position: row.u64(15)?,
        instance: array(row, 16)?.map(InstanceId::from_bytes),
        seen_by: array(row, 17)?.map(Holder),
        failing: row.int(18)? != 0,
        damage: row.u64(19)?,
        verdict: verdict_of(row.int(20)?)?,
    })
}

/// Sixteen bytes that may be missing.
fn array(row: &Row, column: usize) -> Result<Option<[u8; 16]>, MetadataError> {
    row.optional(column)?.map(|_| row.array(column)).transpose()
}

fn encode_space(space: &NodeSpace) -> Vec<u8> {
    let mut row = Writer::new(1);
    row.u64(space.capacity_bytes).u64(space.used_bytes).u64(space.writable_bytes).u64(space.pieces).finish()
}

fn decode_space(bytes: &[u8]) -> Result<NodeSpace, MetadataError> {
    let mut row = Reader::new("a node's space", bytes, 1)?;
    Ok(NodeSpace { capacity_bytes: row.u64()?, used_bytes: row.u64()?, writable_bytes: row.u64()?, pieces: row.u64()? })
}

/// The database's time, which is that of all rows.
pub struct ReadClock;

impl Operation for ReadClock {
    type Output = UnixMillis;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<UnixMillis, MetadataError> {
        tx.now().await
    }
}

/// All nodes, ascending by number.
pub struct ListNodes;

impl Operation for ListNodes {
    type Output = Vec<NodeRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<NodeRow>, MetadataError> {
        let sql = "SELECT node_no, node_id, state, reason, place, labels, said, joined_ms, seen_ms, address, software, \
                   space, wrong_shares, rollbacks, start_counter, log_position, last_instance, seen_by, failing, damage, \
                   verdict FROM nodes ORDER BY node_no";
        tx.query(sql, &[]).await?.iter().map(node_row).collect()
    }
}

/// One node, if it is registered.
pub struct FindNode {
    /// Its public key.
    pub node: NodeId,
}

impl Operation for FindNode {
    type Output = Option<NodeRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<NodeRow>, MetadataError> {
        find(tx, self.node).await
    }
}

pub(super) async fn find(tx: &mut Tx<'_>, node: NodeId) -> Result<Option<NodeRow>, MetadataError> {
    find_locked(tx, Lock::None, node).await
}

pub(super) async fn find_locked(tx: &mut Tx<'_>, lock: Lock, node: NodeId) -> Result<Option<NodeRow>, MetadataError> {
    let sql = "SELECT node_no, node_id, state, reason, place, labels, said, joined_ms, seen_ms, address, software, \
               space, wrong_shares, rollbacks, start_counter, log_position, last_instance, seen_by, failing, damage, \
               verdict FROM nodes WHERE node_id = ?1";
    tx.first_locked(lock, sql, params![node.as_bytes()]).await?.as_ref().map(node_row).transpose()
}

/// The node of that number.
pub(super) async fn find_number_locked(
    tx: &mut Tx<'_>,
    lock: Lock,
    number: u32,
) -> Result<Option<NodeRow>, MetadataError> {
    let sql = "SELECT node_no, node_id, state, reason, place, labels, said, joined_ms, seen_ms, address, software, \
               space, wrong_shares, rollbacks, start_counter, log_position, last_instance, seen_by, failing, damage, \
               verdict FROM nodes WHERE node_no = ?1";
    tx.first_locked(lock, sql, params![number]).await?.as_ref().map(node_row).transpose()
}

/// Registers a node, or takes one back that had gone: it joins now, so that its
/// trust grows anew.
pub(super) async fn enlist(
    tx: &mut Tx<'_>,
    node: NodeId,
    labels: &BTreeMap<String, String>,
    place: Option<&str>,
) -> Result<(), MetadataError> {
    let (active, labels, now) = (NodeState::Active as i64, encode_labels(labels), tx.now().await?);
    let known = "UPDATE nodes SET state = ?2, labels = ?3, place = ?4, reason = NULL, drain_epoch = NULL, \
                 joined_ms = ?5, verdict = 0 WHERE node_id = ?1 RETURNING node_no";
    if let Some(row) = tx.first(known, params![node.as_bytes(), active, &labels, place, now]).await? {
        return super::audits::forget(tx, row.u32(0)?).await;
    }
    let number = tx.next("node").await?;
    let insert = "INSERT INTO nodes (node_no, node_id, state, place, labels, joined_ms, start_counter, log_position) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0) ON CONFLICT DO NOTHING";
    tx.insert_new(insert, params![number, node.as_bytes(), active, place, &labels, now]).await
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
        match find_locked(tx, Lock::Change, self.node).await? {
            Some(row) if row.state != NodeState::Gone => {
                let sql = "UPDATE nodes SET place = ?2 WHERE node_id = ?1";
                tx.execute(sql, params![self.node.as_bytes(), place]).await.map(drop)
            }
            Some(row) => enlist(tx, self.node, &row.labels, Some(place)).await,
            None => enlist(tx, self.node, &BTreeMap::new(), Some(place)).await,
        }
    }
}

/// A node that `cairn up` ran is run by itself from now on.
pub struct LeavePlace {
    /// The node.
    pub node: NodeId,
}

impl Operation for LeavePlace {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        tx.execute("UPDATE nodes SET place = NULL WHERE node_id = ?1", params![self.node.as_bytes()]).await.map(drop)
    }
}

/// What a node said of itself when it came. Answers whether it has gone back
/// behind what was recorded: then what it acknowledged since is missing.
pub struct RecordHello {
    /// The node.
    pub node: NodeId,
    /// Which start of its process says this.
    pub instance: InstanceId,
    /// How often it has started.
    pub start_counter: u64,
    /// How far its log is.
    pub log_position: u64,
    /// Its software and version.
    pub software: String,
    /// Labels that its volunteer set.
    pub said: BTreeMap<String, String>,
    /// Where it dialled from.
    pub address: IpAddr,
}

impl Operation for RecordHello {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let row = find_locked(tx, Lock::Change, self.node).await?;
        let row = row.ok_or_else(|| MetadataError::Failed(format!("node {} is not registered", self.node)))?;
        let sql = "SELECT 1 FROM nodes WHERE node_id = ?1 AND last_instance = ?2";
        let (starts, instance) = (self.start_counter.min(i64::MAX as u64), self.instance.as_bytes());
        let known = tx.first(sql, params![self.node.as_bytes(), instance]).await?.is_some();
        // Every start is counted: two with one number are two copies of one past. An instance
        // that was here before has only gone on since it said how far it is.
        let back = !known && (starts <= row.start_counter || self.log_position < row.log_position);
        let update = "UPDATE nodes SET start_counter = ?2, log_position = ?3, software = ?4, said = ?5, address = ?6, \
                      seen_ms = ?7, seen_by = NULL, rollbacks = rollbacks + ?8, last_instance = ?9 WHERE node_id = ?1";
        // What a node says of itself must not be able to break its row.
        let position = if known { self.log_position.max(row.log_position) } else { self.log_position };
        let position = position.min(i64::MAX as u64);
        let (said, address, now) = (encode_labels(&self.said), self.address.to_string(), tx.now().await?);
        let software = self.software.as_str();
        let values = params![
            self.node.as_bytes(),
            starts,
            position,
            software,
            &said,
            address.as_str(),
            now,
            u32::from(back),
            instance
        ];
        tx.execute(update, values).await?;
        Ok(back)
    }
}

/// What was seen of a node lately.
#[derive(Debug, Clone, Copy)]
pub struct SeenNode {
    /// The node, by its number.
    pub number: u32,
    /// Which start of its process.
    pub instance: InstanceId,
    /// How often it had started then.
    pub start_counter: u64,
    /// Its space.
    pub space: NodeSpace,
    /// How far its log is.
    pub log_position: u64,
    /// Wrong shares that it gave this process since that was recorded last.
    pub wrong_shares: u64,
    /// Whether its store is gone from its disk.
    pub failing: bool,
}

/// Records nodes that are connected to a process now. Log positions only
/// rise, and not by what is older than the start that was let in last: what
/// a gateway still holds of an earlier one says nothing of where this one
/// should be, nor of its disk.
pub struct RecordSeen {
    /// The process.
    pub holder: Holder,
    /// Which ones, each once.
    pub nodes: Vec<SeenNode>,
}

impl Operation for RecordSeen {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let now = tx.now().await?;
        let sql = "UPDATE nodes SET seen_ms = ?2, seen_by = ?3, space = ?4, wrong_shares = wrong_shares + ?5, \
                   log_position = CASE WHEN (last_instance = ?8 OR start_counter < ?9) AND log_position < ?6 THEN ?6 \
                   ELSE log_position END, \
                   failing = CASE WHEN last_instance = ?8 OR start_counter < ?9 THEN ?7 ELSE failing END \
                   WHERE node_no = ?1";
        let mut nodes: Vec<_> = self.nodes.iter().map(|node| (node, encode_space(&node.space))).collect();
        nodes.sort_by_key(|(node, _)| node.number);
        // Another gateway may record the same ones.
        let numbers: Vec<i64> = nodes.iter().map(|(node, _)| node.number.into()).collect();
        let lock = "SELECT 1 FROM nodes WHERE node_no IN (SELECT value FROM rarray(?1)) ORDER BY node_no";
        tx.query_locked(Lock::Change, lock, params![&numbers[..]]).await?;
        let mut rows = Vec::with_capacity(nodes.len());
        for (node, space) in &nodes {
            let (position, holder) = (node.log_position.min(i64::MAX as u64), &self.holder.0);
            let (wrong, failing, instance) = (node.wrong_shares, u32::from(node.failing), node.instance.as_bytes());
            let starts = node.start_counter.min(i64::MAX as u64);
            rows.push(params![node.number, now, holder, space, wrong, position, failing, instance, starts].to_vec());
        }
        tx.execute_each(sql, &rows).await.map(drop)
    }
}
