//! Strangers at a door or an S3 port: at most so many from one source may wait
//! without a word, and so few lines are logged of them that nobody can fill a
//! disk by knocking.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that are logged in one window.
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Connections that have not said who they are, by where they come from: the
/// address, or the first 64 bits of one of IPv6, which one host has whole.
pub struct Crowd {
    per_source: usize,
    waiting: Mutex<HashMap<IpAddr, usize>>,
}

/// A place in the crowd, until it is dropped.
pub struct Place {
    crowd: Arc<Crowd>,
    source: IpAddr,
}

impl Crowd {
    /// A crowd with room for so many from one source.
    pub fn new(per_source: usize) -> Self {
        Self { per_source: per_source.max(1), waiting: Mutex::default() }
    }

    /// A place for one more connection; none if its source has taken enough.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let source = source(peer);
        let mut waiting = self.waiting();
        let count = waiting.entry(source).or_default();
        if *count >= self.per_source {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), source })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.crowd.waiting();
        if let Some(count) = waiting.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.source);
            }
        }
    }
}

fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// Lets the first lines of every window through.
#[derive(Default)]
pub struct Lines(Mutex<Option<(Instant, u32)>>);

impl Lines {
    /// Whether a line may be logged, and how many were left out before it.
    pub fn next(&self, now: Instant) -> Option<u32> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *window {
            Some((since, count)) if now.saturating_duration_since(*since) < WINDOW => {
                *count += 1;
                (*count <= LINES_MAX).then_some(0)
            }
            _ => {
                let left_out = window.map_or(0, |(_, count)| count.saturating_sub(LINES_MAX));
                *window = Some((now, 1));
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_so_many_places_and_others_have_theirs() {
        let crowd = Arc::new(Crowd::new(2));
        let enter = |address: &str| crowd.enter(address.parse().unwrap());
        let (first, second) = (enter("203.0.113.1"), enter("::ffff:203.0.113.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("203.0.113.1").is_none(), "two wait already");
        assert!(enter("203.0.113.2").is_some(), "another source");
        drop(first);
        assert!(enter("203.0.113.1").is_some(), "a place is free again");
        let both = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(enter("2001:db8::3").is_none(), "one host has all addresses of a /64");
        assert!(enter("2001:db8:0:1::3").is_some());
        drop((second, both));
        assert!(crowd.waiting().is_empty(), "nothing is kept of those that went");
    }

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let (lines, begun) = (Lines::default(), Instant::now());
        let said = (0..100).filter(|_| lines.next(begun).is_some()).count();
        assert_eq!(said, LINES_MAX as usize);
        assert_eq!(lines.next(begun + WINDOW), Some(80), "what was left out is told");
        assert_eq!(lines.next(begun + WINDOW), Some(0));
    }
}
