//! How work in the background yields to users: after each unit of it there is a
//! pause that is a multiple of the time which the unit took. So it takes at
//! most a fixed share of whatever is scarce (disks, lines, processors), however
//! slow that has become, and slows down by itself when users slow it down.

use std::time::Duration;

use tokio::time::sleep;

use crate::transfer::Budget;

/// Pauses for each unit of work while users leave most of the memory for
/// transfers free, and while they do not.
const CALM: u32 = 1;
const BUSY: u32 = 4;
/// No single pause is longer: a unit that hung says nothing of the load.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Paces work in the background. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tranquilizer {
    budget: Budget,
}

impl Tranquilizer {
    /// Yields to those who use this memory.
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget }
    }

    /// Whether users' transfers use most of their memory.
    pub(super) fn is_busy(&self) -> bool {
        self.budget.pieces.is_half_used() || self.budget.read.is_half_used()
    }

    /// Pauses after a unit of work that took so long.
    pub(super) async fn rest(&self, worked: Duration) {
        sleep(pause(worked, self.is_busy())).await;
    }
}

/// The pause after a unit of work.
fn pause(worked: Duration, busy: bool) -> Duration {
    (worked * if busy { BUSY } else { CALM }).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_time_that_work_takes_is_bounded_however_slow_it_is() {
        for worked in [Duration::from_millis(3), Duration::from_millis(900)] {
            assert_eq!(pause(worked, false), worked, "half of the time at most");
            assert_eq!(pause(worked, true), 4 * worked, "a fifth while users need it");
        }
        assert_eq!(pause(Duration::from_secs(600), true), PAUSE_MAX);
    }
}
