//! The one loop over all segments: it counts how they are, and has those
//! repaired that need it, nearest to loss first.
//!
//! A pass begins every few minutes, and at once when the node watch has heard
//! of damage or of a node that goes. Repairs go on meanwhile, a few at a time.
//! All of it yields to users: pages are paced, and while memory for their
//! transfers is short one repair runs at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::census::Census;
use super::pass::Pass;
use super::queue::{Queue, Rank};
use super::repair::{Outcome, Repairer};
use super::report::HealthWatch;
use super::{Step, Worker};
use crate::env::Env;
use crate::metadata::{IsDrained, LetGo, Metadata, MetadataError, ScanSegments, SegmentRow};
use crate::objects::Epochs;
use crate::transfer::Transfer;
use crate::types::{Epoch, NodeId, SegmentId};

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
        }
    }
}

/// How old what is known of the nodes may be.
const CENSUS_AGE: Duration = Duration::from_secs(2);
/// From the end of a pass to the next one, when nodes have come or gone.
const RECOUNT_AFTER: Duration = Duration::from_secs(15);
/// The longest wait after a page of segments.
const PAGE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a step waits for a repair.
const REPAIR_WAIT: Duration = Duration::from_millis(500);
/// So many repairs in a row that find no nodes end repair until the next pass.
const NO_NODES_MAX: usize = 32;
/// Segments without hope that are remembered.
const HOPELESS_MAX: usize = 100_000;
/// Passes without a piece on it, after which a drained node has left.
const EMPTY_PASSES: u32 = 2;

/// Walks all segments and has them repaired. One per process.
pub struct HealthLoop {
    repairer: Repairer,
    env: Env,
    tuning: HealthTuning,
    watch: HealthWatch,
    census: Option<(Instant, Arc<Census>)>,
    pass: Option<Pass>,
    /// When the last pass ended, how long it took, and whether the next one
    /// shall come soon.
    last_pass: Option<(Instant, Duration, bool)>,
    begun: Instant,
    /// The members that were connected when the last pass began.
    counted: BTreeSet<u32>,
    queue: Queue,
    repairs: JoinSet<(SegmentId, Rank, Outcome)>,
    running: HashSet<SegmentId>,
    /// Those that could not be repaired since the last pass began.
    stuck: Vec<(SegmentId, Rank)>,
    /// Those for which no node was found since other nodes were there.
    hopeless: HashSet<SegmentId>,
    /// The domains that took pieces when that began.
    hopeless_since: BTreeSet<u64>,
    no_nodes: usize,
    /// Whether nodes are lacking for something that waits.
    lacking: bool,
    /// Whether anything was repaired since the last pass began.
    changed: bool,
    /// Since which epoch a node is drained, and how many passes have found it
    /// empty since.
    empty_passes: BTreeMap<u32, (Epoch, u32)>,
}

impl HealthLoop {
    /// Looks after the segments in this database.
    pub fn new(metadata: Metadata, transfer: Transfer, epochs: Epochs, env: Env, tuning: HealthTuning) -> Self {
        Self {
            repairer: Repairer { metadata, transfer, epochs },
            env,
            watch: HealthWatch::new(tuning.offline_after),
            tuning,
            census: None,
            pass: None,
            last_pass: None,
            begun: Instant::now(),
            counted: BTreeSet::new(),
            queue: Queue::default(),
            repairs: JoinSet::new(),
            running: HashSet::new(),
            stuck: Vec::new(),
            hopeless: HashSet::new(),
            hopeless_since: BTreeSet::new(),
            no_nodes: 0,
            lacking: false,
            changed: false,
            empty_passes: BTreeMap::new(),
        }
    }

    /// Shows what it finds, and wakes it.
    pub fn watch(&self) -> HealthWatch {
        self.watch.clone()
    }

    fn metadata(&self) -> &Metadata {
        &self.repairer.metadata
    }

    async fn census(&mut self) -> Result<Arc<Census>, MetadataError> {
        if let Some((taken, census)) = &self.census
            && taken.elapsed() < CENSUS_AGE
        {
            return Ok(census.clone());
        }
        self.fresh_census().await
    }

    async fn fresh_census(&mut self) -> Result<Arc<Census>, MetadataError> {
        let census = Arc::new(Census::take(self.metadata(), &self.repairer.transfer, &self.watch).await?);
        self.census = Some((Instant::now(), census.clone()));
        Ok(census)
    }

    // ---- passes -----------------------------------------------------------

