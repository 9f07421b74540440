//! Repairs by this process: segments that are taken from the queue, a few at
//! a time, and how they ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::census::Census;
use super::repair::{Outcome, Repairer};
use super::task::Keeper;
use super::tranquil::Tranquilizer;
use crate::metadata::{
    FinishRepairs, FinishedRepair, Holder, Metadata, MetadataError, RenewRepairs, RepairEnd, TakeRepairs, TakenRepair,
};
use crate::types::SegmentId;

/// So many repairs in a row that find no nodes end repair until the next pass.
const NO_NODES_MAX: usize = 32;
/// Segments that can lose no more pieces than this are repaired without pauses.
const HURRY_MARGIN: i64 = 1;
/// So many times before they run out, leases on segments are renewed.
const RENEWALS: u32 = 4;

/// The segments that are being repaired here.
type Mine = Arc<Mutex<Vec<SegmentId>>>;

/// This process's repairs.
pub(super) struct Crew {
    repairer: Repairer,
    holder: Holder,
    lease: Duration,
    running: JoinSet<(TakenRepair, Outcome, Duration)>,
    /// Pauses after repairs, each in the place of one.
    resting: JoinSet<()>,
    mine: Mine,
    no_nodes: usize,
    _keeper: Keeper,
}

/// What repairs that have ended say.
#[derive(Default)]
pub(super) struct Ended {
    finished: Vec<FinishedRepair>,
    repaired: u64,
    failed: u64,
    /// Whether any list has changed.
    pub(super) done: bool,
    /// Pieces that have left nodes that are being emptied.
    pub(super) moved: BTreeMap<u32, u64>,
    /// Segments of which too few good shares are left, and the nodes that were
    /// asked.
    pub(super) beyond: Vec<(SegmentId, BTreeSet<u32>)>,
}

impl Ended {
    pub(super) fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }
}

