//! The pieces of one segment to their nodes: starts all `n`, is done at `o`,
//! replaces early whoever stalls, and gives nobody the blame for being last.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::fleet::Ask;
use super::pace::Kind;
use super::{Transfer, TransferError};
use crate::erasure::Scheme;
use crate::metadata::PiecePlace;
use crate::transport::NodeError;
use crate::types::{Epoch, Incarnation, PieceNumber, SegmentId};

/// What the last pieces get after `o` are safe: part of the time that these
/// took, within bounds.
const GRACE_PART: u32 = 8;
const GRACE_MIN: Duration = Duration::from_millis(4);
const GRACE_MAX: Duration = Duration::from_millis(500);
/// A node stalls when it takes so many times the median of those that are
/// done, but not before the second has passed.
const STALL_MEDIANS: u32 = 3;
const STALL_MIN: Duration = Duration::from_millis(300);
/// All nodes stall when none has finished for so long.
const SILENCE: Duration = Duration::from_secs(2);
/// How often missing pieces are sent to whichever nodes are left, and how long
/// it waits before: each time twice as long.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// The longest that an upload may take altogether.
const DEADLINE: Duration = Duration::from_secs(180);

type Outcome = (PiecePlace, Result<(), NodeError>);

/// One segment on its way.
pub(super) struct Upload {
    transfer: Transfer,
    optimal: usize,
    segment: SegmentId,
    epoch: Epoch,
    pieces: Vec<Bytes>,
    running: FuturesUnordered<Abortable<BoxFuture<'static, Outcome>>>,
    attempts: Vec<Attempt>,
    stored: Vec<PiecePlace>,
    /// Places that may hold a piece: condemned when this is dropped.
    doubtful: Vec<PiecePlace>,
    tried: HashSet<u32>,
    times: Vec<Duration>,
    begun: Instant,
    last_stored: Instant,
    /// When the last ones are not waited for any more.
    grace_ends: Option<Instant>,
}

/// A piece on its way to one node.
struct Attempt {
    place: PiecePlace,
    begun: Instant,
    /// Whether the same piece is on its way to another node since.
    replaced: bool,
    abort: AbortHandle,
}

impl Upload {
    pub(super) fn new(
        transfer: Transfer,
        scheme: Scheme,
        segment: SegmentId,
        epoch: Epoch,
        pieces: Vec<Bytes>,
    ) -> Self {
        let begun = Instant::now();
        Self {
            transfer,
            optimal: scheme.optimal().into(),
            segment,
            epoch,
            pieces,
            running: FuturesUnordered::new(),
            attempts: Vec::new(),
            stored: Vec::new(),
            doubtful: Vec::new(),
            tried: HashSet::new(),
            times: Vec::new(),
            begun,
            last_stored: begun,
            grace_ends: None,
        }
    }

    /// Answers where the pieces are, ascending.
    pub(super) async fn run(mut self) -> Result<Vec<PiecePlace>, TransferError> {
        self.start_all()?;
        self.race().await;
        let mut pause = PAUSE;
        for _ in 0..ROUNDS {
            if self.is_safe() || self.begun.elapsed() > DEADLINE {
                break;
            }
            sleep(pause).await;
            pause *= 2;
            self.start_missing();
            self.race().await;
        }
        if !self.is_safe() {
            return Err(TransferError::TooFewNodes { needed: self.optimal, available: self.stored_domains().len() });
        }
        let mut stored = std::mem::take(&mut self.stored);
        self.doubtful.retain(|place| !stored.contains(place));
        stored.sort_by_key(|place| place.piece);
        Ok(stored)
    }

    fn start_all(&mut self) -> Result<(), TransferError> {
        let chosen = self.choose(self.pieces.len(), HashSet::new(), HashSet::new(), false);
        let available = self.domains_of(chosen.iter().copied()).len();
        if available < self.optimal {
            return Err(TransferError::TooFewNodes { needed: self.optimal, available });
        }
        (0u16..).zip(chosen).for_each(|(number, node)| self.start(PieceNumber(number), node));
        Ok(())
    }

