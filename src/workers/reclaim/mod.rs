//! Reclaim: an observer of the walk over all segments. It builds a filter of
//! what each of some nodes is to have; when the walk has seen all segments, the
//! nodes say what they have besides, and that is condemned. What is named by a
//! list and lies in the trash is restored.
//!
//! Nothing here waits for a node while the walk goes on: nodes are asked on
//! the side, and the next comparison begins when that is over.

pub(super) mod ask;
mod choose;
pub(super) mod round;

use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::ask::{Asking, Bookmarks, Sum};
use self::choose::{NODES_AT_ONCE, Turns};
use self::round::{Round, Subject};
use super::observer::{Observer, Scene, Wish};
use super::report::HealthWatch;
use crate::metadata::{ForgetDeparted, Holder, MetadataError, NodesToCompare, SegmentRow};

/// Rows of departed nodes that are forgotten at once.
const DEPARTED_AT_ONCE: u32 = 5000;

/// Watches the walk of one process.
pub(super) struct Reclaim {
    /// This process's lease on epochs.
    own: Holder,
    /// How often each node is compared.
    every: Duration,
    turns: Turns,
    bookmarks: Bookmarks,
    round: Option<Round>,
    pub(super) asking: Option<JoinHandle<()>>,
}

/// Shows that nodes are being compared, until it is dropped.
struct Comparing(HealthWatch);

impl Comparing {
    fn begin(watch: HealthWatch) -> Self {
        watch.report().comparing += 1;
        Self(watch)
    }

    fn tell(&self, sum: &Sum) {
        let mut report = self.0.report();
        report.pieces_condemned += sum.condemned;
        report.bytes_condemned += sum.bytes;
        report.pieces_restored += sum.restored;
    }
}

impl Drop for Comparing {
    fn drop(&mut self) {
        let mut report = self.0.report();
        report.comparing = report.comparing.saturating_sub(1);
    }
}

impl Reclaim {
    pub(super) fn new(own: Holder, every: Duration) -> Self {
        Self { own, every, turns: Turns::default(), bookmarks: Bookmarks::default(), round: None, asking: None }
    }

    /// Whether nodes are being asked.
    fn is_asking(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| !asking.is_finished())
    }

    /// Of the nodes that are due and connected to this process, those whose
    /// turn it is.
    async fn subjects(&mut self, scene: &Scene) -> Result<Vec<Subject>, MetadataError> {
        let fleet = scene.transfer.fleet();
        let nodes = fleet.connected().into_iter().collect();
        let (older_than_ms, most) = match scene.asked {
            true => (0, usize::MAX),
            false => (self.every.as_millis() as u64, NODES_AT_ONCE),
        };
        let due = scene.metadata.read(NodesToCompare { nodes, older_than_ms }).await?;
        let subject = |number| {
            let node = fleet.node_id(number)?;
            Some(Subject { number, node, pieces: fleet.nodes().status(node)?.usage.pieces })
        };
        Ok(self.turns.choose(due.into_iter().filter_map(subject).collect(), most, Instant::now()))
    }
}

#[async_trait]
impl Observer for Reclaim {
    /// Nothing of the walk has been read yet: the epoch comes first.
    async fn begin(&mut self, scene: &Scene) -> Result<(), MetadataError> {
        self.round = None;
        match self.asking.take() {
            // Who waits for this pass waits for a comparison that begins with it.
            Some(asking) if scene.asked => {
                asking.abort();
                drop(asking.await);
            }
            Some(asking) if !asking.is_finished() => {
                self.asking = Some(asking);
                return Ok(());
            }
            _ => {}
        }
        while scene.metadata.write(ForgetDeparted { limit: DEPARTED_AT_ONCE }).await? {}
        let subjects = self.subjects(scene).await?;
        if subjects.is_empty() {
            return Ok(());
        }
        let salt = u64::from_le_bytes(scene.env.random());
        let ids = scene.transfer.piece_ids();
        self.round = Some(Round::begin(&scene.metadata, ids, self.own, &subjects, salt).await?);
        Ok(())
    }

    async fn page(&mut self, _: &Scene, rows: &[SegmentRow]) -> Result<bool, MetadataError> {
        if let Some(round) = &mut self.round {
            round.see(rows);
        }
        Ok(false)
    }

    async fn end(&mut self, scene: &Scene) -> Result<Wish, MetadataError> {
        if let Some(round) = self.round.take() {
            let nodes = scene.transfer.fleet().nodes().clone();
            let asking = Asking::new(round, scene.metadata.clone(), nodes, self.bookmarks.clone());
            let comparing = Comparing::begin(scene.watch.clone());
            self.asking = Some(tokio::spawn(asking.run(move |sum| comparing.tell(&sum))));
        }
        Ok(Wish::default())
    }

    fn is_busy(&self) -> bool {
        self.is_asking()
    }

    fn cut_off(&mut self) {
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
