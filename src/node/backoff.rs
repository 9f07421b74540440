//! How long a node waits before it dials a door again.
//!
//! A gateway that restarts loses all of its nodes in the same moment. The first
//! retry comes soon, because most restarts are short and most clusters small;
//! what does not get through then spreads out over ever longer times, so that
//! ten thousand nodes come back about as fast as the door can judge them.

use std::time::Duration;

/// The first retry comes within this time.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Each failure makes the ceiling so much higher. With this, a node comes back
/// about as long after its door as that was away; with 2 it would take twice as
/// long.
const GROWTH: f64 = 1.5;
/// Retries that may succeed by themselves never take longer.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Nor do those that a person has to help.
const HELPLESS_MAX: Duration = Duration::from_secs(120);

/// How long to wait before the next attempt: at random below a ceiling, so
/// that nodes which lost a door together do not come back together. `passing`
/// says whether the reason may pass without anyone's help.
pub(super) fn pause(failures: u32, passing: bool, dice: u64) -> Duration {
    let grown = |first: Duration| first.mul_f64(GROWTH.powi(failures.min(32) as i32));
    let (floor, ceiling) = match passing {
        true => {
            let ceiling = grown(RETRY_FIRST).min(RETRY_MAX);
            (ceiling / 8, ceiling)
        }
        false => {
            let ceiling = grown(RETRY_MAX).min(HELPLESS_MAX);
            (ceiling / 2, ceiling)
        }
    };
    floor + (ceiling - floor).mul_f64(dice as f64 / u64::MAX as f64)
}

/// Dice for [`pause`].
pub(super) fn dice() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers TLS would have failed before; any spread will do.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::transport::{DIAL_TIMEOUT, Tuning};

    #[test]
    fn pauses_grow_with_jitter_up_to_their_ceilings() {
        for dice in [0, u64::MAX / 3, u64::MAX] {
            assert!(pause(0, true, dice) <= RETRY_FIRST);
            assert!(pause(3, true, dice) <= Duration::from_secs(4));
            for failures in [12, 40, u32::MAX] {
                let passing = pause(failures, true, dice);
                assert!(passing > Duration::from_secs(3) && passing <= RETRY_MAX);
                let helpless = pause(failures, false, dice);
                assert!(helpless >= HELPLESS_MAX / 2 && helpless <= HELPLESS_MAX);
            }
            assert!(pause(0, false, dice) >= Duration::from_secs(15));
        }
        assert!(pause(5, true, 0) < pause(5, true, u64::MAX));
    }

    /// Connections that wait in the kernel until the door accepts them.
    const BACKLOG: f64 = 1024.0;

    /// Nodes that lose a door at once and dial it again until they are in:
    /// when the last one is, and how many dials the door judged in vain.
    fn stampede(nodes: usize, down: f64, judged_per_s: f64, dice: &mut SmallRng) -> (f64, usize) {
        let seconds = |failures, dice: &mut SmallRng| pause(failures, true, dice.random()).as_secs_f64();
        let micros = |time: f64| (time * 1e6) as u64;
        let mut dials = BinaryHeap::new();
        for node in 0..nodes {
            dials.push(Reverse((micros(seconds(0, dice)), node, 1)));
        }
        let room = Tuning::default().handshakes_max as f64 + BACKLOG;
        let (mut free, mut last, mut wasted) = (down, 0.0_f64, 0);
        while let Some(Reverse((time, node, failures))) = dials.pop() {
            let now = time as f64 / 1e6;
            let mut again = |after: f64, dice: &mut SmallRng| {
                dials.push(Reverse((micros(now + after + seconds(failures, dice)), node, failures + 1)));
            };
            if now < down {
                again(0.0, dice);
            } else if (free - now) * judged_per_s >= room {
                // Nobody takes the first packet; the kernel repeats it for a while.
                again(5.0, dice);
            } else {
                free = free.max(now) + 1.0 / judged_per_s;
                if free - now > DIAL_TIMEOUT.as_secs_f64() {
                    wasted += 1;
                    again(DIAL_TIMEOUT.as_secs_f64(), dice);
                } else {
                    last = last.max(free);
                }
            }
        }
        (last, wasted)
    }

    #[test]
    fn ten_thousand_nodes_come_back_about_as_fast_as_the_door_can_judge_them() {
        for seed in 0..5 {
            let mut dice = SmallRng::seed_from_u64(seed);
            for (judged_per_s, down) in [(1000.0, 0.3), (1000.0, 5.0), (300.0, 2.0), (300.0, 60.0), (100.0, 5.0)] {
                let (last, wasted) = stampede(10_000, down, judged_per_s, &mut dice);
                let best = 10_000.0 / judged_per_s;
                assert!(last - down < 2.0 * best + 30.0, "{judged_per_s}/s, down {down} s: {last} s");
                assert!(wasted < 100, "{judged_per_s}/s, down {down} s: {wasted} in vain");
            }
            for down in [0.5, 2.0, 10.0] {
                let (last, _) = stampede(20, down, 300.0, &mut dice);
                assert!(last < 2.5 * down + 1.0, "a small cluster is back in about the time that it was away: {last}");
            }
        }
    }
}
