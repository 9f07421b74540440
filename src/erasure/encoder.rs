//! Data shares of one stripe in, its parity shares out.

use reed_solomon_simd::ReedSolomonEncoder;

use super::coding::check_share_bytes;
use super::{Codec, Coding, CodingError};

/// Encodes the stripes of one segment, one after the other; keeps its working
/// memory (about 2 n shares) between them.
pub struct Encoder {
    coding: Coding,
    share_bytes: usize,
    /// None where parity is nothing or copies.
    reed_solomon: Option<ReedSolomonEncoder>,
}

impl Encoder {
    /// An encoder for shares of an even length of 2 to 65,552 bytes.
    pub fn new(coding: Coding, share_bytes: usize) -> Result<Self, CodingError> {
        check_share_bytes(share_bytes)?;
        let needed = coding.codec() == Codec::ReedSolomon && coding.parity() > 0;
        let reed_solomon = needed.then(|| {
            ReedSolomonEncoder::new(coding.required().into(), coding.parity(), share_bytes)
                .expect("256 pieces and an even length are within the codec's limits")
        });
        Ok(Self { coding, share_bytes, reed_solomon })
    }

    /// Computes a stripe's `n - k` parity shares from its k data shares.
    ///
    /// # Panics
    /// If there are more or fewer shares, or one of another length.
    pub fn encode_stripe(&mut self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        assert_eq!(data.len(), usize::from(self.coding.required()), "data shares in the stripe");
        assert_eq!(parity.len(), self.coding.parity(), "parity shares in the stripe");
        let lengths = data.iter().map(|share| share.len()).chain(parity.iter().map(|share| share.len()));
        assert!(lengths.into_iter().all(|length| length == self.share_bytes), "a share has another length");
        let Some(encoder) = &mut self.reed_solomon else {
            return parity.iter_mut().for_each(|copy| copy.copy_from_slice(data[0]));
        };
        for share in data {
            encoder.add_original_shard(share).expect("number and length were checked above");
        }
        let encoded = encoder.encode().expect("all data shares were added");
        for (share, computed) in parity.iter_mut().zip(encoded.recovery_iter()) {
            share.copy_from_slice(computed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(required: u16, total: u16, data: &[&[u8]]) -> Vec<Vec<u8>> {
        let coding = Coding::new(required, total).unwrap();
        let mut parity = vec![vec![0; data[0].len()]; coding.parity()];
        let mut slices: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        Encoder::new(coding, data[0].len()).unwrap().encode_stripe(data, &mut slices);
        parity
    }

    #[test]
    fn copies_are_copies() {
        assert_eq!(encode(1, 3, &[b"data"]), [b"data", b"data"]);
        assert!(encode(1, 1, &[b"data"]).is_empty());
    }

    #[test]
    fn without_parity_there_is_none() {
        assert!(encode(3, 3, &[b"ab", b"cd", b"ef"]).is_empty());
    }

    /// The stored format: parity that is on the nodes must stay decodable.
    #[test]
    fn parity_is_what_it_always_was() {
        let hex = |share: &Vec<u8>| share.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let parity: Vec<String> = encode(4, 6, &[b"cair", b"n-st", b"orag", b"e-se"]).iter().map(hex).collect();
        assert_eq!(parity, ["54dc6816", "53cf6012"]);
    }

    #[test]
    fn impossible_share_lengths_are_refused() {
        let coding = Coding::new(4, 8).unwrap();
        for length in [0, 1, 3, 65_551, 65_554] {
            assert_eq!(Encoder::new(coding, length).err(), Some(CodingError::ShareBytes(length)));
        }
    }
}
