//! What the health loop has found, for operators, and what the node watch
//! tells it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::audit::Tally;
use super::presence::Presence;
use crate::metadata::Holder;
use crate::types::{InstanceId, PieceId, SegmentId};

/// Damaged pieces of one node that are remembered, at most.
const DAMAGE_MAX: usize = 1_000_000;
/// Comparisons that are remembered, so that every process hears of them.
const COMPARED_MAX: usize = 1000;

/// How the segments are, as of the last pass over all of them, and what repair
/// does about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthReport {
    /// Passes that were finished since a process began to walk that had not
    /// seen another do so.
    pub passes: u64,
    /// When the last one ended, in milliseconds since 1970.
    pub scanned_at_ms: Option<i64>,
    /// Segments that there are.
    pub segments: u64,
    /// Segments by how many pieces they can lose: healthy pieces in distinct
    /// failure domains, minus those that are required.
    pub by_margin: BTreeMap<i64, u64>,
    /// Segments that need no repair, as far as their redundancy goes.
    pub healthy: u64,
    /// Segments with so few healthy pieces that they are repaired.
    pub degraded: u64,
    /// Segments of which fewer pieces than are required can be read now.
    pub unreadable: u64,
    /// Segments of which fewer pieces than are required are left anywhere.
    pub lost: u64,
    /// Members that were away for so long, when the pass began, that their
    /// pieces counted as missing in it.
    #[serde(default)]
    pub nodes_away: u64,
    /// What would become unreadable if one more failure domain died.
    pub if_one_more_domain_dies: OneMore,
    /// Segments that wait for repair or are being repaired.
    pub queue: u64,
    /// Pieces made anew since the cluster began.
    pub pieces_repaired: u64,
    /// Pieces moved away from draining nodes since the cluster began.
    pub pieces_moved: u64,
    /// Pieces that are still to be moved away, by draining node (its number).
    pub pieces_to_move: BTreeMap<u32, u64>,
    /// Repairs that failed since the cluster began.
    pub repairs_failed: u64,
    /// Pieces that nobody referred to and that were condemned, since the
    /// process began that walks.
    #[serde(default)]
    pub pieces_condemned: u64,
    /// Their bytes.
    #[serde(default)]
    pub bytes_condemned: u64,
    /// Pieces that were in their node's trash by mistake and were restored,
    /// since then.
    #[serde(default)]
    pub pieces_restored: u64,
    /// Comparisons of nodes with the lists that go on, of passes that have ended.
    #[serde(default)]
    pub comparing: u64,
    /// Segments that went into others since the process began that walks.
    #[serde(default)]
    pub segments_merged: u64,
    /// Segments that nobody referred to, since then.
    #[serde(default)]
    pub segments_orphaned: u64,
    /// What repair is waiting for, in a sentence.
    pub waiting_for: Option<String>,
    /// Segments that are lost: their ids, as far as they fit.
    #[serde(default)]
    pub lost_segments: Vec<String>,
    /// The same of segments that cannot be read now and are not lost.
    #[serde(default)]
    pub unreadable_segments: Vec<String>,
}

/// What would become unreadable if one more failure domain died.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OneMore {
    /// Segments, for the domain that is worst.
    pub segments_lost: u64,
    /// That domain; none if nothing would be lost.
    pub worst_domain: Option<u64>,
    /// The numbers of its nodes.
    pub nodes: Vec<u32>,
}

/// Shows what the health loop has found last. Cheap to clone.
#[derive(Clone)]
pub struct HealthWatch(Arc<Shared>);

struct Shared {
    report: Mutex<HealthReport>,
    woken: AtomicBool,
    presence: Mutex<Presence>,
    losses: Mutex<Losses>,
    holder: Holder,
    suspects: Mutex<BTreeMap<u32, InstanceId>>,
    /// Starts of nodes that were compared, the latest last.
    compared: Mutex<VecDeque<(u32, InstanceId)>>,
    failing: Mutex<BTreeSet<u32>>,
    /// Nodes that another process is connected to.
    elsewhere: Mutex<BTreeSet<u32>>,
    /// Segments of which good shares were looked for in vain.
    beyond: Mutex<InVain>,
    tally: Mutex<Tally>,
    thorough_tally: Mutex<Tally>,
    /// Whether what was known of damage before this process is known again.
    ready: AtomicBool,
}

/// Segments of which too few good shares were found, each with the nodes that
/// had answered.
pub(super) type Beyond = HashMap<SegmentId, BTreeSet<u32>>;

/// Such segments that are remembered, at most.
const BEYOND_MAX: usize = 100_000;
/// For how long: what a disk did not give once it may give another time.
const BEYOND_FOR: Duration = Duration::from_secs(3600);

/// The same, each with when that was.
#[derive(Default)]
struct InVain(HashMap<SegmentId, (Instant, BTreeSet<u32>)>);

