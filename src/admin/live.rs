//! What only a process that serves knows: who is connected, whether PUTs are
//! possible, and how the segments are.

use std::collections::{BTreeMap, HashMap};

use super::nodes::{NodeView, RecordView};
use super::stage::Stage;
use super::status::PutsView;
use crate::erasure::Scheme;
use crate::metadata::{Metadata, MetadataError, NodeRow, NodeState};
use crate::placement::{DomainFacts, failure_domains};
use crate::transfer::{FULL_PIECE_BYTES, Transfer};
use crate::transport::NodeStatus;
use crate::types::NodeId;
use crate::workers::{HealthReport, HealthWatch};

/// A process that serves.
pub struct Live {
    /// Its way to the nodes.
    pub transfer: Transfer,
    /// What its health loop finds.
    pub health: HealthWatch,
    /// Where it serves S3, as a URL.
    pub s3: Option<String>,
    /// How it does.
    pub stage: Stage,
}

impl Live {
    /// Every node that is connected now.
    pub(super) fn connected(&self) -> HashMap<NodeId, NodeStatus> {
        let nodes = self.transfer.fleet().nodes().connected();
        nodes.into_iter().map(|status| (status.node, status)).collect()
    }

    /// Takes the database's word on the nodes at once, so that a change holds
    /// for the next transfer, and sends away who is no member any more.
    pub(super) async fn heed(&self, metadata: &Metadata, changed: &NodeRow) -> Result<(), MetadataError> {
        let fleet = self.transfer.fleet();
        fleet.refresh(metadata).await?;
        if !changed.state.is_member() {
            fleet.nodes().disconnect(changed.node);
        }
        // What depends on the node is looked at again without waiting.
        self.health.wake();
        Ok(())
    }

    /// Whether the node's volunteer wants it to leave.
    pub(super) fn wants_to_leave(&self, node: NodeId) -> bool {
        self.transfer.fleet().nodes().status(node).is_some_and(|status| status.usage.leaving)
    }

    /// The redundancy scheme of new segments.
    pub(super) fn scheme(&self) -> Scheme {
        self.transfer.scheme()
    }

    /// Whether PUTs are possible now. `has_room` says whether the database's
    /// disk has room for what they add to it.
    pub(super) fn puts(&self, has_room: bool) -> PutsView {
        PutsView::of(self.transfer.readiness(), has_room)
    }

    /// How a node has done lately.
    pub(super) fn record(&self, node: u32) -> RecordView {
        let fleet = self.transfer.fleet();
        RecordView {
            trust: fleet.trust(node),
            success: fleet.success(node),
            slow: fleet.is_slow(node),
            wrong_share_s: fleet.wrong_share_age(node).map(|age| age.as_secs()),
        }
    }

    /// How the segments are.
    pub(super) fn segments(&self) -> HealthReport {
        self.health.latest()
    }
}

/// Which nodes would fail together: those of one number.
pub(super) struct Domains(BTreeMap<u32, u64>);

impl Domains {
    /// Those of all members; who has gone fails together with nobody.
    pub(super) fn of(rows: &[NodeRow]) -> Self {
        let members = rows.iter().filter(|row| row.state.is_member());
        let facts = members.map(|row| DomainFacts {
            node: row.number,
            label: row.labels.get("domain").map(String::as_str),
            owner: row.labels.get("owner").map(String::as_str),
            address: row.address,
        });
        Self(failure_domains(&facts.collect::<Vec<_>>()).into_iter().collect())
    }

    /// The domain of a node.
    pub(super) fn domain(&self, node: u32) -> u64 {
        self.0.get(&node).copied().unwrap_or(node.into())
    }

    /// How many different ones these nodes are in.
    pub(super) fn count<'a>(&self, rows: impl Iterator<Item = &'a NodeRow>) -> usize {
        let domains: std::collections::BTreeSet<u64> = rows.map(|row| self.domain(row.number)).collect();
        domains.len()
    }

    /// In how many of them these nodes take full pieces. While a process serves,
    /// who is not connected takes none.
    pub(super) fn writable<'a>(
        &self,
        nodes: impl Iterator<Item = (&'a NodeRow, &'a NodeView)>,
        running: bool,
    ) -> usize {
        let has_room = |view: &NodeView| view.space.is_none_or(|space| space.writable_bytes >= FULL_PIECE_BYTES as u64);
        let takes = |(row, view): &(&NodeRow, &NodeView)| {
            row.state == NodeState::Active && (view.connected || !running) && has_room(view)
        };
        self.count(nodes.filter(takes).map(|(row, _)| row))
    }
}
