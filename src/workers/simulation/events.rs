//! What happens when, and the dice.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{MONTH_HOURS, Setting};

/// What happens to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A node is lost for good.
    NodeLost(u32),
    /// A failure domain is lost with all nodes in it.
    DomainLost(u64),
    /// A node goes away for a while.
    Leaves(u32),
    /// It comes back.
    Returns(u32),
    /// A node has been away for so long that its pieces count as missing, if
    /// it has not been back since it went for this time.
    Noticed(u32, u32),
    /// A segment's repair ends.
    Repaired(u32),
}

/// What is to come, the earliest first.
pub(super) struct Events {
    queue: BinaryHeap<Reverse<Entry>>,
    count: u64,
    dice: SmallRng,
}

struct Entry {
    at: f64,
    /// Of two at one moment, the one that was entered first.
    number: u64,
    event: Event,
}

impl Events {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { queue: BinaryHeap::new(), count: 0, dice: SmallRng::seed_from_u64(setting.seed) }
    }

    pub(super) fn enter(&mut self, at: f64, event: Event) {
        self.count += 1;
        self.queue.push(Reverse(Entry { at, number: self.count, event }));
    }

    /// Enters it after an exponential time, if it ever happens.
    pub(super) fn enter_at_rate(&mut self, now: f64, per_hour: f64, event: Event) {
        if per_hour > 0.0 {
            let wait = self.exponential(1.0 / per_hour);
            self.enter(now + wait, event);
        }
    }

    /// The next event, where it comes before `end`.
    pub(super) fn next_before(&mut self, end: f64) -> Option<(f64, Event)> {
        let Reverse(entry) = self.queue.pop()?;
        (entry.at < end).then_some((entry.at, entry.event))
    }

    /// A time that is exponential with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.dice.random::<f64>()).ln() * mean
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.dice.random()
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.total_cmp(&other.at).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// Per hour, where this part is lost in a month.
pub(super) fn rate(part_per_month: f64) -> f64 {
    -(-part_per_month).ln_1p() / MONTH_HOURS
}
