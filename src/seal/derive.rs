//! HKDF-SHA-256 with one output length, the only one this room needs.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// 32 bytes from a secret. `salt` parts the families of derived keys, `info`
/// (its parts are joined) the members of one; every caller's `info` parts
/// have fixed lengths, so that joining them is unambiguous.
pub(super) fn derive(salt: &[u8], secret: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut output = Zeroizing::new([0; 32]);
    let prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    prk.expand(info, Bytes32)
        .and_then(|okm| okm.fill(output.as_mut()))
        .expect("32 bytes are within HKDF-SHA-256's 8,160");
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` from RFC 5869's two steps. RFC 5869's own
    /// vectors have 22-byte secrets, which this room never derives from.
    #[test]
    fn it_is_hkdf_sha256() {
        let output = derive(b"salt", &[7; 32], &[b"in", b"fo"]);
        let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "4054a68338d4f0d6056eb8df097e9c6a405216aeff799102cd931e10a46f9b53");
    }
}
