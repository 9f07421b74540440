//! The nodes as transfers see them: numbers and ids, who is there, how each
//! has done lately, and which of them take a segment's pieces.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::pace::{Kind, Pace};
use super::record::Ticket;
use super::roster::{Field, Roster};
use crate::metadata::{ListNodes, Metadata, MetadataError, NodeRow, PiecePlace};
use crate::placement::{Wish, choose};
use crate::transport::Nodes;
use crate::types::{NodeId, PieceId, SegmentId};

/// How old the list of nodes that take pieces may be, at most; and where they
/// do not suffice, so that one which has just come is not missed.
const FIELD_AGE: Duration = Duration::from_secs(1);
const FIELD_AGE_IN_NEED: Duration = Duration::from_millis(20);
/// One request in so many may be doubled because it is late, so that a cluster
/// that is slow as a whole is not made slower.
const HEDGE_COST: i64 = 8;
const HEDGES_SAVED_MAX: i64 = 100;
/// Bad pieces of one node that are noted until somebody takes them.
const BAD_PIECES_MAX: usize = 1000;

/// The cluster's nodes. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    nodes: Nodes,
    shared: Arc<Shared>,
}

struct Shared {
    roster: RwLock<Arc<Roster>>,
    field: Mutex<Arc<Field>>,
    pace: Arc<Pace>,
    hedges: AtomicI64,
    begun: Instant,
    /// Pieces that reads have found lost or changed, by node.
    bad_pieces: Mutex<BTreeMap<u32, Vec<BadPiece>>>,
}

/// A piece that a read has found lost or changed.
#[derive(Debug, Clone)]
pub struct BadPiece {
    /// Its name at the node.
    pub piece: PieceId,
    /// The segment.
    pub segment: SegmentId,
    /// Which piece, and its node.
    pub place: PiecePlace,
    /// Shares that were not what had been stored; none where the node itself
    /// says that it has not got the piece.
    pub wrong: Vec<u16>,
}

/// What the nodes that are asked for have to be, and how many.
pub(super) struct Ask {
    pub(super) count: usize,
    pub(super) piece_bytes: u64,
    /// Nodes that are out of the question.
    pub(super) nodes: HashSet<u32>,
    /// Domains that are taken.
    pub(super) domains: HashSet<u64>,
    /// Whether there shall be fewer rather than two in one domain.
    pub(super) strict: bool,
}

impl Fleet {
    /// Knows the nodes that the database has now.
    pub async fn load(nodes: Nodes, metadata: &Metadata) -> Result<Self, MetadataError> {
        let shared = Shared {
            roster: RwLock::default(),
            field: Mutex::default(),
            pace: Arc::default(),
            hedges: AtomicI64::new(HEDGES_SAVED_MAX * HEDGE_COST),
            begun: Instant::now(),
            bad_pieces: Mutex::default(),
        };
        let fleet = Self { nodes, shared: Arc::new(shared) };
        fleet.refresh(metadata).await?;
        Ok(fleet)
    }

    /// Takes the database's word on which nodes there are and how they stand,
    /// and gives it on.
    pub async fn refresh(&self, metadata: &Metadata) -> Result<Vec<NodeRow>, MetadataError> {
        let rows = metadata.read(ListNodes).await?;
        let before = self.roster();
        if !before.has_rows(&rows) {
            let roster = Arc::new(Roster::new(rows.clone(), &before));
            *self.shared.roster.write().unwrap_or_else(PoisonError::into_inner) = roster;
            self.field_within(Duration::ZERO);
        }
        Ok(rows)
    }

