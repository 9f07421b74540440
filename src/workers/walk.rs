//! The walk over all segments, by the one process that does it: when a pass
//! begins, what it puts into the queue, and which nodes it lets go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::census::Census;
use super::health::HealthLoop;
use super::observer::Wish;
use super::pass::Pass;
use crate::metadata::{IsDrained, LetGo, MetadataError, QueueRepairs, ScanSegments, SegmentRow, WantedRepair};
use crate::types::{Epoch, NodeId, SegmentId};

/// From the end of a pass to the next one, when nodes have come or gone.
const RECOUNT_AFTER: Duration = Duration::from_secs(15);
/// Segments that wait at once; others are found again by the next pass.
const QUEUE_MAX: u64 = 10_000;
/// Segments of which all shares are audited at once: what is found is repaired
/// after each page, and an order to stop waits for one at most.
const THOROUGH_PAGE: u32 = 4;
/// Passes without a piece on it, after which a drained node has left.
const EMPTY_PASSES: u32 = 2;

/// What this process knows of its walk.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) pass: Option<Pass>,
    /// When the last pass ended, how long it took, and whether the next one
    /// shall come soon.
    last_pass: Option<(Instant, Duration, bool)>,
    /// The members that were connected when it began.
    counted: BTreeSet<u32>,
    /// The domains that took pieces then.
    domains: BTreeSet<u64>,
    /// Whether those were others before.
    hope: bool,
    /// Those that did not fit into the queue since then.
    pub(super) dropped: u64,
    /// Whether anything was repaired since then.
    pub(super) changed: bool,
    /// What all processes had repaired by then.
    done: u64,
    /// Since which epoch a node is drained, and how many passes have found it
    /// empty since.
    empty_passes: BTreeMap<u32, (Epoch, u32)>,
    /// Whether a node was not compared that another process is connected to.
    left_out: bool,
}

impl Walk {
    /// Whether there is anything to stop.
    pub(super) fn has_begun(&self) -> bool {
        self.pass.is_some() || self.last_pass.is_some()
    }
}

impl HealthLoop {
    /// A pass waits for the repairs that the last one has asked for, unless
    /// they take very long.
    fn is_pass_due(&self) -> bool {
        if self.runs.wants_pass() {
            return self.reaches_nodes();
        }
        let Some((ended, took, soon)) = self.walk.last_pass else { return self.has_settled() };
        let changed = self.walk.changed || self.done() != self.walk.done;
        let rest = if soon || changed { self.tuning.short_rest } else { self.tuning.rest };
        let rest = rest.max(3 * took);
        // A node that says something new all the time must not make passes follow one another.
        let woken = ended.elapsed() >= took.max(self.tuning.short_rest) && self.watch.take_wake();
        // What can be read now depends on who is there now.
        let recount = ended.elapsed() >= RECOUNT_AFTER.max(3 * took).min(rest) && self.connected() != self.walk.counted;
        woken || recount || ended.elapsed() >= if self.is_quiet() { rest } else { rest + self.tuning.rest }
    }

    /// Whether the nodes had time to come back since this process started.
    fn has_settled(&self) -> bool {
        let members = self.repairer.transfer.fleet().registered();
        self.begun.elapsed() >= self.tuning.settle || self.connected().len() == members.len()
    }

    /// The same for a pass that asks nodes: those that are connected to other
    /// processes hear of a new door and dial it too.
    fn reaches_nodes(&self) -> bool {
        let fleet = self.repairer.transfer.fleet();
        self.begun.elapsed() >= 2 * self.tuning.settle || fleet.connected().len() == fleet.registered().len()
    }

    /// Those that are connected to this process or, as far as it knows, to
    /// another.
    fn connected(&self) -> BTreeSet<u32> {
        let fleet = self.repairer.transfer.fleet();
        let mut connected = fleet.connected();
        let elsewhere = self.watch.elsewhere().clone();
        connected
            .extend(elsewhere.into_iter().filter(|node| fleet.row(*node).is_some_and(|row| row.state.is_member())));
        connected
    }

    /// Goes on with the walk. Answers whether there was anything to do.
    pub(super) async fn walk(&mut self) -> Result<bool, MetadataError> {
        if self.walk.pass.is_none() && self.watch.is_ready() && self.is_pass_due() {
            if std::mem::take(&mut self.walk.left_out) {
                self.leave_to_others().await;
                return Ok(false);
            }
            self.begin_pass().await?;
        }
        let Some(pass) = self.walk.pass.take() else { return Ok(false) };
        let outcome = self.go_on(pass).await;
        if outcome.is_err() {
            // It is begun anew.
            self.watch.wake();
            self.cut_off();
        }
        outcome.map(|()| true)
    }

    /// The pass that goes on is left, and the next one begins from the start.
    pub(super) fn begin_anew(&mut self) {
        self.walk.pass = None;
        self.cut_off();
    }

    /// Another process walks from now on.
    pub(super) fn stop_walking(&mut self) {
        self.walk = Walk::default();
        self.runs.leave();
        self.cut_off();
        self.watch.forget_missing();
    }

    async fn begin_pass(&mut self) -> Result<(), MetadataError> {
        let census = self.fresh_census().await?;
        self.walk.counted = census.connected();
        let mut drained = HashMap::new();
        for row in &census.draining {
            if let Some(epoch) = self.metadata().write(IsDrained { node: row.number }).await? {
                drained.insert(row.number, epoch);
            }
        }
        let scene = self.scene();
        for observer in &mut self.observers {
            observer.begin(&scene).await?;
        }
        self.walk.pass = Some(Pass::begin(drained, census.away()));
        self.walk.hope = census.domains != self.walk.domains;
        self.walk.domains.clone_from(&census.domains);
        (self.walk.dropped, self.walk.changed, self.walk.done) = (0, false, self.done());
        self.take_heart();
        Ok(())
    }

