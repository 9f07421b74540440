//! The pieces of dead segments: they go to their nodes' trash, and after a
//! week they are purged.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{Step, Worker};
use crate::metadata::{
    CondemnedPiece, ForgetCondemned, MarkTrashed, Metadata, MetadataError, NodeRow, PiecesToPurge, PiecesToTrash,
};
use crate::transfer::Transfer;
use crate::transport::NodeError;
use crate::types::{NodeId, PieceId};

/// How long a piece stays readable in its node's trash.
const TRASH_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a node may take for one order, whatever it sends meanwhile.
const ORDER_TIME: Duration = Duration::from_secs(30);
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
        if pieces.is_empty() || !told(node, self.transfer.fleet().nodes().trash(node, &ids)).await {
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
        if pieces.is_empty() || !told(node, self.transfer.fleet().nodes().purge(node, &ids)).await {
            return Ok(Step::Idle);
        }
        self.metadata.write(ForgetCondemned { pieces }).await?;
        Ok(Step::Busy)
    }

    fn piece_ids(&self, pieces: &[CondemnedPiece]) -> Vec<PieceId> {
        pieces.iter().filter_map(|piece| self.transfer.piece_id(piece.segment, &piece.place)).collect()
    }

    /// One node's share of a step.
    async fn serve(&self, row: &NodeRow) -> Result<Step, MetadataError> {
        let trashed = self.trash(row.number, row.node).await?;
        let purged = self.purge(row.number, row.node).await?;
        Ok(if trashed == Step::Busy { trashed } else { purged })
    }
}

/// Whether a node did what it was told. One that cannot be told now is told
/// later: the pieces stay condemned.
async fn told(node: NodeId, order: impl Future<Output = Result<(), NodeError>>) -> bool {
    let outcome = tokio::time::timeout(ORDER_TIME, order).await.unwrap_or(Err(NodeError::Timeout));
    if let Err(error) = &outcome {
        tracing::debug!(%node, %error, "a node could not be told to delete");
    }
    outcome.is_ok()
}

#[async_trait]
impl Worker for DeleteWorker {
    fn name(&self) -> &'static str {
        "delete"
    }

    async fn step(&mut self) -> Result<Step, MetadataError> {
        let fleet = self.transfer.fleet();
        let mut rows = fleet.registered();
        rows.retain(|row| fleet.nodes().is_connected(row.node));
        let steps = join_all(rows.iter().map(|row| self.serve(row))).await;
        let mut found = Step::Idle;
        for step in steps {
            if step? == Step::Busy {
                found = Step::Busy;
            }
        }
        Ok(found)
    }
}
