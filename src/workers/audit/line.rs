//! Whether it is our own line or machine that fails: where most of several
//! nodes give no answer at once, nobody's silence counts, and no refusal.

use std::collections::BTreeMap;

use crate::metadata::{Audited, AuditedPiece};

/// Our line, by what nodes answered last that were drawn by dice. Those that
/// are asked again are no sample: they are late more often than others, and
/// several that are silent on purpose would pass for an outage.
#[derive(Default)]
pub(super) struct Line {
    is_down: bool,
}

impl Line {
    /// Takes some answers in, each with whether it was asked for again, and
    /// gives those that count.
    pub(super) fn sift(&mut self, answers: Vec<(AuditedPiece, bool)>) -> Vec<AuditedPiece> {
        let drawn = answers.iter().filter(|(_, again)| !again).map(|(piece, _)| piece);
        self.is_down = is_outage(drawn).unwrap_or(self.is_down);
        let counts = |(piece, _): &(AuditedPiece, bool)| !(self.is_down && is_unanswered(piece));
        answers.into_iter().filter(counts).map(|(piece, _)| piece).collect()
    }
}

/// The answers of the nodes of one segment that count.
pub(super) fn without_our_outage(mut pieces: Vec<AuditedPiece>) -> Vec<AuditedPiece> {
    if is_outage(pieces.iter()) == Some(true) {
        pieces.retain(|piece| !is_unanswered(piece));
    }
    pieces
}

fn is_unanswered(piece: &AuditedPiece) -> bool {
    matches!(piece.audited, Audited::Late | Audited::Declined)
}

/// Whether most of these nodes have answered nothing; none where it is only
/// one node.
fn is_outage<'p>(pieces: impl Iterator<Item = &'p AuditedPiece>) -> Option<bool> {
    let mut answered: BTreeMap<u32, bool> = BTreeMap::new();
    for piece in pieces {
        *answered.entry(piece.place.node).or_default() |= !is_unanswered(piece);
    }
    let silent = answered.values().filter(|answered| !**answered).count();
    (answered.len() > 1).then_some(2 * silent > answered.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Answer;
    use crate::metadata::PiecePlace;
    use crate::types::{Incarnation, PieceNumber, SegmentId};

    const RIGHT: Audited = Audited::Told(Answer::Right);

    fn piece(node: u32, audited: Audited) -> AuditedPiece {
        let place = PiecePlace { piece: PieceNumber(1), node, incarnation: Incarnation(1) };
        AuditedPiece { segment: SegmentId::from_bytes([1; 16]), place, stripe: 0, audited, wrong: Vec::new() }
    }

    fn pieces(audited: &[Audited]) -> Vec<AuditedPiece> {
        (1..).zip(audited).map(|(node, audited)| piece(node, *audited)).collect()
    }

    #[test]
    fn most_of_several_without_an_answer_are_our_own_fault_and_few_are_not() {
        let kept = |audited: &[Audited]| without_our_outage(pieces(audited)).len();
        assert_eq!(kept(&[Audited::Late, RIGHT]), 2);
        assert_eq!(kept(&[Audited::Late]), 1, "one node alone says nothing of our line");
        assert_eq!(kept(&[Audited::Late, Audited::Late, RIGHT]), 1);
        assert_eq!(kept(&[Audited::Declined, Audited::Declined, RIGHT]), 1, "refusals in consequence of our fault");
        assert_eq!(kept(&[Audited::Declined, Audited::Late, RIGHT]), 1);
        assert_eq!(kept(&[Audited::Declined, RIGHT, RIGHT]), 3);
    }

    #[test]
    fn several_that_are_silent_whenever_they_are_asked_again_are_no_outage() {
        let mut line = Line::default();
        let again =
            |nodes: std::ops::Range<u32>| nodes.map(|node| (piece(node, Audited::Late), true)).collect::<Vec<_>>();
        let drawn = |audited| pieces(audited).into_iter().map(|piece| (piece, false)).collect::<Vec<_>>();
        assert_eq!(line.sift(again(1..9)).len(), 8, "nothing speaks for an outage");
        let honest = drawn(&[RIGHT, RIGHT, Audited::Late]);
        assert_eq!(line.sift([again(1..9), honest].concat()).len(), 11);
        // One node that leaves many open is one node.
        let many = [vec![(piece(9, Audited::Late), false); 5], drawn(&[RIGHT, RIGHT])].concat();
        assert_eq!(line.sift(many).len(), 7);
    }

    #[test]
    fn an_outage_lasts_until_nodes_answer_again() {
        let mut line = Line::default();
        let drawn = |audited| pieces(audited).into_iter().map(|piece| (piece, false)).collect::<Vec<_>>();
        assert_eq!(line.sift(drawn(&[Audited::Late, Audited::Late])).len(), 0);
        assert_eq!(line.sift(vec![(piece(1, Audited::Late), true)]).len(), 0);
        assert_eq!(line.sift(vec![(piece(1, RIGHT), true)]).len(), 1);
        assert_eq!(line.sift(drawn(&[RIGHT, RIGHT])).len(), 2);
        assert_eq!(line.sift(vec![(piece(1, Audited::Late), true)]).len(), 1);
    }
}
