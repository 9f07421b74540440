//! Arithmetic of single elements of GF(2^16), on reed-solomon-simd's tables.

use reed_solomon_simd::engine::tables::get_exp_log;
use reed_solomon_simd::engine::{GF_MODULUS, GfElement};

/// The multiplicative identity; its logarithm is zero.
pub(super) const ONE: GfElement = 1;

pub(super) fn product(a: GfElement, b: GfElement) -> GfElement {
    if a == 0 || b == 0 {
        return 0;
    }
    exp(u32::from(log(a)) + u32::from(log(b)))
}

/// `a / b`; `b` is not zero.
pub(super) fn quotient(a: GfElement, b: GfElement) -> GfElement {
    if a == 0 {
        return 0;
    }
    exp(u32::from(log(a)) + u32::from(GF_MODULUS) - u32::from(log(b)))
}

/// The logarithm of an element that is not zero, which is what
/// `Engine::mul` multiplies by.
pub(super) fn log(a: GfElement) -> GfElement {
    assert_ne!(a, 0, "zero has no logarithm");
    get_exp_log().log[usize::from(a)]
}

fn exp(log: u32) -> GfElement {
    get_exp_log().exp[(log % u32::from(GF_MODULUS)) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_is_one() {
        assert_eq!(log(ONE), 0);
        assert!((0..=u16::MAX).all(|a| product(a, ONE) == a));
    }

    proptest! {
        #[test]
        fn it_is_a_field(a in any::<u16>(), b in 1..=u16::MAX, c in any::<u16>()) {
            prop_assert_eq!(product(quotient(a, b), b), a);
            prop_assert_eq!(product(a, b ^ c), product(a, b) ^ product(a, c));
            prop_assert_eq!(product(product(a, b), c), product(a, product(b, c)));
        }
    }
}
