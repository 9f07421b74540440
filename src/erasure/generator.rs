//! The generator matrix of a coding: each share of a stripe as a combination
//! of its data shares.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use reed_solomon_simd::engine::GfElement;

use super::field::{ONE, product, quotient};
use super::{Coding, Encoder};

/// The parity rows; the data rows are those of the unit matrix.
pub(super) struct Generator {
    required: usize,
    parity: Vec<GfElement>,
}

/// Matrices are kept, because to compute one costs an encoding. A cluster has
/// a handful of codings; the bound only guards against a caller that tries all.
const KEPT_MAX: usize = 64;
static KEPT: LazyLock<Mutex<HashMap<Coding, Arc<Generator>>>> = LazyLock::new(Mutex::default);

impl Generator {
    /// The matrix of a coding, computed once.
    pub(super) fn of(coding: Coding) -> Arc<Self> {
        if let Some(found) = KEPT.lock().unwrap_or_else(PoisonError::into_inner).get(&coding) {
            return Arc::clone(found);
        }
        let made = Arc::new(Self::compute(coding));
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        Arc::clone(kept.entry(coding).or_insert(made))
    }

    /// Encodes all unit vectors at once: element j of data share j is one and
    /// everything else zero, so element j of a parity share is its coefficient
    /// for data share j.
    fn compute(coding: Coding) -> Self {
        let required = usize::from(coding.required());
        let share_bytes = required.div_ceil(32) * 64;
        let units: Vec<Vec<u8>> = (0..required).map(|j| unit(j, share_bytes)).collect();
        let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
        let mut shares = vec![vec![0; share_bytes]; coding.parity()];
        let mut slices: Vec<&mut [u8]> = shares.iter_mut().map(Vec::as_mut_slice).collect();
        Encoder::new(coding, share_bytes).expect("at most 512 bytes").encode_stripe(&units, &mut slices);
        let parity = shares.iter().flat_map(|share| (0..required).map(|j| element(share, j))).collect();
        Self { required, parity }
    }

    /// The row of a share: its coefficient for each data share.
    pub(super) fn row(&self, piece: usize) -> Vec<GfElement> {
        let k = self.required;
        match piece.checked_sub(k) {
            Some(parity) => self.parity[parity * k..(parity + 1) * k].to_vec(),
            None => unit_row(piece, k),
        }
    }
}

fn unit(at: usize, share_bytes: usize) -> Vec<u8> {
    let mut share = vec![0; share_bytes];
    let [low, high] = ONE.to_le_bytes();
    share[at / 32 * 64 + at % 32] = low;
    share[at / 32 * 64 + at % 32 + 32] = high;
    share
}

fn element(share: &[u8], at: usize) -> GfElement {
    let low = at / 32 * 64 + at % 32;
    GfElement::from_le_bytes([share[low], share[low + 32]])
}

fn unit_row(at: usize, length: usize) -> Vec<GfElement> {
    let mut row = vec![0; length];
    row[at] = ONE;
    row
}

/// The inverse of a square matrix, by rows; None if it has none.
pub(super) fn invert(mut matrix: Vec<Vec<GfElement>>) -> Option<Vec<Vec<GfElement>>> {
    let size = matrix.len();
    for (at, row) in matrix.iter_mut().enumerate() {
        row.extend(unit_row(at, size));
    }
    for column in 0..size {
        let pivot = (column..size).find(|&row| matrix[row][column] != 0)?;
        matrix.swap(column, pivot);
        let divisor = matrix[column][column];
        matrix[column].iter_mut().for_each(|value| *value = quotient(*value, divisor));
        let pivot_row = matrix[column].clone();
        for (at, row) in matrix.iter_mut().enumerate() {
            let factor = row[column];
            if at != column && factor != 0 {
                subtract(row, factor, &pivot_row);
            }
        }
    }
    Some(matrix.into_iter().map(|mut row| row.split_off(size)).collect())
}

fn subtract(row: &mut [GfElement], factor: GfElement, other: &[GfElement]) {
    for (value, &other) in row.iter_mut().zip(other) {
        *value ^= product(factor, other);
    }
}

/// A row times a matrix.
pub(super) fn combine(row: &[GfElement], matrix: &[Vec<GfElement>]) -> Vec<GfElement> {
    let mut sum = vec![0; matrix.len()];
    for (&factor, line) in row.iter().zip(matrix).filter(|(factor, _)| **factor != 0) {
        subtract(&mut sum, factor, line);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let matrix: Vec<Vec<GfElement>> = vec![vec![0, 5, 9], vec![7, 1, 0], vec![3, 3, 65_535]];
        let inverse = invert(matrix.clone()).unwrap();
        for (at, row) in matrix.iter().enumerate() {
            assert_eq!(combine(row, &inverse), unit_row(at, 3));
        }
        assert_eq!(invert(vec![vec![1, 2], vec![1, 2]]), None);
    }

    #[test]
    fn a_matrix_is_computed_once() {
        let coding = Coding::new(5, 9).unwrap();
        assert!(Arc::ptr_eq(&Generator::of(coding), &Generator::of(coding)));
    }
}