    /// A pass waits for the repairs that the last one has asked for, unless
    /// they take very long.
    fn is_pass_due(&self) -> bool {
        let Some((ended, took, soon)) = self.last_pass else { return self.has_settled() };
        let rest = if soon || self.changed { self.tuning.short_rest } else { self.tuning.rest };
        let rest = rest.max(3 * took);
        // A node that says something new all the time must not make passes follow one another.
        let woken = ended.elapsed() >= took.max(self.tuning.short_rest) && self.watch.take_wake();
        let stalled = self.queue.is_empty() || self.no_nodes >= NO_NODES_MAX;
        let quiet = stalled && self.running.is_empty();
        // What can be read now depends on who is there now.
        let recount = ended.elapsed() >= RECOUNT_AFTER.max(3 * took).min(rest) && self.connected() != self.counted;
        woken || recount || ended.elapsed() >= if quiet { rest } else { rest + self.tuning.rest }
    }

    /// Whether the nodes had time to come back since this process started.
    fn has_settled(&self) -> bool {
        let members = self.repairer.transfer.fleet().registered();
        self.begun.elapsed() >= self.tuning.settle || self.connected().len() == members.len()
    }

    fn connected(&self) -> BTreeSet<u32> {
        self.repairer.transfer.fleet().connected()
    }

    async fn begin_pass(&mut self) -> Result<(), MetadataError> {
        let census = self.fresh_census().await?;
        self.counted = census.connected();
        let mut drained = HashMap::new();
        for row in &census.draining {
            if let Some(epoch) = self.metadata().write(IsDrained { node: row.number }).await? {
                drained.insert(row.number, epoch);
            }
        }
        self.pass = Some(Pass::begin(&self.repairer, &self.watch, drained).await?);
        self.queue.pass_begins();
        if census.domains != self.hopeless_since {
            self.hopeless.clear();
            self.hopeless_since.clone_from(&census.domains);
        }
        for (segment, (_, margin, need)) in std::mem::take(&mut self.stuck) {
            self.queue.insert(segment, (self.hopeless.contains(&segment), margin, need));
        }
        (self.no_nodes, self.changed) = (0, false);
        Ok(())
    }

    /// Reads and judges a page of segments. Then waits as long as that took,
    /// or longer when users are busy.
    async fn scan(&mut self, pass: &mut Pass) -> Result<bool, MetadataError> {
        let begun = Instant::now();
        let scan = ScanSegments { after: pass.after, limit: self.tuning.page };
        let rows = self.metadata().read(scan).await?;
        if pass.compare(&self.repairer.transfer, &self.watch, &rows).await {
            self.fresh_census().await?;
        }
        let mut census = self.census().await?;
        if !census.knows(&rows) {
            census = self.fresh_census().await?;
        }
        for row in &rows {
            self.judge(pass, &census, row);
        }
        pass.after = rows.last().map(|row| row.segment);
        let more = rows.len() == self.tuning.page as usize;
        if more {
            let factor = if self.is_busy() { 4 } else { 1 };
            sleep((begun.elapsed() * factor).min(PAGE_PAUSE_MAX)).await;
        }
        Ok(more)
    }

    fn judge(&mut self, pass: &mut Pass, census: &Census, row: &SegmentRow) {
        match census.judge(&self.repairer.transfer, row) {
            Ok(verdict) => {
                pass.count(row.segment, &verdict);
                if let Some(need) = verdict.need()
                    && !self.running.contains(&row.segment)
                {
                    let rank = (self.hopeless.contains(&row.segment), verdict.margin(), need);
                    self.queue.insert(row.segment, rank);
                }
            }
            Err(error) => {
                tracing::error!(segment = %row.segment, %error, "a segment's layout cannot be read");
                pass.count_unreadable();
            }
        }
    }

    async fn end_pass(&mut self, pass: Pass) -> Result<(), MetadataError> {
        let census = self.census().await?;
        for row in &census.draining {
            let Some(epoch) = pass.found_drained(row.number) else {
                self.empty_passes.remove(&row.number);
                continue;
            };
            // A node that was resumed and drained again begins anew.
            let passes = self.empty_passes.entry(row.number).or_insert((epoch, 0));
            *passes = if passes.0 == epoch { (epoch, passes.1 + 1) } else { (epoch, 1) };
            if passes.1 >= EMPTY_PASSES {
                self.leave(row.node, epoch).await?;
            }
        }
        self.empty_passes.retain(|node, _| census.draining.iter().any(|row| row.number == *node));
        let soon = !census.draining.is_empty() || pass.compares();
        self.last_pass = Some((Instant::now(), pass.begun.elapsed(), soon));
        pass.report(&census, &self.watch, self.env.now());
        pass.end(self.metadata(), &self.watch).await
    }

