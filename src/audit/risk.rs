//! How likely nodes are to be lost, by what is known of each, and what that
//! says of a segment: among those that are equally near to loss, the one whose
//! pieces lie on shaky nodes is repaired first.

use super::record::Record;

/// Days for which a node that is new counts as observed: the longer it has
/// stayed, the longer it will (a node's life is Pareto-like, not exponential).
const DAYS_BEFORE: f64 = 14.0;
/// How much more likely one is to be lost that is away just now.
const AWAY: f64 = 10.0;

/// What is known of a node's life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Life {
    /// Days since it joined.
    pub age_days: f64,
    /// Whether it is connected.
    pub connected: bool,
    /// How it did in audits; the default where there were none.
    pub record: Record,
}

/// The chance that a node's pieces are lost within a day, from 0 to 1.
pub fn loss_per_day(life: Life) -> f64 {
    let leaves = 1.0 / (DAYS_BEFORE + life.age_days.max(0.0));
    let leaves = if life.connected { leaves } else { leaves * AWAY };
    // What it is expected not to have is lost already.
    let lost = 1.0 - life.record.integrity();
    (leaves + lost).min(1.0)
}

/// How much of what these nodes hold is expected to be there a day later, in
/// millionths; all of it where there are none.
pub fn steady_millionths(losses_per_day: impl IntoIterator<Item = f64>) -> u64 {
    let (sum, count) = losses_per_day.into_iter().fold((0.0, 0.0), |(sum, count), loss| (sum + loss, count + 1.0));
    let loss: f64 = if count > 0.0 { sum / count } else { 0.0 };
    ((1.0 - loss.clamp(0.0, 1.0)) * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Answer;

    fn life(age_days: f64) -> Life {
        Life { age_days, connected: true, record: Record::default() }
    }

    #[test]
    fn the_old_stay_and_the_absent_go() {
        assert!(loss_per_day(life(1.0)) > loss_per_day(life(300.0)));
        assert!(loss_per_day(Life { connected: false, ..life(300.0) }) > loss_per_day(life(300.0)));
        assert!(loss_per_day(life(-5.0)) <= 1.0, "a clock that jumps back makes nobody immortal");
    }

    #[test]
    fn who_fails_audits_is_shakier_than_who_is_new() {
        let mut record = Record::default();
        (0..100).for_each(|_| record.hear(Answer::Wrong));
        let (bad, new) = (loss_per_day(Life { record, ..life(900.0) }), loss_per_day(life(0.0)));
        assert!(bad > new, "{bad} {new}");
        assert!(steady_millionths([bad, new]) < steady_millionths([new, new]));
        assert_eq!(steady_millionths([]), 1_000_000);
    }
}
