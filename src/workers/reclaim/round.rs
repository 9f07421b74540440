//! One comparison of some nodes with all lists: what the lists name on each,
//! as a filter; what is condemned there already; and what follows from the
//! pieces that a node then says are not as they should be.
//!
//! The order is what keeps everything safe (docs/decisions/0021): the oldest
//! epoch in which anybody writes is taken first, then all segments are walked,
//! then the nodes are asked. No piece of an older epoch can come into a list
//! after that, so one that no list has named is dead.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::metadata::{
    CheckStrays, CondemnStrays, CondemnedOf, CondemnedPiece, Holder, MarkReclaimed, Metadata, MetadataError,
    OldestEpoch, Reprieve, SegmentRow, StraysOf,
};
use crate::seal::PieceIdKey;
use crate::types::{Epoch, NodeId, PieceId};
use crate::wire::{InventoryEntry, Known, PieceFilter};

/// Rows that are read or written at once.
const ROWS: u32 = 1000;
/// Strays of one node that are condemned at once, at most: one that makes
/// pieces up shall not fill the database.
const STRAYS_MAX: usize = 100_000;
/// Condemned pieces of a node that lists are held against, at most. The others
/// stand in its filter all the same.
const DEAD_MAX: usize = 200_000;
/// Pieces that a node may get beyond those that it has said to hold.
const SLACK: u64 = 1000;

/// A node that is to be compared.
#[derive(Debug, Clone, Copy)]
pub(in crate::workers) struct Subject {
    pub(in crate::workers) number: u32,
    pub(in crate::workers) node: NodeId,
    /// Pieces on it, about.
    pub(in crate::workers) pieces: u64,
}

/// A comparison that goes on.
pub(in crate::workers) struct Round {
    before: Epoch,
    ids: Arc<PieceIdKey>,
    nodes: BTreeMap<u32, Compared>,
}

/// What is known of one node's pieces. Its key stands here, since a list must
/// be understood even if the node is not registered any more meanwhile.
struct Compared {
    node: NodeId,
    known: Known,
    dead: HashMap<PieceId, Dead>,
    strays: AtomicUsize,
    /// Pieces that are condemned and that a list names.
    mistaken: Vec<PieceId>,
}

/// Why a piece counts as dead.
#[derive(Clone, Copy)]
enum Dead {
    Stray { checked: bool },
    Condemned(CondemnedPiece),
}

/// What came of a node's answer.
#[derive(Debug, Default)]
pub(in crate::workers) struct Found {
    /// Pieces that were condemned.
    pub(in crate::workers) condemned: u64,
    /// Their bytes, as the node says.
    pub(in crate::workers) bytes: u64,
    /// Pieces that a list names and that are in the trash: the node is to take
    /// them out.
    pub(in crate::workers) restore: Vec<PieceId>,
}

impl Round {
    /// Begins one: from here on nothing older than its epoch comes into a list.
    pub(in crate::workers) async fn begin(
        metadata: &Metadata,
        ids: Arc<PieceIdKey>,
        own: Holder,
        subjects: &[Subject],
        salt: u64,
    ) -> Result<Self, MetadataError> {
        let before = metadata.write(OldestEpoch { own }).await?;
        let mut round = Self { before, ids, nodes: BTreeMap::new() };
        for subject in subjects {
            let compared = round.know(metadata, subject, salt).await?;
            round.nodes.insert(subject.number, compared);
        }
        Ok(round)
    }

