//! How long nodes take lately: the cluster's recent times by kind and size of
//! request, and what they say of a single one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a node is asked to do with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Get,
}

/// A time in cluster medians.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratio {
    /// As it is.
    pub(super) plain: f32,
    /// With what is below the machine's own noise counted as usual.
    pub(super) damped: f32,
}

/// Sizes are told apart by powers of four, from 4 KiB to 2 MiB.
const CLASSES: usize = 6;
/// Fewer times than this say nothing.
const SAMPLES_MIN: u32 = 16;
/// A node that takes this many times the cluster's median is late, even where
/// so many are that the p95 says nothing.
const MEDIANS: u32 = 4;
/// Patience while nothing is known.
const UNKNOWN: Duration = Duration::from_millis(500);
/// Nobody is late before this: what is shorter is the machine's own noise.
const GET_FLOOR: Duration = Duration::from_millis(20);
const PUT_FLOOR: Duration = Duration::from_millis(200);

/// The cluster's recent times.
#[derive(Default)]
pub(super) struct Pace {
    puts: [Histogram; CLASSES],
    gets: [Histogram; CLASSES],
}

impl Pace {
    fn of(&self, kind: Kind, bytes: usize) -> &Histogram {
        let class = ((bytes >> 12).max(1).ilog2().div_ceil(2) as usize).min(CLASSES - 1);
        match kind {
            Kind::Put => &self.puts[class],
            Kind::Get => &self.gets[class],
        }
    }

    pub(super) fn record(&self, kind: Kind, bytes: usize, took: Duration) {
        self.of(kind, bytes).add(took);
    }

    /// After how long a request is late: at the recent p95 for its size, and
    /// no later than at some medians, so that a slow node cannot hide by
    /// being most of the p95.
    pub(super) fn late_after(&self, kind: Kind, bytes: usize) -> Duration {
        let floor = match kind {
            Kind::Put => PUT_FLOOR,
            Kind::Get => GET_FLOOR,
        };
        let recent = self.of(kind, bytes).quantiles();
        recent.map_or(UNKNOWN, |(median, p95)| p95.min(median * MEDIANS)).max(floor)
    }

    /// How many times longer than the cluster's median this took; none while
    /// little is known.
    pub(super) fn ratio(&self, kind: Kind, bytes: usize, took: Duration) -> Option<Ratio> {
        let floor = match kind {
            Kind::Put => PUT_FLOOR,
            Kind::Get => GET_FLOOR,
        } / MEDIANS;
        let (median, _) = self.of(kind, bytes).quantiles()?;
        let beside = |median: Duration| took.as_secs_f32() / median.as_secs_f32();
        Some(Ratio { plain: beside(median), damped: beside(median.max(floor)) })
    }
}

/// Buckets per doubling.
const STEPS: f32 = 4.0;
/// From 100 µs, 20 doublings: to 100 s.
const BUCKETS: usize = 20 * STEPS as usize;
const FIRST_S: f32 = 1e-4;
/// With so many the older ones are halved, so that recent ones count.
const FORGET_AT: u32 = 2048;

/// Recent times on a logarithmic scale.
struct Histogram(Mutex<Counts>);

struct Counts {
    buckets: [u32; BUCKETS],
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Mutex::new(Counts { buckets: [0; BUCKETS], total: 0 }))
    }
}

impl Histogram {
    fn add(&self, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let step = (took.as_secs_f32() / FIRST_S).max(1.0).log2() * STEPS;
        counts.buckets[(step as usize).min(BUCKETS - 1)] += 1;
        counts.total += 1;
        if counts.total >= FORGET_AT {
            counts.buckets.iter_mut().for_each(|count| *count /= 2);
            counts.total = counts.buckets.iter().sum();
        }
    }

    /// Median and p95, as the upper ends of their buckets; none while little
    /// is known.
    fn quantiles(&self) -> Option<(Duration, Duration)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total < SAMPLES_MIN {
            return None;
        }
        let at = |share: f32| {
            let mut left = (counts.total as f32 * share) as i64;
            let bucket = counts.buckets.iter().position(|&count| {
                left -= i64::from(count);
                left < 0
            });
            let end = (bucket.unwrap_or(BUCKETS - 1) + 1) as f32 / STEPS;
            Duration::from_secs_f32(FIRST_S * end.exp2())
        };
        Some((at(0.5), at(0.95)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn late_is_what_the_cluster_says() {
        let pace = Pace::default();
        assert_eq!(pace.late_after(Kind::Get, 1 << 20), UNKNOWN);
        for at in 0..1000 {
            pace.record(Kind::Get, 1 << 20, ms(if at % 12 == 0 { 150 } else { 100 }));
        }
        let late = pace.late_after(Kind::Get, 1 << 20);
        assert!(late > ms(150) && late < ms(190), "{late:?}");
        assert_eq!(pace.late_after(Kind::Get, 4096), UNKNOWN, "another size");
        assert_eq!(pace.late_after(Kind::Put, 1 << 20), UNKNOWN, "another kind");
        let ratio = pace.ratio(Kind::Get, 1 << 20, ms(400)).unwrap().damped;
        assert!(ratio > 3.0 && ratio < 4.5, "{ratio}");
    }

    #[test]
    fn one_slow_node_of_sixteen_does_not_set_the_pace() {
        let pace = Pace::default();
        for at in 0..4000 {
            pace.record(Kind::Put, 2 << 20, ms(if at % 16 == 0 { 30_000 } else { 100 }));
        }
        assert!(pace.late_after(Kind::Put, 2 << 20) < ms(500));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let pace = Pace::default();
        (0..10_000).for_each(|_| pace.record(Kind::Get, 10, ms(1000)));
        (0..6000).for_each(|_| pace.record(Kind::Get, 10, ms(50)));
        assert!(pace.late_after(Kind::Get, 10) < ms(100));
    }

    #[test]
    fn noise_is_not_late() {
        let pace = Pace::default();
        (0..100).for_each(|_| pace.record(Kind::Get, 10, Duration::from_micros(300)));
        assert_eq!(pace.late_after(Kind::Get, 10), GET_FLOOR);
        let ratio = pace.ratio(Kind::Get, 10, ms(5)).unwrap();
        assert!(ratio.damped < 1.5 && ratio.plain > 10.0, "{ratio:?}");
    }
}
