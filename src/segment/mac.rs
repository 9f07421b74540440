//! A MAC for every share, and the root over all data shares' MACs.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::Layout;
use crate::types::PieceNumber;
use crate::types::limits::MAC_BYTES;

/// Bytes of a segment's root.
pub const SEGMENT_ROOT_BYTES: usize = 16;

/// The key of one segment's MACs: 32 random bytes that no other segment has.
/// Whoever holds it can tell true shares from false, and read nothing.
pub struct MacKey {
    bytes: Zeroizing<[u8; 32]>,
    gcm: LessSafeKey,
}

/// A share that is not what was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the share of piece {piece} in stripe {stripe} is not what was stored")]
pub struct BadShare {
    /// Which piece.
    pub piece: PieceNumber,
    /// Which stripe.
    pub stripe: u16,
}

impl MacKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, &bytes).expect("an AES-256 key has 32 bytes");
        Self { bytes: Zeroizing::new(bytes), gcm: LessSafeKey::new(unbound) }
    }

    /// The bytes, for the segment's row.
    pub fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The MAC of a share.
    pub fn share_mac(&self, piece: PieceNumber, stripe: u16, share: &[u8]) -> [u8; MAC_BYTES] {
        let tag = self
            .gcm
            .seal_in_place_separate_tag(nonce(piece, stripe), Aad::from(share), &mut [])
            .expect("a share is far below AES-GCM's limits");
        tag.as_ref().try_into().expect("a tag of AES-256-GCM has 16 bytes")
    }

    /// The share without its MAC, if it is the one that was stored in this
    /// place. It may have any length; whoever asks for a share knows its
    /// length from the layout.
    pub fn verify_share<'a>(
        &self,
        piece: PieceNumber,
        stripe: u16,
        share_and_mac: &'a [u8],
    ) -> Result<&'a [u8], BadShare> {
        let bad = BadShare { piece, stripe };
        let Some((share, mac)) = share_and_mac.split_last_chunk::<MAC_BYTES>() else {
            return Err(bad);
        };
        let expected = self.share_mac(piece, stripe, share);
        verify_slices_are_equal(&expected, mac).map(|()| share).map_err(|_| bad)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(secret)")
    }
}

fn nonce(piece: PieceNumber, stripe: u16) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..2].copy_from_slice(&piece.0.to_be_bytes());
    bytes[2..4].copy_from_slice(&stripe.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The root of a segment from the MACs of its data shares, stripe by stripe
/// (k for each). Repair recomputes it before it places anything.
pub fn root_of<'a>(
    layout: &Layout,
    key: &MacKey,
    data_macs: impl IntoIterator<Item = &'a [u8; MAC_BYTES]>,
) -> [u8; SEGMENT_ROOT_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*key.bytes));
    context.update(b"cairn segment root 1");
    context.update(&layout.to_bytes());
    data_macs.into_iter().for_each(|mac| context.update(mac));
    *context.sign().as_ref().first_chunk().expect("HMAC-SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(piece: u16, stripe: u16, share: &[u8]) -> Vec<u8> {
        let mac = MacKey::from_bytes([7; 32]).share_mac(PieceNumber(piece), stripe, share);
        [share, &mac].concat()
    }

    #[test]
    fn a_share_verifies_in_its_own_place_only() {
        let stored = stored(2, 3, b"share!");
        let verify = |key: u8, piece, stripe| {
            MacKey::from_bytes([key; 32]).verify_share(PieceNumber(piece), stripe, &stored).ok()
        };
        assert_eq!(verify(7, 2, 3), Some(&b"share!"[..]));
        assert_eq!(verify(8, 2, 3), None);
        assert_eq!(verify(7, 3, 3), None);
        assert_eq!(verify(7, 2, 2), None);
        assert_eq!(verify(7, 3, 2), None);
    }

    #[test]
    fn a_changed_or_shortened_share_is_named() {
        let key = MacKey::from_bytes([7; 32]);
        let stored = stored(2, 3, b"share!");
        let bad = BadShare { piece: PieceNumber(2), stripe: 3 };
        for at in 0..stored.len() * 8 {
            let mut changed = stored.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(key.verify_share(PieceNumber(2), 3, &changed), Err(bad.clone()));
        }
        for length in 0..stored.len() {
            assert_eq!(key.verify_share(PieceNumber(2), 3, &stored[..length]), Err(bad.clone()));
        }
        let sentence = "the share of piece 2 in stripe 3 is not what was stored";
        assert_eq!(bad.to_string(), sentence);
    }

    /// The stored format, computed with Python's `cryptography`.
    #[test]
    fn a_mac_is_as_written_down() {
        let hex: String = stored(258, 3, b"share!")[6..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "bac888f895e0c02e261eb101a446978e");
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", MacKey::from_bytes([0x41; 32])), "MacKey(secret)");
    }
}
