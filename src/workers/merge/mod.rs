//! Merge: segments that are small, or mostly dead, become full ones. An
//! observer of the walk picks them; a worker of the same process looks for the
//! streams that lie in them, stores their ciphertext anew, and has them lie
//! there in one transaction.
//!
//! The streams are walked for it, since nothing says which streams lie in a
//! segment. That also shows the segments that none lies in: those go.
//!
//! Nothing is lost when it is cut off: before the transaction the new pieces
//! are strays, and after it the old ones are condemned. Who reads goes on in
//! the trash, and resolves what it had not looked up yet anew.

mod bins;
mod runs;
mod sparse;
mod stuck;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use self::bins::{Bin, pack};
use self::runs::{Move, read};
pub use self::sparse::Candidates;
use self::sparse::Seen;
pub(super) use self::sparse::Sparse;
use self::stuck::Stuck;
use super::report::HealthWatch;
use super::tranquil::Tranquilizer;
use super::{Step, Worker};
use crate::env::Shutdown;
use crate::metadata::{
    CondemnOrphans, FindPlaces, FindSegments, Metadata, MetadataError, MoveStreams, Orphans, ScanStreams, StreamPlace,
};
use crate::objects::Epochs;
use crate::transfer::{Plan, SegmentReader, Transfer, TransferError};
use crate::types::{SegmentId, StreamId};

/// How often the streams are walked when there is nothing to merge.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Otherwise they are walked for one part in so many of the time, at most.
const LOOK_SHARE: u32 = 10;
/// Streams that are read at once.
const PAGE: u32 = 1000;
/// Streams that are remembered with the segments that they lie in: 16 bytes
/// each. Those that are left out are found again.
const STREAMS_MAX: usize = 2_000_000;
/// Orphans that one transaction removes.
const ORPHANS_AT_ONCE: usize = 100;

/// Merges what the walk of this process has found.
pub struct MergeWorker {
    metadata: Metadata,
    transfer: Transfer,
    epochs: Epochs,
    candidates: Candidates,
    watch: HealthWatch,
    /// When the streams were walked last, and how long that took.
    looked: Option<(Instant, Duration)>,
    stuck: Stuck,
}

