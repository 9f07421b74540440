//! Any k shares of a stripe in, whichever others are wanted out.
//!
//! reed-solomon-simd's own decoder costs 165 µs a call however little is
//! missing. Here the coefficients are computed once for an erasure pattern;
//! a stripe then costs one multiply-add per share held and share wanted.

use std::sync::LazyLock;

use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_MODULUS, GfElement};

use super::coding::check_share_bytes;
use super::field::{ONE, log};
use super::generator::{Generator, combine, invert};
use super::{Coding, CodingError};
use crate::types::PieceNumber;

/// How to compute the shares that are wanted from the k that are there, for
/// every stripe of a segment. Plans for the same coding share their matrix.
pub struct Recovery {
    required: usize,
    wanted: Vec<Sum>,
}

impl Recovery {
    /// Plans to compute the shares of the pieces in `want` (data or parity, in
    /// any order, also ones that are there) from those of the pieces in
    /// `have`, which are exactly k different ones.
    pub fn plan(coding: Coding, have: &[PieceNumber], want: &[PieceNumber]) -> Result<Self, CodingError> {
        check_pieces(coding, have, want)?;
        let generator = Generator::of(coding);
        let rows = have.iter().map(|piece| generator.row(piece.0.into())).collect();
        let inverse = invert(rows).expect("any k rows of a Reed-Solomon generator matrix are independent");
        let wanted = want.iter().map(|piece| Sum::new(&combine(&generator.row(piece.0.into()), &inverse))).collect();
        Ok(Self { required: coding.required().into(), wanted })
    }

    /// Computes one stripe: `shares` in the order of the plan's `have`, `out`
    /// in the order of its `want`, all of one even length.
    ///
    /// # Panics
    /// If there are more or fewer shares, or one of another length.
    pub fn recover(&self, shares: &[&[u8]], out: &mut [&mut [u8]]) {
        assert_eq!(shares.len(), self.required, "shares to recover from");
        assert_eq!(out.len(), self.wanted.len(), "shares to recover");
        let share_bytes = shares[0].len();
        check_share_bytes(share_bytes).expect("a share's length");
        assert!(shares.iter().all(|share| share.len() == share_bytes), "a share has another length");
        assert!(out.iter().all(|share| share.len() == share_bytes), "a share to recover has another length");
        // All that is wanted of one stretch before the next: what is read
        // stays in the processor's first cache.
        for start in (0..share_bytes).step_by(STRETCH_BYTES) {
            let stretch = start..share_bytes.min(start + STRETCH_BYTES);
            for (sum, out) in self.wanted.iter().zip(out.iter_mut()) {
                sum.compute(shares, stretch.start, &mut out[stretch.clone()]);
            }
        }
    }
}

fn check_pieces(coding: Coding, have: &[PieceNumber], want: &[PieceNumber]) -> Result<(), CodingError> {
    let mut different = have.to_vec();
    different.sort_unstable();
    different.dedup();
    let possible = have.iter().chain(want).all(|piece| piece.0 < coding.total());
    if have.len() != usize::from(coding.required()) || different.len() != have.len() || !possible {
        return Err(CodingError::Pieces { required: coding.required(), total: coding.total() });
    }
    Ok(())
}

/// Bytes that are computed at a time: a multiple of 64, so that only a share's
/// end has the layout of a last stretch.
const STRETCH_BYTES: usize = 4096;

static ENGINE: LazyLock<DefaultEngine> = LazyLock::new(DefaultEngine::new);

/// A sum of multiples of shares, arranged as Horner did for polynomials:
/// `a·x + b·y` is `(x · a/b + y) · b`. The engine multiplies in place, so this
/// way nothing has to be copied first.
struct Sum {
    /// A share's index among those that are there, and the logarithm of what
    /// to multiply by once it was added.
    steps: Vec<(usize, GfElement)>,
}

impl Sum {
    fn new(coefficients: &[GfElement]) -> Self {
        let terms: Vec<(usize, GfElement)> =
            coefficients.iter().copied().enumerate().filter(|(_, coefficient)| *coefficient != 0).collect();
        let following = terms.iter().skip(1).map(|(_, coefficient)| *coefficient).chain([ONE]);
        let steps = terms.iter().zip(following).map(|(&(index, this), next)| (index, log_ratio(this, next))).collect();
        Self { steps }
    }

    fn compute(&self, shares: &[&[u8]], start: usize, out: &mut [u8]) {
        let end = start + out.len();
        if let [(index, 0)] = self.steps[..] {
            return out.copy_from_slice(&shares[index][start..end]);
        }
        out.fill(0);
        let (whole, tail) = out.as_chunks_mut::<64>();
        let mut last = [[0; 64]];
        for &(index, log_m) in &self.steps {
            let (share, share_tail) = shares[index][start..end].as_chunks::<64>();
            add(whole.as_flattened_mut(), share.as_flattened());
            add_tail(&mut last[0], share_tail);
            if log_m != 0 {
                ENGINE.mul(whole, log_m);
                if !tail.is_empty() {
                    ENGINE.mul(&mut last, log_m);
                }
            }
        }
        let half = tail.len() / 2;
        tail[..half].copy_from_slice(&last[0][..half]);
        tail[half..].copy_from_slice(&last[0][32..32 + half]);
    }
}

fn log_ratio(a: GfElement, b: GfElement) -> GfElement {
    let difference = u32::from(log(a)) + u32::from(GF_MODULUS) - u32::from(log(b));
    (difference % u32::from(GF_MODULUS)) as GfElement
}

fn add(sum: &mut [u8], share: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(share) {
        *sum ^= byte;
    }
}

/// Adds a last stretch, whose low bytes come first and whose high bytes follow
/// at once, to 64 bytes where these begin at 32.
fn add_tail(sum: &mut [u8; 64], tail: &[u8]) {
    let (low, high) = tail.split_at(tail.len() / 2);
    add(&mut sum[..32], low);
    add(&mut sum[32..], high);
}

#[cfg(test)]
mod tests;
