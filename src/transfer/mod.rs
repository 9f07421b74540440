//! One segment to or from many nodes: long tail, replacement, decoding.
//!
//! Knows ciphertext, pieces and nodes. Never sees plaintext, a content key, a
//! bucket or a key.

mod admission;
mod arrivals;
mod audit;
mod budget;
mod error;
mod fleet;
mod gather;
mod pace;
mod policy;
mod read;
mod rebuild;
mod record;
mod roster;
mod salvage;
mod store;
mod upload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use admission::{DOOR_FORGOTTEN_AFTER_MS, Registered};
pub use budget::{Budget, BudgetError, Reserved};
pub use error::TransferError;
pub use fleet::{BadPiece, Fleet};
pub use policy::{Plan, Readiness, SchemePolicy};
pub use read::SegmentReader;

use crate::env::Env;
use crate::metadata::{Metadata, PiecePlace};
use crate::seal::PieceIdKey;
use crate::types::limits::{MAC_BYTES, SEALED_BLOCK_BYTES, STRIPES_MAX};
use crate::types::{PieceId, SegmentId};

/// Bytes of a full segment's pieces.
pub const FULL_PIECE_BYTES: usize = STRIPES_MAX * (SEALED_BLOCK_BYTES + MAC_BYTES);

/// Moves segments between this process and the nodes. Cheap to clone.
#[derive(Clone)]
pub struct Transfer {
    fleet: Fleet,
    piece_ids: Arc<PieceIdKey>,
    policy: SchemePolicy,
    budget: Budget,
    metadata: Metadata,
    env: Env,
}

impl Transfer {
    /// Moves segments as the operator wants them coded.
    pub fn new(
        fleet: Fleet,
        metadata: Metadata,
        piece_ids: PieceIdKey,
        policy: SchemePolicy,
        budget: Budget,
        env: Env,
    ) -> Self {
        Self { fleet, piece_ids: Arc::new(piece_ids), policy, budget, metadata, env }
    }

    /// The memory that transfers share.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The nodes.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What derives piece ids.
    pub fn piece_ids(&self) -> Arc<PieceIdKey> {
        self.piece_ids.clone()
    }

    /// What the node of that place knows the piece by. None for a node that
    /// the database does not know.
    pub fn piece_id(&self, segment: SegmentId, place: &PiecePlace) -> Option<PieceId> {
        let node = self.fleet.node_id(place.node)?;
        Some(self.piece_ids.piece_id(segment, place.piece, node, place.incarnation))
    }
}