impl InVain {
    fn note(&mut self, segment: SegmentId, answered: BTreeSet<u32>, now: Instant) {
        self.0.retain(|_, (noted, _)| now.duration_since(*noted) < BEYOND_FOR);
        if self.0.len() < BEYOND_MAX {
            self.0.insert(segment, (now, answered));
        }
    }

    fn at(&self, now: Instant) -> Beyond {
        let fresh = self.0.iter().filter(|(_, (noted, _))| now.duration_since(*noted) < BEYOND_FOR);
        fresh.map(|(segment, (_, answered))| (*segment, answered.clone())).collect()
    }
}

/// Pieces that are known to be lost or changed, by the number of their node:
/// as the nodes say, and as their inventories show.
#[derive(Clone, Default)]
pub(super) struct Losses {
    damaged: BTreeMap<u32, Arc<HashSet<PieceId>>>,
    missing: BTreeMap<u32, Arc<HashSet<PieceId>>>,
}

impl Losses {
    /// Whether anything is known of the node.
    pub(super) fn concern(&self, node: u32) -> bool {
        self.damaged.contains_key(&node) || self.missing.contains_key(&node)
    }

    /// Whether this piece is known to be lost or changed.
    pub(super) fn contain(&self, node: u32, piece: &PieceId) -> bool {
        let named = |map: &BTreeMap<u32, Arc<HashSet<PieceId>>>| map.get(&node).is_some_and(|set| set.contains(piece));
        named(&self.damaged) || named(&self.missing)
    }
}

impl HealthWatch {
    pub(super) fn new(offline_after: Duration, holder: Holder) -> Self {
        Self(Arc::new(Shared {
            report: Mutex::default(),
            woken: AtomicBool::new(true),
            presence: Mutex::new(Presence::new(offline_after)),
            losses: Mutex::default(),
            holder,
            suspects: Mutex::default(),
            compared: Mutex::default(),
            failing: Mutex::default(),
            elsewhere: Mutex::default(),
            beyond: Mutex::default(),
            tally: Mutex::default(),
            thorough_tally: Mutex::default(),
            ready: AtomicBool::new(false),
        }))
    }

    /// What was found last. Before the first pass has ended nothing is counted.
    pub fn latest(&self) -> HealthReport {
        self.report().clone()
    }

    /// Has a pass over all segments begin as soon as possible.
    pub fn wake(&self) {
        self.0.woken.store(true, SeqCst);
    }

    /// Passes may begin: what was known of damage is known again.
    pub(super) fn set_ready(&self) {
        self.0.ready.store(true, SeqCst);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0.ready.load(SeqCst)
    }

    pub(super) fn take_wake(&self) -> bool {
        self.0.woken.swap(false, SeqCst)
    }

