//! How many nodes audits may judge at once. Nodes fail one by one; where many
//! fail together, it is rather what the lists say that is wrong: a database
//! that was set back names pieces which were purged since, and then every
//! node says truly that it has not got them.

use super::record::Verdict;

/// Whatever the size of the cluster, so many may be judged.
const ALWAYS: u64 = 2;

/// What a verdict on one more node comes to, of so many members, while
/// `others(verdict)` of them stand so or worse: with too many it is a milder
/// one. A third at most takes no pieces, so that others can be written and
/// repaired; of a tenth at most the pieces are made anew at the same time.
pub fn held_back(verdict: Verdict, members: u64, others: impl Fn(Verdict) -> u64) -> Verdict {
    let room = |verdict, part: u64| others(verdict) < (members / part).max(ALWAYS);
    match verdict {
        Verdict::Disqualified if room(verdict, 10) => verdict,
        Verdict::Disqualified | Verdict::Suspended if room(Verdict::Suspended, 3) => Verdict::Suspended,
        _ => Verdict::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How nodes stand after all of so many members fell under both limits.
    fn all_fail(members: u64) -> (u64, u64) {
        let (mut suspended, mut disqualified) = (0, 0);
        for verdict in [Verdict::Suspended, Verdict::Disqualified] {
            for _ in 0..members {
                let others = |verdict| if verdict == Verdict::Disqualified { disqualified } else { suspended };
                match held_back(verdict, members, others) {
                    Verdict::Good => {}
                    Verdict::Suspended => suspended += 1,
                    Verdict::Disqualified => disqualified += 1,
                }
            }
        }
        (suspended, disqualified)
    }

    #[test]
    fn a_few_are_judged_whatever_happens() {
        for verdict in [Verdict::Suspended, Verdict::Disqualified] {
            assert_eq!(held_back(verdict, 3, |_| 1), verdict);
        }
        assert_eq!(held_back(Verdict::Good, 3, |_| 3), Verdict::Good);
    }

    #[test]
    fn where_all_fail_together_most_go_on_as_before() {
        assert_eq!(all_fail(8), (2, 2));
        assert_eq!(all_fail(100), (33, 10));
        assert_eq!(
            held_back(Verdict::Disqualified, 100, |verdict| u64::from(verdict == Verdict::Disqualified) * 10),
            Verdict::Suspended
        );
        assert_eq!(held_back(Verdict::Disqualified, 100, |_| 33), Verdict::Good);
    }
}
