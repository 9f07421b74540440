//! Looks after the health of all segments: one process walks over them,
//! counts how they are, and puts those that need it into the queue; every
//! process repairs from there, nearest to loss first.
//!
//! A pass begins every few minutes, and at once when the node watch has heard
//! of damage or of a node that goes. Repairs go on meanwhile, a few at a time.
//! All of it yields to users: pages are paced, and while memory for their
//! transfers is short one repair runs at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::audit::Auditor;
use super::census::Census;
use super::crew::{Crew, Ended};
use super::inventory::Comparison;
use super::merge::{Candidates, Sparse};
use super::observer::{Observer, Scene};
use super::once::Runs;
use super::reclaim::Reclaim;
use super::repair::Repairer;
use super::report::HealthWatch;
use super::share::Sharing;
use super::task::Task;
use super::tranquil::Tranquilizer;
use super::walk::Walk;
use super::{Step, Worker};
use crate::env::Env;
use crate::metadata::{self, CountRepairs, Holder, Metadata, MetadataError, RepairCounts};
use crate::objects::Epochs;
use crate::transfer::Transfer;

/// How the loop goes about it.
#[derive(Debug, Clone)]
pub struct HealthTuning {
    /// How long a node may be away before its pieces count as missing.
    pub offline_after: Duration,
    /// From the end of a pass to the next one, when nothing calls for it.
    pub rest: Duration,
    /// The same while nodes are being emptied or something was repaired.
    pub short_rest: Duration,
    /// How long nodes have to come back after the start before segments are
    /// counted without them.
    pub settle: Duration,
    /// Segments that are read at once.
    pub page: u32,
    /// Segments that are repaired at once.
    pub repairs: usize,
    /// Whether this process leaves walking and repairing to others, and only
    /// hears what they find.
    pub only_hears: bool,
    /// How often a node is asked for pieces that nobody refers to.
    pub compare_every: Duration,
    /// After how long another process does what this one did, when it has died.
    pub lease: Duration,
}

impl Default for HealthTuning {
    fn default() -> Self {
        Self {
            offline_after: Duration::from_secs(4 * 3600),
            rest: Duration::from_secs(300),
            short_rest: Duration::from_secs(5),
            settle: Duration::from_secs(10),
            page: 500,
            repairs: 4,
            only_hears: false,
            compare_every: Duration::from_secs(6 * 3600),
            lease: super::LEASE,
        }
    }
}

/// How old what is known of the nodes may be.
const CENSUS_AGE: Duration = Duration::from_secs(2);
/// How old the counts may be when nothing has happened here.
const COUNTS_AGE: Duration = Duration::from_millis(250);
/// How long a step waits for a repair.
const REPAIR_WAIT: Duration = Duration::from_millis(500);

/// Walks all segments, if no other process does, and repairs. One per process,
/// which may leave both to others.
pub struct HealthLoop {
    pub(super) repairer: Repairer,
    pub(super) env: Env,
    pub(super) tuning: HealthTuning,
    pub(super) watch: HealthWatch,
    pub(super) holder: Holder,
    pub(super) begun: Instant,
    pub(super) walk: Walk,
    /// Full passes that operators ask for.
    pub(super) runs: Runs,
    /// Who watches the walk.
    pub(super) observers: Vec<Box<dyn Observer>>,
    candidates: Candidates,
    census: Option<(Instant, Arc<Census>)>,
    task: Task,
    crew: Crew,
    /// When the queue was counted, if nothing has changed since.
    counted: Option<Instant>,
    counts: RepairCounts,
    sharing: Sharing,
}

impl HealthLoop {
    /// Looks after the segments in this database.
    pub fn new(metadata: Metadata, transfer: Transfer, epochs: Epochs, env: Env, tuning: HealthTuning) -> Self {
        let holder = Holder(env.random());
        let repairer = Repairer { metadata: metadata.clone(), transfer, epochs };
        let watch = HealthWatch::new(tuning.offline_after, holder);
        let reclaim = Reclaim::new(repairer.epochs.holder(), tuning.compare_every);
        let candidates = Candidates::default();
        let sparse = Sparse::new(candidates.clone());
        Self {
            watch,
            holder,
            begun: Instant::now(),
            walk: Walk::default(),
            runs: Runs::default(),
            observers: vec![
                Box::new(Comparison::default()),
                Box::new(Auditor::default()),
                Box::new(reclaim),
                Box::new(sparse),
            ],
            candidates,
            census: None,
            task: Task::new(metadata, metadata::Task::Health, holder, tuning.lease),
            crew: Crew::new(repairer.clone(), holder, tuning.lease),
            counted: None,
            counts: RepairCounts::default(),
            sharing: Sharing::default(),
            repairer,
            env,
            tuning,
        }
    }

    /// Shows what it finds, and wakes it.
    pub fn watch(&self) -> HealthWatch {
        self.watch.clone()
    }

    /// Where it leaves the segments that can be merged.
    pub fn candidates(&self) -> Candidates {
        self.candidates.clone()
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.repairer.metadata
    }

    /// What observers work with.
    pub(super) fn scene(&self) -> Scene {
        let Repairer { metadata, transfer, .. } = self.repairer.clone();
        let (thorough, asked) = (self.runs.is_thorough(), self.runs.is_asked());
        Scene { metadata, transfer, watch: self.watch.clone(), env: self.env.clone(), thorough, asked }
    }

    pub(super) async fn census(&mut self) -> Result<Arc<Census>, MetadataError> {
        if let Some((taken, census)) = &self.census
            && taken.elapsed() < CENSUS_AGE
        {
            return Ok(census.clone());
        }
        self.fresh_census().await
    }

