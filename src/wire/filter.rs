//! What a node is told to compare its pieces with: Bloom filters over piece
//! ids. A filter contains every id that was put into it, for certain, and any
//! other one with a chance of less than 1 % if it was made for as many as it got.
//!
//! A [`PieceFilter`] in bytes:
//!
//! ```text
//! offset  bytes  content
//!      0      1  format: 1
//!      1      1  bits of each id, 1 to 16
//!      2      8  salt, big-endian: what two filters wrongly contain differs
//!     10    1-   bit i of the filter is bit i % 8 of byte i / 8
//! ```
//!
//! [`Known`] is both filters of a node: 4 bytes with the length of the first
//! one, big-endian, then the first one, then the second one.

use super::{InventoryEntry, WireError};
use crate::types::limits::{FILTER_BYTES_MAX, KNOWN_BYTES_MAX};
use crate::types::{Epoch, PieceId};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 10;
/// Bits per id: what has 0.8 % of all others be contained.
const BITS_PER_PIECE: u64 = 10;
const PROBES: u8 = 7;
const PROBES_MAX: u8 = 16;

/// A set of piece ids, about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceFilter {
    salt: u64,
    probes: u8,
    bits: Vec<u8>,
}

impl PieceFilter {
    /// One with room for so many ids. With more in it, and beyond
    /// [`FILTER_BYTES_MAX`], more of the others are contained.
    pub fn new(pieces: u64, salt: u64) -> Self {
        let bytes = pieces.saturating_mul(BITS_PER_PIECE).div_ceil(8).max(8);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(FILTER_BYTES_MAX - HEADER_BYTES);
        Self { salt, probes: PROBES, bits: vec![0; bytes] }
    }

    /// Puts an id in.
    pub fn insert(&mut self, id: &PieceId) {
        for probe in 0..self.probes {
            let bit = self.bit(id, probe);
            self.bits[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether an id was put in; for others seldom.
    pub fn contains(&self, id: &PieceId) -> bool {
        (0..self.probes).all(|probe| {
            let bit = self.bit(id, probe);
            self.bits[bit / 8] & 1 << (bit % 8) != 0
        })
    }

    /// Which bit: both halves of the id are mixed with the salt, and their
    /// multiples are as good as one hash for each probe (Kirsch, Mitzenmacher).
    fn bit(&self, id: &PieceId, probe: u8) -> usize {
        let (halves, _) = id.as_bytes().as_chunks::<8>();
        let first = mix(u64::from_be_bytes(halves[0]) ^ self.salt);
        let second = mix(u64::from_be_bytes(halves[1]).wrapping_add(self.salt)) | 1;
        let hash = first.wrapping_add(second.wrapping_mul(probe.into()));
        ((u128::from(hash) * (self.bits.len() as u128 * 8)) >> 64) as usize
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_bytes());
        bytes.extend([FORMAT, self.probes]);
        bytes.extend(self.salt.to_be_bytes());
        bytes.extend(&self.bits);
        bytes
    }

    /// How many bytes these are.
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.bits.len()
    }

    /// Reads one (at most 8 MiB).
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        WireError::limit("filter", bytes.len(), FILTER_BYTES_MAX)?;
        match bytes.split_first_chunk::<HEADER_BYTES>() {
            Some(([FORMAT, probes @ 1..=PROBES_MAX, salt @ ..], bits)) if !bits.is_empty() => {
                Ok(Self { salt: u64::from_be_bytes(*salt), probes: *probes, bits: bits.to_vec() })
            }
            _ => Err(WireError::malformed("filter", "its first bytes are not those of a filter, or it ends there")),
        }
    }
}

/// Every bit of the number decides about every bit of what comes out.
fn mix(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// What the database knows of a node's pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Those that lists name: they are to be there, and not in the trash.
    pub named: PieceFilter,
    /// Those that are condemned already: nothing has to be said of them.
    pub dead: PieceFilter,
}

impl Known {
    /// Whether a piece contradicts that: one that is named is in the trash, or
    /// one that nobody knows of is older than all that is still being written.
    pub fn contradicts(&self, entry: &InventoryEntry, before: Epoch) -> bool {
        let is_wrong = match self.named.contains(&entry.id) {
            true => entry.trashed,
            false => entry.epoch < before,
        };
        is_wrong && !self.dead.contains(&entry.id)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let named = self.named.encode();
        let length = u32::try_from(named.len()).expect("a filter has at most 8 MiB");
        [&length.to_be_bytes()[..], &named, &self.dead.encode()].concat()
    }

