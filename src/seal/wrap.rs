//! Wrapping of content keys, so that the database never holds one in clear.

use aws_lc_rs::aead::{Aad, Nonce};
use zeroize::Zeroizing;

use super::block::aes_256_gcm;
use super::derive::derive;
use super::{ContentKey, FORMAT, SealError};
use crate::types::{KeyVersion, StreamId};

/// Bytes of a wrapped content key: the key sealed, and a tag.
pub const WRAPPED_KEY_BYTES: usize = 48;

/// Wraps content keys. There is one for each key version of a cluster.
pub struct KeyEncryptionKey {
    root: Zeroizing<[u8; 32]>,
    version: KeyVersion,
}

impl KeyEncryptionKey {
    pub(super) fn new(root: Zeroizing<[u8; 32]>, version: KeyVersion) -> Self {
        Self { root, version }
    }

    /// Which version this is; it has to be kept beside what it wraps.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// Wraps the key of a stream.
    ///
    /// The nonce is zero. That is right here and nowhere else: what seals is
    /// derived for this one stream, and a stream has one content key for life,
    /// so the pair of key and nonce never meets a second plaintext.
    pub fn wrap(&self, stream: StreamId, key: &ContentKey) -> [u8; WRAPPED_KEY_BYTES] {
        let mut wrapped = [0; WRAPPED_KEY_BYTES];
        let (sealed, tag) = wrapped.split_at_mut(32);
        sealed.copy_from_slice(key.expose());
        let computed = aes_256_gcm(&self.key_for(stream))
            .seal_in_place_separate_tag(zero_nonce(), self.aad(stream), sealed)
            .expect("32 bytes are far below AES-GCM's limit of 64 GiB");
        tag.copy_from_slice(computed.as_ref());
        wrapped
    }

    /// Unwraps the key of a stream that was wrapped under `version`.
    pub fn unwrap(&self, version: KeyVersion, stream: StreamId, wrapped: &[u8]) -> Result<ContentKey, SealError> {
        if version != self.version {
            return Err(SealError::Version { wrapped: version.0, held: self.version.0 });
        }
        let mut buffer = Zeroizing::new([0; WRAPPED_KEY_BYTES]);
        *buffer = wrapped.try_into().map_err(|_| SealError::Wrapped)?;
        let opened = aes_256_gcm(&self.key_for(stream))
            .open_in_place(zero_nonce(), self.aad(stream), buffer.as_mut())
            .map_err(|_| SealError::Wrapped)?;
        Ok(ContentKey::from_bytes((&*opened).try_into().map_err(|_| SealError::Wrapped)?))
    }

    fn key_for(&self, stream: StreamId) -> Zeroizing<[u8; 32]> {
        derive(b"cairn 1 wrap", &self.root, &[stream.as_bytes()])
    }

    fn aad(&self, stream: StreamId) -> Aad<[u8; 21]> {
        let mut aad = [0; 21];
        aad[0] = FORMAT;
        aad[1..5].copy_from_slice(&self.version.0.to_be_bytes());
        aad[5..].copy_from_slice(stream.as_bytes());
        Aad::from(aad)
    }
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::super::{ClusterSecret, Opener, Sealer};
    use super::*;

    const STREAM: StreamId = StreamId::from_bytes([1; 16]);

    fn kek(secret: u8, version: u32) -> KeyEncryptionKey {
        ClusterSecret::from_bytes([secret; 32]).key_encryption_key(KeyVersion(version))
    }

    #[test]
    fn an_unwrapped_key_opens_what_the_wrapped_one_sealed() {
        let key = ContentKey::from_bytes([5; 32]);
        let mut block = b"plaintext".to_vec();
        let tag = Sealer::new(&key, STREAM).seal_block(0, true, &mut block);
        block.extend(tag);
        let unwrapped = kek(9, 1).unwrap(KeyVersion(1), STREAM, &kek(9, 1).wrap(STREAM, &key)).unwrap();
        assert_eq!(Opener::new(&unwrapped, STREAM).open_block(0, true, &mut block).unwrap(), b"plaintext");
    }

    #[test]
    fn a_wrapped_key_is_of_no_use_elsewhere() {
        let wrapped = kek(9, 1).wrap(STREAM, &ContentKey::from_bytes([5; 32]));
        let unwrap = |kek: KeyEncryptionKey, version, stream, wrapped: &[u8]| {
            kek.unwrap(KeyVersion(version), stream, wrapped).map(|_| ()).unwrap_err()
        };
        assert_eq!(unwrap(kek(8, 1), 1, STREAM, &wrapped), SealError::Wrapped);
        assert_eq!(unwrap(kek(9, 2), 2, STREAM, &wrapped), SealError::Wrapped);
        assert_eq!(unwrap(kek(9, 1), 2, STREAM, &wrapped), SealError::Version { wrapped: 2, held: 1 });
        assert_eq!(unwrap(kek(9, 1), 1, StreamId::from_bytes([2; 16]), &wrapped), SealError::Wrapped);
        assert_eq!(unwrap(kek(9, 1), 1, STREAM, &wrapped[..47]), SealError::Wrapped);
        for at in 0..wrapped.len() {
            let mut changed = wrapped;
            changed[at] ^= 1;
            assert_eq!(unwrap(kek(9, 1), 1, STREAM, &changed), SealError::Wrapped);
        }
    }

    #[test]
    fn two_streams_with_one_key_show_nothing_of_it() {
        let key = ContentKey::from_bytes([5; 32]);
        let (one, other) = (kek(9, 1).wrap(STREAM, &key), kek(9, 1).wrap(StreamId::from_bytes([2; 16]), &key));
        assert_ne!(one[..32], other[..32]);
    }
}