    /// Reads what is condemned on a node.
    async fn know(&self, metadata: &Metadata, subject: &Subject, salt: u64) -> Result<Compared, MetadataError> {
        let Subject { number: node, node: key, pieces } = *subject;
        let (mut gone, mut dead, mut strays) = (Vec::new(), HashMap::new(), 0);
        let mut after = None;
        loop {
            let page = metadata.read(StraysOf { node, after, limit: ROWS }).await?;
            strays += page.len();
            after = page.last().map(|(id, _)| *id);
            gone.extend(page.iter().map(|(id, _)| *id));
            dead.extend(page.iter().map(|(id, checked)| (*id, Dead::Stray { checked: *checked })));
            if page.len() < ROWS as usize {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = metadata.read(CondemnedOf { node, after, limit: ROWS }).await?;
            after = page.last().copied();
            for piece in &page {
                let id = self.ids.piece_id(piece.segment, piece.place.piece, key, piece.place.incarnation);
                gone.push(id);
                if dead.len() < DEAD_MAX {
                    dead.entry(id).or_insert(Dead::Condemned(*piece));
                }
            }
            if page.len() < ROWS as usize {
                break;
            }
        }
        let mut filter = PieceFilter::new(gone.len() as u64, !salt);
        gone.iter().for_each(|id| filter.insert(id));
        let named = PieceFilter::new(pieces.saturating_add(pieces / 8 + SLACK), salt);
        Ok(Compared { node: key, known: Known { named, dead: filter }, dead, strays: strays.into(), mistaken: Vec::new() })
    }

    /// Nothing of this epoch or a later one is condemned.
    pub(in crate::workers) fn before(&self) -> Epoch {
        self.before
    }

    /// Takes some segments' lists in.
    pub(in crate::workers) fn see(&mut self, rows: &[SegmentRow]) {
        for row in rows {
            for place in &row.pieces {
                let Some(compared) = self.nodes.get_mut(&place.node) else { continue };
                let id = self.ids.piece_id(row.segment, place.piece, compared.node, place.incarnation);
                compared.known.named.insert(&id);
                if compared.dead.contains_key(&id) {
                    compared.mistaken.push(id);
                }
            }
        }
    }

    /// The nodes, by number and key.
    pub(in crate::workers) fn nodes(&self) -> Vec<(u32, NodeId)> {
        self.nodes.iter().map(|(number, compared)| (*number, compared.node)).collect()
    }

    /// What a node is to compare its pieces with, once all segments were seen.
    pub(in crate::workers) fn known(&self, node: u32) -> Option<&Known> {
        self.nodes.get(&node).map(|compared| &compared.known)
    }

    /// All segments were seen: what was condemned of a node by mistake is taken
    /// back, and the other strays may be purged when their time has come.
    pub(in crate::workers) async fn check(&self, metadata: &Metadata, node: u32) -> Result<Found, MetadataError> {
        let Some(compared) = self.nodes.get(&node) else { return Ok(Found::default()) };
        let (mut strays, mut condemned) = (Vec::new(), Vec::new());
        for id in &compared.mistaken {
            match compared.dead.get(id) {
                Some(Dead::Stray { .. }) => strays.push(*id),
                Some(Dead::Condemned(piece)) => condemned.push(*piece),
                None => {}
            }
        }
        if !compared.mistaken.is_empty() {
            let pieces = compared.mistaken.len();
            tracing::error!(node, pieces, "pieces were condemned although segments refer to them; they are restored");
            metadata.write(Reprieve { node, strays, condemned }).await?;
        }
        let fresh = |(id, dead): (&PieceId, &Dead)| {
            (matches!(dead, Dead::Stray { checked: false }) && !compared.mistaken.contains(id)).then_some(*id)
        };
        let fresh: Vec<PieceId> = compared.dead.iter().filter_map(fresh).collect();
        for pieces in fresh.chunks(ROWS as usize) {
            metadata.write(CheckStrays { node, pieces: pieces.to_vec() }).await?;
        }
        Ok(Found { restore: compared.mistaken.clone(), ..Found::default() })
    }

    /// Judges a page of a node's answer. What does not contradict what is known,
    /// it had no reason to say.
    pub(in crate::workers) async fn hear(
        &self,
        metadata: &Metadata,
        node: u32,
        answer: &[InventoryEntry],
    ) -> Result<Found, MetadataError> {
        let mut found = Found::default();
        let before = self.before;
        let Some(compared) = self.nodes.get(&node) else { return Ok(found) };
        let is_so = |entry: &&InventoryEntry| compared.known.contradicts(entry, before);
        let (restore, strays): (Vec<&InventoryEntry>, Vec<&InventoryEntry>) =
            answer.iter().filter(is_so).partition(|entry| compared.known.named.contains(&entry.id));
        found.restore = restore.into_iter().map(|entry| entry.id).collect();
        let room = STRAYS_MAX.saturating_sub(compared.strays.load(Relaxed));
        if strays.len() > room {
            tracing::warn!(
                node,
                strays = strays.len(),
                "a node has more pieces that nobody gave it than are taken note of"
            );
        }
        for strays in strays[..room.min(strays.len())].chunks(ROWS as usize) {
            compared.strays.fetch_add(strays.len(), Relaxed);
            let pieces = strays.iter().map(|entry| entry.id).collect();
            found.condemned += metadata.write(CondemnStrays { node, pieces }).await?;
            found.bytes = strays.iter().fold(found.bytes, |sum, entry| sum.saturating_add(entry.length));
        }
        Ok(found)
    }

    /// A node was compared to the end.
    pub(in crate::workers) async fn done(&self, metadata: &Metadata, node: u32) -> Result<(), MetadataError> {
        metadata.write(MarkReclaimed { node }).await
    }
}
