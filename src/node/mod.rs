//! The storage node: piece store, service, joining. Knows piece ids and
//! ciphertext; not buckets, keys, segments or who asks.
//!
//! A node opens no port: it dials every door of its cluster (`dial`) and serves
//! on the connections that it dialled (`service`).

mod backoff;
mod compaction;
mod dial;
mod doors;
mod folder_watch;
pub mod local;
mod membership;
mod report;
mod rest;
mod run;
mod scrub;
mod service;
mod state;
pub mod store;
mod traffic;

#[cfg(test)]
mod tests;

pub use doors::{DoorState, DoorStatus};
pub use membership::{Membership, MembershipError, short};
pub use report::{DiskReport, DoorReport, NodeReport, NodeState, TrafficReport};
pub use rest::{RestError, at_rest};
pub use run::{Node, NodeConfig, StartError};
pub use state::StateError;
pub use traffic::Bytes;