    async fn leave(&self, node: NodeId, drained_since: Epoch) -> Result<(), MetadataError> {
        let reason = "its pieces are elsewhere".to_owned();
        match self.metadata().write(LetGo { node, drained_since, reason }).await? {
            Ok(_) => tracing::info!(%node, "a node was drained and has left"),
            Err(refusal) => tracing::debug!(%node, %refusal, "a drained node stays"),
        }
        Ok(())
    }

    async fn go_on(&mut self, mut pass: Pass) -> Result<(), MetadataError> {
        match self.scan(&mut pass).await? {
            true => self.pass = Some(pass),
            false => self.end_pass(pass).await?,
        }
        Ok(())
    }

    // ---- repairs ----------------------------------------------------------

    /// Whether users' transfers use most of their memory.
    fn is_busy(&self) -> bool {
        let budget = self.repairer.transfer.budget();
        budget.pieces.is_half_used() || budget.read.is_half_used()
    }

    fn start_repairs(&mut self, census: &Arc<Census>) {
        let most = if self.is_busy() { 1 } else { self.tuning.repairs };
        while self.running.len() < most
            && self.no_nodes < NO_NODES_MAX
            && let Some((segment, rank)) = self.queue.pop()
        {
            let (repairer, census) = (self.repairer.clone(), census.clone());
            self.running.insert(segment);
            self.repairs.spawn(async move { (segment, rank, repairer.repair(segment, census).await) });
        }
    }

    fn take(&mut self, segment: SegmentId, rank: Rank, outcome: Outcome) {
        self.running.remove(&segment);
        match outcome {
            Outcome::Nothing => {}
            Outcome::Done { repaired, moved, short } => {
                (self.no_nodes, self.changed) = (0, true);
                if short {
                    self.lacking = true;
                    self.stuck.push((segment, rank));
                }
                let mut report = self.watch.report();
                report.pieces_repaired += repaired;
                report.pieces_moved += moved.len() as u64;
                for node in moved {
                    let left = report.pieces_to_move.entry(node).or_default();
                    *left = left.saturating_sub(1);
                }
            }
            Outcome::NoNodes => {
                (self.no_nodes, self.lacking) = (self.no_nodes + 1, true);
                if self.hopeless.len() < HOPELESS_MAX {
                    self.hopeless.insert(segment);
                }
                self.stuck.push((segment, rank));
            }
            Outcome::Failed(error) => {
                tracing::debug!(%segment, %error, "a segment could not be repaired; it will be tried again");
                self.watch.report().repairs_failed += 1;
                self.stuck.push((segment, rank));
            }
        }
    }

    /// Tells operators what waits.
    fn tell(&mut self) {
        let waiting = self.queue.len() + self.running.len() as u64 + self.stuck.len() as u64;
        self.lacking &= waiting > 0;
        let mut report = self.watch.report();
        report.queue = waiting;
        report.waiting_for = self.lacking.then(|| {
            "some pieces cannot be placed: there are too few connected nodes with room, in failure domains that have no \
             piece of the same data yet; let more nodes join"
                .to_owned()
        });
    }

    async fn repair(&mut self) -> Result<(), MetadataError> {
        if !self.queue.is_empty() {
            let census = self.census().await?;
            self.start_repairs(&census);
        }
        while let Some(Ok((segment, rank, outcome))) = self.repairs.try_join_next() {
            self.take(segment, rank, outcome);
        }
        self.tell();
        Ok(())
    }
}

#[async_trait]
impl Worker for HealthLoop {
    fn name(&self) -> &'static str {
        "health"
    }

    async fn step(&mut self) -> Result<Step, MetadataError> {
        self.repair().await?;
        if self.pass.is_none() && self.watch.is_ready() && self.is_pass_due() {
            self.begin_pass().await?;
        }
        if let Some(pass) = self.pass.take() {
            // One that fails is begun anew.
            let gone_on = self.go_on(pass).await;
            gone_on.inspect_err(|_| self.watch.wake())?;
            self.tell();
            return Ok(Step::Busy);
        }
        if self.running.is_empty() {
            return Ok(Step::Idle);
        }
        if let Ok(Some(Ok((segment, rank, outcome)))) = timeout(REPAIR_WAIT, self.repairs.join_next()).await {
            self.take(segment, rank, outcome);
        }
        Ok(Step::Busy)
    }
}
