//! One full pass that an operator has asked for: all segments are walked, every
//! share is audited if that was asked for too, what needs it is repaired, and
//! the segments are counted once more.
//!
//! The wish and how far it is stand in the database: any process takes it, the
//! one that walks does it, and when that one dies the next one begins it anew.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::audit::NodeTally;
use super::health::HealthLoop;
use crate::env::Env;
use crate::metadata::{AskRun, AskedRun, Holder, Metadata, MetadataError, ReadRun, TellRun};

/// How often it is looked whether somebody asks, and how often it is told how
/// far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A run of which nothing was heard for so long does not keep another from
/// being asked for.
const GIVEN_UP_AFTER_MS: u64 = 10 * 60 * 1000;
/// A short pause where there is nothing to do but to wait for others.
const WAIT: Duration = Duration::from_millis(50);

/// What a full pass has found and done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerReport {
    /// Segments that there are.
    pub segments: u64,
    /// Shares that were asked for and given.
    pub shares_checked: u64,
    /// Those of them that were not what had been stored.
    pub shares_wrong: u64,
    /// Pieces with such shares.
    pub pieces_wrong: u64,
    /// Pieces that their node has not got any more, or that its disk has
    /// damaged, as it says.
    pub pieces_missing: u64,
    /// Nodes that could not be asked for some of their pieces.
    pub nodes_unreachable: u64,
    /// Pieces that were made anew.
    pub pieces_repaired: u64,
    /// Segments with few healthy pieces, when all was done.
    pub segments_degraded: u64,
    /// Segments that could not be read then.
    pub segments_unreadable: u64,
    /// Segments that are lost.
    pub segments_lost: u64,
    /// Segments that wait for repair still.
    pub segments_waiting: u64,
    /// Strays that were condemned.
    pub pieces_condemned: u64,
    /// Pieces that were taken out of the trash again.
    pub pieces_restored: u64,
    /// Bytes that nodes were told to give back.
    pub bytes_reclaimed: u64,
    /// Small or mostly dead segments that were merged into others.
    pub segments_merged: u64,
    /// How long it took.
    pub seconds: u64,
    /// What audits found, by node id; only nodes at which anything was wrong.
    pub by_node: BTreeMap<String, NodeTally>,
    /// The segments that are lost: their ids, a hundred at most.
    pub lost: Vec<String>,
    /// The same of those that cannot be read now.
    pub unreadable: Vec<String>,
}

/// A run, as whoever follows it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OnceView {
    /// Its number, 32 hexadecimal digits.
    pub run: String,
    /// Whether every share is audited.
    pub audit_all: bool,
    /// Whether it has ended.
    pub done: bool,
    /// Whether it goes on; a run that has neither ended nor goes on was given up.
    pub active: bool,
    /// Whether it had been asked for before.
    pub joined: bool,
    /// What it does now.
    pub doing: String,
    /// What it has found and done so far.
    pub report: WorkerReport,
}

/// Asks for a run, or joins the one that is under way.
pub async fn ask_once(metadata: &Metadata, env: &Env, audit_all: bool) -> Result<OnceView, MetadataError> {
    let run = Holder(env.random());
    let view = OnceView { audit_all, doing: "waiting for the process that walks".to_owned(), ..OnceView::default() };
    let asked = metadata.write(AskRun { run, state: encode(&view)?, for_ms: GIVEN_UP_AFTER_MS }).await?;
    let joined = asked.run != run;
    Ok(OnceView { joined, ..view_of(&asked) })
}

/// The last run, if there was one.
pub async fn last_once(metadata: &Metadata) -> Result<Option<OnceView>, MetadataError> {
    Ok(metadata.read(ReadRun).await?.as_ref().map(view_of))
}

fn view_of(asked: &AskedRun) -> OnceView {
    let view: OnceView = serde_json::from_slice(&asked.state).unwrap_or_default();
    let run = asked.run.0.iter().map(|byte| format!("{byte:02x}")).collect();
    OnceView { run, active: asked.is_active && !view.done, ..view }
}

fn encode(view: &OnceView) -> Result<Vec<u8>, MetadataError> {
    serde_json::to_vec(view).map_err(|error| MetadataError::Failed(error.to_string()))
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A pass that began after it was asked for; it has ended when there are
    /// more passes than these.
    First(u64),
    /// What the pass has asked for goes on.
    Settling,
    /// Counting once more.
    Last(u64),
}

/// A run that this process does.
pub(super) struct Once {
    run: Holder,
    audit_all: bool,
    begun: Instant,
    phase: Phase,
    /// What had been repaired when it began, and when the last pass had ended.
    repaired_before: u64,
    done_before: u64,
    told: Instant,
}

/// What the loop knows of runs.
#[derive(Default)]
pub(super) struct Runs {
    once: Option<Once>,
    looked: Option<Instant>,
}

impl Runs {
    /// Whether every share is asked for in this pass.
    pub(super) fn is_thorough(&self) -> bool {
        self.once.as_ref().is_some_and(|once| once.audit_all && matches!(once.phase, Phase::First(_)))
    }