    /// Sends all pieces that are not stored to nodes of other domains, those
    /// that failed before among them: they may be better by now.
    fn start_missing(&mut self) {
        let stored: HashSet<PieceNumber> = self.stored.iter().map(|place| place.piece).collect();
        let missing: Vec<PieceNumber> =
            (0..self.pieces.len() as u16).map(PieceNumber).filter(|piece| !stored.contains(piece)).collect();
        let fresh = self.choose(missing.len(), self.tried.clone(), self.stored_domains(), true);
        let mut domains = self.stored_domains();
        domains.extend(self.domains_of(fresh.iter().copied()));
        let again = self.choose(missing.len() - fresh.len(), HashSet::new(), domains, true);
        missing.into_iter().zip(fresh.into_iter().chain(again)).for_each(|(piece, node)| self.start(piece, node));
    }

    fn choose(&self, count: usize, nodes: HashSet<u32>, domains: HashSet<u64>, strict: bool) -> Vec<u32> {
        let piece_bytes = self.pieces.first().map_or(0, Bytes::len) as u64;
        let seed = u64::from_le_bytes(self.transfer.env.random());
        self.transfer.fleet.choose(Ask { count, piece_bytes, nodes, domains, strict }, seed)
    }

    fn domains_of(&self, nodes: impl Iterator<Item = u32>) -> HashSet<u64> {
        let roster = self.transfer.fleet.roster();
        nodes.map(|node| roster.domain_of(node)).collect()
    }

    fn stored_domains(&self) -> HashSet<u64> {
        self.domains_of(self.stored.iter().map(|place| place.node))
    }

    /// Whether the segment is durable in as many domains as it shall be.
    fn is_safe(&self) -> bool {
        self.stored.len() >= self.optimal && self.stored_domains().len() >= self.optimal
    }

    fn start(&mut self, piece: PieceNumber, node: u32) {
        let place = PiecePlace { piece, node, incarnation: Incarnation(1) };
        let body = self.pieces[usize::from(piece.0)].clone();
        let put = put(self.transfer.clone(), self.segment, place, self.epoch, body);
        let (put, abort) = futures_util::future::abortable(put.boxed());
        self.running.push(put);
        self.tried.insert(node);
        self.doubtful.push(place);
        self.attempts.push(Attempt { place, begun: Instant::now(), replaced: false, abort });
    }

    /// Until enough are stored and the grace is over, or nothing runs.
    async fn race(&mut self) {
        while !self.attempts.is_empty() && self.begun.elapsed() < DEADLINE {
            self.replace_stalled();
            let alarm = self.grace_ends.unwrap_or_else(|| self.next_alarm());
            match timeout_at(alarm, self.running.next()).await {
                Ok(Some(Ok((place, outcome)))) => self.take(place, outcome),
                Ok(Some(Err(_aborted))) => {}
                Ok(None) => return,
                Err(_) if self.grace_ends.is_some() => return,
                Err(_) => {}
            }
            if self.grace_ends.is_some() && self.only_slow_are_left() {
                return;
            }
        }
    }

    fn take(&mut self, place: PiecePlace, outcome: Result<(), NodeError>) {
        let Some(at) = self.attempts.iter().position(|attempt| attempt.place == place) else { return };
        let attempt = self.attempts.swap_remove(at);
        match outcome {
            Ok(()) => self.take_stored(attempt),
            Err(error) => {
                tracing::debug!(node = place.node, %error, "a piece was not stored");
                if was_not_kept(&error) {
                    self.doubtful.retain(|doubtful| *doubtful != place);
                }
                if self.grace_ends.is_none() && !self.attempts.iter().any(|other| other.place.piece == place.piece) {
                    self.start_on_spare(place.piece);
                }
            }
        }
    }

    fn take_stored(&mut self, attempt: Attempt) {
        let piece = attempt.place.piece;
        self.stored.push(attempt.place);
        self.times.push(attempt.begun.elapsed());
        self.last_stored = Instant::now();
        // The first one wins; the other's node loses nothing but the piece.
        self.attempts.retain(|other| {
            let lost = other.place.piece == piece;
            if lost {
                other.abort.abort();
            }
            !lost
        });
        if self.grace_ends.is_none() && self.is_safe() {
            let grace = (self.begun.elapsed() / GRACE_PART).clamp(GRACE_MIN, GRACE_MAX);
            self.grace_ends = Some(Instant::now() + grace);
        }
    }

