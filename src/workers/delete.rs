//! What nothing refers to any more: streams give their segments back, the
//! pieces of dead segments go to their nodes' trash, and after a week they
//! are purged.

use std::time::Duration;

use async_trait::async_trait;

use super::{Step, Worker};
use crate::metadata::{
    CondemnedPiece, ForgetCondemned, MarkTrashed, Metadata, MetadataError, PiecesToPurge, PiecesToTrash, ReleaseGarbage,
};
use crate::transfer::Transfer;
use crate::types::{NodeId, PieceId};

/// How long a piece stays readable in its node's trash.
const TRASH_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bodies whose spans one step gives back.
const GARBAGE_AT_ONCE: u32 = 100;
/// Pieces that one request to a node names.
const PIECES_AT_ONCE: u32 = 1000;

/// Deletes. One per database.
pub struct DeleteWorker {
    metadata: Metadata,
    transfer: Transfer,
}

impl DeleteWorker {
    /// Deletes what this database says is dead.
    pub fn new(metadata: Metadata, transfer: Transfer) -> Self {
        Self { metadata, transfer }
    }

    async fn trash(&self, number: u32, node: NodeId) -> Result<Step, MetadataError> {
        let pieces = self.metadata.read(PiecesToTrash { node: number, limit: PIECES_AT_ONCE }).await?;
        let ids = self.piece_ids(&pieces);
        if pieces.is_empty() || !self.told(node, self.transfer.fleet().nodes().trash(node, &ids).await) {
            return Ok(Step::Idle);
        }
        self.metadata.write(MarkTrashed { pieces }).await?;
        Ok(Step::Busy)
    }

    async fn purge(&self, number: u32, node: NodeId) -> Result<Step, MetadataError> {
        let older_than_ms = TRASH_TIME.as_millis() as u64;
        let find = PiecesToPurge { node: number, older_than_ms, limit: PIECES_AT_ONCE };
        let pieces = self.metadata.read(find).await?;
        let ids = self.piece_ids(&pieces);
        if pieces.is_empty() || !self.told(node, self.transfer.fleet().nodes().purge(node, &ids).await) {
            return Ok(Step::Idle);
        }
        self.metadata.write(ForgetCondemned { pieces }).await?;
        Ok(Step::Busy)
    }

    fn piece_ids(&self, pieces: &[CondemnedPiece]) -> Vec<PieceId> {
        pieces.iter().filter_map(|piece| self.transfer.piece_id(piece.segment, &piece.place)).collect()
    }

    /// A node that cannot be told now is told later: the pieces stay condemned.
    fn told(&self, node: NodeId, outcome: Result<(), crate::transport::NodeError>) -> bool {
        if let Err(error) = &outcome {
            tracing::debug!(%node, %error, "a node could not be told to delete");
        }
        outcome.is_ok()
    }
}

#[async_trait]
impl Worker for DeleteWorker {
    fn name(&self) -> &'static str {
        "delete"
    }

    async fn step(&mut self) -> Result<Step, MetadataError> {
        let mut found = match self.metadata.write(ReleaseGarbage { limit: GARBAGE_AT_ONCE }).await? {
            true => Step::Busy,
            false => Step::Idle,
        };
        for row in self.transfer.fleet().registered() {
            if !self.transfer.fleet().nodes().is_connected(row.node) {
                continue;
            }
            for step in [self.trash(row.number, row.node).await?, self.purge(row.number, row.node).await?] {
                if step == Step::Busy {
                    found = step;
                }
            }
        }
        Ok(found)
    }
}
