//! The storage node: piece store, service, joining. Knows piece ids and
//! ciphertext; not buckets, keys, segments or who asks.
//!
//! A node opens no port: it dials every door of its cluster (`dial`) and serves
//! on the connections that it dialled (`service`).

mod compaction;
mod dial;
mod run;
mod scrub;
mod service;
mod state;
pub mod store;

#[cfg(test)]
mod tests;

pub use run::{DoorState, DoorStatus, Node, NodeConfig, StartError};
pub use state::StateError;
