//! Stripes to shares and back, and the redundancy schemes that say how many.
//!
//! Knows counts and bytes; not nodes, keys or what the bytes mean. The
//! durability calculation that chooses schemes for a network is here too.
//!
//! A stripe is `k` data shares of equal, even length; its `n - k` parity
//! shares are computed from them. Codec 1 repeats the one data share. Codec 2
//! is reed-solomon-simd's Leopard code over GF(2^16): an element's low byte
//! stands at `i` and its high byte at `i + 32` of each 64 bytes of a share,
//! and at `i` and `i + t / 2` of a last stretch of `t` < 64 bytes.

mod coding;
mod durability;
mod encoder;
mod field;
mod generator;
mod recovery;
mod scheme;

pub use coding::{Codec, Coding, CodingError};
pub use durability::{Aim, Durability, Network, audits_to_catch, cheapest};
pub use encoder::Encoder;
pub use recovery::Recovery;
pub use scheme::{Scheme, SchemeError};
