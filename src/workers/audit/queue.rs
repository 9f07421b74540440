//! The questions that wait to be asked. Each piece is asked for once at a
//! time, and those that were left open before take turns with those that were
//! drawn, so that neither waits for all of the others.

use std::collections::{HashSet, VecDeque};

use crate::metadata::FollowUp;
use crate::types::SegmentId;

/// Drawn questions that wait at most: with more, no new ones are taken.
const WAITING_MAX: usize = 100_000;

/// A question whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) share: FollowUp,
    /// Whether it was asked before and left open.
    pub(super) again: bool,
}

/// Which piece: segment, number, node and incarnation.
type Piece = (SegmentId, u16, u32, u32);

/// Questions in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    open: VecDeque<FollowUp>,
    drawn: VecDeque<FollowUp>,
    /// What waits or is being asked for.
    pieces: HashSet<Piece>,
    drawn_next: bool,
}

fn piece(share: &FollowUp) -> Piece {
    (share.segment, share.place.piece.0, share.place.node, share.place.incarnation.0)
}

impl Queue {
    /// Adds open questions that are due, and drawn ones.
    pub(super) fn extend(
        &mut self,
        due: impl IntoIterator<Item = FollowUp>,
        drawn: impl IntoIterator<Item = FollowUp>,
    ) {
        let pieces = &mut self.pieces;
        self.open.extend(due.into_iter().filter(|share| pieces.insert(piece(share))));
        let room = WAITING_MAX.saturating_sub(self.drawn.len());
        self.drawn.extend(drawn.into_iter().filter(|share| !pieces.contains(&piece(share))).take(room));
        pieces.extend(self.drawn.iter().map(piece));
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self) -> Option<Question> {
        self.drawn_next = !self.drawn_next;
        let (open, drawn) = (&mut self.open, &mut self.drawn);
        let from_open = |open: &mut VecDeque<_>| open.pop_front().map(|share| Question { share, again: true });
        let from_drawn = |drawn: &mut VecDeque<_>| drawn.pop_front().map(|share| Question { share, again: false });
        match self.drawn_next {
            true => from_drawn(drawn).or_else(|| from_open(open)),
            false => from_open(open).or_else(|| from_drawn(drawn)),
        }
    }

    /// A question was asked, and what came of it is written down.
    pub(super) fn done(&mut self, question: &Question) {
        self.pieces.remove(&piece(&question.share));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.drawn.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::PiecePlace;
    use crate::types::{Incarnation, PieceNumber};

    fn share(number: u8) -> FollowUp {
        let place = PiecePlace { piece: PieceNumber(1), node: number.into(), incarnation: Incarnation(1) };
        FollowUp { segment: SegmentId::from_bytes([number; 16]), place, stripe: 3 }
    }

    fn shares(numbers: std::ops::Range<u8>) -> impl Iterator<Item = FollowUp> {
        numbers.map(share)
    }

    fn all(queue: &mut Queue) -> Vec<(u32, bool)> {
        std::iter::from_fn(|| queue.next()).map(|question| (question.share.place.node, question.again)).collect()
    }

    #[test]
    fn who_came_first_is_asked_first_and_neither_kind_waits_for_the_other() {
        let mut queue = Queue::default();
        queue.extend(shares(1..3), shares(11..13));
        queue.extend(shares(3..5), shares(13..14));
        assert!(!queue.is_empty());
        let order = [(11, false), (1, true), (12, false), (2, true), (13, false), (3, true), (4, true)];
        assert_eq!(all(&mut queue), order);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_piece_is_asked_for_once_at_a_time() {
        let mut queue = Queue::default();
        queue.extend(shares(1..2), shares(1..3));
        queue.extend(shares(1..2), shares(2..3));
        let (first, second) = (queue.next().unwrap(), queue.next().unwrap());
        assert_eq!((first.share, second.share, queue.next()), (share(2), share(1), None));
        queue.extend(shares(1..3), []);
        assert_eq!(queue.next(), None, "both are being asked for");
        queue.done(&second);
        queue.extend(shares(1..3), []);
        assert_eq!(all(&mut queue), [(1, true)]);
    }

    #[test]
    fn with_too_many_no_more_are_taken() {
        let mut queue = Queue::default();
        let many = (0..2 * WAITING_MAX as u32)
            .map(|node| FollowUp { place: PiecePlace { node, ..share(1).place }, ..share(1) });
        queue.extend([], many);
        assert_eq!(queue.pieces.len(), WAITING_MAX);
        queue.extend(shares(7..8), shares(9..10));
        assert_eq!(queue.open.len(), 1, "but those that were open before");
    }
}