    /// Reads them.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        WireError::limit("filters", bytes.len(), KNOWN_BYTES_MAX)?;
        let cut = || WireError::malformed("filters", "they are cut");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (named, dead) = rest.split_at_checked(length).ok_or_else(cut)?;
        Ok(Self { named: PieceFilter::decode(named)?, dead: PieceFilter::decode(dead)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids as an HMAC gives them, more or less.
    fn id(number: u64) -> PieceId {
        let half = |seed| mix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed));
        PieceId::from_bytes((u128::from(half(1)) << 64 | u128::from(half(2))).to_be_bytes())
    }

    fn filter(pieces: u64, salt: u64) -> PieceFilter {
        let mut filter = PieceFilter::new(pieces, salt);
        (0..pieces).for_each(|number| filter.insert(&id(number)));
        filter
    }

    #[test]
    fn it_contains_what_was_put_in_and_one_in_a_hundred_others() {
        for (pieces, salt) in [(1, 1), (100, 2), (20_000, 3), (200_000, u64::MAX)] {
            let filter = filter(pieces, salt);
            assert!((0..pieces).all(|number| filter.contains(&id(number))), "{pieces}: one was left out");
            let others = 100_000;
            let wrong = (pieces..pieces + others).filter(|number| filter.contains(&id(*number))).count();
            assert!(wrong as u64 * 100 <= others, "{pieces}: {wrong} of {others} others are contained");
        }
    }

    /// What one filter does not find, the next one does.
    #[test]
    fn another_salt_is_wrong_about_others() {
        let (one, other) = (filter(20_000, 4), filter(20_000, 5));
        let wrong = |filter: &PieceFilter| (20_000..520_000).filter(|number| filter.contains(&id(*number))).count();
        let both = (20_000..520_000).filter(|number| one.contains(&id(*number)) && other.contains(&id(*number)));
        let (both, wrong) = (both.count(), wrong(&one));
        assert!(wrong > 1000 && both * 20 < wrong, "{both} of {wrong}");
    }

    #[test]
    fn too_many_ids_are_contained_all_the_same() {
        let mut filter = PieceFilter::new(10, 1);
        (0..10_000).for_each(|number| filter.insert(&id(number)));
        assert!((0..10_000).all(|number| filter.contains(&id(number))));
        assert_eq!(PieceFilter::new(u64::MAX, 1).encoded_bytes(), FILTER_BYTES_MAX);
    }

    #[test]
    fn filters_survive_their_encoding() {
        let known = Known { named: filter(1000, 6), dead: filter(3, 7) };
        assert_eq!(Known::decode(&known.encode()), Ok(known.clone()));
        let bytes = known.encode();
        for cut in [0, 3, 4, 13, bytes.len() - known.dead.encoded_bytes() + HEADER_BYTES] {
            assert!(Known::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        let good = filter(3, 1).encode();
        for (at, value) in [(0, 0), (0, 2), (1, 0), (1, 17)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(PieceFilter::decode(&bad).is_err(), "{at} {value}");
        }
        assert!(PieceFilter::decode(&vec![1; FILTER_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn only_what_is_old_and_unknown_or_named_and_in_the_trash_is_told() {
        let known = Known {
            named: filter(10, 1),
            dead: {
                let mut dead = PieceFilter::new(9, 2);
                dead.insert(&id(50));
                dead
            },
        };
        let tells = |number, epoch, trashed| {
            let entry = InventoryEntry { id: id(number), epoch: Epoch(epoch), length: 1, trashed };
            known.contradicts(&entry, Epoch(7))
        };
        assert!(!tells(3, 1, false), "a piece that is named");
        assert!(tells(3, 1, true) && tells(3, 9, true), "it is in the trash");
        assert!(tells(60, 6, false) && tells(60, 6, true), "nobody knows of it");
        assert!(!tells(60, 7, false) && !tells(60, 8, true), "it may still be committed");
        assert!(!tells(50, 1, false) && !tells(50, 1, true), "it is condemned already");
    }
}