    /// Reads and judges a page of segments. Then waits as long as that took,
    /// or longer when users are busy. Answers whether there are more; none if
    /// another walks by now.
    async fn scan(&mut self, pass: &mut Pass) -> Result<Option<bool>, MetadataError> {
        let begun = Instant::now();
        let limit = if self.runs.is_thorough() { self.tuning.page.min(THOROUGH_PAGE) } else { self.tuning.page };
        let scan = ScanSegments { after: pass.after, limit };
        let rows = self.metadata().read(scan).await?;
        if self.show(&rows).await? {
            self.fresh_census().await?;
        }
        let mut census = self.census().await?;
        if !census.knows(&rows) {
            census = self.fresh_census().await?;
        }
        let wanted: Vec<WantedRepair> = rows.iter().filter_map(|row| self.judge(pass, &census, row)).collect();
        let more = rows.len() == limit as usize;
        let (after, last) = (pass.after, rows.last().map(|row| row.segment));
        pass.after = last;
        if !self.queue(after, last.filter(|_| more), wanted).await? {
            return Ok(None);
        }
        if more {
            self.tranquil().rest(begun.elapsed()).await;
        }
        Ok(Some(more))
    }

    /// Shows a page to all who watch. Answers whether any found pieces lost
    /// that were not known to be.
    async fn show(&mut self, rows: &[SegmentRow]) -> Result<bool, MetadataError> {
        let (scene, mut found) = (self.scene(), false);
        for observer in &mut self.observers {
            found |= observer.page(&scene, rows).await?;
        }
        Ok(found)
    }

    fn judge(&self, pass: &mut Pass, census: &Census, row: &SegmentRow) -> Option<WantedRepair> {
        let transfer = &self.repairer.transfer;
        match census.judge(transfer, row, &[]) {
            Ok(verdict) => {
                pass.count(row.segment, &verdict);
                let need = verdict.need()? as u8;
                let lost = census.lost(transfer, row);
                let steady = verdict.steady(|node| census.hazard(node));
                Some(WantedRepair { segment: row.segment, margin: verdict.margin(), need, steady, lost })
            }
            Err(error) => {
                tracing::error!(segment = %row.segment, %error, "a segment's layout cannot be read");
                pass.count_unreadable(row.segment);
                None
            }
        }
    }

    /// Has these of a page wait for repair, and no others of it. Answers
    /// false if another process walks by now.
    async fn queue(
        &mut self,
        after: Option<SegmentId>,
        last: Option<SegmentId>,
        wanted: Vec<WantedRepair>,
    ) -> Result<bool, MetadataError> {
        if wanted.is_empty() && self.counts().waiting == 0 {
            return Ok(true);
        }
        let count = wanted.len() as u64;
        let (holder, hope) = (self.holder, self.walk.hope);
        let queue = QueueRepairs { holder, after, last, wanted, hope, most: QUEUE_MAX };
        self.recount();
        match self.metadata().write(queue).await {
            Ok(Some(dropped)) => self.walk.dropped += dropped,
            Ok(None) => return Ok(false),
            // They are counted all the same, and nothing can be repaired anyway.
            Err(MetadataError::Full) => self.walk.dropped += count,
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    async fn end_pass(&mut self, pass: Pass) -> Result<(), MetadataError> {
        let census = self.census().await?;
        for row in &census.draining {
            let Some(epoch) = pass.found_drained(row.number) else {
                self.walk.empty_passes.remove(&row.number);
                continue;
            };
            // A node that was resumed and drained again begins anew.
            let passes = self.walk.empty_passes.entry(row.number).or_insert((epoch, 0));
            *passes = if passes.0 == epoch { (epoch, passes.1 + 1) } else { (epoch, 1) };
            if passes.1 >= EMPTY_PASSES {
                self.leave(row.node, epoch).await?;
            }
        }
        self.walk.empty_passes.retain(|node, _| census.draining.iter().any(|row| row.number == *node));
        let wish = self.end_watching().await?;
        let soon = !census.draining.is_empty() || wish.soon;
        self.walk.last_pass = Some((Instant::now(), pass.begun.elapsed(), soon));
        self.walk.left_out = wish.elsewhere;
        pass.report(&census, &self.watch, self.env.now());
        Ok(())
    }

    /// What all who watch wish together.
    async fn end_watching(&mut self) -> Result<Wish, MetadataError> {
        let (scene, mut wish) = (self.scene(), Wish::default());
        for observer in &mut self.observers {
            let Wish { soon, elsewhere } = observer.end(&scene).await?;
            wish = Wish { soon: wish.soon | soon, elsewhere: wish.elsewhere | elsewhere };
        }
        Ok(wish)
    }

    fn cut_off(&mut self) {
        self.observers.iter_mut().for_each(|observer| observer.cut_off());
    }

    /// What has begun with an older view of the node is refused: it is empty
    /// since an epoch from which on nothing could be placed on it.
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
            Some(true) => self.walk.pass = Some(pass),
            Some(false) => self.end_pass(pass).await?,
            None => self.is_overtaken(),
        }
        Ok(())
    }
}
