//! The walk's side of merging: which segments are small or mostly dead, and
//! which segments there are at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::super::observer::{Observer, Scene, Wish};
use super::bins::SparseSegment;
use crate::metadata::{MetadataError, SegmentRow};
use crate::segment::Layout;
use crate::types::{Revision, SegmentId};

/// Segments that are merged after one pass, at most.
const SPARSE_MAX: usize = 50_000;
/// Segments that are looked at for whether any stream lies in them, in one
/// pass: 24 bytes each. The next pass goes on with those that come after.
const SEEN_MAX: usize = 1_000_000;

/// What a walk over all segments has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) sparse: Vec<SparseSegment>,
    /// Each with its revision then.
    pub(super) all: HashMap<SegmentId, Revision>,
    /// Whether somebody waits for it.
    pub(super) asked: bool,
}

/// What the last whole walk of this process has seen, until somebody takes it.
/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Candidates(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    seen: Option<Seen>,
    /// Whether somebody takes them, and is at work on some.
    is_served: bool,
    is_at_work: bool,
}

impl Candidates {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody takes them from now on.
    pub(super) fn serve(&self) {
        self.lock().is_served = true;
    }

    pub(super) fn take(&self) -> Option<Seen> {
        let mut state = self.lock();
        let seen = state.seen.take();
        state.is_at_work = seen.is_some();
        seen
    }

    /// What was taken last is done with.
    pub(super) fn done(&self) {
        self.lock().is_at_work = false;
    }

    /// Whether somebody has work with them.
    fn is_busy(&self) -> bool {
        let state = self.lock();
        state.is_served && (state.is_at_work || state.seen.is_some())
    }
}

/// Watches the walk.
pub(in crate::workers) struct Sparse {
    candidates: Candidates,
    seen: Seen,
    /// Where the next pass goes on to look for orphans.
    from: Option<SegmentId>,
}

impl Sparse {
    pub(in crate::workers) fn new(candidates: Candidates) -> Self {
        Self { candidates, seen: Seen::default(), from: None }
    }

    fn look(&mut self, row: &SegmentRow, capacity: u64) {
        if self.from.is_none_or(|from| row.segment > from) && self.seen.all.len() < SEEN_MAX {
            self.seen.all.insert(row.segment, row.revision);
        }
        let Ok(layout) = Layout::from_bytes(&row.layout) else { return };
        if row.live_bytes > 0 && row.live_bytes <= capacity / 2 && self.seen.sparse.len() < SPARSE_MAX {
            let (segment, length) = (row.segment, u64::from(layout.length()));
            self.seen.sparse.push(SparseSegment { segment, live_bytes: row.live_bytes, length });
        }
    }
}

#[async_trait]
impl Observer for Sparse {
    async fn begin(&mut self, scene: &Scene) -> Result<(), MetadataError> {
        self.seen = Seen { asked: scene.asked, ..Seen::default() };
        Ok(())
    }

    async fn page(&mut self, scene: &Scene, rows: &[SegmentRow]) -> Result<bool, MetadataError> {
        let capacity = scene.transfer.plan().segment_bytes() as u64;
        rows.iter().for_each(|row| self.look(row, capacity));
        Ok(false)
    }

    async fn end(&mut self, _: &Scene) -> Result<Wish, MetadataError> {
        let seen = std::mem::take(&mut self.seen);
        self.from = seen.all.keys().max().copied().filter(|_| seen.all.len() == SEEN_MAX);
        self.candidates.lock().seen = Some(seen);
        Ok(Wish::default())
    }

    fn is_busy(&self) -> bool {
        self.candidates.is_busy()
    }

    fn cut_off(&mut self) {
        self.seen = Seen::default();
    }
}
