//! The ciphertext of what is merged: run by run, out of segments some of which
//! may not be readable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::metadata::{Extent, StreamPlace};
use crate::transfer::{Budget, SegmentReader, TransferError};
use crate::types::SegmentId;

/// Bytes of a run that are read at once, about: whole stripes.
const UNIT_BYTES: u32 = 1 << 20;

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
    budget: &Budget,
) -> Result<(Vec<u8>, Vec<Move>), TransferError> {
    let (mut ciphertext, mut moves, mut unreadable) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (stream, extent, run) in runs(places) {
        let Some(reader) = readers.get(&run.segment).filter(|_| !unreadable.contains(&run.segment)) else { continue };
        if ciphertext.len() + run.length as usize > room {
            continue;
        }
        let begin = ciphertext.len();
        match read_run(reader, run, budget, &mut ciphertext).await {
            Ok(()) => moves.push(Move { stream, extent, segment_offset: begin as u32 }),
            Err(error @ (TransferError::Unreadable { .. } | TransferError::Corrupt { .. })) => {
                tracing::debug!(%error, "a segment is left out of merging for a while");
                unreadable.insert(run.segment);
                ciphertext.truncate(begin);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((ciphertext, moves))
}

/// Reads a run, with memory for a part of it at a time.
async fn read_run(
    reader: &SegmentReader,
    run: &Extent,
    budget: &Budget,
    ciphertext: &mut Vec<u8>,
) -> Result<(), TransferError> {
    let stripe = reader.stripe_bytes() as u32;
    let unit = stripe * (UNIT_BYTES / stripe).max(1);
    for part in parts(run.segment_offset..run.segment_offset + run.length, unit) {
        let _memory = budget.read.reserve(part.len()).await?;
        ciphertext.extend(reader.read(part).await?);
    }
    Ok(())
}

/// A range in parts that end at multiples of a unit.
fn parts(range: Range<u32>, unit: u32) -> impl Iterator<Item = Range<u32>> {
    let mut begin = range.start;
    std::iter::from_fn(move || {
        let part = begin..range.end.min((begin / unit + 1).saturating_mul(unit));
        begin = part.end;
        Some(part).filter(|part| !part.is_empty())
    })
}

/// All runs of these streams: which stream, which of its extents, and where.
fn runs<'a>(places: &'a [StreamPlace]) -> impl Iterator<Item = (usize, usize, &'a Extent)> {
    let of = |(stream, place): (usize, &'a StreamPlace)| {
        place.extents.iter().enumerate().map(move |(extent, run)| (stream, extent, run))
    };
    places.iter().enumerate().flat_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_in_parts_that_end_with_a_stripe() {
        assert_eq!(parts(3..25, 10).collect::<Vec<_>>(), [3..10, 10..20, 20..25]);
        assert_eq!(parts(10..20, 10).collect::<Vec<_>>(), vec![10..20]);
        assert_eq!(parts(7..7, 10).count(), 0);
    }
}
