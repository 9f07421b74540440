//! Digests of a multipart object out of those of its parts, without its data.

use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};

use super::digester::{Running, crc_value};
use super::{Algorithm, Checksum};

/// The ETag of an object or part that came in one piece: its MD5 in
/// hexadecimal, without quotes.
pub fn etag(md5: &[u8; 16]) -> String {
    md5.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The MD5 in the ETag of an object or part that came in one piece. None for
/// any other text.
pub fn md5_of_etag(etag: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    let digits = etag.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in md5.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(md5)
}

/// The ETag of a multipart object: MD5 over its parts' MD5s, `-`, and their
/// number; without quotes.
pub fn multipart_etag(parts: &[[u8; 16]]) -> String {
    let md5 = Md5::digest(parts.as_flattened());
    format!("{}-{}", etag(&md5.into()), parts.len())
}

/// A COMPOSITE checksum: that of the parts' values, one after the other. None
/// if there is no part, or if one was computed by another algorithm.
pub fn composite(algorithm: Algorithm, parts: &[Checksum]) -> Option<Checksum> {
    let mut running = Running::new(algorithm);
    for part in parts {
        running.update(value_of(algorithm, part)?);
    }
    (!parts.is_empty()).then(|| running.finish())
}

/// A FULL_OBJECT checksum out of the parts' checksums and lengths in bytes.
/// Only CRCs can be combined: None for SHA-1 and SHA-256, if there is no part,
/// or if one was computed by another algorithm.
pub fn full_object(algorithm: Algorithm, parts: &[(Checksum, u64)]) -> Option<Checksum> {
    let crc = match algorithm {
        Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        Algorithm::Sha1 | Algorithm::Sha256 => return None,
    };
    let number = |part| {
        let value: &[u8] = value_of(algorithm, part)?;
        Some(value.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    let ((first, _), rest) = parts.split_first()?;
    let combined = rest.iter().try_fold(number(first)?, |before, (part, length)| {
        Some(crc_fast::checksum_combine(crc, before, number(part)?, *length))
    })?;
    Some(Checksum { algorithm, value: crc_value(algorithm, combined) })
}

fn value_of(algorithm: Algorithm, part: &Checksum) -> Option<&[u8]> {
    (part.algorithm == algorithm && part.value.len() == algorithm.value_bytes()).then_some(&part.value)
}

#[cfg(test)]
mod tests {
    use super::super::Digester;
    use super::*;
    use proptest::prelude::*;

    fn checksum(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
        let mut digester = Digester::new(&[algorithm]);
        digester.update(bytes);
        digester.finish().checksums.remove(0)
    }

    /// Computed with Python's `hashlib` and `zlib`.
    #[test]
    fn known_answers() {
        let parts = [Md5::digest(b"cairn").into(), Md5::digest(b"storage").into()];
        assert_eq!(etag(&parts[0]), "87f29599d06dad63eb067d9f1f7fb775");
        assert_eq!(multipart_etag(&parts), "48bed1d6cc8bfe1e5eb4e01839bba836-2");
        let composite_of = |algorithm| {
            composite(algorithm, &[checksum(algorithm, b"cairn"), checksum(algorithm, b"storage")]).unwrap().to_base64()
        };
        assert_eq!(composite_of(Algorithm::Sha256), "ouKPBG8YGmU+IgoAXv19ZlHWZS8g7tRA2+DNOOhphCc=");
        assert_eq!(composite_of(Algorithm::Crc32), "CllJ6g==");
    }

    #[test]
    fn parts_of_another_algorithm_give_nothing() {
        let (crc32, crc32c) = (checksum(Algorithm::Crc32, b"a"), checksum(Algorithm::Crc32c, b"b"));
        assert_eq!(composite(Algorithm::Crc32, &[crc32.clone(), crc32c.clone()]), None);
        assert_eq!(full_object(Algorithm::Crc32, &[(crc32.clone(), 1), (crc32c.clone(), 1)]), None);
        assert_eq!(full_object(Algorithm::Crc32, &[(crc32c, 1), (crc32, 1)]), None);
        assert_eq!((composite(Algorithm::Crc32, &[]), full_object(Algorithm::Crc32, &[])), (None, None));
    }

    #[test]
    fn hashes_cannot_be_combined() {
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
            assert_eq!(full_object(algorithm, &[(checksum(algorithm, b"a"), 1)]), None);
        }
    }

    proptest! {
        #[test]
        fn combined_crcs_are_those_of_the_whole(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..6)) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let summed: Vec<_> = parts.iter().map(|part| (checksum(algorithm, part), part.len() as u64)).collect();
                prop_assert_eq!(full_object(algorithm, &summed), Some(checksum(algorithm, &parts.concat())));
            }
        }
    }
}
