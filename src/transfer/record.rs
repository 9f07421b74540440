//! How one node has done lately: whether it took what it was given, how fast
//! it is beside the others, and whether it answers at all right now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pace::{Kind, Pace, Ratio};
use crate::transport::NodeError;

/// Weight of the newest outcome in a node's recent success.
const LEARNING: f32 = 0.1;
/// Weight of the newest time in a node's recent pace.
const PACE_LEARNING: f32 = 0.25;
/// So many times the cluster's median is slow; less than the second is not.
const SLOW: f32 = 3.0;
const USUAL: f32 = 2.0;
/// A node that is given up so often in a row, each time when the usual time was
/// long over, is slow, however short those times are.
const GIVEN_UP_MAX: u32 = 2;
/// A request is overdue, and its node slow until it answers, after so many
/// times what is late; and not before the second. With many requests in flight
/// some are always a little late, at every node.
const OVERDUE: u32 = 2;
const OVERDUE_MIN: Duration = Duration::from_millis(100);
/// No single time counts for more.
const WORST: f32 = 8.0;
/// How long a slow node is left alone before it is tried again, at first and
/// at most. Each time that it proves slow again doubles it.
const REST_MIN: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(60);
/// How long a node that said it was full is believed.
const FULL_FOR: Duration = Duration::from_secs(10);

/// A node's recent past. Outlives the rows that the database has of it.
pub(super) struct Record(Mutex<State>);

/// How fast it is at one kind of request.
struct Pulse {
    /// Its recent time in cluster medians.
    ratio: f32,
    /// How often in a row it was given up when others would have been done.
    given_up: u32,
    /// Set while it is slow. After this it is tried again, by one at a time.
    slow_until: Option<Instant>,
    rest: Duration,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { ratio: 1.0, given_up: 0, slow_until: None, rest: REST_MIN }
    }
}

struct State {
    /// Whether any request has come to its own end.
    tried: bool,
    success: f32,
    puts: Pulse,
    gets: Pulse,
    full_until: Option<Instant>,
    /// Requests that wait for their answer, and when each is overdue.
    waiting: Vec<(u64, Instant)>,
    tickets: u64,
    wrong_shares: u64,
    wrong_share_at: Option<Instant>,
}

impl Default for Record {
    fn default() -> Self {
        Self(Mutex::new(State {
            tried: false,
            success: 1.0,
            puts: Pulse::default(),
            gets: Pulse::default(),
            full_until: None,
            waiting: Vec::new(),
            tickets: 0,
            wrong_shares: 0,
            wrong_share_at: None,
        }))
    }
}

impl Record {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Share of its recent pieces that it took and gave.
    pub(super) fn success(&self) -> f32 {
        self.state().success
    }

    /// Whether that says anything yet.
    pub(super) fn is_tried(&self) -> bool {
        self.state().tried
    }

    /// Whether it is much slower than others at this, or keeps somebody
    /// waiting now.
    pub(super) fn is_slow(&self, kind: Kind) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let busy = !state.waiting.is_empty();
        let resting = state.pulse(kind).slow_until.is_some_and(|until| now < until || busy);
        resting || state.waiting.iter().any(|(_, overdue)| *overdue < now)
    }

    /// Whether it said lately that it is full.
    pub(super) fn is_full(&self) -> bool {
        self.state().full_until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn count_wrong_shares(&self, count: u64) {
        let mut state = self.state();
        state.wrong_shares += count;
        state.wrong_share_at = Some(Instant::now());
    }

    pub(super) fn wrong_share_age(&self) -> Option<Duration> {
        self.state().wrong_share_at.map(|at| at.elapsed())
    }

    pub(super) fn take_wrong_shares(&self) -> u64 {
        std::mem::take(&mut self.state().wrong_shares)
    }

    /// A request to the node begins.
    pub(super) fn begin(self: &Arc<Self>, pace: &Arc<Pace>, kind: Kind, bytes: usize) -> Ticket {
        let begun = Instant::now();
        let overdue_after = (pace.late_after(kind, bytes) * OVERDUE).max(OVERDUE_MIN);
        let mut state = self.state();
        state.tickets += 1;
        let number = state.tickets;
        state.waiting.push((number, begun + overdue_after));
        drop(state);
        Ticket { record: self.clone(), pace: pace.clone(), kind, bytes, begun, number }
    }
}

impl State {
    fn pulse(&mut self, kind: Kind) -> &mut Pulse {
        match kind {
            Kind::Put => &mut self.puts,
            Kind::Get => &mut self.gets,
        }
    }

    fn succeed(&mut self, succeeded: bool) {
        self.tried = true;
        let outcome = if succeeded { 1.0 } else { 0.0 };
        self.success += LEARNING * (outcome - self.success);
    }
}

impl Pulse {
    /// Learns from the time that an answer took.
    fn answered(&mut self, ratio: f32) {
        self.given_up = 0;
        if ratio < USUAL {
            // It answers again as others do: all is forgiven.
            self.ratio = self.ratio.min(USUAL);
            self.rest = REST_MIN;
        }
        self.learn(ratio);
    }

