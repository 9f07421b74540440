//! A volunteer's limit on bytes per second, shared by all connections of a
//! node; each direction by itself.
//!
//! Connections take turns: each asks for a small quantum, is told from when on
//! it may go, and sleeps until then. Whoever asks first goes first, so that an
//! answer to a ping waits for one quantum of every busy connection and no
//! longer: for 17 connections about a quarter of a second, whatever the limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::tuning::BUFFER_BYTES;

/// A quantum is what the limit allows in this part of a second.
const QUANTA_PER_SECOND: u64 = 64;
/// Smaller quanta would be mostly overhead.
const QUANTUM_BYTES_MIN: usize = 512;
/// What was not used is saved up for so long: timers are late by as much.
const BURST: Duration = Duration::from_millis(50);
/// Limits below this also bound what the kernel takes in ahead of them.
const RECEIVE_BUFFER_BELOW: u64 = 10_000_000;

/// The limit of one node.
#[derive(Debug)]
pub struct Bandwidth {
    bytes_per_s: u64,
    received: Lane,
    sent: Lane,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    bytes_per_s: f64,
    quantum: usize,
    /// When all that was granted so far will have passed.
    free: Mutex<Instant>,
}

/// A connection's turn in one direction.
#[derive(Debug, Default)]
pub(super) struct Turn {
    granted: usize,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Bandwidth {
    /// At most so many bytes per second in each direction (at least 1).
    pub fn new(bytes_per_s: u64) -> Self {
        let lane = || Lane::new(bytes_per_s.max(1));
        Self { bytes_per_s: bytes_per_s.max(1), received: lane(), sent: lane() }
    }

    pub(super) fn received(&self) -> &Lane {
        &self.received
    }

    pub(super) fn sent(&self) -> &Lane {
        &self.sent
    }

    /// What the kernel may take in for one connection before this limit sees
    /// it; none where that makes no difference. Without a bound whole pieces
    /// would lie in the kernel's buffers, and the door, which sees nothing
    /// move any more, would take the node for dead.
    pub(super) fn receive_buffer_bytes(&self) -> Option<u32> {
        let bytes = (self.bytes_per_s / 8).clamp(4 << 10, 256 << 10) as u32;
        (self.bytes_per_s < RECEIVE_BUFFER_BELOW).then_some(bytes)
    }
}

impl Lane {
    fn new(bytes_per_s: u64) -> Self {
        let quantum = (bytes_per_s / QUANTA_PER_SECOND) as usize;
        let quantum = quantum.clamp(QUANTUM_BYTES_MIN, BUFFER_BYTES);
        Self { bytes_per_s: bytes_per_s as f64, quantum, free: Mutex::new(Instant::now()) }
    }

    /// The most that one turn moves.
    pub(super) fn quantum(&self) -> usize {
        self.quantum
    }

    /// Waits until this turn may move up to `wanted` bytes; says how many. The
    /// turn is kept until [`done`](Self::done).
    pub(super) fn poll_turn(&self, turn: &mut Turn, wanted: usize, cx: &mut Context<'_>) -> Poll<usize> {
        if turn.granted == 0 {
            turn.granted = wanted.clamp(1, self.quantum);
            let now = Instant::now();
            let from = self.reserve(now, turn.granted);
            turn.wait = (from > now).then(|| Box::pin(tokio::time::sleep_until(from)));
        }
        if let Some(wait) = &mut turn.wait {
            ready!(wait.as_mut().poll(cx));
            turn.wait = None;
        }
        Poll::Ready(turn.granted)
    }

    /// Ends a turn, and gives back what it did not use.
    pub(super) fn done(&self, turn: &mut Turn, used: usize) {
        let left = turn.granted.saturating_sub(used);
        turn.granted = 0;
        if left > 0 {
            let mut free = self.free();
            *free = free.checked_sub(self.time(left)).unwrap_or(*free);
        }
    }

    /// From when on so many bytes may pass.
    fn reserve(&self, now: Instant, bytes: usize) -> Instant {
        let mut free = self.free();
        let from = (*free).max(now.checked_sub(BURST).unwrap_or(now));
        *free = from + self.time(bytes);
        from
    }

    fn time(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_s)
    }

    fn free(&self) -> MutexGuard<'_, Instant> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's share in the limit, if there is one.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) bandwidth: Option<Arc<Bandwidth>>,
    pub(super) receiving: Turn,
    pub(super) sending: Turn,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that move a quantum as soon as they may, for so long.
    /// Returns how many bytes passed and how long a small one that asks every
    /// 777 ms had to wait at most.
    fn rush(bytes_per_s: u64, connections: usize, time: Duration) -> (usize, Duration) {
        let lane = Lane::new(bytes_per_s);
        let begun = Instant::now();
        let mut due = vec![begun; connections];
        let (mut passed, mut longest, mut small) = (0, Duration::ZERO, begun);
        loop {
            let at = (0..connections).min_by_key(|at| due[*at]).unwrap();
            let now = due[at];
            if now >= begun + time {
                return (passed, longest);
            }
            if now >= small {
                longest = longest.max(lane.reserve(now, 300).saturating_duration_since(now));
                small = now + Duration::from_millis(777);
            }
            due[at] = lane.reserve(now, lane.quantum()).max(now);
            passed += lane.quantum();
        }
    }

    #[test]
    fn bytes_pass_at_the_rate_however_many_ask() {
        for (rate, connections) in [(100_000, 1), (1_000_000, 17), (50_000_000, 64)] {
            let (passed, _) = rush(rate, connections, Duration::from_secs(20));
            let ratio = passed as f64 / (20 * rate) as f64;
            assert!((0.98..1.06).contains(&ratio), "{rate}: {ratio}");
        }
    }

    #[test]
    fn little_passes_soon_while_others_send_much() {
        for rate in [10_000, 1_000_000, 100_000_000] {
            let (_, longest) = rush(rate, 17, Duration::from_secs(20));
            assert!(longest < Duration::from_secs(1), "{rate}: {longest:?}");
        }
    }

    #[test]
    fn what_was_not_used_is_given_back_and_idleness_is_hardly_saved_up() {
        let lane = Lane::new(64_000);
        let now = Instant::now() + Duration::from_secs(100);
        let mut from = now;
        for _ in 0..64 {
            from = lane.reserve(now, 1000);
            lane.done(&mut Turn { granted: 1000, wait: None }, 500);
        }
        let millis = (from - now).as_millis();
        assert!((420..=460).contains(&millis), "{millis}");
    }

    #[test]
    fn kernel_buffers_are_bounded_for_slow_nodes_only() {
        assert_eq!(Bandwidth::new(20_000_000).receive_buffer_bytes(), None);
        assert_eq!(Bandwidth::new(1_000_000).receive_buffer_bytes(), Some(125_000));
        assert_eq!(Bandwidth::new(0).receive_buffer_bytes(), Some(4096));
    }
}
