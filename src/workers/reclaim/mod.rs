//! Reclaim: an observer of the walk over all segments. It builds a filter of
//! what each of some nodes is to have; when the walk has seen all segments, the
//! nodes say what they have besides, and that is condemned. What is named by a
//! list and lies in the trash is restored.
//!
//! Nothing here waits for a node while the walk goes on: nodes are asked on
//! the side, and the next comparison begins when that is over.

mod ask;
pub(super) mod round;

use std::time::Duration;

use tokio::task::JoinHandle;

use self::ask::ask_all;
use self::round::{Round, Subject};
use super::repair::Repairer;
use super::report::HealthWatch;
use crate::env::Env;
use crate::metadata::{ForgetDeparted, MetadataError, NodesToCompare, SegmentRow};

/// Nodes that are compared in one pass, and pieces on them, about: a filter
/// takes ten bits for each.
const NODES_AT_ONCE: u32 = 32;
const PIECES_AT_ONCE: u64 = 50_000_000;
/// Rows of departed nodes that are forgotten at once.
const DEPARTED_AT_ONCE: u32 = 5000;

/// Watches the walk of one process.
pub(super) struct Reclaim {
    repairer: Repairer,
    watch: HealthWatch,
    env: Env,
    /// How often each node is compared.
    every: Duration,
    round: Option<Round>,
    asking: Option<JoinHandle<()>>,
}

impl Reclaim {
    pub(super) fn new(repairer: Repairer, watch: HealthWatch, env: Env, every: Duration) -> Self {
        Self { repairer, watch, env, every, round: None, asking: None }
    }

    /// Whether nodes are being asked.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| !asking.is_finished())
    }

    /// A walk over all segments begins: nothing of it has been read yet.
    pub(super) async fn begin(&mut self) -> Result<(), MetadataError> {
        self.round = None;
        if self.is_asking() {
            return Ok(());
        }
        let metadata = &self.repairer.metadata;
        while metadata.write(ForgetDeparted { limit: DEPARTED_AT_ONCE }).await? {}
        let subjects = self.subjects().await?;
        if subjects.is_empty() {
            return Ok(());
        }
        let (ids, own) = (self.repairer.transfer.piece_ids(), self.repairer.epochs.holder());
        let salt = u64::from_le_bytes(self.env.random());
        self.round = Some(Round::begin(metadata, ids, own, &subjects, salt).await?);
        Ok(())
    }

    /// The nodes that are due and connected to this process.
    async fn subjects(&self) -> Result<Vec<Subject>, MetadataError> {
        let fleet = self.repairer.transfer.fleet();
        let nodes = fleet.connected().into_iter().collect();
        let due = NodesToCompare { nodes, older_than_ms: self.every.as_millis() as u64, limit: NODES_AT_ONCE };
        let due = self.repairer.metadata.read(due).await?;
        let (mut subjects, mut room) = (Vec::new(), PIECES_AT_ONCE);
        for number in due {
            let Some(node) = fleet.node_id(number) else { continue };
            let Some(status) = fleet.nodes().status(node) else { continue };
            let pieces = status.usage.pieces;
            if pieces > room && !subjects.is_empty() {
                break;
            }
            room = room.saturating_sub(pieces);
            subjects.push(Subject { number, node, pieces });
        }
        Ok(subjects)
    }

    /// A page of segments was read.
    pub(super) fn see(&mut self, rows: &[SegmentRow]) {
        if let Some(round) = &mut self.round {
            round.see(rows);
        }
    }

    /// The walk has seen all segments.
    pub(super) fn end(&mut self) {
        let Some(round) = self.round.take() else { return };
        let (metadata, watch) = (self.repairer.metadata.clone(), self.watch.clone());
        let nodes = self.repairer.transfer.fleet().nodes().clone();
        self.asking = Some(tokio::spawn(async move {
            let (condemned, restored) = ask_all(round, &metadata, &nodes).await;
            let mut report = watch.report();
            report.pieces_condemned += condemned;
            report.pieces_restored += restored;
        }));
    }

    /// The walk was cut off: what it has seen is not all.
    pub(super) fn cut_off(&mut self) {
        self.round = None;
    }
}

impl Drop for Reclaim {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}
