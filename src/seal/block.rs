//! Sealing and opening the blocks of one stream, in place.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{ContentKey, FORMAT, SealError};
use crate::types::StreamId;
use crate::types::limits::{BLOCK_BYTES, SEALED_BLOCK_BYTES, TAG_BYTES};

/// Seals one stream's blocks. May be shared between threads.
pub struct Sealer(BlockCipher);

impl Sealer {
    /// A sealer for a stream under the key that is this stream's alone.
    pub fn new(key: &ContentKey, stream: StreamId) -> Self {
        Self(BlockCipher::new(key, stream))
    }

    /// Seals a block of 1 to 65,536 bytes in place and gives its tag, which
    /// belongs behind it. An index must never be sealed twice with different
    /// bytes.
    ///
    /// # Panics
    /// If the block is empty or longer than 65,536 bytes.
    pub fn seal_block(&self, index: u64, last: bool, block: &mut [u8]) -> [u8; TAG_BYTES] {
        assert!((1..=BLOCK_BYTES).contains(&block.len()), "a block of {} bytes cannot be sealed", block.len());
        let tag = self
            .0
            .key
            .seal_in_place_separate_tag(nonce(index), Aad::from(self.0.aad(last)), block)
            .expect("a block is far below AES-GCM's limit of 64 GiB");
        tag.as_ref().try_into().expect("a tag of AES-256-GCM has 16 bytes")
    }
}

/// Opens one stream's blocks. May be shared between threads.
pub struct Opener(BlockCipher);

impl Opener {
    /// An opener for a stream.
    pub fn new(key: &ContentKey, stream: StreamId) -> Self {
        Self(BlockCipher::new(key, stream))
    }

    /// Opens a sealed block (ciphertext and tag) in place and gives the
    /// plaintext. After an error the buffer's contents are of no use.
    pub fn open_block<'a>(&self, index: u64, last: bool, sealed: &'a mut [u8]) -> Result<&'a mut [u8], SealError> {
        if !(TAG_BYTES + 1..=SEALED_BLOCK_BYTES).contains(&sealed.len()) {
            return Err(SealError::BlockLength(sealed.len()));
        }
        self.0
            .key
            .open_in_place(nonce(index), Aad::from(self.0.aad(last)), sealed)
            .map_err(|_| SealError::Block { index })
    }
}

struct BlockCipher {
    key: LessSafeKey,
    stream: StreamId,
}

impl BlockCipher {
    fn new(key: &ContentKey, stream: StreamId) -> Self {
        Self { key: aes_256_gcm(key.expose()), stream }
    }

    fn aad(&self, last: bool) -> [u8; 18] {
        let mut aad = [0; 18];
        aad[0] = FORMAT;
        aad[1..17].copy_from_slice(self.stream.as_bytes());
        aad[17] = last.into();
        aad
    }
}

pub(super) fn aes_256_gcm(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes"))
}

fn nonce(index: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId::from_bytes(*b"0123456789abcdef");

    fn key() -> ContentKey {
        ContentKey::from_bytes([7; 32])
    }

    fn seal(index: u64, last: bool, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = plaintext.to_vec();
        let tag = Sealer::new(&key(), STREAM).seal_block(index, last, &mut sealed);
        sealed.extend(tag);
        sealed
    }

    #[test]
    fn a_block_opens_to_what_was_sealed() {
        for length in [1, 15, 16, 17, 65_535, BLOCK_BYTES] {
            let plaintext: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut sealed = seal(3, true, &plaintext);
            assert_eq!(sealed.len(), length + TAG_BYTES);
            assert_eq!(Opener::new(&key(), STREAM).open_block(3, true, &mut sealed).unwrap(), &plaintext);
        }
    }

    #[test]
    fn a_block_in_another_place_does_not_open() {
        let sealed = seal(3, false, b"plaintext");
        let opens = |key: [u8; 32], stream, index, last| {
            let key = ContentKey::from_bytes(key);
            Opener::new(&key, stream).open_block(index, last, &mut sealed.clone()).is_ok()
        };
        assert!(opens([7; 32], STREAM, 3, false));
        assert!(!opens([8; 32], STREAM, 3, false));
        assert!(!opens([7; 32], StreamId::from_bytes([0; 16]), 3, false));
        assert!(!opens([7; 32], STREAM, 4, false));
        assert!(!opens([7; 32], STREAM, 3, true));
    }

    #[test]
    fn a_changed_bit_anywhere_does_not_open() {
        let sealed = seal(0, true, b"plaintext");
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            let opened = Opener::new(&key(), STREAM).open_block(0, true, &mut changed);
            assert_eq!(opened.unwrap_err(), SealError::Block { index: 0 });
        }
    }

    #[test]
    fn blocks_of_impossible_length_are_refused() {
        for length in [0, 1, TAG_BYTES, SEALED_BLOCK_BYTES + 1] {
            let opened = Opener::new(&key(), STREAM).open_block(0, true, &mut vec![0; length]).map(|_| ());
            assert_eq!(opened, Err(SealError::BlockLength(length)));
        }
    }

    /// The stored format: this test fails when a change would make what is on
    /// the nodes unreadable. Computed with Python's `cryptography`.
    #[test]
    fn the_format_is_as_written_down() {
        let hex: String = seal(258, true, b"cairn").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "51006fda12358ab514786768ca9162a409345794dd");
    }
}