    /// Whether somebody waits for a pass.
    pub(super) fn wants_pass(&self) -> bool {
        self.once.as_ref().is_some_and(|once| once.phase != Phase::Settling)
    }

    /// Another process does it, from its beginning.
    pub(super) fn leave(&mut self) {
        self.once = None;
    }
}

impl HealthLoop {
    /// Looks whether somebody has asked for a run, and begins it.
    pub(super) async fn look_for_once(&mut self) -> Result<(), MetadataError> {
        let is_time = self.runs.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        if self.runs.once.is_some() || !is_time {
            return Ok(());
        }
        self.runs.looked = Some(Instant::now());
        let Some(asked) = self.metadata().read(ReadRun).await?.filter(|asked| asked.is_active) else { return Ok(()) };
        let view = view_of(&asked);
        if view.done {
            return Ok(());
        }
        // Its pass begins from the first segment, and knows what it is for.
        self.begin_anew();
        self.watch.tally(view.audit_all).nodes.clear();
        tracing::info!(audit_all = view.audit_all, "a full pass was asked for");
        self.runs.once = Some(Once {
            run: asked.run,
            audit_all: view.audit_all,
            begun: Instant::now(),
            phase: Phase::First(self.watch.report().passes),
            repaired_before: self.counts().repaired,
            done_before: self.done(),
            told: Instant::now(),
        });
        Ok(())
    }

    /// Goes on with a run. Answers whether there is one.
    pub(super) async fn go_on_once(&mut self) -> Result<bool, MetadataError> {
        let Some(mut once) = self.runs.once.take() else { return Ok(false) };
        let passes = self.watch.report().passes;
        let settled = self.is_quiet() && !self.observers.iter().any(|observer| observer.is_busy());
        let mut ended = false;
        match once.phase {
            Phase::First(before) if passes > before => once.phase = Phase::Settling,
            Phase::Settling if settled => once.phase = Phase::Last(passes),
            Phase::Last(before) if passes > before => {
                // What the last round has repaired may have made more possible.
                ended = self.done() == once.done_before;
                (once.phase, once.done_before) = (Phase::Settling, self.done());
            }
            _ => {}
        }
        if ended || once.told.elapsed() >= LOOK_EVERY {
            once.told = Instant::now();
            let state = encode(&self.view(&once, ended))?;
            let for_ms = if ended { 0 } else { GIVEN_UP_AFTER_MS };
            let told = self.metadata().write(TellRun { run: once.run, state, for_ms }).await;
            // A database that takes nothing now is told later; a run that another has replaced ends.
            ended = match told {
                Ok(told) => ended || !told,
                Err(MetadataError::Full) => false,
                Err(error) => {
                    self.runs.once = Some(once);
                    return Err(error);
                }
            };
        }
        if ended {
            tracing::info!(seconds = once.begun.elapsed().as_secs(), "a full pass has ended");
            return Ok(true);
        }
        self.runs.once = Some(once);
        sleep(WAIT).await;
        Ok(true)
    }

    fn view(&self, once: &Once, done: bool) -> OnceView {
        let doing = match once.phase {
            Phase::First(_) if once.audit_all => "auditing every share",
            Phase::First(_) => "walking all segments",
            Phase::Settling => "repairing, and waiting for audits",
            Phase::Last(_) => "counting once more",
        };
        let (report, doing) = (self.worker_report(once), doing.to_owned());
        OnceView { audit_all: once.audit_all, done, doing, report, ..OnceView::default() }
    }

    fn worker_report(&self, once: &Once) -> WorkerReport {
        let health = self.watch.latest();
        let tally = self.watch.tally(once.audit_all).clone();
        let (total, fleet) = (tally.total(), self.repairer.transfer.fleet());
        let is_wrong = |node: &NodeTally| NodeTally { shares_checked: 0, ..*node } != NodeTally::default();
        let unreachable = |node: &&NodeTally| node.pieces_unreachable + node.pieces_unanswered > 0;
        let by_node = tally.nodes.iter().filter(|(_, node)| is_wrong(node));
        WorkerReport {
            segments: health.segments,
            shares_checked: total.shares_checked,
            shares_wrong: total.shares_wrong,
            pieces_wrong: total.pieces_wrong,
            pieces_missing: total.pieces_missing,
            nodes_unreachable: tally.nodes.values().filter(unreachable).count() as u64,
            pieces_repaired: self.counts().repaired.saturating_sub(once.repaired_before),
            segments_degraded: health.degraded,
            segments_unreadable: health.unreadable,
            segments_lost: health.lost,
            segments_waiting: self.counts().waiting,
            seconds: once.begun.elapsed().as_secs(),
            by_node: by_node.filter_map(|(node, found)| Some((fleet.node_id(*node)?.to_string(), *found))).collect(),
            lost: health.lost_segments,
            unreadable: health.unreadable_segments,
            ..WorkerReport::default()
        }
    }
}
