//! How much data would still fit: free space counts only as far as the pieces
//! of a segment find different failure domains.

use crate::erasure::Scheme;
use crate::types::limits::{BLOCK_BYTES, MAC_BYTES, SEALED_BLOCK_BYTES};

/// Bytes of data that fit into domains with this much room each, in bytes of
/// pieces, when every segment places `total` pieces in different ones (or one
/// in each domain, where a write could still be acknowledged with that).
pub(super) fn room_for_data(rooms: &[u64], scheme: Scheme) -> u64 {
    let open = rooms.iter().filter(|room| **room > 0).count();
    let pieces = open.min(scheme.total().into());
    if pieces < scheme.optimal().into() {
        return 0;
    }
    let each = u128::from(room_for_each(rooms, pieces));
    let (block, share) = (BLOCK_BYTES as u128, (SEALED_BLOCK_BYTES + MAC_BYTES) as u128);
    (each * u128::from(scheme.required()) * block / share).try_into().unwrap_or(u64::MAX)
}

/// The largest s such that `pieces` piles of s bytes can be spread over the
/// domains without a domain holding bytes of the same row of two piles: the
/// sum of min(room, s) must be at least `pieces` times s.
fn room_for_each(rooms: &[u64], pieces: usize) -> u64 {
    let fits = |each: u64| {
        let sum: u128 = rooms.iter().map(|room| u128::from(*room.min(&each))).sum();
        sum >= u128::from(each) * pieces as u128
    };
    let all: u128 = rooms.iter().map(|room| u128::from(*room)).sum();
    let most = u64::try_from(all / pieces.max(1) as u128).unwrap_or(u64::MAX);
    let (mut fitting, mut too_much) = (0, most.saturating_add(1));
    while too_much - fitting > 1 {
        let middle = fitting + (too_much - fitting) / 2;
        if fits(middle) { fitting = middle } else { too_much = middle }
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(rooms: &[u64], scheme: &str) -> u64 {
        // With what seals and MACs take, to count by hand.
        room_for_data(rooms, scheme.parse().unwrap()) / 65_536 * 65_568
    }

    /// Room for a thousand shares.
    const M: u64 = 65_568_000;

    #[test]
    fn room_is_counted_by_hand() {
        assert_eq!(room(&[M; 8], "4/5/7/8"), 4 * M);
        assert_eq!(room(&[M], "1/1/1/1"), M);
        assert_eq!(room(&[M, M], "1/1/2/2"), M);
        // Twelve domains take eight pieces of each segment in turns.
        assert_eq!(room(&[M; 12], "4/5/7/8"), 6 * M);
    }

    #[test]
    fn a_giant_does_not_help_the_small_ones() {
        assert_eq!(room(&[M, M, 1000 * M], "1/1/2/3"), M);
        assert_eq!(room(&[M, M, 2 * M, 1000 * M], "1/1/2/3"), 2 * M);
    }

    #[test]
    fn one_that_is_full_may_be_missing_as_long_as_writes_are_acknowledged() {
        assert_eq!(room(&[M, M, M, M, M, M, M, 0], "4/5/7/8"), 4 * M);
        assert_eq!(room(&[M, M, M, M, M, M, 0, 0], "4/5/7/8"), 0);
        assert_eq!(room(&[], "1/1/1/1"), 0);
        assert!(room(&[u64::MAX; 3], "1/1/2/3") > u64::MAX / 2);
    }
}
