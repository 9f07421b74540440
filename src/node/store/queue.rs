//! What waits for the writer: requests in order, handed over in batches.

use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::record::{HEADER_BYTES, Header};
use super::{LogPosition, StoreError};
use crate::types::PieceId;

/// Where the answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A record that is to be written.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// The sequence number is given when it is written, except to records
    /// that compaction moves.
    pub header: Header,
    pub body: Bytes,
}

/// A record that compaction found worth keeping, and where it stood.
#[derive(Debug, Clone)]
pub(super) struct Keep {
    pub draft: Draft,
    pub offset: u64,
}

/// What is done to pieces that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Trash,
    Restore,
    Purge,
}

/// Something the writer does.
pub(super) enum Request {
    /// Store a piece; in place of the damaged record at `replacing`, if any.
    Put { draft: Draft, replacing: Option<(u32, u32)>, reply: Reply<Stored> },
    /// Change the state of pieces; answers how many were changed.
    Change { change: Change, ids: Vec<PieceId>, reply: Reply<usize> },
    /// Write these records of `log` again, as far as they still count; answers how many bytes.
    Move { log: u32, records: Vec<Keep>, reply: Reply<u64> },
    /// Append to another log from now on.
    Seal { reply: Reply<()> },
    /// Unlink a log that nothing points to; `ids` had records in it. Answers whether it could be.
    Unlink { log: u32, ids: Vec<PieceId>, reply: Reply<bool> },
    /// Look whether the folder and its logs are still there.
    Check { reply: Reply<()> },
    /// Write a checkpoint and stop.
    Close { reply: Reply<()> },
}

/// How a put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    At(LogPosition),
    /// A record of this id appeared in the meantime: compare again.
    Raced,
}

impl Request {
    fn bytes(&self) -> u64 {
        let record = |draft: &Draft| draft.header.record_bytes();
        match self {
            Request::Put { draft, .. } => record(draft),
            Request::Change { ids, .. } => (ids.len() * HEADER_BYTES) as u64,
            Request::Move { records, .. } => records.iter().map(|keep| record(&keep.draft)).sum(),
            _ => 0,
        }
    }

    /// Whether it must be served by itself.
    fn alone(&self) -> bool {
        !matches!(self, Request::Put { .. } | Request::Change { .. } | Request::Move { .. })
    }

    fn ids(&self) -> Vec<PieceId> {
        match self {
            Request::Put { draft, .. } => vec![draft.header.id],
            Request::Change { ids, .. } => ids.clone(),
            Request::Move { records, .. } => records.iter().map(|keep| keep.draft.header.id).collect(),
            _ => Vec::new(),
        }
    }
}

/// The queue between the callers and the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    closed: bool,
}

impl Queue {
    /// Adds a request; a closed queue drops it, and its reply with it.
    pub(super) fn push(&self, request: Request) {
        let mut state = self.state();
        if !state.closed {
            state.waiting.push_back(request);
            self.arrived.notify_one();
        }
    }

    /// Takes no more requests; those that wait are still served.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    /// Waits for requests and takes as many as fit one batch: together at most
    /// `bytes_max` (or a single one), and none that touches a piece which
    /// another of the batch touches. `None` when closed and empty.
    pub(super) fn take(&self, bytes_max: u64) -> Option<Vec<Request>> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch: Vec<Request> = Vec::new();
        let (mut bytes, mut touched) = (0, HashSet::new());
        while let Some(next) = state.waiting.front() {
            bytes += next.bytes();
            let ids = next.ids();
            let joins = bytes <= bytes_max && !next.alone() && !ids.iter().any(|id| touched.contains(id));
            if !batch.is_empty() && !joins {
                break;
            }
            let last = next.alone();
            touched.extend(ids);
            batch.extend(state.waiting.pop_front());
            if last {
                break;
            }
        }
        Some(batch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the list whole: every step is one push or pop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