    fn only_slow_are_left(&self) -> bool {
        self.attempts.iter().all(|attempt| self.transfer.fleet.is_slow_at(attempt.place.node, Kind::Put))
    }

    /// Sends a piece to a node of a domain that has none yet, if there is one.
    fn start_on_spare(&mut self, piece: PieceNumber) -> bool {
        let others = self.attempts.iter().filter(|attempt| attempt.place.piece != piece);
        let mut domains = self.domains_of(others.map(|attempt| attempt.place.node));
        domains.extend(self.stored_domains());
        let spare = self.choose(1, self.tried.clone(), domains, true).pop();
        spare.inspect(|node| self.start(piece, *node)).is_some()
    }

    /// As many as it takes to get to `o`, in case the stalled never answer.
    fn replace_stalled(&mut self) {
        if self.grace_ends.is_some() {
            return;
        }
        let (now, patience) = (Instant::now(), self.patience());
        let (mut stalled, mut hopeful) = (Vec::new(), self.stored.len());
        for (at, attempt) in self.attempts.iter().enumerate() {
            match patience.stalls_at(attempt) <= now {
                true if !attempt.replaced => stalled.push(at),
                true => {}
                false => hopeful += 1,
            }
        }
        let missing = self.optimal.saturating_sub(hopeful);
        for at in stalled.into_iter().take(missing) {
            let place = self.attempts[at].place;
            if self.start_on_spare(place.piece) {
                tracing::debug!(node = place.node, "a node stalls, so another one gets its piece");
                self.attempts[at].replaced = true;
            }
        }
    }

    fn patience(&self) -> Patience {
        let usual = self.transfer.fleet.late_after(Kind::Put, self.pieces[0].len());
        let mut times = self.times.clone();
        times.sort_unstable();
        // The first few may just have been lucky.
        let enough = !times.is_empty() && times.len() * 4 >= self.optimal;
        let each = enough.then(|| (times[times.len() / 2] * STALL_MEDIANS).max(STALL_MIN));
        Patience { last_stored: self.last_stored, silence: SILENCE.max(usual), each }
    }

    fn next_alarm(&self) -> Instant {
        let (now, patience) = (Instant::now(), self.patience());
        let stalls = self.attempts.iter().map(|attempt| patience.stalls_at(attempt)).filter(|at| *at > now);
        stalls.min().unwrap_or(now + SILENCE).min(self.begun + DEADLINE)
    }
}

/// How long pieces are waited for, as far as is known at the moment.
struct Patience {
    last_stored: Instant,
    silence: Duration,
    each: Option<Duration>,
}

impl Patience {
    /// When a piece is to be given to another node.
    fn stalls_at(&self, attempt: &Attempt) -> Instant {
        let silent = attempt.begun.max(self.last_stored) + self.silence;
        self.each.map_or(silent, |each| silent.min(attempt.begun + each))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.transfer.condemn(self.segment, &self.doubtful);
    }
}

/// One piece to its node.
pub(super) async fn put(
    transfer: Transfer,
    segment: SegmentId,
    place: PiecePlace,
    epoch: Epoch,
    body: Bytes,
) -> Outcome {
    let fleet = &transfer.fleet;
    let known =
        (fleet.node_id(place.node), transfer.piece_id(segment, &place), fleet.begin(place.node, Kind::Put, body.len()));
    let (Some(node), Some(id), Some(ticket)) = known else {
        return (place, Err(NodeError::Offline));
    };
    let outcome = fleet.nodes().put_piece(node, id, epoch, body).await;
    ticket.end(&outcome);
    (place, outcome)
}

/// Whether the node certainly does not hold the piece.
fn was_not_kept(error: &NodeError) -> bool {
    matches!(error, NodeError::Offline | NodeError::Full | NodeError::Refused(_) | NodeError::Unfit(_))
}
