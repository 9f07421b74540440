//! Recovery against the original shares and against the codec's own decoder.

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use reed_solomon_simd::ReedSolomonDecoder;

use super::*;
use crate::erasure::Encoder;

struct Stripe {
    coding: Coding,
    shares: Vec<Vec<u8>>,
}

impl Stripe {
    fn random(rng: &mut SmallRng, required: u16, total: u16, share_bytes: usize) -> Self {
        let coding = Coding::new(required, total).unwrap();
        let mut shares = vec![vec![0; share_bytes]; total.into()];
        shares[..required.into()].iter_mut().for_each(|share| rng.fill_bytes(share));
        let (data, parity) = shares.split_at_mut(required.into());
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        Encoder::new(coding, share_bytes).unwrap().encode_stripe(&data, &mut parity);
        Self { coding, shares }
    }

    fn recover(&self, have: &[PieceNumber], want: &[PieceNumber]) -> Vec<Vec<u8>> {
        let recovery = Recovery::plan(self.coding, have, want).unwrap();
        let shares: Vec<&[u8]> = have.iter().map(|piece| &*self.shares[usize::from(piece.0)]).collect();
        let mut out = vec![vec![0xff; shares[0].len()]; want.len()];
        let mut slices: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
        recovery.recover(&shares, &mut slices);
        out
    }

    fn decode_with_the_codec(&self, have: &[PieceNumber]) -> Vec<Vec<u8>> {
        let (k, n) = (usize::from(self.coding.required()), usize::from(self.coding.total()));
        let mut data = vec![Vec::new(); k];
        let mut decoder = ReedSolomonDecoder::new(k, n - k, self.shares[0].len()).unwrap();
        for piece in have.iter().map(|piece| usize::from(piece.0)) {
            match piece.checked_sub(k) {
                Some(parity) => decoder.add_recovery_shard(parity, &self.shares[piece]).unwrap(),
                None => {
                    decoder.add_original_shard(piece, &self.shares[piece]).unwrap();
                    data[piece] = self.shares[piece].clone();
                }
            }
        }
        for (index, share) in decoder.decode().unwrap().restored_original_iter() {
            data[index] = share.to_vec();
        }
        data
    }
}

fn pieces(range: std::ops::Range<u16>) -> Vec<PieceNumber> {
    range.map(PieceNumber).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_k_shares_give_all_n(
        required in 1..=40_u16,
        parity in 0..=40_u16,
        half in prop_oneof![1..=40_usize, 41..=3000_usize],
        seed in any::<u64>(),
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let total = required + parity;
        let stripe = Stripe::random(&mut rng, required, total, 2 * half);
        let mut have = pieces(0..total);
        have.shuffle(&mut rng);
        have.truncate(required.into());
        let recovered = stripe.recover(&have, &pieces(0..total));
        prop_assert_eq!(&recovered, &stripe.shares);
        if required > 1 && parity > 0 {
            prop_assert_eq!(&recovered[..required.into()], &stripe.decode_with_the_codec(&have)[..]);
        }
    }
}

#[test]
fn full_shares_and_the_largest_coding() {
    let mut rng = SmallRng::seed_from_u64(1);
    for (required, total, share_bytes) in [(4, 8, 65_552), (128, 256, 66), (200, 256, 2), (1, 256, 128), (256, 256, 2)]
    {
        let stripe = Stripe::random(&mut rng, required, total, share_bytes);
        let have = pieces(total - required..total);
        assert_eq!(stripe.recover(&have, &pieces(0..total)), stripe.shares, "{required} of {total}");
    }
}

#[test]
fn a_damaged_share_damages_what_is_recovered() {
    let mut stripe = Stripe::random(&mut SmallRng::seed_from_u64(1), 4, 8, 64);
    let original = stripe.shares[0].clone();
    stripe.shares[7][13] ^= 1;
    assert_ne!(stripe.recover(&pieces(4..8), &pieces(0..1))[0], original);
}

#[test]
fn impossible_plans_are_refused() {
    let coding = Coding::new(3, 5).unwrap();
    let plan = |have: &[u16], want: &[u16]| {
        let numbers = |list: &[u16]| list.iter().copied().map(PieceNumber).collect::<Vec<_>>();
        Recovery::plan(coding, &numbers(have), &numbers(want)).map(|_| ())
    };
    let refused = Err(CodingError::Pieces { required: 3, total: 5 });
    assert_eq!(plan(&[4, 0, 2], &[1, 3]), Ok(()));
    assert_eq!(plan(&[4, 0], &[1]), refused);
    assert_eq!(plan(&[4, 0, 1, 2], &[3]), refused);
    assert_eq!(plan(&[4, 0, 4], &[1]), refused);
    assert_eq!(plan(&[5, 0, 1], &[2]), refused);
    assert_eq!(plan(&[4, 0, 1], &[5]), refused);
}
