//! The coding of a segment: fixed for life and stored with it.

use super::Scheme;
use crate::types::limits::{PIECES_MAX, SEALED_BLOCK_BYTES};

/// How parity is computed. The numbers are stored and never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Every piece is the same: a segment that any one piece restores.
    Copies = 1,
    /// Leopard Reed-Solomon over GF(2^16) as reed-solomon-simd 3 computes it.
    /// With n = k there is no parity.
    ReedSolomon = 2,
}

/// A codec and its two numbers: any k of n pieces restore a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coding {
    codec: Codec,
    required: u16,
    total: u16,
}

/// Why shares cannot be coded as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// The codec's number is not one of this format.
    #[error("codec {0} is unknown; this data was written by a newer version, or is damaged")]
    UnknownCodec(u8),
    /// Numbers that no coding has.
    #[error("no coding gives {total} pieces of which {required} are required")]
    Counts {
        /// k
        required: u16,
        /// n
        total: u16,
    },
    /// A share's length is odd, zero or above that of a sealed block.
    #[error("a share has an even length of 2 to 65,552 bytes, not {0}")]
    ShareBytes(usize),
    /// Not exactly k different pieces of the segment to recover from.
    #[error("recovery takes exactly {required} different pieces, numbered below {total}")]
    Pieces {
        /// k
        required: u16,
        /// n
        total: u16,
    },
}

impl Coding {
    /// The coding for k of n: copies for k = 1, else Reed-Solomon.
    /// `1 <= required <= total <= limits::PIECES_MAX`.
    pub fn new(required: u16, total: u16) -> Result<Self, CodingError> {
        if required == 0 || required > total || usize::from(total) > PIECES_MAX {
            return Err(CodingError::Counts { required, total });
        }
        let codec = if required == 1 { Codec::Copies } else { Codec::ReedSolomon };
        Ok(Self { codec, required, total })
    }

    /// The coding from its stored numbers.
    pub fn from_numbers(codec: u8, required: u16, total: u16) -> Result<Self, CodingError> {
        let coding = Self::new(required, total)?;
        match codec {
            1 | 2 if codec == coding.codec as u8 => Ok(coding),
            1 | 2 => Err(CodingError::Counts { required, total }),
            unknown => Err(CodingError::UnknownCodec(unknown)),
        }
    }

    /// The codec; `as u8` is its stored number.
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// k: data shares in a stripe; pieces that restore a segment.
    pub fn required(self) -> u16 {
        self.required
    }

    /// n: shares in a stripe; pieces of a segment.
    pub fn total(self) -> u16 {
        self.total
    }

    pub(super) fn parity(self) -> usize {
        usize::from(self.total - self.required)
    }
}

impl From<Scheme> for Coding {
    fn from(scheme: Scheme) -> Self {
        Self::new(scheme.required(), scheme.total()).expect("a scheme's numbers are in order")
    }
}

pub(super) fn check_share_bytes(share_bytes: usize) -> Result<(), CodingError> {
    if share_bytes % 2 == 1 || !(2..=SEALED_BLOCK_BYTES).contains(&share_bytes) {
        return Err(CodingError::ShareBytes(share_bytes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_survives_its_numbers() {
        for (required, total) in [(1, 1), (1, 3), (2, 2), (4, 8), (29, 80), (256, 256)] {
            let coding = Coding::new(required, total).unwrap();
            assert_eq!(Coding::from_numbers(coding.codec() as u8, required, total), Ok(coding));
        }
        assert_eq!(Coding::from("4/5/7/8".parse::<Scheme>().unwrap()), Coding::new(4, 8).unwrap());
    }

    #[test]
    fn stored_numbers_of_no_coding_are_refused() {
        assert_eq!(Coding::from_numbers(3, 4, 8), Err(CodingError::UnknownCodec(3)));
        for (codec, required, total) in [(1, 4, 8), (2, 1, 3), (2, 0, 8), (2, 9, 8), (2, 4, 257)] {
            assert_eq!(Coding::from_numbers(codec, required, total), Err(CodingError::Counts { required, total }));
        }
    }
}
