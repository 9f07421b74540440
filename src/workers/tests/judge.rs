//! What is counted, what is repaired and what leaves the lists.

use super::*;
use crate::types::Incarnation;
use proptest::prelude::*;

fn place(piece: u16, node: u32) -> PiecePlace {
    PiecePlace { piece: PieceNumber(piece), node, incarnation: Incarnation(1) }
}

fn places(count: u16) -> Vec<PiecePlace> {
    (0..count).map(|piece| place(piece, piece.into())).collect()
}

const UP: Facts =
    Facts { state: NodeState::Active, present: true, connected: true, domain: 0, failing: false, sure: true };
const AWAY: Facts = Facts { present: false, connected: false, ..UP };
const FAILING: Facts = Facts { failing: true, ..UP };
const DRAINING: Facts = Facts { state: NodeState::Draining, ..UP };
const GONE: Facts = Facts { state: NodeState::Gone, ..UP };

/// Judges under 4/5/7/8, with each node a domain of its own, and two nodes
/// (8 and 9) that hold nothing.
fn judged(places: &[PiecePlace], others: &[(u32, Facts)], changed: &[u32]) -> Verdict {
    let facts = |node: u32| {
        let (_, facts) = others.iter().find(|(other, _)| *other == node).copied().unwrap_or((node, UP));
        Facts { domain: if facts.domain == 0 { node.into() } else { facts.domain }, ..facts }
    };
    let condition = |place: &PiecePlace| (Some(facts(place.node)), changed.contains(&place.node));
    let domains = (0..10).map(facts).filter(|facts| facts.state == NodeState::Active && facts.present);
    let domains: BTreeSet<u64> = domains.map(|facts| facts.domain).collect();
    Verdict::new("4/5/7/8".parse().unwrap(), places, condition, &domains)
}

/// A piece that was placed on a node in a domain of its own.
fn placed(piece: u16, node: u32) -> (PiecePlace, u64) {
    (place(piece, node), node.into())
}

#[test]
fn nothing_is_given_up_for_nodes_that_may_be_dead() {
    let silent = Facts { sure: false, ..UP };
    let drains = judged(&places(8), &[(0, DRAINING)], &[]);
    assert_eq!(drains.removed_by(&[]), [place(0, 0)], "seven others are connected");
    let doubtful = judged(&places(8), &[(0, DRAINING), (1, silent)], &[]);
    assert_eq!((doubtful.healthy, doubtful.removed_by(&[])), (8, Vec::new()), "one of them was only seen lately");
    let clumped = judged(&places(7), &[(0, DRAINING)], &[]);
    assert_eq!(clumped.removed_by(&[(place(7, 20), 3)]), [], "two of them are in one domain");
}

fn numbers(plan: &Plan) -> Vec<u16> {
    plan.wanted.iter().map(|piece| piece.0).collect()
}

#[test]
fn what_is_whole_is_left_alone() {
    for count in [6, 7, 8] {
        let verdict = judged(&places(count), &[], &[]);
        assert_eq!((verdict.margin(), verdict.need()), (i64::from(count) - 4, None));
        assert_eq!(verdict.removed_by(&[]), []);
    }
    assert_eq!(judged(&places(6), &[], &[]).hangs_on(), [0; 0]);
    assert_eq!(judged(&places(4), &[], &[]).hangs_on(), [0, 1, 2, 3]);
}

#[test]
fn few_pieces_are_brought_back_to_o() {
    let verdict = judged(&places(5), &[], &[]);
    assert_eq!(verdict.need(), Some(Need::Degraded));
    assert_eq!(numbers(&verdict.plan()), [5, 6], "to o, with numbers that nobody has");
    let verdict = judged(&places(8), &[(0, GONE), (1, GONE), (2, AWAY)], &[]);
    assert_eq!((verdict.healthy, verdict.need()), (5, Some(Need::Degraded)));
    assert_eq!(numbers(&verdict.plan()), [0, 1], "those that are away may come back");
    assert_eq!(verdict.removed_by(&[placed(0, 8), placed(1, 9)]), [place(0, 0), place(1, 1)]);
    assert_eq!(verdict.removed_by(&[placed(0, 8)]), [place(0, 0)], "short of o, nothing is given up");
    let verdict = judged(&places(8), &[(0, AWAY), (1, AWAY), (2, AWAY), (3, AWAY)], &[]);
    assert_eq!(numbers(&verdict.plan()), [0, 1, 2]);
    assert_eq!(verdict.plan().avoid, [0, 1, 2, 3]);
    assert!(judged(&places(8), &[(0, GONE), (1, GONE)], &[]).need().is_none(), "not before r");
}

