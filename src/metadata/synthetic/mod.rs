//! A database that was never used, for measuring: objects by the million, in
//! the real schema and with the real codecs, the same ones for the same seed.
//!
//! Everything in it adds up: each body, stream and segment is referred to as
//! often as its row says, pieces are on nodes that are there, what is garbage
//! or condemned is in nobody's list. Only the bytes are not: no node has them.

mod load;
mod rows;

pub use load::{SyntheticPlace, load_synthetic};
pub use rows::{BLOCK_OBJECTS, Synthetic};