/// Why some segments were not merged. They are found again.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl MergeWorker {
    /// Merges what `candidates` gets, and shows it on `watch`.
    pub fn new(
        metadata: Metadata,
        transfer: Transfer,
        epochs: Epochs,
        candidates: Candidates,
        watch: HealthWatch,
    ) -> Self {
        candidates.serve();
        Self { metadata, transfer, epochs, candidates, watch, looked: None, stuck: Stuck::default() }
    }

    /// Merges until the order to stop. That cuts it off wherever it is, which
    /// leaves what a kill would leave: a run may take hours.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.requested() => {}
            () = super::run(self, shutdown.clone()) => {}
        }
    }

    /// Yields to users.
    async fn rest(&self, since: Instant) {
        Tranquilizer::new(self.transfer.budget().clone()).rest(since.elapsed()).await;
    }

    async fn go_through(&mut self, mut seen: Seen) -> Result<Step, MetadataError> {
        let plan = self.transfer.plan();
        self.stuck.leave_out(&mut seen.sparse, seen.asked, Instant::now());
        let bins = pack(std::mem::take(&mut seen.sparse), plan.segment_bytes() as u64);
        let last = self.looked.map(|(looked, took)| (looked.elapsed(), took));
        if !seen.asked && !is_look_due(!bins.is_empty(), last) {
            return Ok(Step::Idle);
        }
        let begun = Instant::now();
        let wanted: HashSet<SegmentId> = bins.iter().flatten().copied().collect();
        let streams = self.find_streams(&wanted, &mut seen).await?;
        self.looked = Some((Instant::now(), begun.elapsed()));
        self.condemn(seen).await?;
        self.merge_all(plan, &bins, &streams).await?;
        Ok(Step::Idle)
    }

    /// Merges until something is in the way that is in the way of all: too few
    /// nodes take pieces, or there is no memory.
    async fn merge_all(
        &mut self,
        plan: Plan,
        bins: &[Bin],
        streams: &HashMap<SegmentId, Vec<StreamId>>,
    ) -> Result<(), MetadataError> {
        for bin in bins {
            let begun = Instant::now();
            match self.merge(plan, bin, streams).await {
                Ok(merged) => self.watch.report().segments_merged += merged,
                Err(MergeError::Metadata(error)) => return Err(error),
                Err(MergeError::Transfer(error)) => {
                    tracing::debug!(%error, "segments could not be merged; they are tried again");
                    break;
                }
            }
            self.rest(begun).await;
        }
        Ok(())
    }

    /// The streams that lie in each of these segments. What any stream lies in
    /// is no orphan.
    async fn find_streams(
        &self,
        wanted: &HashSet<SegmentId>,
        seen: &mut Seen,
    ) -> Result<HashMap<SegmentId, Vec<StreamId>>, MetadataError> {
        let (mut found, mut count, mut after) = (HashMap::<SegmentId, Vec<StreamId>>::new(), 0, None);
        loop {
            let begun = Instant::now();
            let page = self.metadata.read(ScanStreams { after, limit: PAGE }).await?;
            after = page.last().map(|place| place.stream);
            for place in &page {
                for extent in &place.extents {
                    seen.all.remove(&extent.segment);
                    if wanted.contains(&extent.segment) && count < STREAMS_MAX {
                        count += 1;
                        found.entry(extent.segment).or_default().push(place.stream);
                    }
                }
            }
            if page.len() < PAGE as usize {
                return Ok(found);
            }
            self.rest(begun).await;
        }
    }

    /// Removes the segments that no stream lies in.
    async fn condemn(&self, seen: Seen) -> Result<(), MetadataError> {
        let orphans: Vec<_> = seen.all.into_iter().collect();
        for segments in orphans.chunks(ORPHANS_AT_ONCE) {
            let Orphans { gone, doubtful } =
                self.metadata.write(CondemnOrphans { segments: segments.to_vec() }).await?;
            if gone > 0 {
                tracing::warn!(segments = gone, "segments that no stream lies in were removed");
                self.watch.report().segments_orphaned += gone as u64;
            }
            if doubtful > 0 {
                let segments = doubtful;
                tracing::warn!(segments, "segments stay in which no stream was found: they are counted as used");
            }
        }
        Ok(())
    }

    /// Merges a few segments into one. Answers how many. One that cannot be
    /// read stays, and is left out from then on.
    async fn merge(
        &mut self,
        plan: Plan,
        bin: &Bin,
        streams: &HashMap<SegmentId, Vec<StreamId>>,
    ) -> Result<u64, MergeError> {
        let mut ids: Vec<StreamId> = bin.iter().filter_map(|segment| streams.get(segment)).flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        // Held until the streams have moved: what is placed bears its epoch.
        let guard = self.epochs.begin();
        let readers = self.readers(bin).await?;
        let places = self.metadata.read(FindPlaces { streams: ids }).await?;
        let _memory = self.transfer.budget().fill.reserve(plan.segment_bytes()).await.map_err(TransferError::from)?;
        let budget = self.transfer.budget();
        let (ciphertext, moves) = read(&readers, &places, plan.segment_bytes(), budget).await?;
        let from: HashSet<SegmentId> = moves.iter().map(|run| places[run.stream].extents[run.extent].segment).collect();
        self.stuck.note(bin.iter().filter(|segment| !from.contains(segment)), Instant::now());
        // One of several that is left alone would only be moved.
        if from.len() < bin.len().min(2) {
            return Ok(0);
        }
        let segment = self.transfer.store(plan, ciphertext, guard.epoch()).await?;
        let streams = moved(places, &moves, segment.segment);
        let step = MoveStreams { segment: segment.clone(), streams, lease: guard.lease() };
        match self.metadata.write(step).await {
            Ok(_) => Ok(from.len() as u64),
            Err(error) => {
                // Pieces that are in a list after all are spared.
                self.transfer.abandon(&[segment]);
                Err(error.into())
            }
        }
    }

    /// Readers of those of these segments that are there still.
    async fn readers(&self, bin: &Bin) -> Result<BTreeMap<SegmentId, SegmentReader>, MetadataError> {
        let rows = self.metadata.read(FindSegments { segments: bin.clone() }).await?;
        let readers = rows.into_iter().filter_map(|row| {
            let segment = row.segment;
            let reader = SegmentReader::new(self.transfer.clone(), row);
            let reader = reader.inspect_err(|error| tracing::debug!(%error, "a segment cannot be merged"));
            Some((segment, reader.ok()?))
        });
        Ok(readers.collect())
    }
}

/// Whether the streams are to be walked, by how long ago they were last and
/// how long it took then: where there are many, it takes a small part of the
/// time, and seldom if there is nothing to merge.
fn is_look_due(has_bins: bool, last: Option<(Duration, Duration)>) -> bool {
    let Some((since, took)) = last else { return true };
    since >= if has_bins { LOOK_EVERY.min(LOOK_SHARE * took) } else { LOOK_EVERY }
}

/// The streams that move, each as it was and with its new extents.
fn moved(
    places: Vec<StreamPlace>,
    moves: &[Move],
    segment: SegmentId,
) -> Vec<(StreamPlace, Vec<crate::metadata::Extent>)> {
    let mut streams: Vec<_> = places.into_iter().map(|place| (place.clone(), place.extents)).collect();
    for Move { stream, extent, segment_offset } in moves {
        let run = &mut streams[*stream].1[*extent];
        (run.segment, run.segment_offset) = (segment, *segment_offset);
    }
    streams.retain(|(place, extents)| place.extents != *extents);
    streams
}

#[async_trait]
impl Worker for MergeWorker {
    fn name(&self) -> &'static str {
        "merge"
    }

    async fn step(&mut self) -> Result<Step, MetadataError> {
        let Some(seen) = self.candidates.take() else { return Ok(Step::Idle) };
        let outcome = self.go_through(seen).await;
        self.candidates.done();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_are_walked_seldom_where_that_takes_long() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        assert!(is_look_due(false, None));
        assert!(is_look_due(true, Some((hour, second))) && !is_look_due(false, Some((hour, second))));
        assert!(!is_look_due(true, Some((9 * hour, hour))) && is_look_due(true, Some((10 * hour, hour))));
        assert!(is_look_due(true, Some((LOOK_EVERY, 5 * hour))) && is_look_due(false, Some((LOOK_EVERY, second))));
    }
}
