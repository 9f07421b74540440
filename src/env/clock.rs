//! Wall time and monotonic time, which are not the same: only the second may
//! decide how long something took, only the first is shown to people.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::types::UnixMillis;

/// Reads the time. Clones read the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Real { origin: Instant },
    Simulated(Arc<Mutex<Hands>>),
}

#[derive(Debug, Clone, Copy)]
struct Hands {
    wall: UnixMillis,
    uptime: Duration,
}

impl Clock {
    /// The machine's clocks; `uptime` counts from now.
    pub fn real() -> Self {
        Self(Source::Real { origin: Instant::now() })
    }

    /// A clock that stands at `start` until its hands are moved.
    pub fn simulated(start: UnixMillis) -> (Self, SimulatedClock) {
        let hands = Arc::new(Mutex::new(Hands { wall: start, uptime: Duration::ZERO }));
        (Self(Source::Simulated(hands.clone())), SimulatedClock(hands))
    }

    /// Wall time. It may jump either way.
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Source::Real { .. } => SystemTime::now().into(),
            Source::Simulated(hands) => read(hands).wall,
        }
    }

    /// Time since this clock was made; never goes back.
    pub fn uptime(&self) -> Duration {
        match &self.0 {
            Source::Real { origin } => origin.elapsed(),
            Source::Simulated(hands) => read(hands).uptime,
        }
    }
}

fn read(hands: &Mutex<Hands>) -> Hands {
    *hands.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves the hands of a simulated clock.
#[derive(Debug, Clone)]
pub struct SimulatedClock(Arc<Mutex<Hands>>);

impl SimulatedClock {
    /// Time passes: both clocks go on by `by`.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.uptime += by;
        hands.wall = UnixMillis(hands.wall.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)));
    }

    /// Somebody sets the wall clock; monotonic time does not notice.
    pub fn set_wall(&self, to: UnixMillis) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_wall_clock_back_leaves_monotonic_time_alone() {
        let (clock, hands) = Clock::simulated(UnixMillis(1_000_000));
        hands.advance(Duration::from_millis(1500));
        hands.set_wall(UnixMillis(0));
        assert_eq!((clock.now(), clock.uptime()), (UnixMillis(0), Duration::from_millis(1500)));
    }

    #[test]
    fn the_real_clock_is_near_the_systems() {
        let clock = Clock::real();
        let system = UnixMillis::from(SystemTime::now());
        assert!((clock.now().0 - system.0).abs() < 60_000);
        assert!(clock.uptime() <= clock.uptime());
    }
}
