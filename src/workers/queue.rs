//! Segments that wait for repair, those nearest to loss first.

use std::collections::{BTreeSet, HashMap};

use super::judge::Need;
use crate::types::SegmentId;

/// Segments that are remembered; others are found again by the next pass.
const QUEUE_MAX: usize = 10_000;

/// Whether no node was found for it lately, how near to loss a segment is, and
/// why it waits: those that hope for nodes must not hold up the others.
pub(super) type Rank = (bool, i64, Need);

/// A bounded queue.
#[derive(Default)]
pub(super) struct Queue {
    order: BTreeSet<(Rank, SegmentId)>,
    ranks: HashMap<SegmentId, Rank>,
    /// Those that did not fit since the last pass began.
    dropped: u64,
}

impl Queue {
    /// Adds a segment, or corrects its rank.
    pub(super) fn insert(&mut self, segment: SegmentId, rank: Rank) {
        if let Some(before) = self.ranks.insert(segment, rank) {
            self.order.remove(&(before, segment));
        }
        self.order.insert((rank, segment));
        if self.order.len() > QUEUE_MAX
            && let Some((_, last)) = self.order.pop_last()
        {
            self.ranks.remove(&last);
            self.dropped += 1;
        }
    }

    /// Takes the segment that is nearest to loss.
    pub(super) fn pop(&mut self) -> Option<(SegmentId, Rank)> {
        let (rank, segment) = self.order.pop_first()?;
        self.ranks.remove(&segment);
        Some((segment, rank))
    }

    /// What did not fit will be found again.
    pub(super) fn pass_begins(&mut self) {
        self.dropped = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many wait, those that did not fit too.
    pub(super) fn len(&self) -> u64 {
        self.order.len() as u64 + self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> SegmentId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SegmentId::from_bytes(bytes)
    }

    #[test]
    fn nearest_to_loss_comes_first() {
        let mut queue = Queue::default();
        queue.insert(id(1), (false, 3, Need::Draining));
        queue.insert(id(2), (false, 0, Need::Degraded));
        queue.insert(id(3), (false, 3, Need::Changed));
        queue.insert(id(1), (false, 1, Need::Degraded));
        queue.insert(id(4), (true, 0, Need::Degraded));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(segment, _)| segment).collect();
        assert_eq!(order, [id(2), id(1), id(3), id(4)]);
    }

    #[test]
    fn the_least_urgent_are_forgotten_and_counted() {
        let mut queue = Queue::default();
        for number in 0..QUEUE_MAX as u32 + 10 {
            queue.insert(id(number), (false, i64::from(number), Need::Degraded));
        }
        assert_eq!((queue.len(), queue.order.len()), (QUEUE_MAX as u64 + 10, QUEUE_MAX));
        assert_eq!(queue.pop(), Some((id(0), (false, 0, Need::Degraded))));
    }
}
