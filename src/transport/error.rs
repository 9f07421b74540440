//! Why something between gateway and node did not happen.

use crate::types::Generation;
use crate::wire::{ErrorBody, ErrorKind, Refusal, WireError};

/// Why a request to a node failed. Whether the node did it anyway is unknown
/// for [`Timeout`](Self::Timeout) and [`Broken`](Self::Broken) only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The node is not connected. Use another one.
    #[error("the node is not connected")]
    Offline,
    /// The node does not have the piece (any more). Count it as lost.
    #[error("the node does not have the piece")]
    Missing,
    /// The node's disk lost or changed the piece. Count it as lost.
    #[error("the node's disk damaged the piece: {0}")]
    Damaged(String),
    /// The node's capacity is used up. Use another one.
    #[error("the node is full")]
    Full,
    /// The node has another piece under that id. Never happens to ids that
    /// are used once; use another node.
    #[error("the node has another piece under that id")]
    Conflict,
    /// The node declines this request, now or ever. Use another one.
    #[error("the node declined: {0}")]
    Refused(String),
    /// The node has a piece under that id, and not so much of it.
    #[error("the node has not got what was asked for: {0}")]
    Unfit(String),
    /// The node's store is broken. Use another one, and expect its pieces to
    /// be lost.
    #[error("the node failed: {0}")]
    Failed(String),
    /// Nothing moved for too long. Use another node.
    #[error("the node did not answer in time")]
    Timeout,
    /// The connection broke, or what came over it was no valid answer. Use
    /// another node; asking again is safe.
    #[error("the connection to the node broke: {0}")]
    Broken(String),
}

impl From<ErrorBody> for NodeError {
    fn from(error: ErrorBody) -> Self {
        match error.kind {
            ErrorKind::Missing => Self::Missing,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Full => Self::Full,
            ErrorKind::Damaged => Self::Damaged(error.sentence),
            ErrorKind::Failed => Self::Failed(error.sentence),
            ErrorKind::Closing => Self::Offline,
            ErrorKind::Invalid => Self::Unfit(error.sentence),
            ErrorKind::Busy | ErrorKind::Unsupported | ErrorKind::Other => Self::Refused(error.sentence),
        }
    }
}

/// Why a node could not get through a door.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection. Try again.
    #[error("cannot reach the door: {0}")]
    Unreachable(#[source] std::io::Error),
    /// The TLS handshake failed: most likely it is not a door of this cluster.
    #[error("this is not a door of the cluster that this node belongs to: {0}")]
    NotOurDoor(String),
    /// The door does not hold the cluster's key.
    #[error("the door could not prove that it holds the cluster's key")]
    Unproven,
    /// The door belongs to a past that the cluster has left.
    #[error("the door shows generation {shown}, but this node has seen {seen}: the door is out of date")]
    OldGeneration {
        /// What the door showed.
        shown: Generation,
        /// The highest that the node has seen.
        seen: Generation,
    },
    /// The door said no, and why.
    #[error("the door refused: {0}")]
    Refused(#[source] Refusal),
    /// The door's answer was not understood.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The connection broke during the hello. Try again.
    #[error("the connection broke: {0}")]
    Broken(#[source] std::io::Error),
    /// It took more than 20 s. Try again.
    #[error("the door did not answer within 20 s")]
    Timeout,
}

impl DialError {
    /// Whether trying again soon may help, or a person has to act first.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Broken(_) | Self::Timeout)
    }
}

/// Why a key, a certificate or a door could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The identity's file cannot be read or written.
    #[error("the identity in {path}: {error}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What went wrong.
        error: std::io::Error,
    },
    /// The identity's file does not hold an Ed25519 key.
    #[error("{0} does not hold an Ed25519 key in PKCS#8")]
    NotAKey(std::path::PathBuf),
    /// The cryptographic library refused.
    #[error("cannot make keys or certificates: {0}")]
    Crypto(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: String,
        /// What went wrong.
        error: std::io::Error,
    },
}

impl TransportError {
    pub(super) fn crypto(error: impl ToString) -> Self {
        Self::Crypto(error.to_string())
    }
}
