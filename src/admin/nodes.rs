//! Nodes as the operator sees them: what the database knows of each and, in a
//! process that serves, what its connection shows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Method;
use serde::{Deserialize, Serialize};

use super::AdminError;
use super::audits::{AuditsView, verdict_name};
use super::live::Domains;
use super::operator::{Command, Operator};
use super::prefix::find;
use crate::metadata::{ListDamage, ListNodes, NodeRow, NodeSpace, NodeState, ReadClock};
use crate::transport::NodeStatus;

/// All nodes that were ever registered, in the order in which they joined.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Its id, or a beginning of it that no other node has.
    pub node: String,
}

/// All nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeList {
    /// When this was answered, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whether a process serves; without one no node is connected.
    pub running: bool,
    /// The nodes, in the order in which they joined.
    pub nodes: Vec<NodeView>,
}

/// A node and when it looked like this.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShownNode {
    /// When this was answered, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whether a process serves; without one no node is connected.
    pub running: bool,
    /// The node.
    #[serde(flatten)]
    pub view: NodeView,
    /// What audits have found at it.
    #[serde(default)]
    pub audits: AuditsView,
}

/// A node as the operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id: its public key, 64 hexadecimal digits.
    pub node: String,
    /// Whether it is connected to the process that answers.
    pub connected: bool,
    /// What piece lists call it.
    pub number: u32,
    /// active, suspended, draining, gone or left.
    pub state: String,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// What audits have concluded: good, suspended or disqualified.
    #[serde(default)]
    pub verdict: String,
    /// The folder of a node that `cairn up` runs itself.
    pub place: Option<String>,
    /// Nodes with the same number would fail together.
    pub domain: u64,
    /// What the operator says of it: by its token.
    pub labels: BTreeMap<String, String>,
    /// What its volunteer says of it. Nothing depends on it.
    pub said: BTreeMap<String, String>,
    /// When it joined, in milliseconds since 1970.
    pub joined_ms: i64,
    /// When it was seen last; none before it came the first time.
    pub seen_ms: Option<i64>,
    /// Where its first connection came from last.
    pub address: Option<IpAddr>,
    /// Its software and version.
    pub software: String,
    /// Its space, if it has said so.
    pub space: Option<SpaceView>,
    /// Shares that it gave and that were wrong.
    pub wrong_shares: u64,
    /// How often it came back with an older state than it had shown.
    pub rollbacks: u64,
    /// How often it has started.
    pub starts: u64,
    /// Pieces that its disk has lost or changed; null if that was not looked up.
    pub damaged: Option<u64>,
    /// Whether its store is gone from its disk; false while it is not connected.
    pub store_failed: bool,
    /// While it drains: pieces that are still to be moved, once counted.
    pub pieces_to_move: Option<u64>,
    /// Its connection, if it is connected.
    pub connection: Option<ConnectionView>,
    /// How it has done lately; null where no process serves.
    pub record: Option<RecordView>,
}

/// A node's space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpaceView {
    /// Bytes that the volunteer promised.
    pub capacity_bytes: u64,
    /// Bytes that its logs take.
    pub used_bytes: u64,
    /// Bytes of pieces that it would still take.
    pub writable_bytes: u64,
    /// Pieces on it, live and in the trash.
    pub pieces: u64,
}

/// A node's connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// For how many seconds it is connected.
    pub connected_s: u64,
    /// Connections that are open.
    pub connections: usize,
    /// Those of them that are idle.
    pub idle_connections: usize,
    /// How often another instance with the same identity was refused.
    pub refused_duplicates: u64,
    /// How many seconds ago that was last; null if never.
    pub last_duplicate_s: Option<u64>,
}

/// How a node has done lately, as a process that serves knows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecordView {
    /// Share of what falls to it that it is trusted with, from 0 to 1.
    pub trust: f32,
    /// Share of its recent transfers that went well, from 0 to 1; null before
    /// there was any.
    pub success: Option<f32>,
    /// Whether it is much slower than others lately, or does not answer.
    pub slow: bool,
    /// How many seconds ago it gave a wrong share last, if it did since the
    /// process started.
    pub wrong_share_s: Option<u64>,
}

impl NodeView {
    pub(super) fn of(row: NodeRow, domain: u64, status: Option<&NodeStatus>) -> Self {
        Self {
            node: row.node.to_string(),
            connected: status.is_some(),
            number: row.number,
            state: row.state.name().to_owned(),
            reason: row.reason,
            verdict: verdict_name(row.verdict).to_owned(),
            place: row.place,
            domain,
            labels: row.labels,
            said: row.said,
            joined_ms: row.joined.0,
            seen_ms: row.seen.map(|time| time.0),
            address: row.address,
            software: row.software,
            space: status.map(SpaceView::shown).or(row.space.map(SpaceView::recorded)),
            wrong_shares: row.wrong_shares,
            rollbacks: row.rollbacks,
            starts: row.start_counter,
            damaged: status.map(|status| status.usage.damaged),
            store_failed: status.is_some_and(|status| status.usage.failed),
            pieces_to_move: None,
            connection: status.map(ConnectionView::of),
            record: None,
        }
    }
}

