//! What a node has, compared with what the lists say that it has: after it
//! came back with an older state than it had shown, and after it started anew.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout};

use super::observer::{Observer, Scene, Wish};
use super::report::HealthWatch;
use crate::metadata::{ListRolledBack, MarkCompared, Metadata, MetadataError, SegmentRow};
use crate::transfer::Transfer;
use crate::transport::{NodeError, Nodes};
use crate::types::limits::INVENTORY_PAGE_MAX;
use crate::types::{InstanceId, NodeId, PieceId};

/// Pieces whose inventories are held at once, about: 8 bytes each. Nodes that
/// do not fit wait for the next pass.
const PIECES_MAX: u64 = 4_000_000;
/// Pieces that are asked for at once to make sure.
const QUESTIONS: usize = 8;
/// How long a node may take for a page of its inventory.
const PAGE_TIME: Duration = Duration::from_secs(15);
/// Inventories that are fetched at once.
const FETCHES: usize = 4;
/// Pieces that a node may list beyond those that it has said to hold: they
/// came meanwhile.
const SLACK: u64 = 100_000;
/// How long a node may take for its answers in one pass: a minute, and so much
/// for each. One that is slower, or pretends to be, must not hold the others up.
const ANSWERS_TIME: Duration = Duration::from_secs(60);
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// The inventories that one pass compares.
#[derive(Default)]
pub(super) struct Comparison {
    inventories: BTreeMap<u32, Inventory>,
    /// Whether a node is due that only other processes are connected to.
    leaves_out: bool,
}

struct Inventory {
    /// How often the node had come back with an older state.
    rollbacks: Option<u64>,
    /// The beginnings of its piece ids, ascending: as good as the ids, which
    /// nobody can choose.
    pieces: Vec<u64>,
    missing: HashSet<PieceId>,
    /// A piece is not in it, and the node could not be asked again.
    unsure: bool,
    /// The start because of which the node was suspected.
    suspicion: Option<InstanceId>,
    /// How often it was asked for a piece, and how long it took to answer.
    asked: (u32, Duration),
}

/// A piece that is not in its node's inventory, and what asking for it gave.
struct Answer {
    node: u32,
    piece: PieceId,
    outcome: Result<(), NodeError>,
    took: Duration,
}

impl Inventory {
    /// Takes an answer in. Whether a piece is missing that was not known to be.
    fn hear(&mut self, answer: Answer) -> bool {
        self.asked = (self.asked.0 + 1, self.asked.1 + answer.took);
        self.unsure |= self.asked.1 > ANSWERS_TIME + self.asked.0 * ANSWER_TIME;
        match answer.outcome {
            Ok(()) => false,
            Err(NodeError::Missing | NodeError::Damaged(_)) => self.missing.insert(answer.piece),
            Err(_) => {
                self.unsure = true;
                false
            }
        }
    }
}

fn beginning(id: &PieceId) -> u64 {
    u64::from_be_bytes(*id.as_bytes().first_chunk().expect("an id has 16 bytes"))
}

impl Comparison {
    /// Fetches the inventories of nodes that are due and connected.
    async fn fetch(metadata: &Metadata, transfer: &Transfer, watch: &HealthWatch) -> Result<Self, MetadataError> {
        let suspects = watch.suspects().clone();
        let rolled_back: BTreeMap<u32, u64> = metadata.read(ListRolledBack).await?.into_iter().collect();
        let due: BTreeSet<u32> = suspects.keys().chain(rolled_back.keys()).copied().collect();
        let (mut fetches, mut room, mut leaves_out) = (Vec::new(), PIECES_MAX, false);
        for number in due {
            let Some(node) = transfer.fleet().node_id(number) else { continue };
            let Some(status) = transfer.fleet().nodes().status(node) else {
                leaves_out |= watch.elsewhere().contains(&number);
                continue;
            };
            let pieces = status.usage.pieces;
            if pieces > room && !fetches.is_empty() {
                continue;
            }
            room = room.saturating_sub(pieces);
            let nodes = transfer.fleet().nodes();
            fetches.push(async move { (number, inventory(nodes, node, pieces.saturating_add(SLACK)).await) });
        }
        let fetched: Vec<_> = stream::iter(fetches).buffer_unordered(FETCHES).collect().await;
        let mut inventories = BTreeMap::new();
        for (number, pieces) in fetched {
            match pieces {
                Ok(pieces) => {
                    let (rollbacks, suspicion) = (rolled_back.get(&number).copied(), suspects.get(&number).copied());
                    let inventory = Inventory {
                        rollbacks,
                        pieces,
                        missing: HashSet::new(),
                        unsure: false,
                        suspicion,
                        asked: (0, Duration::ZERO),
                    };
                    inventories.insert(number, inventory);
                }
                Err(error) => tracing::debug!(node = number, %error, "a node's inventory could not be fetched"),
            }
        }
        Ok(Self { inventories, leaves_out })
    }

