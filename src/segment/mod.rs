//! Ciphertext to segments to pieces and back, with a MAC for every share.
//!
//! Knows ciphertext, counts and MAC keys; not objects, streams, content keys
//! or nodes.
//!
//! # Format 1
//!
//! A segment's ciphertext is cut into shares of equal, even length, the last
//! one padded with zeros. Share i is the data share of piece `i % k` in stripe
//! `i / k`, so the first k pieces are the ciphertext itself; every stripe's
//! parity shares belong to pieces k to n - 1.
//!
//! | piece: for each of 1..=32 stripes | bytes |
//! |---|---|
//! | share | 2..=65,552, even |
//! | MAC | 16 |
//!
//! A MAC is GMAC, the tag of AES-256-GCM over nothing, under the segment's MAC
//! key with the share as AAD. Its nonce never repeats under a key, because a
//! segment keeps its coding for life:
//!
//! | nonce | bytes |
//! |---|---|
//! | piece number, big endian | 2 |
//! | stripe, big endian | 2 |
//! | zero | 8 |
//!
//! The root of a segment, which stays in the database, is the first 16 bytes
//! of HMAC-SHA-256 under the MAC key over `cairn segment root 1`, the layout
//! (16 bytes) and the MACs of all data shares, stripe by stripe.
//!
//! | layout | bytes |
//! |---|---|
//! | format: 1 | 1 |
//! | codec | 1 |
//! | k, big endian | 2 |
//! | n, big endian | 2 |
//! | share length in bytes, big endian | 4 |
//! | stripes, big endian | 2 |
//! | ciphertext in bytes, big endian | 4 |

mod encode;
mod layout;
mod mac;
mod read;

pub use encode::{EncodedSegment, encode, encode_into};
pub use layout::{LAYOUT_BYTES, Layout, LayoutError, ShareAddress, capacity};
pub use mac::{BadShare, MacKey, SEGMENT_ROOT_BYTES, root_of};
pub use read::{MissingShare, PieceStripes};
