//! The pieces of dead segments, and those that nobody refers to: they go to their nodes' trash, and after a
//! week they are purged.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::task::Task;
use super::{Step, Worker};
use crate::env::Env;
use crate::metadata::{
    self, CondemnedPiece, ForgetCondemned, ForgetStrays, Holder, MarkStraysTrashed, MarkTrashed, Metadata,
    MetadataError, NodeRow, NodesToTell, PiecesToPurge, PiecesToTrash, StraysToPurge, StraysToTrash,
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
/// How often it is shown, and read, which nodes are out of reach.
const SHOW_EVERY: Duration = Duration::from_secs(10);

/// Deletes. One process does it for all nodes that are connected to it, the
/// others for the rest. What is done twice, or late by a process that had been
/// stalled, does no harm: a piece that was condemned never comes back.
pub struct DeleteWorker {
    metadata: Metadata,
    transfer: Transfer,
    task: Task,
    /// The nodes that the one process cannot reach, as it has said, or as the
    /// others have read, and when.
    out_of_reach: BTreeSet<u32>,
    at: Option<Instant>,
}

impl DeleteWorker {
    /// Deletes what this database says is dead.
    pub fn new(metadata: Metadata, transfer: Transfer, env: &Env) -> Self {
        let task = Task::new(metadata.clone(), metadata::Task::Delete, Holder(env.random()), super::LEASE);
        Self { metadata, transfer, task, out_of_reach: BTreeSet::new(), at: None }
    }

    /// The nodes that are this process's to serve and have something due: one
    /// question for all of them.
    async fn nodes_due(&mut self) -> Result<Vec<NodeRow>, MetadataError> {
        let mut rows = self.nodes().await?;
        let nodes = rows.iter().map(|row| row.number).collect();
        let due = self.metadata.read(NodesToTell { nodes, older_than_ms: TRASH_TIME.as_millis() as u64 }).await?;
        rows.retain(|row| due.contains(&row.number));
        Ok(rows)
    }

    /// The nodes that are this process's to serve.
    async fn nodes(&mut self) -> Result<Vec<NodeRow>, MetadataError> {
        let leads = self.task.is_ours().await?;
        let fleet = self.transfer.fleet();
        let (rows, connected) = (fleet.registered(), fleet.connected());
        let is_time = self.at.is_none_or(|at| at.elapsed() >= SHOW_EVERY);
        if is_time && self.task.is_shared() {
            self.at = Some(Instant::now());
            match leads {
                true => {
                    self.show(rows.iter().map(|row| row.number).filter(|node| !connected.contains(node)).collect())
                        .await?
                }
                false => self.out_of_reach = decode(self.task.state().await?),
            }
        }
        let is_mine =
            |row: &NodeRow| connected.contains(&row.number) && (leads || self.out_of_reach.contains(&row.number));
        Ok(rows.into_iter().filter(is_mine).collect())
    }

    /// Tells the others which nodes are theirs.
    async fn show(&mut self, out_of_reach: BTreeSet<u32>) -> Result<(), MetadataError> {
        let state = serde_json::to_vec(&out_of_reach).map_err(|error| MetadataError::Failed(error.to_string()))?;
        self.out_of_reach = out_of_reach;
        self.task.store(state).await
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

    async fn trash_strays(&self, number: u32, node: NodeId) -> Result<Step, MetadataError> {
        let pieces = self.metadata.read(StraysToTrash { node: number, limit: PIECES_AT_ONCE }).await?;
        if pieces.is_empty() || !told(node, self.transfer.fleet().nodes().trash(node, &pieces)).await {
            return Ok(Step::Idle);
        }
        self.metadata.write(MarkStraysTrashed { node: number, pieces }).await?;
        Ok(Step::Busy)
    }

    async fn purge_strays(&self, number: u32, node: NodeId) -> Result<Step, MetadataError> {
        let older_than_ms = TRASH_TIME.as_millis() as u64;
        let find = StraysToPurge { node: number, older_than_ms, limit: PIECES_AT_ONCE };
        let pieces = self.metadata.read(find).await?;
        if pieces.is_empty() || !told(node, self.transfer.fleet().nodes().purge(node, &pieces)).await {
            return Ok(Step::Idle);
        }
        self.metadata.write(ForgetStrays { node: number, pieces }).await?;
        Ok(Step::Busy)
    }

    fn piece_ids(&self, pieces: &[CondemnedPiece]) -> Vec<PieceId> {
        pieces.iter().filter_map(|piece| self.transfer.piece_id(piece.segment, &piece.place)).collect()
    }

    /// One node's share of a step.
    async fn serve(&self, row: &NodeRow) -> Result<Step, MetadataError> {
        let steps = [
            self.trash(row.number, row.node).await?,
            self.purge(row.number, row.node).await?,
            self.trash_strays(row.number, row.node).await?,
            self.purge_strays(row.number, row.node).await?,
        ];
        Ok(if steps.contains(&Step::Busy) { Step::Busy } else { Step::Idle })
    }
}

/// What a process that deletes has shown; nothing if that cannot be read.
fn decode(state: Option<Vec<u8>>) -> BTreeSet<u32> {
    state.and_then(|state| serde_json::from_slice(&state).ok()).unwrap_or_default()
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
        let rows = self.nodes_due().await?;
        let steps = join_all(rows.iter().map(|row| self.serve(row))).await;
        let mut found = Step::Idle;
        for step in steps {
            if step? == Step::Busy {
                found = Step::Busy;
            }
        }
        Ok(found)
    }

    async fn end(&mut self) {
        self.task.leave(Duration::ZERO).await;
    }
}
