//! One comparison of some nodes with all lists: what the lists name on each,
//! as a filter; what is condemned there already; and what follows from the
//! pieces that a node then says are not as they should be.
//!
//! The order is what keeps everything safe (docs/decisions/0021): the oldest
//! epoch in which anybody writes is taken first, then all segments are walked,
//! then the nodes are asked. No piece of an older epoch can come into a list
//! after that, so one that no list has named is dead.

use std::collections::BTreeMap;
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
/// Pieces that were condemned before and that lists are held against, on all
/// nodes of a round: 8 bytes each. The others stand in their node's filter all
/// the same.
const DEAD_MAX: usize = 4_000_000;
/// Strays that a round checks, on all of its nodes: 16 bytes each. The others
/// wait for the next one.
const UNCHECKED_MAX: usize = 1_000_000;
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
    /// The beginnings of the ids of what is condemned, ascending: as good as
    /// the ids, which nobody can choose.
    dead: Vec<u64>,
    /// Strays that no walk has looked for yet.
    unchecked: Vec<PieceId>,
    strays: AtomicUsize,
    /// Pieces that are condemned and that a list names.
    mistaken: BTreeMap<PieceId, CondemnedPiece>,
}

impl Compared {
    fn is_dead(&self, id: &PieceId) -> bool {
        self.known.dead.contains(id) && self.dead.binary_search(&beginning(id)).is_ok()
    }
}

fn beginning(id: &PieceId) -> u64 {
    u64::from_be_bytes(*id.as_bytes().first_chunk().expect("an id has 16 bytes"))
}

/// How much of what was condemned before there is memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    dead: usize,
    unchecked: usize,
}

impl Room {
    /// One node's share while so many are left.
    fn share(self, nodes: usize) -> Self {
        Self { dead: self.dead / nodes, unchecked: self.unchecked / nodes }
    }

    fn take(&mut self, compared: &Compared) {
        self.dead -= compared.dead.len();
        self.unchecked -= compared.unchecked.len();
    }
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
        let mut room = Room { dead: DEAD_MAX, unchecked: UNCHECKED_MAX };
        for (at, subject) in subjects.iter().enumerate() {
            let share = room.share(subjects.len() - at);
            let compared = round.know(metadata, subject, salt, share).await?;
            room.take(&compared);
            round.nodes.insert(subject.number, compared);
        }
        Ok(round)
    }

    /// Reads what is condemned on a node.
    async fn know(
        &self,
        metadata: &Metadata,
        subject: &Subject,
        salt: u64,
        room: Room,
    ) -> Result<Compared, MetadataError> {
        let Subject { number, node, pieces } = *subject;
        let (mut gone, mut unchecked) = (Vec::new(), Vec::new());
        let mut after = None;
        loop {
            let page = metadata.read(StraysOf { node: number, after, limit: ROWS }).await?;
            after = page.last().map(|(id, _)| *id);
            gone.extend(page.iter().map(|(id, _)| *id));
            unchecked.extend(page.iter().filter(|(_, checked)| !checked).map(|(id, _)| *id));
            if page.len() < ROWS as usize {
                break;
            }
        }
        let strays = gone.len().into();
        gone.extend(self.condemned(metadata, (number, node)).await?);
        unchecked.truncate(room.unchecked);
        let mut filter = PieceFilter::new(gone.len() as u64, !salt);
        gone.iter().for_each(|id| filter.insert(id));
        let mut dead: Vec<u64> = gone.iter().take(room.dead).map(beginning).collect();
        dead.sort_unstable();
        let named = PieceFilter::new(pieces.saturating_add(pieces / 8 + SLACK), salt);
        let known = Known { named, dead: filter };
        Ok(Compared { node, known, dead, unchecked, strays, mistaken: BTreeMap::new() })
    }

    /// The pieces that are condemned on a node by their place.
    async fn condemned(&self, metadata: &Metadata, node: (u32, NodeId)) -> Result<Vec<PieceId>, MetadataError> {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = metadata.read(CondemnedOf { node: node.0, after, limit: ROWS }).await?;
            after = page.last().copied();
            let id = |CondemnedPiece { segment, place }: &CondemnedPiece| {
                self.ids.piece_id(*segment, place.piece, node.1, place.incarnation)
            };
            ids.extend(page.iter().map(id));
            if page.len() < ROWS as usize {
                return Ok(ids);
            }
        }
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
                if compared.is_dead(&id) {
                    compared.mistaken.insert(id, CondemnedPiece { segment: row.segment, place: *place });
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
        let mistaken: Vec<PieceId> = compared.mistaken.keys().copied().collect();
        if !mistaken.is_empty() {
            let pieces = mistaken.len();
            tracing::error!(node, pieces, "pieces were condemned although segments refer to them; they are restored");
            // Each stands in one of both.
            let condemned = compared.mistaken.values().copied().collect();
            metadata.write(Reprieve { node, strays: mistaken.clone(), condemned }).await?;
        }
        let is_right = |id: &&PieceId| !compared.mistaken.contains_key(*id);
        let right: Vec<PieceId> = compared.unchecked.iter().filter(is_right).copied().collect();
        for pieces in right.chunks(ROWS as usize) {
            metadata.write(CheckStrays { node, pieces: pieces.to_vec() }).await?;
        }
        Ok(Found { restore: mistaken, ..Found::default() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_leave_is_for_those_after_them() {
        let mut room = Room { dead: 90, unchecked: 9 };
        assert_eq!(room.share(3), Room { dead: 30, unchecked: 3 });
        room.take(&Compared {
            node: NodeId::from_bytes([0; 32]),
            known: Known { named: PieceFilter::new(0, 1), dead: PieceFilter::new(0, 2) },
            dead: vec![1; 10],
            unchecked: vec![PieceId::from_bytes([0; 16])],
            strays: AtomicUsize::new(1),
            mistaken: BTreeMap::new(),
        });
        assert_eq!(room.share(2), Room { dead: 40, unchecked: 4 });
    }
}