impl SpaceView {
    fn recorded(space: NodeSpace) -> Self {
        Self {
            capacity_bytes: space.capacity_bytes,
            used_bytes: space.used_bytes,
            writable_bytes: space.writable_bytes,
            pieces: space.pieces,
        }
    }

    fn shown(status: &NodeStatus) -> Self {
        let usage = &status.usage;
        Self {
            capacity_bytes: usage.capacity_bytes,
            used_bytes: usage.used_bytes(),
            writable_bytes: usage.writable_bytes,
            pieces: usage.pieces,
        }
    }
}

impl ConnectionView {
    fn of(status: &NodeStatus) -> Self {
        Self {
            connected_s: status.since.elapsed().as_secs(),
            connections: status.connections,
            idle_connections: status.idle_connections,
            refused_duplicates: status.refused_duplicates,
            last_duplicate_s: status.last_duplicate.map(|at| at.elapsed().as_secs()),
        }
    }
}

/// What is known of all nodes at one moment.
pub(super) struct Survey {
    pub(super) rows: Vec<NodeRow>,
    pub(super) domains: Domains,
    pub(super) views: Vec<NodeView>,
    /// The time by the clock that wrote the rows.
    pub(super) clock_ms: i64,
}

impl Survey {
    pub(super) async fn take(operator: &Operator) -> Result<Self, AdminError> {
        let rows = operator.metadata().read(ListNodes).await?;
        let clock_ms = operator.metadata().read(ReadClock).await?.0;
        let domains = Domains::of(&rows);
        let connected = operator.live().map(|live| live.connected()).unwrap_or_default();
        let report = operator.live().map(|live| live.segments()).unwrap_or_default();
        let view = |row: &NodeRow| {
            let mut view = NodeView::of(row.clone(), domains.domain(row.number), connected.get(&row.node));
            if let Some(live) = operator.live() {
                view.record = Some(live.record(row.number));
                // Not counted yet is not none.
                let counted = row.state == NodeState::Draining && report.passes > 0;
                let left = report.pieces_to_move.get(&row.number).copied().unwrap_or(0);
                view.pieces_to_move = counted.then_some(left);
            }
            view
        };
        let views = rows.iter().map(view).collect();
        Ok(Self { rows, domains, views, clock_ms })
    }

    /// Where the node is that is meant.
    pub(super) fn find(&self, text: &str) -> Result<usize, AdminError> {
        find("node", text, self.views.iter().enumerate().map(|(at, view)| (view.node.clone(), at)))
    }

    /// What is shown of one node; damage is counted even if it is away.
    pub(super) async fn show(mut self, operator: &Operator, at: usize) -> Result<ShownNode, AdminError> {
        let mut view = self.views.swap_remove(at);
        if view.damaged.is_none() {
            let damage = operator.metadata().read(ListDamage).await?;
            view.damaged = Some(damage.iter().filter(|(node, _)| *node == view.number).count() as u64);
        }
        let audits = AuditsView::of(operator, view.number).await?;
        Ok(ShownNode { now_ms: operator.now_ms(), running: operator.live().is_some(), view, audits })
    }
}

impl Command for List {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/v1/nodes";
    type Reply = NodeList;

    async fn run(&self, operator: &Operator) -> Result<NodeList, AdminError> {
        let nodes = Survey::take(operator).await?.views;
        Ok(NodeList { now_ms: operator.now_ms(), running: operator.live().is_some(), nodes })
    }
}

impl Command for Show {
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/v1/nodes/show";
    type Reply = ShownNode;

    async fn run(&self, operator: &Operator) -> Result<ShownNode, AdminError> {
        let survey = Survey::take(operator).await?;
        let at = survey.find(&self.node)?;
        survey.show(operator, at).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::types::{InstanceId, NodeId};
    use crate::wire::Usage;

    #[test]
    fn what_is_used_is_what_is_stored_however_little_was_promised() {
        let usage =
            Usage { live_bytes: 300, dead_bytes: 20, overhead_bytes: 1, capacity_bytes: 200, ..Usage::default() };
        let status = NodeStatus {
            node: NodeId::from_bytes([1; 32]),
            instance: InstanceId::from_bytes([0; InstanceId::BYTES]),
            software: String::new(),
            starts: 1,
            position: 1,
            since: Instant::now(),
            usage,
            labels: BTreeMap::new(),
            peer_addr: ([127, 0, 0, 1], 1).into(),
            connections: 1,
            idle_connections: 1,
            refused_duplicates: 0,
            last_duplicate: None,
        };
        let space = SpaceView::shown(&status);
        assert_eq!((space.used_bytes, space.capacity_bytes), (321, 200));
    }
}
