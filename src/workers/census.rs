//! What is known of all nodes at one moment, to judge segments by.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::judge::{Facts, Verdict, scheme_of};
use super::report::{Beyond, HealthWatch, Losses};
use crate::audit::{Life, Record, Verdict as AuditVerdict, loss_per_day};
use crate::erasure::Scheme;
use crate::metadata::{
    ListAudits, ListNodes, ListRolledBack, Metadata, MetadataError, NodeRow, NodeState, PiecePlace, SegmentRow,
};
use crate::segment::{Layout, LayoutError};
use crate::transfer::Transfer;

/// The nodes and what is lost, at one moment.
pub(super) struct Census {
    nodes: HashMap<u32, Facts>,
    /// The domains of all nodes that take pieces.
    pub(super) domains: BTreeSet<u64>,
    losses: Losses,
    scheme: Scheme,
    /// Each node's chance to be lost within a day.
    hazards: HashMap<u32, f64>,
    /// Segments of which good shares were looked for in vain, and the nodes
    /// that have answered. Any other may still have some.
    beyond: Beyond,
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
        let records = metadata.read(ListAudits).await?;
        let records: HashMap<u32, Record> = records.into_iter().map(|audit| (audit.node, audit.record)).collect();
        let (fleet, losses, scheme) = (transfer.fleet(), watch.losses(), transfer.scheme());
        let (presence, failing) = (watch.presence(), watch.failing());
        let facts = |row: &NodeRow| {
            let (present, domain) = (presence.is_present(row.number), fleet.domain_of(row.number));
            let (here, failing) = (fleet.is_connected(row.number), failing.contains(&row.number));
            let (connected, sure) = (here || elsewhere.contains(&row.number), here && !unsure.contains(&row.number));
            // What a disqualified node holds is as little to be relied on as what only a process has.
            let failing = failing || row.verdict == AuditVerdict::Disqualified;
            (row.number, Facts { state: row.state, present, connected, domain, failing, sure })
        };
        let nodes: HashMap<u32, Facts> = rows.iter().map(facts).collect();
        let takes = |facts: &&Facts| facts.state == NodeState::Active && facts.present && !facts.failing;
        let taking = nodes.values().filter(takes);
        let domains = taking.map(|facts| facts.domain).collect();
        let hazards = hazards(&rows, &nodes, &records);
        let draining = rows.into_iter().filter(|row| row.state == NodeState::Draining).collect();
        Ok(Self { nodes, domains, losses, scheme, hazards, beyond: watch.beyond(), draining })
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
        let verdict = Verdict::new(scheme, &row.pieces, condition, &self.domains);
        let asked = self.beyond.get(&row.segment);
        let in_vain = asked.is_some_and(|asked| self.connected_of(row).is_subset(asked));
        Ok(if in_vain { verdict.beyond_salvage() } else { verdict })
    }

    /// The connected nodes that have pieces of a segment.
    pub(super) fn connected_of(&self, row: &SegmentRow) -> BTreeSet<u32> {
        let is_connected = |node: &u32| self.nodes.get(node).is_some_and(|facts| facts.connected);
        row.pieces.iter().map(|place| place.node).filter(is_connected).collect()
    }

    /// A node's chance to be lost within a day.
    pub(super) fn hazard(&self, node: u32) -> f64 {
        self.hazards.get(&node).copied().unwrap_or(1.0)
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

const DAY_MS: f64 = 24.0 * 3600.0 * 1000.0;

/// Each node's chance to be lost within a day, by its age, its record and
/// whether it is there. The newest time in the rows is the present, as it is
/// the database's clock that wrote them all.
fn hazards(rows: &[NodeRow], facts: &HashMap<u32, Facts>, records: &HashMap<u32, Record>) -> HashMap<u32, f64> {
    let now_ms = rows.iter().map(|row| row.seen.unwrap_or(row.joined).max(row.joined).0).max().unwrap_or(0);
    let hazard = |row: &NodeRow| {
        let life = Life {
            age_days: now_ms.saturating_sub(row.joined.0) as f64 / DAY_MS,
            connected: facts.get(&row.number).is_some_and(|facts| facts.connected),
            record: records.get(&row.number).copied().unwrap_or_default(),
        };
        (row.number, loss_per_day(life))
    };
    rows.iter().map(hazard).collect()
}
