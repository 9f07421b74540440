//! What the operator, or a node that wants to leave, changes about a node.

use super::dialect::Lock;
use super::nodes::{NodeRow, NodeState, find_locked};
use super::tx::{MetadataError, Operation, Tx, params};
use crate::audit::Verdict;
use crate::types::NodeId;

/// What shall become of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeChange {
    /// It gives pieces and is given none.
    Suspend,
    /// It takes pieces again.
    Resume,
    /// Its pieces are moved elsewhere; then it has left.
    Drain,
    /// It is given up: its pieces count as lost, and it may not come back
    /// without a new token.
    Forget,
    /// It is drained.
    Leave,
}

impl NodeChange {
    /// The states from which this is possible, and the one that it leads to.
    fn way(self) -> (&'static [NodeState], NodeState) {
        use NodeState::{Active, Draining, Gone, Left, Suspended};
        match self {
            Self::Suspend => (&[Active, Suspended], Suspended),
            Self::Resume => (&[Active, Suspended, Draining], Active),
            Self::Drain => (&[Active, Suspended, Draining], Draining),
            Self::Forget => (&[Active, Suspended, Draining, Gone, Left], Gone),
            Self::Leave => (&[Draining], Left),
        }
    }
}

/// Why a node was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    /// No node has this key.
    #[error("there is no node {0}")]
    Unknown(NodeId),
    /// Not from the state that it is in.
    #[error("{}", impossible(*node, *state))]
    State {
        /// The node.
        node: NodeId,
        /// Its state.
        state: NodeState,
    },
}

fn impossible(node: NodeId, state: NodeState) -> String {
    let instead = match state {
        NodeState::Left => "has left the cluster: it takes part again when its volunteer joins with a new token",
        NodeState::Gone => "was given up: it takes part again when its volunteer joins with a new token",
        NodeState::Draining => "is being drained: resume it first",
        NodeState::Active | NodeState::Suspended => "is not being drained: drain it first",
    };
    format!("node {node} {instead}")
}

/// Changes how a node stands. What it is already, it stays, for the new reason
/// if there is one.
pub struct ChangeNode {
    /// Which.
    pub node: NodeId,
    /// What shall become of it.
    pub change: NodeChange,
    /// Why, for people.
    pub reason: Option<String>,
}

impl ChangeNode {
    /// The operator's word stands above what audits have concluded: a node
    /// that is resumed begins anew, and one that the operator suspends is not
    /// resumed by a good record.
    async fn overrule(&self, tx: &mut Tx<'_>, row: &NodeRow) -> Result<(), MetadataError> {
        let resumed = self.change == NodeChange::Resume;
        if resumed || (self.change == NodeChange::Suspend && row.verdict == Verdict::Suspended) {
            tx.execute("UPDATE nodes SET verdict = 0 WHERE node_no = ?1", params![row.number]).await?;
        }
        if resumed && row.verdict != Verdict::Good {
            super::audits::forget(tx, row.number).await?;
        }
        Ok(())
    }
}

impl Operation for ChangeNode {
    type Output = Result<NodeRow, ChangeRefusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let Some(row) = find_locked(tx, Lock::Change, self.node).await? else {
            return Ok(Err(ChangeRefusal::Unknown(self.node)));
        };
        let (from, to) = self.change.way();
        if !from.contains(&row.state) {
            return Ok(Err(ChangeRefusal::State { node: self.node, state: row.state }));
        }
        self.overrule(tx, &row).await?;
        if row.state == to {
            let Some(reason) = &self.reason else { return Ok(Ok(row)) };
            let sql = "UPDATE nodes SET reason = ?2 WHERE node_id = ?1";
            tx.execute(sql, params![self.node.as_bytes(), reason.as_str()]).await?;
            return Ok(find_locked(tx, Lock::None, self.node).await?.ok_or(ChangeRefusal::Unknown(self.node)));
        }
        // Uploads that began before may still place pieces on it. None begins in a new epoch meanwhile.
        let epoch = tx.counter("epoch", Lock::Change).await?;
        let sql = "UPDATE nodes SET state = ?2, reason = ?3, drain_epoch = ?4 WHERE node_id = ?1";
        tx.execute(sql, params![self.node.as_bytes(), to as i64, self.reason.as_deref(), epoch]).await?;
        if !to.is_member() {
            // What is condemned stays so: the node may join again, with its old pieces.
            tx.execute("DELETE FROM damaged WHERE node_no = ?1", params![row.number]).await?;
        }
        Ok(find_locked(tx, Lock::None, self.node).await?.ok_or(ChangeRefusal::Unknown(self.node)))
    }
}
