//! How gateway and nodes reach each other: identities, TLS, dialling, and the
//! door with its parked connections.
//!
//! Nodes dial ([`Dialler`]) and serve; the [`Door`] accepts, judges the hello
//! and keeps every connection parked until someone asks [`Nodes`] for a piece.
//! It knows pieces and nodes; not segments, objects or what a piece is for.
//!
//! **Clocks.** Nothing here trusts a wall clock. A node does not compare a
//! door certificate's validity with its own time: freshness comes from a
//! statement that the door signs with the cluster key for each connection, so
//! a stolen certificate is worth nothing even to a node whose clock is wrong.
//!
//! **Dead paths** are found by asking idle connections for their usage every
//! few seconds and by watching busy ones for progress, both within 15 s. A
//! node that hears nothing for as long hangs up and dials again.

mod activity;
mod bandwidth;
mod certificate;
mod client;
mod connection;
mod dial;
mod door;
mod error;
mod frames;
mod identity;
mod metered;
mod nodes;
mod pool;
mod registry;
mod tls;
mod tuning;

pub use activity::{Activity, Traffic};
pub use bandwidth::Bandwidth;
pub use dial::{Dialled, Dialler};
pub use door::{Admission, Admitted, Door, DoorConfig};
pub use error::{DialError, NodeError, TransportError};
pub use identity::{ClusterIdentity, Identity};
pub use metered::Metered;
pub use nodes::{NodeStatus, Nodes};
pub use tuning::{BUFFER_BYTES, DIAL_TIMEOUT, SILENCE_MAX, Tuning};

#[cfg(test)]
pub(crate) mod tests;