#[test]
fn what_cannot_be_read_is_not_repaired_and_says_why() {
    let away: Vec<_> = (0..5).map(|node| (node, AWAY)).collect();
    let verdict = judged(&places(8), &away, &[]);
    assert_eq!((verdict.is_readable(), verdict.is_lost(), verdict.need()), (false, false, None));
    assert_eq!(verdict.margin(), -1);
    let gone = [(0, GONE), (1, GONE), (2, GONE)];
    let verdict = judged(&places(8), &gone, &[3, 4]);
    let told = |verdict: &Verdict| (verdict.is_readable(), verdict.is_lost(), verdict.need());
    assert_eq!(told(&verdict), (false, false, Some(Need::Degraded)), "of changed pieces most shares may be good");
    assert_eq!(told(&verdict.beyond_salvage()), (false, true, None), "and were not");
    let verdict = judged(&places(8), &[(3, AWAY), (4, AWAY), (0, GONE), (1, GONE), (2, GONE)], &[3, 4]);
    assert!(verdict.is_lost(), "nobody can look");
}

#[test]
fn a_changed_piece_is_always_made_anew() {
    let verdict = judged(&places(8), &[], &[3]);
    assert_eq!((verdict.healthy, verdict.need()), (7, Some(Need::Changed)));
    let plan = verdict.plan();
    assert_eq!((numbers(&plan), plan.instead), (vec![3], 1));
    assert_eq!((plan.again, plan.avoid), (vec![3], vec![3]));
    assert!(!plan.taken.contains(&3));
    assert_eq!(verdict.removed_by(&[]), [], "it waits for a node, though o others are there");
    assert_eq!(verdict.removed_by(&[placed(3, 3)]), [place(3, 3)]);
    let verdict = judged(&places(6), &[], &[3]);
    assert_eq!(numbers(&verdict.plan()), [3, 6], "and the rest, since the segment is read anyway");
    let verdict = judged(&places(8), &[(3, GONE)], &[3]);
    assert_eq!(verdict.need(), None, "what its node says of it does not matter when that is gone");
}

#[test]
fn a_draining_node_is_emptied_and_counts_until_then() {
    let verdict = judged(&places(8), &[(2, DRAINING)], &[]);
    assert_eq!((verdict.healthy, verdict.need()), (8, Some(Need::Draining)));
    let plan = verdict.plan();
    assert_eq!((numbers(&plan), plan.instead, plan.taken.contains(&2)), (vec![2], 1, false));
    let removed = verdict.removed_by(&[placed(2, 8)]);
    assert_eq!((removed.as_slice(), verdict.moved(&removed)), (&[place(2, 2)][..], vec![2]));
    assert_eq!(verdict.removed_by(&[]), [place(2, 2)], "where nobody takes it, o others are enough");
    let verdict = judged(&places(7), &[(2, DRAINING)], &[]);
    assert_eq!(verdict.removed_by(&[]), [], "but not fewer");
    assert_eq!(numbers(&verdict.plan()), [2]);
    let away = Facts { present: false, connected: false, ..DRAINING };
    let verdict = judged(&places(8), &[(2, away)], &[]);
    assert_eq!((verdict.healthy, verdict.need()), (7, Some(Need::Draining)), "it need not be there for that");
}

/// What a process gives whose files are deleted is read as long as it runs, and
/// counts as little as what is gone.
#[test]
fn what_only_a_process_still_has_is_made_anew_while_it_can_be_read() {
    let failing: Vec<_> = (0..3).map(|node| (node, FAILING)).collect();
    let verdict = judged(&places(6), &failing, &[]);
    assert_eq!((verdict.healthy, verdict.margin()), (3, -1));
    assert_eq!((verdict.is_readable(), verdict.is_lost(), verdict.need()), (true, false, Some(Need::Degraded)));
    let plan = verdict.plan();
    assert_eq!((numbers(&plan), plan.instead, plan.taken), (vec![0, 1, 2, 6], 3, vec![3, 4, 5]));
    assert_eq!((plan.avoid, plan.again), (vec![], vec![]), "they are copied from there, and not put back");
    let verdict = judged(&places(8), &failing[..1], &[]);
    assert_eq!((verdict.healthy, verdict.need()), (7, Some(Need::Changed)), "though there are enough others");
    assert_eq!(verdict.removed_by(&[placed(0, 8)]), [place(0, 0)]);
    assert_eq!(verdict.removed_by(&[]), [place(0, 0)], "where nobody takes it, o others are enough");
    let away: Vec<_> = (0..3).map(|node| (node, Facts { present: false, ..FAILING })).collect();
    assert!(!judged(&places(6), &away, &[]).is_readable());
}

