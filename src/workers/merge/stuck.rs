//! Segments of which nothing could be moved: they are left out for a while, so
//! that those beside them merge all the same, and nobody reads them in vain.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::bins::SparseSegment;
use crate::types::SegmentId;

/// After how long one is tried again.
const PAUSE: Duration = Duration::from_secs(6 * 3600);

/// Those that are left out, and since when.
#[derive(Debug, Default)]
pub(super) struct Stuck(HashMap<SegmentId, Instant>);

impl Stuck {
    /// Nothing of these could be moved.
    pub(super) fn note<'a>(&mut self, segments: impl Iterator<Item = &'a SegmentId>, now: Instant) {
        self.0.extend(segments.map(|segment| (*segment, now)));
    }

    /// Takes them out, unless somebody has asked for all to be tried.
    pub(super) fn leave_out(&mut self, sparse: &mut Vec<SparseSegment>, asked: bool, now: Instant) {
        self.0.retain(|_, since| !asked && now.duration_since(*since) < PAUSE);
        sparse.retain(|segment| !self.0.contains_key(&segment.segment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_moved_is_left_out_for_a_while() {
        let segment = |number| SegmentId::from_bytes([number; 16]);
        let sparse = |number| SparseSegment { segment: segment(number), live_bytes: 1, length: 1 };
        let (mut stuck, begun) = (Stuck::default(), Instant::now());
        let mut left = |asked, now| {
            let mut left = vec![sparse(1), sparse(2)];
            stuck.note([segment(2)].iter().filter(|_| now == begun), now);
            stuck.leave_out(&mut left, asked, now);
            left.len()
        };
        assert_eq!(left(false, begun), 1);
        assert_eq!(left(false, begun + PAUSE / 2), 1);
        assert_eq!(left(false, begun + PAUSE), 2);
        assert_eq!(left(true, begun), 2);
    }
}