    pub(super) fn report(&self) -> MutexGuard<'_, HealthReport> {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn presence(&self) -> MutexGuard<'_, Presence> {
        self.0.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn losses_mut(&self) -> MutexGuard<'_, Losses> {
        self.0.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known to be lost now.
    pub(super) fn losses(&self) -> Losses {
        self.losses_mut().clone()
    }

    /// Adds to what is known of a node's damage; answers what is new. Nothing
    /// is taken back: a node that crashed may have forgotten what it knew, and a
    /// piece that was made anew has another id. A node that names more than
    /// [`DAMAGE_MAX`] is not listened to any more, since it may invent them.
    pub(super) fn add_damaged(&self, node: u32, pieces: impl IntoIterator<Item = PieceId>) -> Vec<PieceId> {
        let mut losses = self.losses_mut();
        let known = losses.damaged.get(&node).cloned().unwrap_or_default();
        let news = pieces.into_iter().filter(|piece| !known.contains(piece));
        let news: Vec<PieceId> = news.take(DAMAGE_MAX.saturating_sub(known.len())).collect();
        if !news.is_empty() {
            Arc::make_mut(losses.damaged.entry(node).or_default()).extend(&news);
        }
        news
    }

    /// Whether a node has said that it has damage.
    pub(super) fn is_damaged(&self, node: u32) -> bool {
        self.losses_mut().damaged.contains_key(&node)
    }

    /// Replaces what a comparison of a node's inventory has shown.
    pub(super) fn set_missing(&self, node: u32, pieces: HashSet<PieceId>) {
        let mut losses = self.losses_mut();
        match pieces.is_empty() {
            true => losses.missing.remove(&node),
            false => losses.missing.insert(node, Arc::new(pieces)),
        };
    }

    /// A node has said whether its store is gone from its disk: true if that is
    /// news. It holds until the node says something else, also while it is away.
    pub(super) fn set_failing(&self, node: u32, fails: bool) -> bool {
        let mut failing = self.failing();
        if fails { failing.insert(node) } else { failing.remove(&node) }
    }

    /// The nodes whose store is gone from their disk.
    pub(super) fn failing(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_vain(&self) -> MutexGuard<'_, InVain> {
        self.0.beyond.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a segment too few good shares were found, though these nodes have
    /// answered for their pieces.
    pub(super) fn set_beyond(&self, segment: SegmentId, answered: BTreeSet<u32>) {
        self.in_vain().note(segment, answered, Instant::now());
    }

    /// Segments of which too few good shares were found lately.
    pub(super) fn beyond(&self) -> Beyond {
        self.in_vain().at(Instant::now())
    }

    /// What audits by this process have found: of shares that were drawn, or
    /// in a thorough pass, which counts each share once.
    pub(super) fn tally(&self, thorough: bool) -> MutexGuard<'_, Tally> {
        let tally = if thorough { &self.0.thorough_tally } else { &self.0.tally };
        tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process calls itself in the database.
    pub(super) fn holder(&self) -> Holder {
        self.0.holder
    }

    /// The nodes that another process is connected to.
    pub(super) fn elsewhere(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comparisons have shown is found anew by who walks now.
    pub(super) fn forget_missing(&self) {
        self.losses_mut().missing.clear();
    }

    /// A node has started anew: its inventory shall be compared, unless another
    /// process was quicker.
    pub(super) fn suspect(&self, node: u32, instance: InstanceId) {
        if !self.compared().contains(&(node, instance)) {
            self.suspects().insert(node, instance);
        }
    }

    /// A node's inventory was compared that had been suspected because of this
    /// start.
    pub(super) fn clear(&self, node: u32, instance: InstanceId) {
        self.suspects().retain(|suspect, newest| (*suspect, *newest) != (node, instance));
        let mut compared = self.compared();
        compared.push_back((node, instance));
        if compared.len() > COMPARED_MAX {
            compared.pop_front();
        }
    }

    /// The starts that were compared lately.
    pub(super) fn compared(&self) -> MutexGuard<'_, VecDeque<(u32, InstanceId)>> {
        self.0.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over which starts another process has compared.
    pub(super) fn set_compared(&self, compared: VecDeque<(u32, InstanceId)>) {
        self.suspects().retain(|node, instance| !compared.contains(&(*node, *instance)));
        *self.compared() = compared;
    }

    /// The nodes to compare, and the start of each because of which.
    pub(super) fn suspects(&self) -> MutexGuard<'_, BTreeMap<u32, InstanceId>> {
        self.0.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> HealthWatch {
        HealthWatch::new(Duration::ZERO, Holder([1; 16]))
    }

    fn start(number: u8) -> InstanceId {
        InstanceId::from_bytes([number; 16])
    }

    #[test]
    fn a_start_during_a_comparison_is_not_forgotten() {
        let watch = watch();
        watch.suspect(7, start(1));
        let compared = watch.suspects()[&7];
        watch.suspect(7, start(2));
        watch.clear(7, compared);
        assert_eq!(watch.suspects()[&7], start(2), "it may have come back as an older copy meanwhile");
        watch.clear(7, start(2));
        assert!(watch.suspects().is_empty());
    }

    #[test]
    fn what_another_process_has_compared_is_done_with() {
        let (one, other) = (watch(), watch());
        for watch in [&one, &other] {
            watch.suspect(7, start(1));
            watch.suspect(8, start(2));
        }
        other.suspect(8, start(3));
        one.clear(7, start(1));
        one.clear(8, start(2));
        other.set_compared(one.compared().clone());
        other.suspect(7, start(1));
        assert_eq!(*other.suspects(), BTreeMap::from([(8, start(3))]), "also what is heard of later");
    }

    #[test]
    fn that_nothing_was_found_holds_for_an_hour() {
        let (mut in_vain, now, minute) = (InVain::default(), Instant::now(), Duration::from_secs(60));
        let (one, other) = (SegmentId::from_bytes([1; 16]), SegmentId::from_bytes([2; 16]));
        in_vain.note(one, BTreeSet::from([7]), now);
        assert_eq!(in_vain.at(now + 59 * minute), Beyond::from([(one, BTreeSet::from([7]))]));
        assert!(in_vain.at(now + 60 * minute).is_empty(), "its nodes are asked again");
        in_vain.note(other, BTreeSet::new(), now + 61 * minute);
        assert_eq!(in_vain.0.len(), 1);
    }

    #[test]
    fn damage_that_a_node_invents_does_not_fill_the_database() {
        let watch = watch();
        let piece = |number: usize| PieceId::from_bytes((number as u128).to_be_bytes());
        assert_eq!(watch.add_damaged(1, (0..DAMAGE_MAX + 5).map(piece)).len(), DAMAGE_MAX);
        assert!(watch.add_damaged(1, (0..2 * DAMAGE_MAX).map(piece)).is_empty());
        assert_eq!(watch.add_damaged(2, [piece(1)]).len(), 1, "others are listened to");
    }
}
