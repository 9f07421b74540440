//! The ciphertext of what is merged: run by run, out of segments some of which
//! may not be readable.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{Extent, StreamPlace};
use crate::transfer::{SegmentReader, TransferError};
use crate::types::SegmentId;

/// A run of a stream that moves: which one of the streams, which of its
/// extents, and where it will be.
pub(super) struct Move {
    pub(super) stream: usize,
    pub(super) extent: usize,
    pub(super) segment_offset: u32,
}

/// The ciphertext of all runs of these streams in these segments, as far as
/// there is room, and where each run is in it. What is left of a segment of
/// which a run cannot be read stays there.
pub(super) async fn read(
    readers: &BTreeMap<SegmentId, SegmentReader>,
    places: &[StreamPlace],
    room: usize,
) -> Result<(Vec<u8>, Vec<Move>), TransferError> {
    let (mut ciphertext, mut moves, mut unreadable) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (stream, extent, run) in runs(places) {
        let Some(reader) = readers.get(&run.segment).filter(|_| !unreadable.contains(&run.segment)) else { continue };
        if ciphertext.len() + run.length as usize > room {
            continue;
        }
        match reader.read(run.segment_offset..run.segment_offset + run.length).await {
            Ok(bytes) => {
                moves.push(Move { stream, extent, segment_offset: ciphertext.len() as u32 });
                ciphertext.extend(bytes);
            }
            Err(error @ (TransferError::Unreadable { .. } | TransferError::Corrupt { .. })) => {
                tracing::debug!(%error, "a segment is left out of merging for a while");
                unreadable.insert(run.segment);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((ciphertext, moves))
}

/// All runs of these streams: which stream, which of its extents, and where.
fn runs<'a>(places: &'a [StreamPlace]) -> impl Iterator<Item = (usize, usize, &'a Extent)> {
    let of = |(stream, place): (usize, &'a StreamPlace)| {
        place.extents.iter().enumerate().map(move |(extent, run)| (stream, extent, run))
    };
    places.iter().enumerate().flat_map(of)
}