#[test]
fn pieces_in_one_domain_count_once_while_there_are_others() {
    let one: Vec<_> = (0..3).map(|node| (node, Facts { domain: 100, ..UP })).collect();
    let verdict = judged(&places(7), &one, &[]);
    assert_eq!((verdict.healthy, verdict.need()), (5, Some(Need::Degraded)));
    assert_eq!(verdict.hangs_on(), [0; 0]);
    assert_eq!(numbers(&verdict.plan()), [7, 1], "free numbers first, then those that clump");
    let all: Vec<_> = (0..10).map(|node| (node, Facts { domain: 100, ..UP })).collect();
    let verdict = judged(&places(7), &all, &[]);
    assert_eq!((verdict.healthy, verdict.need()), (7, None), "there is but one");
    assert_eq!(verdict.hangs_on(), [100]);
}

#[test]
fn a_segment_keeps_the_proportions_of_the_scheme() {
    let scheme = |k, n, current: &str| scheme_of(Coding::new(k, n).unwrap(), current.parse().unwrap()).to_string();
    assert_eq!(scheme(4, 8, "4/5/7/8"), "4/5/7/8");
    assert_eq!(scheme(4, 8, "4/6/7/8"), "4/6/7/8");
    assert_eq!(scheme(4, 8, "29/35/65/80"), "4/5/7/8");
    assert_eq!(scheme(29, 80, "4/5/7/8"), "29/42/68/80");
    assert_eq!(scheme(1, 1, "4/5/7/8"), "1/1/1/1");
    assert_eq!(scheme(4, 8, "1/1/1/1"), "4/7/8/8");
    assert_eq!(scheme(1, 2, "4/5/7/8"), "1/1/2/2");
}

proptest! {
    #[test]
    fn any_two_schemes_go_together(k in 1u16..100, spare in 0u16..100, numbers in prop::array::uniform4(1u16..200)) {
        let mut numbers = numbers;
        numbers.sort_unstable();
        let [a, b, c, d] = numbers;
        let own = scheme_of(Coding::new(k, k + spare).unwrap(), Scheme::new(a, b, c, d).unwrap());
        prop_assert_eq!((own.required(), own.total()), (k, k + spare));
    }

    /// A repair that gets all it asks for leaves nothing to be done, and never
    /// takes the number of healthy pieces down below where it was, or o.
    #[test]
    fn one_repair_is_enough(
        count in 4u16..=8,
        states in prop::collection::vec(0u8..6, 8),
        changed in prop::collection::vec(any::<bool>(), 8),
    ) {
        let facts = |state| match state { 0 => DRAINING, 1 => AWAY, 2 => GONE, 3 => FAILING, _ => UP };
        let others: Vec<_> = (0u32..).zip(states).map(|(node, state)| (node, facts(state))).collect();
        let changed: Vec<u32> = (0..8).filter(|node| changed[*node as usize]).collect();
        let before = judged(&places(count), &others, &changed);
        if before.need().is_none() {
            return Ok(());
        }
        let plan = before.plan();
        let placed: Vec<_> = (20u32..).zip(&plan.wanted).map(|(node, piece)| place(piece.0, node)).collect();
        let domains: Vec<_> = placed.iter().map(|place| (*place, u64::from(place.node))).collect();
        let removed = before.removed_by(&domains);
        let mut after = places(count);
        after.retain(|place| !removed.contains(place));
        after.extend(&placed);
        let distinct: BTreeSet<u16> = after.iter().map(|place| place.piece.0).collect();
        prop_assert_eq!(distinct.len(), after.len(), "a number twice");
        let after = judged(&after, &others, &changed);
        prop_assert_eq!(after.need(), None);
        prop_assert!(after.healthy >= before.healthy.min(7));
        prop_assert!(!before.is_degraded() || after.healthy >= 7);
    }
}

#[test]
fn what_can_be_read_now_depends_on_who_is_connected() {
    let off = Facts { connected: false, ..UP };
    let away = |count: u32| (0..count).map(|node| (node, off)).collect::<Vec<_>>();
    let verdict = judged(&places(8), &away(5), &[]);
    assert!(!verdict.is_readable() && !verdict.is_lost() && verdict.need().is_none(), "they may be back in a minute");
    let verdict = judged(&places(8), &away(4), &[]);
    assert!(verdict.is_readable());
    assert_eq!(verdict.hangs_on(), [4, 5, 6, 7], "one more, and it cannot be read");
}
