//! Checksums as text: base64 of the value, as headers and trailers carry it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Algorithm, Checksum};

/// Text that is no checksum of its algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {} value is {} bytes in base64", .algorithm.name(), .algorithm.value_bytes())]
pub struct ChecksumError {
    /// The algorithm that was declared.
    pub algorithm: Algorithm,
}

impl Checksum {
    /// The value as S3 writes it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.value)
    }

    /// The checksum that a text stands for. Strict: padded base64 of exactly
    /// as many bytes as the algorithm gives, and no white space.
    pub fn from_base64(algorithm: Algorithm, text: &str) -> Result<Self, ChecksumError> {
        match STANDARD.decode(text) {
            Ok(value) if value.len() == algorithm.value_bytes() => Ok(Self { algorithm, value }),
            _ => Err(ChecksumError { algorithm }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_survives_its_text() {
        for algorithm in Algorithm::ALL {
            let checksum = Checksum { algorithm, value: vec![0xf5; algorithm.value_bytes()] };
            assert_eq!(Checksum::from_base64(algorithm, &checksum.to_base64()), Ok(checksum));
        }
    }

    #[test]
    fn other_text_is_refused() {
        assert!(Checksum::from_base64(Algorithm::Crc32, "y/Q5Jg==").is_ok());
        for text in ["", "y/Q5Jg", "y/Q5Jg= =", "y/Q5Jh==", " y/Q5Jg==", "y_Q5Jg==", "y/Q5", "y/Q5JgA=", "cbf43926"] {
            let error = Checksum::from_base64(Algorithm::Crc32, text).unwrap_err();
            assert_eq!(error.to_string(), "a CRC32 value is 4 bytes in base64", "{text}");
        }
    }
}
