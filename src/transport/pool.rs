//! A node's connections: parked until a request takes one, and asked to become
//! more when they run short.
//!
//! The last idle connection is never taken silently: the request that takes it
//! carries a `cairn-dial`, so that one is parked again soon while fewer than
//! the limit are open. Requests queue in order. A request that is cancelled
//! takes its connection with it; nothing else is touched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connection::Connection;
use super::tuning::Tuning;
use super::{Activity, NodeError};
use crate::types::limits::DIAL_MAX;
use crate::wire::Purpose;

/// What was asked for and has not come by then is asked for again.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// One instance's connections.
pub(super) struct Pool {
    state: Mutex<State>,
    /// A permit per idle connection; closed with the pool.
    idle: Semaphore,
    waiting: AtomicUsize,
    tuning: Arc<Tuning>,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: HashMap<u64, Arc<Activity>>,
    expected: usize,
    asked: Option<Instant>,
    /// Since when nothing is open, if anything ever was.
    emptied: Option<Instant>,
}

/// A connection that is in use. Dropped without [`give_back`](Self::give_back)
/// or [`discard`](Self::discard), its request was cancelled.
pub(super) struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    /// How many more connections the request shall ask for.
    pub(super) dial: usize,
}

impl Pool {
    pub(super) fn new(tuning: Arc<Tuning>) -> Self {
        Self { state: Mutex::default(), idle: Semaphore::new(0), waiting: AtomicUsize::new(0), tuning }
    }

    /// Parks a new connection; gives it back if either was closed meanwhile.
    pub(super) fn add(&self, connection: Connection) -> Result<(), Connection> {
        let mut state = self.state();
        // A closed one was removed already, and would stay in the count forever.
        if self.idle.is_closed() || connection.is_closed() {
            return Err(connection);
        }
        state.open.insert(connection.number, connection.activity.clone());
        state.emptied = None;
        state.expected = state.expected.saturating_sub(usize::from(connection.purpose == Purpose::Data));
        self.park(&mut state, connection);
        Ok(())
    }

    /// Drops a connection that the other side closed while it was idle.
    pub(super) fn evict(&self, number: u64) {
        let mut state = self.state();
        if let Some(index) = state.idle.iter().position(|idle| idle.number == number) {
            state.idle.swap_remove(index);
            self.take_permit();
        }
    }

    /// Forgets a connection that was closed and let go. True if it was the
    /// last one.
    pub(super) fn remove(&self, number: u64) -> bool {
        let mut state = self.state();
        let last = state.open.remove(&number).is_some() && state.open.is_empty();
        if last {
            state.emptied = Some(Instant::now());
        }
        last
    }

    /// Whether nothing is open, and has not been for this long.
    pub(super) fn is_empty_for(&self, time: Duration) -> bool {
        let state = self.state();
        state.open.is_empty() && state.emptied.is_none_or(|since| since.elapsed() >= time)
    }

    /// Closes all idle connections; requests in flight end by themselves, and
    /// those that wait or come find the node offline.
    pub(super) fn close(&self) {
        let mut state = self.state();
        self.idle.close();
        state.idle.clear();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.idle.is_closed()
    }

    /// Connections that are open, and those of them that are idle.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.open.len(), state.idle.len())
    }

    /// Whether bytes moved on any connection within this time.
    pub(super) fn moved_within(&self, time: Duration) -> bool {
        self.state().open.values().any(|activity| activity.idle() < time)
    }

    /// An idle connection, as soon as there is one.
    pub(super) async fn checkout(self: &Arc<Self>) -> Result<Lease, NodeError> {
        let _waiting = Waiting::new(&self.waiting);
        timeout(self.tuning.queue_timeout, self.next()).await.unwrap_or(Err(NodeError::Timeout))
    }

    async fn next(self: &Arc<Self>) -> Result<Lease, NodeError> {
        loop {
            self.idle.acquire().await.map_err(|_| NodeError::Offline)?.forget();
            let mut state = self.state();
            // Extra ones first, as a cancelled request takes its connection with
            // it; of these the one used last, so that those too many grow old.
            let order = |index: &usize| (state.idle[*index].purpose == Purpose::Data, state.idle[*index].used);
            let Some(index) = (0..state.idle.len()).max_by_key(order) else {
                continue;
            };
            let connection = state.idle.swap_remove(index);
            if !connection.is_closed() {
                let dial = self.more(&mut state);
                return Ok(Lease { pool: self.clone(), connection: Some(connection), dial });
            }
        }
    }

    /// How many connections to ask for now that one was taken.
    fn more(&self, state: &mut State) -> usize {
        if state.asked.is_some_and(|asked| asked.elapsed() > DIAL_PATIENCE) {
            state.expected = 0;
        }
        let spare = state.idle.len() + state.expected;
        // The one that takes this connection still counts as waiting.
        let wanted = self.waiting.load(Relaxed).max(1);
        let room = self.tuning.connections_per_node.saturating_sub(state.open.len() + state.expected);
        let dial = wanted.saturating_sub(spare).min(room).min(usize::from(DIAL_MAX));
        if dial > 0 {
            state.expected += dial;
            state.asked = Some(Instant::now());
        }
        dial
    }

    /// Takes out the idle connections from which nothing was heard for so
    /// long, and closes the extra ones that nobody has used for long.
    pub(super) fn quiet(self: &Arc<Self>, time: Duration) -> Vec<Lease> {
        let mut state = self.state();
        let quiet: Vec<Connection> = state.idle.extract_if(.., |idle| idle.activity.idle() >= time).collect();
        let mut leases = Vec::new();
        for connection in quiet {
            self.take_permit();
            let extra = connection.purpose == Purpose::Data;
            if !(extra && connection.used.elapsed() >= self.tuning.idle_extra_after) {
                leases.push(Lease { pool: self.clone(), connection: Some(connection), dial: 0 });
            }
        }
        leases
    }

    fn park(&self, state: &mut State, connection: Connection) {
        state.idle.push(connection);
        self.idle.add_permits(1);
    }

    /// If a waiter has the permit already, it finds nothing and waits again.
    fn take_permit(&self) {
        if let Ok(permit) = self.idle.try_acquire() {
            permit.forget();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(super) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease holds its connection until it ends")
    }

    /// Parks the connection for the next request.
    pub(super) fn give_back(mut self, was_ping: bool) {
        // What it asked for is on its way.
        self.dial = 0;
        if let Some(mut connection) = self.connection.take() {
            if !was_ping {
                connection.used = Instant::now();
            }
            let mut state = self.pool.state();
            if !self.pool.is_closed() && !connection.is_closed() {
                self.pool.park(&mut state, connection);
            }
        }
    }

    /// Closes a connection that is of no more use.
    pub(super) fn discard(mut self) {
        self.connection = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.cancel();
        }
        // The node may never have read what a failed request asked for.
        if self.dial > 0 {
            let mut state = self.pool.state();
            state.expected = state.expected.saturating_sub(self.dial);
        }
    }
}

/// Counts those who wait, however they stop.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
