//! Which segments become one: as many as fit, the smallest first, and only
//! where it is worth what it costs to move them.

use crate::types::SegmentId;

/// So many segments are merged even if they do not fill one: what comes little
/// by little is moved a few times in its life, not each time that more comes.
const ENOUGH: usize = 8;

/// A segment of which at most half a full one is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct SparseSegment {
    pub(super) segment: SegmentId,
    /// Bytes of it that streams use.
    pub(super) live_bytes: u64,
    /// Bytes of it.
    pub(super) length: u64,
}

/// Segments that become one.
pub(super) type Bin = Vec<SegmentId>;

/// Puts segments together that fit into one of `capacity` bytes.
pub(super) fn pack(mut sparse: Vec<SparseSegment>, capacity: u64) -> Vec<Bin> {
    sparse.sort_by_key(|segment| (segment.live_bytes, segment.segment));
    let (mut bins, mut bin, mut used) = (Vec::new(), Vec::new(), 0);
    for segment in sparse {
        if used + segment.live_bytes > capacity {
            bins.push(std::mem::take(&mut bin));
            used = 0;
        }
        used += segment.live_bytes;
        bin.push(segment);
    }
    bins.push(bin);
    bins.retain(|bin| is_worth_it(bin, capacity));
    bins.into_iter().map(|bin| bin.into_iter().map(|segment| segment.segment).collect()).collect()
}

/// A segment that is nearly full, far fewer segments, or a good part of a
/// segment's bytes back.
fn is_worth_it(bin: &[SparseSegment], capacity: u64) -> bool {
    let live: u64 = bin.iter().map(|segment| segment.live_bytes).sum();
    let bytes: u64 = bin.iter().map(|segment| segment.length).sum();
    let is_full = bin.len() > 1 && live >= capacity / 4 * 3;
    is_full || bin.len() >= ENOUGH || bytes.saturating_sub(live) >= capacity / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse(number: u8, live_bytes: u64, length: u64) -> SparseSegment {
        SparseSegment { segment: SegmentId::from_bytes([number; 16]), live_bytes, length }
    }

    fn sizes(bins: &[Bin]) -> Vec<usize> {
        bins.iter().map(Vec::len).collect()
    }

    #[test]
    fn many_small_ones_fill_few() {
        let small: Vec<_> = (0..100).map(|number| sparse(number, 10, 10)).collect();
        assert_eq!(sizes(&pack(small, 300)), [30, 30, 30, 10]);
    }

    #[test]
    fn a_few_small_ones_wait_for_more() {
        let small = |count| (0..count).map(|number| sparse(number, 10, 10)).collect::<Vec<_>>();
        assert!(pack(small(7), 1000).is_empty() && pack(Vec::new(), 1000).is_empty());
        assert_eq!(sizes(&pack(small(8), 1000)), [8]);
    }

    #[test]
    fn what_is_mostly_dead_gives_its_bytes_back() {
        assert_eq!(sizes(&pack(vec![sparse(1, 400, 1000)], 1000)), [1]);
        assert!(pack(vec![sparse(1, 400, 500)], 1000).is_empty(), "it would only be moved");
        assert_eq!(sizes(&pack(vec![sparse(1, 400, 400), sparse(2, 400, 400)], 1000)), [2]);
    }
}
