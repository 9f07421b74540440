//! What a node has, compared with what the lists say that it has: after it
//! came back with an older state than it had shown, and after it started anew.

use std::collections::{BTreeMap, HashSet};

use futures_util::stream::{self, StreamExt};

use super::report::HealthWatch;
use crate::metadata::{ListRolledBack, MarkCompared, Metadata, MetadataError, SegmentRow};
use crate::transfer::Transfer;
use crate::transport::{NodeError, Nodes};
use crate::types::limits::INVENTORY_PAGE_MAX;
use crate::types::{NodeId, PieceId};

/// Pieces whose inventories are held at once, about: 8 bytes each. Nodes that
/// do not fit wait for the next pass.
const PIECES_MAX: u64 = 4_000_000;
/// Pieces that are asked for at once to make sure.
const QUESTIONS: usize = 8;

/// The inventories that one pass compares.
#[derive(Default)]
pub(super) struct Comparison(BTreeMap<u32, Inventory>);

struct Inventory {
    /// How often the node had come back with an older state.
    rollbacks: Option<u64>,
    /// The beginnings of its piece ids, ascending: as good as the ids, which
    /// nobody can choose.
    pieces: Vec<u64>,
    missing: HashSet<PieceId>,
    /// A piece is not in it, and the node could not be asked again.
    unsure: bool,
}

fn beginning(id: &PieceId) -> u64 {
    u64::from_be_bytes(*id.as_bytes().first_chunk().expect("an id has 16 bytes"))
}

impl Comparison {
    /// Fetches the inventories of nodes that are due and connected.
    pub(super) async fn begin(
        metadata: &Metadata,
        transfer: &Transfer,
        watch: &HealthWatch,
    ) -> Result<Self, MetadataError> {
        let mut due: BTreeMap<u32, Option<u64>> = watch.suspects().iter().map(|node| (*node, None)).collect();
        due.extend(metadata.read(ListRolledBack).await?.into_iter().map(|(node, often)| (node, Some(often))));
        let nodes = transfer.fleet().nodes();
        let (mut comparison, mut room) = (BTreeMap::new(), PIECES_MAX);
        for (number, rollbacks) in due {
            let Some(node) = transfer.fleet().node_id(number) else { continue };
            let Some(status) = nodes.status(node) else { continue };
            if status.usage.pieces > room && !comparison.is_empty() {
                continue;
            }
            room = room.saturating_sub(status.usage.pieces);
            match inventory(nodes, node).await {
                Ok(pieces) => {
                    let inventory = Inventory { rollbacks, pieces, missing: HashSet::new(), unsure: false };
                    comparison.insert(number, inventory);
                }
                Err(error) => tracing::debug!(%node, %error, "a node's inventory could not be fetched"),
            }
        }
        Ok(Self(comparison))
    }

    /// Compares some segments' pieces. Answers whether any is missing.
    ///
    /// A piece may have come after the inventory was fetched, so the node is
    /// asked for each that is not in it.
    pub(super) async fn look(&mut self, transfer: &Transfer, rows: &[SegmentRow]) -> bool {
        let mut doubtful = Vec::new();
        for row in rows.iter().filter(|_| !self.0.is_empty()) {
            for place in &row.pieces {
                let Some(inventory) = self.0.get(&place.node) else { continue };
                let Some(id) = transfer.piece_id(row.segment, place) else { continue };
                if inventory.pieces.binary_search(&beginning(&id)).is_err() {
                    doubtful.push((place.node, id));
                }
            }
        }
        let answers = stream::iter(doubtful).map(|(number, id)| ask(transfer, number, id)).buffer_unordered(QUESTIONS);
        let answers: Vec<_> = answers.collect().await;
        let mut found = false;
        for (number, id, answer) in answers {
            let Some(inventory) = self.0.get_mut(&number) else { continue };
            match answer {
                Ok(()) => {}
                Err(NodeError::Missing | NodeError::Damaged(_)) => found |= inventory.missing.insert(id),
                Err(_) => inventory.unsure = true,
            }
        }
        found
    }

    /// Tells what is missing so far.
    pub(super) fn tell(&self, watch: &HealthWatch) {
        for (number, inventory) in self.0.iter().filter(|(_, inventory)| !inventory.missing.is_empty()) {
            watch.set_missing(*number, inventory.missing.clone());
        }
    }

    /// The pass has seen all segments. A node of which nothing is missing is
    /// done with; any other is compared again, when that was made anew.
    pub(super) async fn end(self, metadata: &Metadata, watch: &HealthWatch) -> Result<(), MetadataError> {
        for (node, inventory) in self.0 {
            let missing = inventory.missing.len();
            if missing > 0 {
                tracing::warn!(node, missing, "a node has not got pieces that it had acknowledged; they are made anew");
            } else if !inventory.unsure {
                if let Some(rollbacks) = inventory.rollbacks {
                    metadata.write(MarkCompared { node, rollbacks }).await?;
                }
                watch.suspects().remove(&node);
            }
            watch.set_missing(node, inventory.missing);
        }
        Ok(())
    }

    /// Whether there is anything to compare.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

async fn inventory(nodes: &Nodes, node: NodeId) -> Result<Vec<u64>, NodeError> {
    let (mut pieces, mut after) = (Vec::new(), None);
    loop {
        let page = nodes.inventory(node, after, INVENTORY_PAGE_MAX).await?;
        pieces.extend(page.iter().map(|entry| beginning(&entry.id)));
        match page.last() {
            Some(last) if page.len() == INVENTORY_PAGE_MAX => after = Some(last.id),
            _ => return Ok(pieces),
        }
    }
}

async fn ask(transfer: &Transfer, number: u32, id: PieceId) -> (u32, PieceId, Result<(), NodeError>) {
    let Some(node) = transfer.fleet().node_id(number) else { return (number, id, Err(NodeError::Offline)) };
    (number, id, transfer.fleet().nodes().get_piece(node, id, 0..1).await.map(drop))
}