    /// How long this process has known nodes.
    pub(super) fn age(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    pub(super) fn roster(&self) -> Arc<Roster> {
        self.shared.roster.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections to the nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// All nodes that have pieces: none that are gone or have left.
    pub fn registered(&self) -> Vec<NodeRow> {
        let roster = self.roster();
        let mut rows: Vec<_> = roster.members().map(|known| known.row.clone()).collect();
        rows.sort_by_key(|row| row.number);
        rows
    }

    /// What the database has of the node of that number.
    pub fn row(&self, number: u32) -> Option<NodeRow> {
        self.roster().get(number).map(|known| known.row.clone())
    }

    /// The id of the node of that number.
    pub fn node_id(&self, number: u32) -> Option<NodeId> {
        self.roster().get(number).map(|known| known.row.node)
    }

    /// Whether the node of that number is connected to this process's door.
    pub fn is_connected(&self, number: u32) -> bool {
        self.node_id(number).is_some_and(|node| self.nodes.is_connected(node))
    }

    /// The numbers of all nodes that have pieces and are connected.
    pub fn connected(&self) -> BTreeSet<u32> {
        let roster = self.roster();
        let connected = roster.members().filter(|known| self.nodes.is_connected(known.row.node));
        connected.map(|known| known.row.number).collect()
    }

    /// Whether pieces can be read from the node of that number: it is
    /// connected, and neither gone nor has it left.
    pub fn is_readable(&self, number: u32) -> bool {
        let roster = self.roster();
        let known = roster.get(number).filter(|known| known.row.state.is_member());
        known.is_some_and(|known| self.nodes.is_connected(known.row.node))
    }

    /// What the node of that number fails together with.
    pub fn domain_of(&self, number: u32) -> u64 {
        self.roster().domain_of(number)
    }

    /// The failure domain of every node that has pieces, by its number.
    pub fn domains(&self) -> BTreeMap<u32, u64> {
        self.roster().members().map(|known| (known.row.number, known.domain)).collect()
    }

    /// Share of what falls to the node of that number that it is trusted with,
    /// from 0 to 1: it grows with the time since it joined, and wrong shares
    /// lower it. One that nothing is known of yet has just joined.
    pub fn trust(&self, number: u32) -> f32 {
        let roster = self.roster();
        roster.get(number).map_or_else(|| roster.newcomers_trust(), |known| known.trust)
    }

    /// Share of its recent pieces that the node of that number took and gave,
    /// from 0 to 1; none before it was given or asked for any.
    pub fn success(&self, number: u32) -> Option<f32> {
        let roster = self.roster();
        roster.get(number).filter(|known| known.record.is_tried()).map(|known| known.record.success())
    }

    /// How long ago the node of that number gave a share that was wrong, as far
    /// as this process has seen one.
    pub fn wrong_share_age(&self, number: u32) -> Option<Duration> {
        self.roster().get(number)?.record.wrong_share_age()
    }

    /// Whether the node of that number is much slower than others lately, or
    /// does not answer now.
    pub fn is_slow(&self, number: u32) -> bool {
        self.is_slow_at(number, Kind::Put) || self.is_slow_at(number, Kind::Get)
    }

    pub(super) fn is_slow_at(&self, number: u32, kind: Kind) -> bool {
        self.roster().get(number).is_some_and(|known| known.record.is_slow(kind))
    }

    /// Wrong shares by node since this was called last; none of zero.
    pub fn take_wrong_shares(&self) -> Vec<(u32, u64)> {
        let roster = self.roster();
        let counts = roster.all().map(|known| (known.row.number, known.record.take_wrong_shares()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Pieces that reads have found lost or changed, by node, since this was
    /// called last.
    pub fn take_bad_pieces(&self) -> BTreeMap<u32, Vec<BadPiece>> {
        std::mem::take(&mut self.shared.bad_pieces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a piece that its node has not any more, or has changed.
    pub(super) fn note_bad_piece(&self, bad: BadPiece) {
        let mut all = self.shared.bad_pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = all.entry(bad.place.node).or_default();
        if let Some(known) = of_node.iter_mut().find(|known| known.piece == bad.piece) {
            let wrong: BTreeSet<u16> = known.wrong.iter().chain(&bad.wrong).copied().collect();
            known.wrong = wrong.into_iter().collect();
        } else if of_node.len() < BAD_PIECES_MAX {
            of_node.push(bad);
        }
    }

    /// Counts shares that were not what their node had been given.
    pub(super) fn count_wrong_shares(&self, number: u32, count: u64) {
        if let Some(known) = self.roster().get(number) {
            known.record.count_wrong_shares(count);
        }
    }

    /// A request to a node begins: whoever makes it says how it ended.
    pub(super) fn begin(&self, number: u32, kind: Kind, bytes: usize) -> Option<Ticket> {
        if kind == Kind::Get {
            let _ = self
                .shared
                .hedges
                .fetch_update(Relaxed, Relaxed, |saved| (saved < HEDGES_SAVED_MAX * HEDGE_COST).then_some(saved + 1));
        }
        Some(self.roster().get(number)?.record.begin(&self.shared.pace, kind, bytes))
    }

    /// After how long a request is late, by what the cluster took lately.
    pub(super) fn late_after(&self, kind: Kind, bytes: usize) -> Duration {
        self.shared.pace.late_after(kind, bytes)
    }

    /// Whether a late request may be doubled.
    pub(super) fn may_hedge(&self) -> bool {
        let spend = |saved: i64| (saved >= HEDGE_COST).then_some(saved - HEDGE_COST);
        self.shared.hedges.fetch_update(Relaxed, Relaxed, spend).is_ok()
    }

    /// The nodes that are connected, as of a moment ago.
    pub(super) fn field(&self, enough: impl Fn(&Field) -> bool) -> Arc<Field> {
        let field = self.field_within(FIELD_AGE);
        if enough(&field) { field } else { self.field_within(FIELD_AGE_IN_NEED) }
    }

    fn field_within(&self, age: Duration) -> Arc<Field> {
        // Whoever comes meanwhile waits for the same list.
        let mut field = self.shared.field.lock().unwrap_or_else(PoisonError::into_inner);
        if field.made.is_none_or(|made| made.elapsed() >= age) {
            *field = Arc::new(Field::new(&self.roster(), &self.nodes.connected(), Instant::now()));
        }
        field.clone()
    }

    /// Chooses nodes for pieces, the best first; nodes that are slow or full
    /// last.
    pub(super) fn choose(&self, ask: Ask, seed: u64) -> Vec<u32> {
        let field = self.field(|field| field.candidates.len() >= ask.count);
        let roster = self.roster();
        let avoid =
            |node| roster.get(node).is_some_and(|known| known.record.is_slow(Kind::Put) || known.record.is_full());
        let Ask { count, piece_bytes, nodes, domains, strict } = ask;
        choose(&field.candidates, Wish { count, piece_bytes, nodes, domains, strict, avoid: &avoid }, seed)
    }
}
