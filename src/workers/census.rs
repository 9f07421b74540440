//! What is known of all nodes at one moment, to judge segments by.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::judge::{Facts, Verdict, scheme_of};
use super::report::{HealthWatch, Losses};
use crate::erasure::Scheme;
use crate::metadata::{ListNodes, ListRolledBack, Metadata, MetadataError, NodeRow, NodeState, PiecePlace, SegmentRow};
use crate::segment::{Layout, LayoutError};
use crate::transfer::Transfer;

/// The nodes and what is lost, at one moment.
pub(super) struct Census {
    nodes: HashMap<u32, Facts>,
    /// The domains of all nodes that take pieces.
    pub(super) domains: BTreeSet<u64>,
    losses: Losses,
    scheme: Scheme,
    /// The nodes that are to be emptied.
    pub(super) draining: Vec<NodeRow>,
}

impl Census {
    /// Asks the database, so that no node is unknown that a list can name.
    pub(super) async fn take(
        metadata: &Metadata,
        transfer: &Transfer,
        watch: &HealthWatch,
    ) -> Result<Self, MetadataError> {
        let rows = metadata.read(ListNodes).await?;
        let mut unsure: HashSet<u32> = watch.suspects().keys().copied().collect();
        let elsewhere = watch.elsewhere().clone();
        unsure.extend(metadata.read(ListRolledBack).await?.into_iter().map(|(node, _)| node));
        let (fleet, losses, scheme) = (transfer.fleet(), watch.losses(), transfer.scheme());
        let (presence, failing) = (watch.presence(), watch.failing());
        let facts = |row: &NodeRow| {
            let (present, domain) = (presence.is_present(row.number), fleet.domain_of(row.number));
            let (here, failing) = (fleet.is_connected(row.number), failing.contains(&row.number));
            let (connected, sure) = (here || elsewhere.contains(&row.number), here && !unsure.contains(&row.number));
            (row.number, Facts { state: row.state, present, connected, domain, failing, sure })
        };
        let nodes: HashMap<u32, Facts> = rows.iter().map(facts).collect();
        let takes = |facts: &&Facts| facts.state == NodeState::Active && facts.present && !facts.failing;
        let taking = nodes.values().filter(takes);
        let domains = taking.map(|facts| facts.domain).collect();
        let draining = rows.into_iter().filter(|row| row.state == NodeState::Draining).collect();
        Ok(Self { nodes, domains, losses, scheme, draining })
    }

    /// Whether all nodes of these segments were there already.
    pub(super) fn knows(&self, rows: &[SegmentRow]) -> bool {
        rows.iter().flat_map(|row| &row.pieces).all(|place| self.nodes.contains_key(&place.node))
    }

    /// Judges a segment. `lost` are pieces that are lost besides those that
    /// this process knows of.
    pub(super) fn judge(
        &self,
        transfer: &Transfer,
        row: &SegmentRow,
        lost: &[PiecePlace],
    ) -> Result<Verdict, LayoutError> {
        let scheme = scheme_of(Layout::from_bytes(&row.layout)?.coding(), self.scheme);
        let condition = |place: &PiecePlace| {
            let changed = lost.contains(place) || self.is_lost(transfer, row, place);
            (self.nodes.get(&place.node).copied(), changed)
        };
        Ok(Verdict::new(scheme, &row.pieces, condition, &self.domains))
    }

    fn is_lost(&self, transfer: &Transfer, row: &SegmentRow, place: &PiecePlace) -> bool {
        let known = || transfer.piece_id(row.segment, place).is_some_and(|id| self.losses.contain(place.node, &id));
        self.losses.concern(place.node) && known()
    }

    /// The segment's pieces that are known to be lost or changed.
    pub(super) fn lost(&self, transfer: &Transfer, row: &SegmentRow) -> Vec<PiecePlace> {
        row.pieces.iter().filter(|place| self.is_lost(transfer, row, place)).copied().collect()
    }

    /// The numbers of all members that are connected to any process.
    pub(super) fn connected(&self) -> BTreeSet<u32> {
        let connected = self.nodes.iter().filter(|(_, facts)| facts.state.is_member() && facts.connected);
        connected.map(|(node, _)| *node).collect()
    }

    /// How many members were not seen for so long that their pieces count as
    /// missing.
    pub(super) fn away(&self) -> u64 {
        self.nodes.values().filter(|facts| facts.state.is_member() && !facts.present).count() as u64
    }

    /// The nodes of a domain, by number.
    pub(super) fn nodes_in(&self, domain: u64) -> Vec<u32> {
        let members = self.nodes.iter().filter(|(_, facts)| facts.state.is_member() && facts.domain == domain);
        let mut nodes: Vec<u32> = members.map(|(node, _)| *node).collect();
        nodes.sort_unstable();
        nodes
    }
}
