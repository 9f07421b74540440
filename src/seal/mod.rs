//! Content keys, how they are wrapped, and how a stream's blocks are sealed.
//!
//! Knows keys, streams and bytes; not names, segments or nodes. Draws no
//! random numbers: whoever makes a key brings its bytes.
//!
//! # Format 1
//!
//! A stream's plaintext is cut into blocks of 65,536 bytes (the last one may
//! be shorter; an empty stream has none). Each is sealed with AES-256-GCM
//! under the stream's own key:
//!
//! | part of a sealed block | bytes | value |
//! |---|---|---|
//! | ciphertext | 1..=65,536 | as long as the plaintext |
//! | tag | 16 | |
//!
//! | input | bytes | value |
//! |---|---|---|
//! | nonce | 12 | the block's index, big endian |
//! | AAD | 1 | format: 1 |
//! | | 16 | stream id |
//! | | 1 | 1 for the stream's last block, else 0 |
//!
//! The index in the nonce and the mark on the last block make an exchanged,
//! repeated or missing block, and a stream that was cut off, fail to open.
//!
//! A wrapped content key is 48 bytes, the 32 of the key sealed and a tag:
//!
//! | input | bytes | value |
//! |---|---|---|
//! | key | 32 | HKDF-SHA-256(key-encryption key, stream id) |
//! | nonce | 12 | zero: that key belongs to one stream, which has one content key |
//! | AAD | 1 | format: 1 |
//! | | 4 | key version, big endian |
//! | | 16 | stream id |

mod block;
mod derive;
mod key;
mod piece_id;
mod secret;
mod shape;
mod wrap;

pub use block::{Opener, Sealer};
pub use key::{ContentKey, GrantRoot, SnapshotKey};
pub use piece_id::PieceIdKey;
pub use secret::{ClusterSecret, PhraseError};
pub use shape::{StreamShape, sealed_length};
pub use wrap::{KeyEncryptionKey, WRAPPED_KEY_BYTES};

/// The format number of sealed blocks and wrapped keys.
pub const FORMAT: u8 = 1;

/// Why sealed bytes did not open. Nothing of the plaintext was given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The block is not what was sealed for this place of this stream.
    #[error("block {index} does not open: it was changed, exchanged or cut off")]
    Block {
        /// The block's index in its stream.
        index: u64,
    },
    /// Fewer bytes than a tag and one byte, or more than a full block.
    #[error("a sealed block has 17 to 65,552 bytes, and this one has {0}")]
    BlockLength(usize),
    /// The wrapped key is not one of this stream and this key-encryption key.
    #[error("the stream's key does not unwrap: it was changed, or belongs to another stream or cluster")]
    Wrapped,
    /// The key was wrapped by another version of the key-encryption key.
    #[error("the stream's key was wrapped under key version {wrapped}, and this is version {held}")]
    Version {
        /// The version that the caller names.
        wrapped: u32,
        /// The version of the key that was asked.
        held: u32,
    },
}