    /// Compares some segments' pieces. Answers whether any is missing.
    ///
    /// A piece may have come after the inventory was fetched, so the node is
    /// asked for each that is not in it.
    async fn look(&mut self, transfer: &Transfer, rows: &[SegmentRow]) -> bool {
        let mut doubtful = Vec::new();
        for row in rows.iter().filter(|_| !self.inventories.is_empty()) {
            for place in &row.pieces {
                let Some(inventory) = self.inventories.get(&place.node).filter(|inventory| !inventory.unsure) else {
                    continue;
                };
                let Some(id) = transfer.piece_id(row.segment, place) else { continue };
                if inventory.pieces.binary_search(&beginning(&id)).is_err() {
                    doubtful.push((place.node, id));
                }
            }
        }
        let answers = stream::iter(doubtful).map(|(number, id)| ask(transfer, number, id)).buffer_unordered(QUESTIONS);
        let answers: Vec<_> = answers.collect().await;
        let mut found = false;
        for answer in answers {
            let inventory = self.inventories.get_mut(&answer.node);
            found |= inventory.is_some_and(|inventory| inventory.hear(answer));
        }
        found
    }

    /// Tells what is missing so far.
    fn tell(&self, watch: &HealthWatch) {
        for (number, inventory) in self.inventories.iter().filter(|(_, inventory)| !inventory.missing.is_empty()) {
            watch.set_missing(*number, inventory.missing.clone());
        }
    }
}

#[async_trait]
impl Observer for Comparison {
    async fn begin(&mut self, scene: &Scene) -> Result<(), MetadataError> {
        *self = Self::fetch(&scene.metadata, &scene.transfer, &scene.watch).await?;
        Ok(())
    }

    async fn page(&mut self, scene: &Scene, rows: &[SegmentRow]) -> Result<bool, MetadataError> {
        let found = self.look(&scene.transfer, rows).await;
        if found {
            self.tell(&scene.watch);
        }
        Ok(found)
    }

    /// A node of which nothing is missing is done with; any other is compared
    /// again, when that was made anew.
    async fn end(&mut self, scene: &Scene) -> Result<Wish, MetadataError> {
        let Self { inventories, leaves_out } = std::mem::take(self);
        let wish = Wish { soon: !inventories.is_empty(), elsewhere: leaves_out };
        for (node, inventory) in inventories {
            let missing = inventory.missing.len();
            if missing > 0 {
                tracing::warn!(node, missing, "a node has not got pieces that it had acknowledged; they are made anew");
            } else if !inventory.unsure {
                if let Some(rollbacks) = inventory.rollbacks {
                    scene.metadata.write(MarkCompared { node, rollbacks }).await?;
                }
                if let Some(instance) = inventory.suspicion {
                    scene.watch.clear(node, instance);
                }
            }
            scene.watch.set_missing(node, inventory.missing);
        }
        Ok(wish)
    }

    fn cut_off(&mut self) {
        *self = Self::default();
    }
}

/// A node's whole inventory, unless it lists more than `limit`: one that makes
/// pieces up could go on for ever.
async fn inventory(nodes: &Nodes, node: NodeId, limit: u64) -> Result<Vec<u64>, NodeError> {
    let (mut pieces, mut after) = (Vec::new(), None);
    loop {
        let page = timeout(PAGE_TIME, nodes.inventory(node, after, INVENTORY_PAGE_MAX)).await;
        let page = page.unwrap_or(Err(NodeError::Timeout))?;
        pieces.extend(page.iter().map(|entry| beginning(&entry.id)));
        if pieces.len() as u64 > limit {
            return Err(NodeError::Broken("the node lists more pieces than it says to hold".to_owned()));
        }
        match page.last() {
            Some(last) if page.len() == INVENTORY_PAGE_MAX => after = Some(last.id),
            _ => return Ok(pieces),
        }
    }
}

async fn ask(transfer: &Transfer, node: u32, piece: PieceId) -> Answer {
    let begun = Instant::now();
    let outcome = match transfer.fleet().node_id(node) {
        Some(id) => transfer.fleet().nodes().get_piece(id, piece, 0..1).await.map(drop),
        None => Err(NodeError::Offline),
    };
    Answer { node, piece, outcome, took: begun.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(count: u32, took_ms: u64, outcome: impl Fn() -> Result<(), NodeError>) -> Inventory {
        let mut inventory = Inventory {
            rollbacks: None,
            pieces: Vec::new(),
            missing: HashSet::new(),
            unsure: false,
            suspicion: None,
            asked: (0, Duration::ZERO),
        };
        for number in 0..count {
            let piece = PieceId::from_bytes(u128::from(number).to_be_bytes());
            inventory.hear(Answer { node: 1, piece, outcome: outcome(), took: Duration::from_millis(took_ms) });
        }
        inventory
    }

    #[test]
    fn a_node_that_lists_nothing_and_answers_slowly_is_not_asked_for_ever() {
        let honest = answers(10_000, 80, || Err(NodeError::Missing));
        assert!(!honest.unsure && honest.missing.len() == 10_000, "a long line, and a disk that lost much");
        assert!(answers(20, 5_000, || Ok(())).unsure, "it pretends to be slow");
        let cut_off = answers(1, 1, || Err(NodeError::Offline));
        assert!(cut_off.unsure && cut_off.missing.is_empty());
    }
}
