//! One pass over a body's bytes for every digest that is asked of it.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};

use super::{Algorithm, Checksum};

/// Computes MD5, which every ETag needs, and the checksums asked for.
pub struct Digester {
    md5: Md5,
    checksums: Vec<Running>,
    length: u64,
}

/// What a digester found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// The checksums that were asked for, in that order, each once.
    pub checksums: Vec<Checksum>,
    /// Number of bytes.
    pub length: u64,
}

impl Digester {
    /// A digester for MD5 and these algorithms; repetitions count once.
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let mut checksums: Vec<Running> = Vec::new();
        for &algorithm in algorithms {
            if !checksums.iter().any(|running| running.algorithm == algorithm) {
                checksums.push(Running::new(algorithm));
            }
        }
        Self { md5: Md5::new(), checksums, length: 0 }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.checksums.iter_mut().for_each(|running| running.update(bytes));
        self.length += bytes.len() as u64;
    }

    /// The digests of all bytes taken.
    pub fn finish(self) -> Digests {
        Digests {
            md5: self.md5.finalize().into(),
            checksums: self.checksums.into_iter().map(Running::finish).collect(),
            length: self.length,
        }
    }
}

/// One algorithm under way.
pub(super) struct Running {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Crc(Box<crc_fast::Digest>),
    Sha(Context),
}

impl Running {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha1 => State::Sha(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Sha256 => State::Sha(Context::new(&SHA256)),
            Algorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
        };
        Self { algorithm, state }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(bytes),
            State::Sha(context) => context.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Checksum {
        let value = match self.state {
            State::Crc(digest) => crc_value(self.algorithm, digest.finalize()),
            State::Sha(context) => context.finish().as_ref().to_vec(),
        };
        Checksum { algorithm: self.algorithm, value }
    }
}

fn crc(algorithm: CrcAlgorithm) -> State {
    State::Crc(Box::new(crc_fast::Digest::new(algorithm)))
}

/// The value of a CRC: the low bytes of `crc`, big endian.
pub(super) fn crc_value(algorithm: Algorithm, crc: u64) -> Vec<u8> {
    crc.to_be_bytes()[8 - algorithm.value_bytes()..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn digests(bytes: &[u8], step: usize) -> Digests {
        let mut digester = Digester::new(&Algorithm::ALL);
        bytes.chunks(step).for_each(|bytes| digester.update(bytes));
        digester.finish()
    }

    /// The check values of the CRC catalogue, and of RFC 1321 and FIPS 180.
    #[test]
    fn known_answers() {
        let found = digests(b"123456789", 4);
        assert_eq!(hex(&found.md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(found.length, 9);
        let expected = [
            "cbf43926",
            "e3069283",
            "ae8b14860a799888",
            "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        ];
        for (checksum, expected) in found.checksums.iter().zip(expected) {
            assert_eq!(hex(&checksum.value), expected, "{}", checksum.algorithm.name());
        }
        assert_eq!(found.checksums.iter().map(|c| c.algorithm).collect::<Vec<_>>(), Algorithm::ALL);
    }

    #[test]
    fn nothing_has_digests_too() {
        let found = digests(b"", 1);
        assert_eq!(hex(&found.md5), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(found.checksums[0].value, [0; 4]);
        assert_eq!(found.checksums[2].value, [0; 8]);
        assert_eq!(hex(&found.checksums[4].value[..4]), "e3b0c442");
    }

    #[test]
    fn how_the_bytes_arrive_makes_no_difference() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(at) >> 5) as u8).collect();
        let whole = digests(&bytes, bytes.len());
        for step in [1, 63, 64, 65, 8191] {
            assert_eq!(digests(&bytes, step), whole, "{step} bytes at a time");
        }
    }

    #[test]
    fn an_algorithm_that_is_asked_for_twice_is_computed_once() {
        let digester = Digester::new(&[Algorithm::Sha1, Algorithm::Crc32, Algorithm::Sha1]);
        let found: Vec<_> = digester.finish().checksums.iter().map(|c| c.algorithm).collect();
        assert_eq!(found, [Algorithm::Sha1, Algorithm::Crc32]);
        assert!(Digester::new(&[]).finish().checksums.is_empty());
    }
}
