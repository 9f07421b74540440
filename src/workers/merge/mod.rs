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
mod sparse;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use self::bins::{Bin, pack};
pub use self::sparse::Candidates;
use self::sparse::Seen;
pub(super) use self::sparse::Sparse;
use super::report::HealthWatch;
use super::tranquil::Tranquilizer;
use super::{Step, Worker};
use crate::env::Shutdown;
use crate::metadata::{
    CondemnOrphans, FindPlaces, FindSegments, Metadata, MetadataError, MoveStreams, ScanStreams, StreamPlace,
};
use crate::objects::Epochs;
use crate::transfer::{Plan, SegmentReader, Transfer, TransferError};
use crate::types::{SegmentId, StreamId};

/// How often the streams are walked when there is nothing to merge.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Streams that are read at once.
const PAGE: u32 = 1000;
/// Orphans that one transaction removes.
const ORPHANS_AT_ONCE: usize = 100;

/// Merges what the walk of this process has found.
pub struct MergeWorker {
    metadata: Metadata,
    transfer: Transfer,
    epochs: Epochs,
    candidates: Candidates,
    watch: HealthWatch,
    looked: Option<Instant>,
}

/// Why some segments were not merged. They are found again.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

/// A run of a stream that moves: which one of the streams, which of its
/// extents, and where it will be.
struct Move {
    stream: usize,
    extent: usize,
    segment_offset: u32,
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
        Self { metadata, transfer, epochs, candidates, watch, looked: None }
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
        let bins = pack(std::mem::take(&mut seen.sparse), plan.segment_bytes() as u64);
        let is_due = seen.asked || self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        if bins.is_empty() && !is_due {
            return Ok(Step::Idle);
        }
        let wanted: HashSet<SegmentId> = bins.iter().flatten().copied().collect();
        let streams = self.find_streams(&wanted, &mut seen).await?;
        self.looked = Some(Instant::now());
        self.condemn(seen).await?;
        for bin in bins {
            let begun = Instant::now();
            match self.merge(plan, &bin, &streams).await {
                Ok(merged) => self.watch.report().segments_merged += merged,
                Err(MergeError::Metadata(error)) => return Err(error),
                Err(MergeError::Transfer(error)) => {
                    tracing::debug!(%error, "segments could not be merged; they are tried again");
                }
            }
            self.rest(begun).await;
        }
        Ok(Step::Idle)
    }

    /// The streams that lie in each of these segments. What any stream lies in
    /// is no orphan.
    async fn find_streams(
        &self,
        wanted: &HashSet<SegmentId>,
        seen: &mut Seen,
    ) -> Result<HashMap<SegmentId, Vec<StreamId>>, MetadataError> {
        let (mut found, mut after) = (HashMap::<SegmentId, Vec<StreamId>>::new(), None);
        loop {
            let begun = Instant::now();
            let page = self.metadata.read(ScanStreams { after, limit: PAGE }).await?;
            after = page.last().map(|place| place.stream);
            for place in &page {
                for extent in &place.extents {
                    seen.all.remove(&extent.segment);
                    if wanted.contains(&extent.segment) {
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
            let gone = self.metadata.write(CondemnOrphans { segments: segments.to_vec() }).await?;
            if gone > 0 {
                tracing::warn!(segments = gone, "segments that no stream lies in were removed");
                self.watch.report().segments_orphaned += gone as u64;
            }
        }
        Ok(())
    }

    /// Merges a few segments into one. Answers how many.
    async fn merge(
        &self,
        plan: Plan,
        bin: &Bin,
        streams: &HashMap<SegmentId, Vec<StreamId>>,
    ) -> Result<u64, MergeError> {
        let mut ids: Vec<StreamId> = bin.iter().filter_map(|segment| streams.get(segment)).flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        // Held until the streams have moved: what is placed bears its epoch.
        let guard = self.epochs.begin();
        let rows = self.metadata.read(FindSegments { segments: bin.clone() }).await?;
        let mut readers = BTreeMap::new();
        for row in rows {
            readers.insert(row.segment, SegmentReader::new(self.transfer.clone(), row)?);
        }
        let places = self.metadata.read(FindPlaces { streams: ids }).await?;
        let _memory = self.transfer.budget().fill.reserve(plan.segment_bytes()).await.map_err(TransferError::from)?;
        let (ciphertext, moves) = read(&readers, &places, plan.segment_bytes()).await?;
        if moves.is_empty() {
            return Ok(0);
        }
        let segment = self.transfer.store(plan, ciphertext, guard.epoch()).await?;
        let streams = moved(places, &moves, segment.segment);
        let step = MoveStreams { segment: segment.clone(), streams, lease: guard.lease() };
        match self.metadata.write(step).await {
            Ok(_) => Ok(readers.len() as u64),
            Err(error) => {
                // Pieces that are in a list after all are spared.
                self.transfer.abandon(&[segment]);
                Err(error.into())
            }
        }
    }
}

/// The ciphertext of all runs of these streams in these segments, as far as
/// there is room, and where each run is in it.
async fn read(
    readers: &BTreeMap<SegmentId, SegmentReader>,
    places: &[StreamPlace],
    room: usize,
) -> Result<(Vec<u8>, Vec<Move>), TransferError> {
    let (mut ciphertext, mut moves) = (Vec::new(), Vec::new());
    for (stream, place) in places.iter().enumerate() {
        for (extent, run) in place.extents.iter().enumerate() {
            let Some(reader) = readers.get(&run.segment) else { continue };
            if ciphertext.len() + run.length as usize > room {
                continue;
            }
            moves.push(Move { stream, extent, segment_offset: ciphertext.len() as u32 });
            ciphertext.extend(reader.read(run.segment_offset..run.segment_offset + run.length).await?);
        }
    }
    Ok((ciphertext, moves))
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