    /// Learns from a lower bound, which says nothing unless it is worse than
    /// what was known.
    fn gave_up(&mut self, ratio: Ratio) {
        let late = ratio.plain >= USUAL;
        self.given_up += u32::from(late);
        let missing = late && self.given_up >= GIVEN_UP_MAX;
        if missing {
            self.ratio = self.ratio.max(SLOW);
        }
        if missing || ratio.damped > self.ratio {
            self.learn(ratio.damped.max(self.ratio));
        }
    }

    fn learn(&mut self, ratio: f32) {
        self.ratio += PACE_LEARNING * (ratio.min(WORST) - self.ratio);
        let now = Instant::now();
        if self.ratio < SLOW {
            self.slow_until = None;
        } else if self.slow_until.is_none_or(|until| until <= now) {
            // Those that had begun before do not make its rest longer.
            self.slow_until = Some(now + self.rest);
            self.rest = (self.rest * 2).min(REST_MAX);
        }
    }
}

/// A request that a node was asked. Dropped without its end, it was given up:
/// that costs the node nothing but what its slowness says.
pub(super) struct Ticket {
    record: Arc<Record>,
    pace: Arc<Pace>,
    kind: Kind,
    bytes: usize,
    begun: Instant,
    number: u64,
}

impl Ticket {
    /// The request has come to its own end.
    pub(super) fn end<T>(self, outcome: &Result<T, NodeError>) {
        let took = self.begun.elapsed();
        let ratio = self.pace.ratio(self.kind, self.bytes, took);
        let mut state = self.record.state();
        state.waiting.retain(|(number, _)| *number != self.number);
        state.succeed(outcome.is_ok());
        match outcome {
            Ok(_) => {
                self.pace.record(self.kind, self.bytes, took);
                state.pulse(self.kind).answered(ratio.map_or(1.0, |ratio| ratio.damped));
            }
            Err(NodeError::Full) => state.full_until = Some(Instant::now() + FULL_FOR),
            Err(NodeError::Timeout) => state.pulse(self.kind).learn(WORST),
            Err(_) => {}
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.record.state();
        // One that has ended is not there any more.
        let Some(at) = state.waiting.iter().position(|(number, _)| *number == self.number) else { return };
        state.waiting.swap_remove(at);
        if let Some(ratio) = self.pace.ratio(self.kind, self.bytes, self.begun.elapsed()) {
            state.pulse(self.kind).gave_up(ratio);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Arc<Pace> {
        let pace = Arc::<Pace>::default();
        (0..100).for_each(|_| pace.record(Kind::Put, 1000, Duration::from_millis(60)));
        pace
    }

    /// A ticket for a request that began so long ago.
    fn begun(record: &Arc<Record>, pace: &Arc<Pace>, ago: Duration) -> Ticket {
        let mut ticket = record.begin(pace, Kind::Put, 1000);
        ticket.begun -= ago;
        record.state().waiting.iter_mut().for_each(|(_, late)| *late -= ago);
        ticket
    }

    #[test]
    fn a_node_that_keeps_somebody_waiting_is_slow_until_it_answers() {
        let (record, pace) = (Arc::<Record>::default(), pace());
        let ticket = begun(&record, &pace, Duration::from_secs(1));
        assert!(record.is_slow(Kind::Put));
        ticket.end(&Ok(()));
        assert!(!record.is_slow(Kind::Put), "once may happen to anybody");
    }

    #[test]
    fn a_node_that_is_always_given_up_is_slow_and_loses_no_success() {
        let (record, pace) = (Arc::<Record>::default(), pace());
        (0..3).for_each(|_| drop(begun(&record, &pace, Duration::from_secs(1))));
        assert!(record.is_slow(Kind::Put));
        assert_eq!(record.success(), 1.0);
        begun(&record, &pace, Duration::ZERO).end(&Ok(()));
        assert!(!record.is_slow(Kind::Put), "it answers as others do");
    }

    #[test]
    fn a_node_that_never_answers_is_found_where_all_are_fast() {
        let (record, pace) = (Arc::<Record>::default(), Arc::<Pace>::default());
        (0..100).for_each(|_| pace.record(Kind::Put, 1000, Duration::from_millis(4)));
        let give_up = || drop(begun(&record, &pace, Duration::from_millis(12)));
        for _ in 0..20 {
            (1..GIVEN_UP_MAX).for_each(|_| give_up());
            assert!(!record.is_slow(Kind::Put));
            begun(&record, &pace, Duration::from_millis(5)).end(&Ok(()));
        }
        (0..GIVEN_UP_MAX).for_each(|_| give_up());
        assert!(record.is_slow(Kind::Put) && !record.is_slow(Kind::Get));
    }

    #[test]
    fn what_is_cancelled_early_says_nothing() {
        let (record, pace) = (Arc::<Record>::default(), pace());
        (0..50).for_each(|_| drop(begun(&record, &pace, Duration::from_millis(50))));
        assert!(!record.is_slow(Kind::Put));
        assert_eq!(record.success(), 1.0);
    }

    #[test]
    fn failures_and_full_disks_are_remembered() {
        let (record, pace) = (Arc::<Record>::default(), pace());
        assert!(!record.is_tried(), "nothing was asked of it");
        begun(&record, &pace, Duration::ZERO).end::<()>(&Err(NodeError::Full));
        assert!(record.is_full() && record.is_tried());
        assert!(record.success() < 1.0);
    }
}
