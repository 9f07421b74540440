//! Which shares hold a range of ciphertext, and the range back out of them.

use std::ops::Range;

use super::Layout;
use crate::types::PieceNumber;

/// What to ask of one piece: the shares of consecutive stripes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceStripes {
    /// The data piece.
    pub piece: PieceNumber,
    /// Its stripes; `Layout::range_in_piece` gives their bytes.
    pub stripes: Range<u16>,
}

/// A share that a range needs was not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the share of piece {piece} in stripe {stripe} is missing")]
pub struct MissingShare {
    /// Which piece.
    pub piece: PieceNumber,
    /// Which stripe.
    pub stripe: u16,
}

impl Layout {
    /// Which shares of which data pieces hold a range of ciphertext. What lies
    /// beyond the ciphertext's end is left out.
    pub fn pieces_for(&self, range: Range<u32>) -> Vec<PieceStripes> {
        let Some((first, last)) = self.shares_for(range) else {
            return Vec::new();
        };
        let k = self.required();
        let stripes = |piece: u32| {
            // The piece's shares are numbered piece, piece + k, piece + 2k, …
            let start = first.saturating_sub(piece).div_ceil(k);
            let end = (last + k - piece) / k;
            start as u16..end as u16
        };
        let pieces = (0..k).map(|piece| PieceStripes { piece: PieceNumber(piece as u16), stripes: stripes(piece) });
        pieces.filter(|asked| !asked.stripes.is_empty()).collect()
    }

    /// Which stripes hold a range of ciphertext: those to decode when one of
    /// its data shares is missing.
    pub fn stripes_for(&self, range: Range<u32>) -> Range<u16> {
        match self.shares_for(range) {
            Some((first, last)) => (first / self.required()) as u16..(last / self.required() + 1) as u16,
            None => 0..0,
        }
    }

    /// Appends a range of ciphertext, cut out of verified data shares (without
    /// their MACs). `share` gives a stripe's share of a data piece. After an
    /// error `out` holds part of the range.
    pub fn copy_range<'a>(
        &self,
        range: Range<u32>,
        share: impl Fn(u16, PieceNumber) -> Option<&'a [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), MissingShare> {
        let mut at = range.start;
        let end = range.end.min(self.length());
        while at < end {
            let address = self.locate(at);
            let held = self.range_of_share(address.stripe, address.piece);
            let (from, to) = (address.offset as usize, (held.end.min(end) - held.start) as usize);
            let bytes = share(address.stripe, address.piece)
                .and_then(|share| share.get(from..to))
                .ok_or(MissingShare { piece: address.piece, stripe: address.stripe })?;
            out.extend_from_slice(bytes);
            at = held.end;
        }
        Ok(())
    }

    /// Numbers of the first and last share that hold a range.
    fn shares_for(&self, range: Range<u32>) -> Option<(u32, u32)> {
        let end = range.end.min(self.length());
        let share_bytes = self.share_bytes() as u32;
        (range.start < end).then(|| (range.start / share_bytes, (end - 1) / share_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::Coding;
    use proptest::prelude::*;

    fn layout(required: u16, length: u64) -> Layout {
        Layout::for_length(Coding::new(required, required + 2).unwrap(), length).unwrap()
    }

    #[test]
    fn a_small_range_asks_one_node() {
        let layout = layout(4, 65_552 * 128);
        assert_eq!(layout.pieces_for(65_552 * 5..65_552 * 6), [PieceStripes { piece: PieceNumber(1), stripes: 1..2 }]);
        assert_eq!(layout.pieces_for(0..0), []);
        assert_eq!(layout.pieces_for(layout.length()..u32::MAX), []);
    }

    #[test]
    fn what_lies_beyond_the_end_is_left_out() {
        let layout = layout(4, 10);
        let mut out = Vec::new();
        layout.copy_range(8..99, |_, piece| (piece.0 == 2).then_some(&b"89.."[..]), &mut out).unwrap();
        assert_eq!(out, b"89");
        assert_eq!(layout.pieces_for(8..99), [PieceStripes { piece: PieceNumber(2), stripes: 0..1 }]);
    }

    #[test]
    fn a_missing_or_short_share_is_named() {
        let missing = Err(MissingShare { piece: PieceNumber(1), stripe: 0 });
        let share = |_, piece: PieceNumber| (piece.0 == 0).then_some(&b"0123"[..]);
        assert_eq!(layout(4, 16).copy_range(2..6, share, &mut Vec::new()), missing);
        let share = |_, piece: PieceNumber| Some(if piece.0 == 0 { &b"0123"[..] } else { b"4" });
        assert_eq!(layout(4, 16).copy_range(2..6, share, &mut Vec::new()), missing);
    }

    proptest! {
        #[test]
        fn the_shares_asked_for_are_exactly_those_needed(
            required in 1..=9_u16,
            length in 1..=2_000_000_u32,
            start in 0.0..=1.0_f64,
            size in 0.0..=1.0_f64,
        ) {
            let layout = layout(required, u64::from(length).min(super::super::capacity(Coding::new(required, required).unwrap()) as u64));
            let ciphertext: Vec<u8> = (0..layout.length()).map(|at| (at % 251) as u8).collect();
            let start = (f64::from(layout.length()) * start) as u32;
            let range = start..start + (f64::from(layout.length() - start) * size) as u32;
            let asked = layout.pieces_for(range.clone());
            let used = std::cell::RefCell::new(std::collections::BTreeSet::new());
            let mut out = Vec::new();
            layout.copy_range(range.clone(), |stripe, piece| {
                assert!(asked.iter().any(|asked| asked.piece == piece && asked.stripes.contains(&stripe)));
                used.borrow_mut().insert((stripe, piece));
                let held = layout.range_of_share(stripe, piece);
                Some(&ciphertext[held.start as usize..held.end as usize])
            }, &mut out).unwrap();
            prop_assert_eq!(&out[..], &ciphertext[range.start as usize..range.end as usize]);
            prop_assert_eq!(used.borrow().len(), asked.iter().map(|asked| asked.stripes.len()).sum::<usize>());
            let stripes = layout.stripes_for(range);
            prop_assert!(used.borrow().iter().all(|(stripe, _)| stripes.contains(stripe)));
        }
    }
}
