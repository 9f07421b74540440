//! The world's two dice and its two clocks, and the order to stop: real, or
//! simulated so that a test can say what they show. And the walls around work
//! whose defects must stay its own, small files and sockets as a crash must
//! find them, and room among strangers.
//!
//! This room does not read environment variables: only `cli` does.

mod clock;
mod contained;
mod crowd;
mod entropy;
mod files;
mod shutdown;
mod socket;

use std::time::Duration;

pub use clock::{Clock, SimulatedClock};
pub use contained::{Panicked, contain, contain_future, is_contained};
pub use crowd::{Crowd, Lines, Place};
pub use entropy::Entropy;
pub use files::{UNFINISHED, sync_folder, write_private, write_private_once};
pub use shutdown::Shutdown;
pub use socket::LocalSocket;

use crate::types::UnixMillis;

/// What a service needs from the world besides its disk and its sockets.
/// Clones share the same clock and the same source of randomness.
#[derive(Debug, Clone)]
pub struct Env {
    /// Wall and monotonic time.
    pub clock: Clock,
    /// Unpredictable bytes.
    pub entropy: Entropy,
}

impl Env {
    /// The machine's own clocks and the operating system's randomness.
    pub fn real() -> Self {
        Self { clock: Clock::real(), entropy: Entropy::system() }
    }

    /// A clock that only moves when told to, and dice that repeat with `seed`.
    /// The second value moves the clock.
    pub fn simulated(start: UnixMillis, seed: u64) -> (Self, SimulatedClock) {
        let (clock, hands) = Clock::simulated(start);
        (Self { clock, entropy: Entropy::seeded(seed) }, hands)
    }

    /// Wall time, for people and for HTTP headers. It may jump either way.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Time since an arbitrary start; never goes back.
    pub fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    /// `N` unpredictable bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_world_repeats_itself() {
        let (one, _) = Env::simulated(UnixMillis(7), 42);
        let (two, _) = Env::simulated(UnixMillis(7), 42);
        let (other, _) = Env::simulated(UnixMillis(7), 43);
        let first = one.random::<32>();
        assert_eq!(first, two.random::<32>());
        assert_ne!(first, one.random::<32>(), "the dice go on");
        assert_ne!(first, other.random::<32>());
        assert_eq!(one.now(), UnixMillis(7));
    }

    #[test]
    fn clones_share_the_dice_and_the_clock() {
        let (env, hands) = Env::simulated(UnixMillis(0), 1);
        let clone = env.clone();
        assert_ne!(env.random::<16>(), clone.random::<16>());
        hands.advance(Duration::from_secs(2));
        assert_eq!((env.now(), clone.uptime()), (UnixMillis(2000), Duration::from_secs(2)));
    }
}
