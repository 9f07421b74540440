//! What is counted of requests: by operation and class of status, never by
//! bucket or key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Classes of status, and those of hyper's and ours that are none of them.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    requests: BTreeMap<(String, &'static str), u64>,
    received_bytes: u64,
    sent_bytes: u64,
    durations: [u64; Meter::BOUNDS_S.len() + 1],
    time: Duration,
}

/// What was counted until now.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered {
    /// Operation, class of status, and how many.
    pub requests: Vec<(String, &'static str, u64)>,
    /// Bytes of requests' bodies.
    pub received_bytes: u64,
    /// Bytes of answers' bodies.
    pub sent_bytes: u64,
    /// Requests that took at most so long, by [`Meter::BOUNDS_S`], and longer.
    pub durations: Vec<u64>,
    /// What all of them took together.
    pub seconds: f64,
}

/// A request that was answered.
pub(super) struct Request<'a> {
    /// What it asked for; none if that was not understood.
    pub(super) operation: Option<&'a dyn fmt::Debug>,
    pub(super) status: u16,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) took: Duration,
}

impl Meter {
    /// The upper bounds of the classes of durations, in seconds.
    pub const BOUNDS_S: [f64; 7] = [0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

    pub(super) fn count(&self, request: &Request<'_>) {
        let operation = request.operation.map_or_else(|| "unknown".to_owned(), |operation| format!("{operation:?}"));
        let class = CLASSES[usize::from((request.status / 100).clamp(1, 5) - 1)];
        let took_s = request.took.as_secs_f64();
        let bucket = Self::BOUNDS_S.iter().position(|bound| took_s <= *bound).unwrap_or(Self::BOUNDS_S.len());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.requests.entry((operation, class)).or_default() += 1;
        counts.received_bytes += request.received_bytes;
        counts.sent_bytes += request.sent_bytes;
        counts.durations[bucket] += 1;
        counts.time += request.took;
    }

    /// What was counted until now.
    pub fn read(&self) -> Metered {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = counts.requests.iter().map(|((operation, class), count)| (operation.clone(), *class, *count));
        Metered {
            requests: requests.collect(),
            received_bytes: counts.received_bytes,
            sent_bytes: counts.sent_bytes,
            durations: counts.durations.to_vec(),
            seconds: counts.time.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_were() {
        let meter = Meter::default();
        let request = |status, took_ms| Request {
            operation: Some(&"GetObject"),
            status,
            received_bytes: 1,
            sent_bytes: 10,
            took: Duration::from_millis(took_ms),
        };
        for (status, took) in [(200, 5), (206, 30), (404, 700), (999, 100_000)] {
            meter.count(&request(status, took));
        }
        meter.count(&Request { operation: None, ..request(400, 0) });
        let read = meter.read();
        let name = || "\"GetObject\"".to_owned();
        let expected = [(name(), "2xx", 2), (name(), "4xx", 1), (name(), "5xx", 1), ("unknown".to_owned(), "4xx", 1)];
        assert_eq!(read.requests, expected);
        assert_eq!((read.received_bytes, read.sent_bytes), (5, 50));
        assert_eq!(read.durations, [2, 0, 1, 0, 1, 0, 0, 1]);
    }
}
