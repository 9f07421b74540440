//! How a segment's ciphertext lies in stripes, shares and pieces.

use std::ops::Range;

use crate::erasure::{Coding, CodingError};
use crate::types::PieceNumber;
use crate::types::limits::{MAC_BYTES, SEALED_BLOCK_BYTES, STRIPES_MAX};

/// Bytes of a stored layout.
pub const LAYOUT_BYTES: usize = 16;

const FORMAT: u8 = 1;

/// The shape of a segment, fixed for life. It follows from the coding and the
/// length; what is stored is checked against that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    coding: Coding,
    share_bytes: u32,
    stripes: u16,
    length: u32,
}

/// Where a byte of ciphertext lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareAddress {
    /// The stripe, from 0.
    pub stripe: u16,
    /// The data piece.
    pub piece: PieceNumber,
    /// The byte's offset in the share.
    pub offset: u32,
}

/// Why there is no such layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No ciphertext, or more than a segment of this coding holds.
    #[error("a segment of this coding holds 1 to {capacity} bytes, not {length}")]
    Length {
        /// Bytes of ciphertext that were asked for.
        length: u64,
        /// Bytes that a segment of this coding holds at most.
        capacity: usize,
    },
    /// Stored bytes in a format of another version.
    #[error("segment layout of format {0}; this version knows format {FORMAT}")]
    Format(u8),
    /// Stored bytes that no layout has.
    #[error("the segment's layout is damaged: {0}")]
    Damaged(&'static str),
    /// A coding that does not exist.
    #[error(transparent)]
    Coding(#[from] CodingError),
}

/// Bytes of ciphertext that a segment of this coding holds at most: 32 stripes
/// of k sealed blocks.
pub fn capacity(coding: Coding) -> usize {
    STRIPES_MAX * stripe_capacity(coding)
}

fn stripe_capacity(coding: Coding) -> usize {
    usize::from(coding.required()) * SEALED_BLOCK_BYTES
}

impl Layout {
    /// The layout of a segment with so many bytes of ciphertext (1 to
    /// `capacity(coding)`): as few stripes as possible, and then the shortest
    /// shares that hold it. In a full segment a share is one sealed block.
    pub fn for_length(coding: Coding, length: u64) -> Result<Self, LayoutError> {
        let fits = usize::try_from(length).is_ok_and(|length| (1..=capacity(coding)).contains(&length));
        if !fits {
            return Err(LayoutError::Length { length, capacity: capacity(coding) });
        }
        let stripes = length.div_ceil(stripe_capacity(coding) as u64);
        let shares = stripes * u64::from(coding.required());
        let share_bytes = length.div_ceil(shares).next_multiple_of(2);
        Ok(Self { coding, share_bytes: share_bytes as u32, stripes: stripes as u16, length: length as u32 })
    }

    /// The stored form; the module's documentation has its byte table.
    pub fn to_bytes(&self) -> [u8; LAYOUT_BYTES] {
        let mut bytes = [0; LAYOUT_BYTES];
        bytes[0] = FORMAT;
        bytes[1] = self.coding.codec() as u8;
        bytes[2..4].copy_from_slice(&self.coding.required().to_be_bytes());
        bytes[4..6].copy_from_slice(&self.coding.total().to_be_bytes());
        bytes[6..10].copy_from_slice(&self.share_bytes.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.stripes.to_be_bytes());
        bytes[12..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// The layout from its stored form. Strict: share length and stripes must
    /// be those that follow from coding and length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        if let Some(&format) = bytes.first()
            && format != FORMAT
        {
            return Err(LayoutError::Format(format));
        }
        let bytes: &[u8; LAYOUT_BYTES] = bytes.try_into().map_err(|_| LayoutError::Damaged("it has not 16 bytes"))?;
        let [_, codec, k0, k1, n0, n1, .., l0, l1, l2, l3] = *bytes;
        let coding = Coding::from_numbers(codec, u16::from_be_bytes([k0, k1]), u16::from_be_bytes([n0, n1]))?;
        let layout = Self::for_length(coding, u32::from_be_bytes([l0, l1, l2, l3]).into())?;
        if layout.to_bytes() != *bytes {
            return Err(LayoutError::Damaged("its shares do not follow from its length"));
        }
        Ok(layout)
    }

    /// The coding.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Bytes of a share, without its MAC.
    pub fn share_bytes(&self) -> usize {
        self.share_bytes as usize
    }

    /// Number of stripes.
    pub fn stripes(&self) -> u16 {
        self.stripes
    }

    /// Bytes of ciphertext in the segment.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Bytes of every one of the n pieces, with the MACs.
    pub fn piece_bytes(&self) -> usize {
        usize::from(self.stripes) * self.record_bytes()
    }

    /// Where in a piece the shares of these stripes and their MACs lie, in
    /// bytes. One stripe's is what `MacKey::verify_share` takes.
    pub fn range_in_piece(&self, stripes: Range<u16>) -> Range<usize> {
        usize::from(stripes.start) * self.record_bytes()..usize::from(stripes.end) * self.record_bytes()
    }

    /// Where a byte of ciphertext lies. `offset` is below `length()`.
    pub fn locate(&self, offset: u32) -> ShareAddress {
        let share = offset / self.share_bytes;
        let (stripe, piece) = (share / self.required(), share % self.required());
        ShareAddress { stripe: stripe as u16, piece: PieceNumber(piece as u16), offset: offset % self.share_bytes }
    }

    /// Which ciphertext a data share holds: empty where it is padding alone.
    pub fn range_of_share(&self, stripe: u16, piece: PieceNumber) -> Range<u32> {
        let share = u64::from(stripe) * u64::from(self.required()) + u64::from(piece.0);
        let at = |share: u64| (share * u64::from(self.share_bytes)).min(self.length.into()) as u32;
        at(share)..at(share + 1)
    }

    pub(super) fn required(&self) -> u32 {
        self.coding.required().into()
    }

    pub(super) fn record_bytes(&self) -> usize {
        self.share_bytes() + MAC_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(required: u16, total: u16, length: u64) -> Layout {
        Layout::for_length(Coding::new(required, total).unwrap(), length).unwrap()
    }

    #[test]
    fn a_full_share_is_one_sealed_block() {
        let coding = Coding::new(4, 8).unwrap();
        assert_eq!(capacity(coding), 32 * 4 * 65_552);
        let full = layout(4, 8, capacity(coding) as u64);
        assert_eq!((full.share_bytes(), full.stripes()), (65_552, 32));
        assert_eq!(full.piece_bytes(), 32 * (65_552 + 16));
        let error = Layout::for_length(coding, capacity(coding) as u64 + 1).unwrap_err();
        assert_eq!(error.to_string(), "a segment of this coding holds 1 to 8390656 bytes, not 8390657");
        assert!(Layout::for_length(coding, 0).is_err());
        assert!(Layout::for_length(coding, 1 << 32).is_err());
    }

    #[test]
    fn small_segments_have_short_shares() {
        for (length, share_bytes, stripes) in
            [(1, 2, 1), (8, 2, 1), (9, 4, 1), (262_207, 65_552, 1), (262_208, 65_552, 1), (262_209, 32_778, 2)]
        {
            let layout = layout(4, 8, length);
            assert_eq!((layout.share_bytes(), layout.stripes()), (share_bytes, stripes), "{length}");
        }
    }

    #[test]
    fn bytes_are_where_the_format_says() {
        let layout = layout(3, 5, 65_552 * 7);
        let address = |stripe, piece, offset| ShareAddress { stripe, piece: PieceNumber(piece), offset };
        let share = layout.share_bytes() as u32;
        assert_eq!(layout.stripes(), 3);
        assert_eq!(layout.locate(0), address(0, 0, 0));
        assert_eq!(layout.locate(share - 1), address(0, 0, share - 1));
        assert_eq!(layout.locate(share), address(0, 1, 0));
        assert_eq!(layout.locate(3 * share + 5), address(1, 0, 5));
        assert_eq!(layout.range_in_piece(1..3), layout.record_bytes()..3 * layout.record_bytes());
    }

    /// The stored format.
    #[test]
    fn stored_bytes_are_as_written_down() {
        let bytes = [1, 2, 0, 29, 0, 80, 0, 1, 0, 0x10, 0, 32, 0x03, 0xa0, 0x3a, 0];
        let layout = layout(29, 80, 29 * 32 * 65_552);
        assert_eq!(layout.to_bytes(), bytes);
        assert_eq!(Layout::from_bytes(&bytes), Ok(layout));
    }

    #[test]
    fn every_changed_byte_of_a_stored_layout_is_refused_or_another_layout() {
        let good = layout(4, 8, 100_000).to_bytes();
        for at in 0..LAYOUT_BYTES {
            let mut bytes = good;
            bytes[at] ^= 1;
            if let Ok(other) = Layout::from_bytes(&bytes) {
                assert_eq!(other.to_bytes(), bytes);
            }
        }
        assert_eq!(Layout::from_bytes(&[2; 16]), Err(LayoutError::Format(2)));
        for length in [0, 15, 17] {
            assert!(matches!(Layout::from_bytes(&[1; 17][..length]), Err(LayoutError::Damaged(_))), "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_layout_holds_its_ciphertext(required in 1..=40_u16, more in 0..=40_u16, part in 0.0..=1.0_f64) {
            let coding = Coding::new(required, required + more).unwrap();
            let length = ((capacity(coding) as f64 * part) as u64).max(1);
            let layout = Layout::for_length(coding, length).unwrap();
            let shares = u64::from(required) * u64::from(layout.stripes());
            prop_assert!(shares * layout.share_bytes() as u64 >= length);
            prop_assert!(shares * (layout.share_bytes() as u64 - 2) < length);
            prop_assert!(layout.share_bytes() <= SEALED_BLOCK_BYTES && layout.share_bytes().is_multiple_of(2));
            prop_assert_eq!(Layout::from_bytes(&layout.to_bytes()), Ok(layout));
            let last = layout.locate(length as u32 - 1);
            prop_assert!(last.stripe < layout.stripes());
            let range = layout.range_of_share(last.stripe, last.piece);
            prop_assert_eq!(range.end, length as u32);
            prop_assert_eq!(range.start + last.offset, length as u32 - 1);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(layout) = Layout::from_bytes(&bytes) {
                prop_assert_eq!(&layout.to_bytes()[..], &bytes[..]);
            }
        }
    }
}