    pub(super) async fn fresh_census(&mut self) -> Result<Arc<Census>, MetadataError> {
        let census = Arc::new(Census::take(self.metadata(), &self.repairer.transfer, &self.watch).await?);
        self.census = Some((Instant::now(), census.clone()));
        Ok(census)
    }

    // ---- the queue --------------------------------------------------------

    pub(super) fn counts(&self) -> &RepairCounts {
        &self.counts
    }

    /// What all processes have repaired.
    pub(super) fn done(&self) -> u64 {
        self.counts.repaired + self.counts.moved
    }

    /// The queue has changed.
    pub(super) fn recount(&mut self) {
        self.counted = None;
    }

    async fn count(&mut self) -> Result<(), MetadataError> {
        if self.counted.is_none_or(|counted| counted.elapsed() >= COUNTS_AGE) {
            self.counts = self.metadata().read(CountRepairs { holder: self.holder }).await?;
            self.counted = Some(Instant::now());
        }
        Ok(())
    }

    /// Whether nobody is about to repair anything.
    pub(super) fn is_quiet(&self) -> bool {
        let stalled = self.counts.untried == 0 || self.crew.has_given_up();
        stalled && self.counts.taken == 0 && self.crew.is_idle()
    }

    /// Other nodes may be there now.
    pub(super) fn take_heart(&mut self) {
        self.crew.take_heart();
    }

    /// Whether users' transfers use most of their memory.
    pub(super) fn is_busy(&self) -> bool {
        self.tranquil().is_busy()
    }

    /// How this process's work in the background yields.
    pub(super) fn tranquil(&self) -> Tranquilizer {
        Tranquilizer::new(self.repairer.transfer.budget().clone())
    }

    /// Takes in what has ended, and begins what comes first.
    async fn repair(&mut self, walks: bool) -> Result<(), MetadataError> {
        self.hear(Duration::ZERO, walks).await?;
        self.count().await?;
        let most = if self.is_busy() { 1 } else { self.tuning.repairs };
        let room = self.crew.room(most).min(self.counts.free as usize);
        if room > 0 && self.watch.is_ready() {
            let census = self.census().await?;
            match self.crew.take(room).await {
                Ok(taken) => self.crew.start(taken, &census),
                // Nothing can be repaired, and all the same the segments are to be counted.
                Err(MetadataError::Full) => {}
                Err(error) => return Err(error),
            }
            self.recount();
        }
        Ok(())
    }

    async fn hear(&mut self, wait: Duration, walks: bool) -> Result<(), MetadataError> {
        let ended: Ended = self.crew.ended(wait, walks).await;
        if ended.is_empty() {
            return Ok(());
        }
        self.recount();
        self.walk.changed |= ended.done;
        for (segment, answered) in &ended.beyond {
            self.watch.set_beyond(*segment, answered.clone());
        }
        for (node, moved) in &ended.moved {
            let mut report = self.watch.report();
            let left = report.pieces_to_move.entry(*node).or_default();
            *left = left.saturating_sub(*moved);
        }
        match self.crew.tell(ended).await {
            // They are taken again when their lease is over, and need nothing then.
            Err(MetadataError::Full) => Ok(()),
            told => told,
        }
    }

    // ---- among processes --------------------------------------------------

    /// Another process walks by now.
    pub(super) fn is_overtaken(&mut self) {
        self.task.lost();
        self.stop_walking();
    }

    /// Lets another process walk, which is connected to other nodes.
    pub(super) async fn leave_to_others(&mut self) {
        let _ = self.sharing.show(&mut self.task, &self.watch, true).await;
        self.stop_walking();
        self.task.leave(self.tuning.lease).await;
    }

    /// Tells operators what waits.
    fn tell(&mut self) {
        let mut report = self.watch.report();
        report.queue = self.counts.waiting + self.walk.dropped;
        (report.pieces_repaired, report.pieces_moved) = (self.counts.repaired, self.counts.moved);
        report.repairs_failed = self.counts.failed;
        report.waiting_for = (self.counts.hopeless > 0).then(|| {
            "some pieces cannot be placed: there are too few connected nodes with room, in failure domains that have no \
             piece of the same data yet; let more nodes join"
                .to_owned()
        });
    }

    /// As the one process that walks.
    async fn lead(&mut self) -> Result<bool, MetadataError> {
        let passes = self.watch.report().passes;
        self.look_for_once().await?;
        let busy = self.walk().await?;
        self.count().await?;
        self.tell();
        let ended = self.watch.report().passes != passes;
        // Nobody is worse off than before when it cannot be shown.
        if let Err(error) = self.sharing.show(&mut self.task, &self.watch, ended).await {
            tracing::debug!(%error, "other processes could not be told how the segments are");
        }
        Ok(self.go_on_once().await? || busy)
    }

    /// As one of those that do not.
    async fn follow(&mut self) -> Result<(), MetadataError> {
        if self.walk.has_begun() {
            self.stop_walking();
        }
        if self.sharing.hear(&self.task, &self.watch).await? {
            self.take_heart();
        }
        Ok(())
    }
}

#[async_trait]
impl Worker for HealthLoop {
    fn name(&self) -> &'static str {
        "health"
    }

    async fn step(&mut self) -> Result<Step, MetadataError> {
        if self.tuning.only_hears {
            self.sharing.hear(&self.task, &self.watch).await?;
            return Ok(Step::Idle);
        }
        let walks = self.task.is_ours().await?;
        self.repair(walks).await?;
        match walks {
            true if self.lead().await? => return Ok(Step::Busy),
            true => {}
            false => self.follow().await?,
        }
        if self.crew.is_idle() {
            return Ok(Step::Idle);
        }
        self.hear(REPAIR_WAIT, walks).await?;
        Ok(Step::Busy)
    }

    async fn end(&mut self) {
        self.crew.stop().await;
        self.task.leave(Duration::ZERO).await;
    }
}
