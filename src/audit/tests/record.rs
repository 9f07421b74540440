//! What the record makes of nodes of all kinds, over many seeded lives.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const LIVES: u64 = 2_000;

/// After how many audits a node is judged so that answers wrongly with this
/// chance; none if that does not happen within `most`.
fn audits_until(verdict: Verdict, wrong: f64, most: u64, seed: u64) -> Option<u64> {
    let (mut dice, mut record, mut now) = (SmallRng::seed_from_u64(seed), Record::default(), Verdict::Good);
    (1..=most).find(|_| {
        record.hear(if dice.random::<f64>() < wrong { Answer::Wrong } else { Answer::Right });
        now = record.verdict(now);
        now >= verdict
    })
}

/// So many audits are enough in nineteen of twenty lives.
fn quantile95(verdict: Verdict, wrong: f64) -> u64 {
    let mut audits: Vec<u64> =
        (0..LIVES).map(|seed| audits_until(verdict, wrong, 100_000, seed).expect("it is found")).collect();
    audits.sort_unstable();
    audits[LIVES as usize * 95 / 100]
}

/// `docs/durability.md` states these numbers.
#[test]
fn a_node_that_keeps_nine_tenths_is_found_after_the_stated_number_of_audits() {
    let first = (0..LIVES).filter(|seed| {
        let mut dice = SmallRng::seed_from_u64(*seed);
        (0..29).any(|_| dice.random::<f64>() < 0.1)
    });
    let found = first.count() as f64 / LIVES as f64;
    assert!(found >= 0.94, "29 audits show the first wrong share with 95 %: {found}");
    let (suspended, disqualified) = (quantile95(Verdict::Suspended, 0.1), quantile95(Verdict::Disqualified, 0.1));
    assert!((250..=300).contains(&suspended), "suspended: {suspended}");
    assert!((400..=520).contains(&disqualified), "disqualified: {disqualified}");
    let of = |wrong| (quantile95(Verdict::Suspended, wrong), quantile95(Verdict::Disqualified, wrong));
    assert_eq!(of(1.0), (16, 26), "one that keeps nothing");
    let half = of(0.5);
    assert!(half.0 <= 50 && half.1 <= 80, "one that keeps half: {half:?}");
}

#[test]
fn a_disk_that_rots_a_little_stays() {
    for seed in 0..200 {
        assert_eq!(audits_until(Verdict::Suspended, 0.001, 100_000, seed), None, "one share in a thousand");
        assert_eq!(audits_until(Verdict::Disqualified, 0.01, 20_000, seed), None, "one in a hundred");
    }
}

#[test]
fn an_honest_node_that_is_slow_is_never_disqualified() {
    for seed in 0..200 {
        let (mut dice, mut record, mut now) = (SmallRng::seed_from_u64(seed), Record::default(), Verdict::Good);
        for _ in 0..20_000 {
            record.hear(if dice.random::<f64>() < 0.8 { Answer::Silent } else { Answer::Right });
            now = record.verdict(now);
            assert!(now < Verdict::Disqualified);
        }
        assert_eq!(now, Verdict::Suspended, "and is given no more for as long");
        (0..60).for_each(|_| record.hear(Answer::Right));
        assert_eq!(record.verdict(now), Verdict::Good, "it answers again");
    }
}

#[test]
fn one_that_refuses_half_of_its_shares_is_found() {
    let (mut record, mut now) = (Record::default(), Verdict::Good);
    let audits = (0..5_000).find(|audit| {
        record.hear(if audit % 2 == 0 { Answer::Refused } else { Answer::Right });
        now = record.verdict(now);
        now == Verdict::Disqualified
    });
    assert!(audits.is_some());
}

/// How a node stands at worst whose first answer fails to come with this
/// chance, and the second and third with that. It answers others meanwhile.
fn worst(silent: f64, silent_again: f64, seed: u64) -> Verdict {
    let (mut dice, mut record, mut now) = (SmallRng::seed_from_u64(seed), Record::default(), Verdict::Good);
    (0..10_000)
        .map(|_| {
            let mut falls_silent = |chance| dice.random::<f64>() < chance;
            if !falls_silent(silent) {
                record.hear(Answer::Right);
            } else {
                record.leave_open();
                let never = falls_silent(silent_again) && falls_silent(silent_again);
                record.settle(if never { record.silence(true) } else { Answer::Right });
            }
            now = record.verdict(now);
            now
        })
        .max()
        .unwrap()
}

#[test]
fn who_is_silent_on_what_it_has_lost_is_found() {
    for (lost, verdict) in [(0.15, Verdict::Suspended), (0.2, Verdict::Disqualified), (0.35, Verdict::Disqualified)] {
        let found = (0..50).filter(|seed| worst(lost, 1.0, *seed) >= verdict).count();
        assert_eq!(found, 50, "{lost}");
    }
    assert!((0..50).all(|seed| worst(0.6, 1.0, seed) >= Verdict::Suspended), "one that gives hardly anything");
}

#[test]
fn who_is_slow_with_everything_is_never_disqualified() {
    for slow in 1..20 {
        let slow = f64::from(slow) / 20.0;
        assert!((0..20).all(|seed| worst(slow, slow, seed) < Verdict::Disqualified), "{slow}");
    }
    assert_eq!(worst(0.1, 0.1, 1), Verdict::Good);
}

#[test]
fn one_stall_is_no_verdict() {
    let mut record = Record::default();
    (0..8).for_each(|_| record.leave_open());
    assert_eq!(record.verdict(Verdict::Good), Verdict::Good, "as many as are kept open");
    let mut dead = Record::default();
    (0..20).for_each(|_| dead.hear(dead.silence(false)));
    assert!(dead.integrity() == 1.0 && dead.silence(true) == Answer::Silent);
}

#[test]
fn a_verdict_against_a_node_is_not_forgotten() {
    let mut record = Record::default();
    (0..26).for_each(|_| record.hear(Answer::Missing));
    assert_eq!(record.verdict(Verdict::Good), Verdict::Disqualified);
    (0..10_000).for_each(|_| record.hear(Answer::Right));
    assert_eq!(record.verdict(Verdict::Disqualified), Verdict::Disqualified);
    assert_eq!(record.verdict(Verdict::Suspended), Verdict::Good);
}

#[test]
fn it_is_stored_as_numbers() {
    let mut record = Record::default();
    let answers = [Answer::Right, Answer::Wrong, Answer::Silent, Answer::Refused, Answer::Missing];
    answers.into_iter().for_each(|answer| record.hear(answer));
    let again = Record::from_numbers(record.to_numbers());
    assert_eq!(again.to_numbers(), record.to_numbers());
    assert!((again.integrity() - record.integrity()).abs() < 1e-6 && (again.audits, again.failed) == (5, 4));
    let nothing = Record::from_numbers([0; 6]);
    assert!(nothing.integrity().is_finite(), "whatever stands in the row");
}
