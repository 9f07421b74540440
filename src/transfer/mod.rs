//! One segment to or from many nodes: long tail, replacement, decoding.
//!
//! Knows ciphertext, pieces and nodes. Never sees plaintext, a content key, a
//! bucket or a key.

mod admission;
mod budget;
mod fleet;
mod read;
mod rebuild;
mod store;

use std::sync::Arc;

pub use admission::Registered;
pub use budget::{Budget, BudgetError, Reserved};
pub use fleet::Fleet;
pub use read::SegmentReader;

use crate::env::Env;
use crate::erasure::{Coding, Scheme};
use crate::metadata::{Metadata, MetadataError, PiecePlace};
use crate::seal::PieceIdKey;
use crate::types::limits::{MAC_BYTES, SEALED_BLOCK_BYTES};
use crate::types::{PieceId, SegmentId};

/// Moves segments between this process and the nodes. Cheap to clone.
#[derive(Clone)]
pub struct Transfer {
    fleet: Fleet,
    piece_ids: Arc<PieceIdKey>,
    scheme: Scheme,
    coding: Coding,
    budget: Budget,
    metadata: Metadata,
    env: Env,
}

/// Why a segment could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Not enough nodes take pieces. Nothing was kept; try again later.
    #[error("{needed} storage nodes must take the data and {available} can")]
    TooFewNodes {
        /// Nodes that must acknowledge.
        needed: usize,
        /// Nodes that would.
        available: usize,
    },
    /// The memory for transfers is spent; try again.
    #[error(transparent)]
    Busy(#[from] BudgetError),
    /// Fewer than `required` pieces can be read now.
    #[error("segment {segment}: {readable} of the {required} pieces that it takes can be read")]
    Unreadable {
        /// The segment.
        segment: SegmentId,
        /// Pieces that gave good shares.
        readable: usize,
        /// Pieces that are necessary.
        required: usize,
    },
    /// What is recorded of the segment makes no sense.
    #[error("segment {segment}: {reason}")]
    Corrupt {
        /// The segment.
        segment: SegmentId,
        /// What does not fit.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A computation was cut off because the process ends.
    #[error("the process is shutting down")]
    Closing,
}

impl Transfer {
    /// Moves segments under this redundancy scheme.
    pub fn new(
        fleet: Fleet,
        metadata: Metadata,
        piece_ids: PieceIdKey,
        scheme: Scheme,
        budget: Budget,
        env: Env,
    ) -> Self {
        Self { fleet, piece_ids: Arc::new(piece_ids), scheme, coding: Coding::from(scheme), budget, metadata, env }
    }

    /// The redundancy scheme of new segments.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The memory that transfers share.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The nodes.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Ciphertext bytes of a full segment, and the least step in which one
    /// grows without leaving shares short.
    pub fn segment_bytes(&self) -> (usize, usize) {
        let full = crate::segment::capacity(self.coding);
        (full, full / crate::types::limits::STRIPES_MAX)
    }

    /// Fails unless enough nodes are there to take a segment, so that a body
    /// is not read for nothing.
    pub fn check_writable(&self) -> Result<(), TransferError> {
        let piece_bytes = crate::types::limits::STRIPES_MAX * (SEALED_BLOCK_BYTES + MAC_BYTES);
        let available = self.fleet.writable_domains(piece_bytes as u64);
        match available >= usize::from(self.scheme.optimal()) {
            true => Ok(()),
            false => Err(TransferError::TooFewNodes { needed: usize::from(self.scheme.optimal()), available }),
        }
    }

    /// What the node of that place knows the piece by. None for a node that
    /// the database does not know.
    pub fn piece_id(&self, segment: SegmentId, place: &PiecePlace) -> Option<PieceId> {
        let node = self.fleet.node_id(place.node)?;
        Some(self.piece_ids.piece_id(segment, place.piece, node, place.incarnation))
    }
}