fn lock(mine: &Mine) -> MutexGuard<'_, Vec<SegmentId>> {
    mine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    pub(super) fn new(repairer: Repairer, holder: Holder, lease: Duration) -> Self {
        let mine = Mine::default();
        let keeper = Keeper::begin(keep(repairer.metadata.clone(), holder, lease, mine.clone()));
        Self {
            repairer,
            holder,
            lease,
            running: JoinSet::new(),
            resting: JoinSet::new(),
            mine,
            no_nodes: 0,
            _keeper: keeper,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether it has stopped, since no node takes what is to be placed.
    pub(super) fn has_given_up(&self) -> bool {
        self.no_nodes >= NO_NODES_MAX
    }

    /// Other nodes may be there now.
    pub(super) fn take_heart(&mut self) {
        self.no_nodes = 0;
    }

    /// How many it would take more, if so many may run.
    pub(super) fn room(&mut self, most: usize) -> usize {
        while self.resting.try_join_next().is_some() {}
        if self.has_given_up() { 0 } else { most.saturating_sub(self.running.len() + self.resting.len()) }
    }

    /// Takes what is nearest to loss.
    pub(super) async fn take(&mut self, room: usize) -> Result<Vec<TakenRepair>, MetadataError> {
        let for_ms = self.lease.as_millis() as u64;
        let taken =
            self.repairer.metadata.write(TakeRepairs { holder: self.holder, limit: room as u32, for_ms }).await?;
        lock(&self.mine).extend(taken.iter().map(|taken| taken.segment));
        Ok(taken)
    }

    pub(super) fn start(&mut self, taken: Vec<TakenRepair>, census: &Arc<Census>) {
        for taken in taken {
            let (repairer, census) = (self.repairer.clone(), census.clone());
            self.running.spawn(async move {
                let begun = Instant::now();
                let outcome = repairer.repair(taken.segment, taken.lost.clone(), census).await;
                (taken, outcome, begun.elapsed())
            });
        }
    }

    /// Those that have ended, once there is one, or after so long. `decides`
    /// says whether this process's word counts on what needs no repair: it
    /// walks the segments itself.
    pub(super) async fn ended(&mut self, wait: Duration, decides: bool) -> Ended {
        let mut ended = Ended::default();
        if let Ok(Some(Ok((taken, outcome, took)))) = timeout(wait, self.running.join_next()).await {
            self.rest(taken.margin, took);
            self.hear(taken, outcome, decides, &mut ended);
        }
        while let Some(Ok((taken, outcome, took))) = self.running.try_join_next() {
            self.rest(taken.margin, took);
            self.hear(taken, outcome, decides, &mut ended);
        }
        ended
    }

    /// Leaves the place of a repair that took so long empty for a while, unless
    /// the next losses may cost such segments: these wait for nobody.
    fn rest(&mut self, margin: i64, took: Duration) {
        if margin > HURRY_MARGIN {
            let tranquil = Tranquilizer::new(self.repairer.transfer.budget().clone());
            self.resting.spawn(async move { tranquil.rest(took).await });
        }
    }

    fn hear(&mut self, taken: TakenRepair, outcome: Outcome, decides: bool, ended: &mut Ended) {
        lock(&self.mine).retain(|segment| *segment != taken.segment);
        self.no_nodes = match outcome {
            Outcome::Done { .. } => 0,
            Outcome::NoNodes => self.no_nodes + 1,
            _ => self.no_nodes,
        };
        let end = match outcome {
            Outcome::Nothing => RepairEnd::Over,
            Outcome::NotNeeded if decides => RepairEnd::Over,
            Outcome::NotNeeded => RepairEnd::Again { hopeless: false },
            Outcome::Done { repaired, moved, short } => {
                ended.repaired += repaired;
                ended.done = true;
                for node in moved {
                    *ended.moved.entry(node).or_default() += 1;
                }
                if short { RepairEnd::Again { hopeless: true } } else { RepairEnd::Over }
            }
            Outcome::NoNodes => RepairEnd::Again { hopeless: true },
            Outcome::Beyond { asked, readable } => {
                let segment = taken.segment;
                tracing::warn!(%segment, readable, "a segment cannot be repaired: too few good shares of it are left on \
                    the nodes that are connected");
                ended.beyond.push((segment, asked));
                ended.failed += 1;
                RepairEnd::Again { hopeless: false }
            }
            Outcome::Failed(error) => {
                let segment = taken.segment;
                tracing::debug!(%segment, %error, "a segment could not be repaired; it will be tried again");
                ended.failed += 1;
                RepairEnd::Again { hopeless: false }
            }
        };
        ended.finished.push(FinishedRepair { taken, end });
    }

    /// Gives up what goes on: others may try it at once.
    pub(super) async fn stop(&mut self) {
        self.running.shutdown().await;
        let segments = std::mem::take(&mut *lock(&self.mine));
        if segments.is_empty() {
            return;
        }
        if let Err(error) =
            self.repairer.metadata.write(RenewRepairs { holder: self.holder, segments, for_ms: 0 }).await
        {
            tracing::debug!(%error, "segments that were being repaired could not be given back; they are free soon");
        }
    }

    /// Tells all processes.
    pub(super) async fn tell(&self, ended: Ended) -> Result<(), MetadataError> {
        let Ended { finished, repaired, failed, moved, .. } = ended;
        let moved = moved.into_values().sum();
        self.repairer.metadata.write(FinishRepairs { holder: self.holder, finished, repaired, moved, failed }).await
    }
}

/// Renews the leases on what is being repaired.
async fn keep(metadata: Metadata, holder: Holder, lease: Duration, mine: Mine) {
    loop {
        sleep(lease / RENEWALS).await;
        let segments = lock(&mine).clone();
        if segments.is_empty() {
            continue;
        }
        let renew = RenewRepairs { holder, segments, for_ms: lease.as_millis() as u64 };
        if let Err(error) = metadata.write(renew).await {
            tracing::debug!(%error, "segments that are being repaired could not be kept; others may try them too");
        }
    }
}
