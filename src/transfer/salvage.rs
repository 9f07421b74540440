//! A segment of which fewer than k pieces are whole, stripe by stripe: of each
//! stripe any k good shares give the others, whichever pieces they are of. With
//! one share in a hundred changed everywhere, more pieces have a bad share than
//! a segment can spare, and yet nearly every stripe can be read.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Duration, timeout};

use super::TransferError;
use super::read::SegmentReader;
use crate::metadata::PiecePlace;

/// The longest that all that is left of a segment may take to be read.
const READING: Duration = Duration::from_secs(120);

/// Good shares by piece and stripe, each with its MAC.
pub(super) struct Shares(BTreeMap<u16, Vec<Option<Bytes>>>);

impl Shares {
    /// Those of whole pieces.
    pub(super) fn of_pieces(pieces: BTreeMap<u16, Vec<Bytes>>) -> Self {
        Self(pieces.into_iter().map(|(piece, records)| (piece, records.into_iter().map(Some).collect())).collect())
    }

    /// Any k good shares of a stripe by piece; fewer where there are fewer.
    pub(super) fn of_stripe(&self, stripe: u16, required: usize) -> BTreeMap<u16, &Bytes> {
        let good = self.0.iter().filter_map(|(piece, records)| {
            let record = records.get(usize::from(stripe))?.as_ref()?;
            Some((*piece, record))
        });
        good.take(required).collect()
    }
}

impl SegmentReader {
    /// All good shares that can be had, of all pieces.
    pub(super) async fn read_shares(&self) -> Shares {
        let fleet = &self.transfer.fleet;
        let places = self.row.pieces.iter().filter(|place| fleet.is_readable(place.node));
        let parts = places.flat_map(|place| self.parts().into_iter().map(|part| (*place, part)));
        let ask = |(place, part): (PiecePlace, Range<u16>)| async move {
            (place, part.clone(), self.shares(place, part).await)
        };
        let mut running: FuturesUnordered<_> = parts.map(ask).collect();
        let mut shares: BTreeMap<u16, Vec<Option<Bytes>>> = BTreeMap::new();
        let all = async {
            while let Some((place, part, records)) = running.next().await {
                let held =
                    shares.entry(place.piece.0).or_insert_with(|| vec![None; usize::from(self.layout.stripes())]);
                for (stripe, record) in part.zip(records.unwrap_or_default()) {
                    held[usize::from(stripe)] = record;
                }
            }
        };
        let _ = timeout(READING, all).await;
        Shares(shares)
    }

    /// The ciphertext of a range, each stripe by itself.
    pub(super) async fn read_by_stripes(&self, range: Range<u32>) -> Result<Vec<u8>, TransferError> {
        let stripe_bytes = self.layout.share_bytes() as u32 * self.required() as u32;
        let mut bytes = Vec::with_capacity(range.len());
        let mut at = range.start;
        while at < range.end {
            let end = ((at / stripe_bytes + 1) * stripe_bytes).min(range.end);
            bytes.extend(self.read_now(at..end).await?);
            at = end;
        }
        Ok(bytes)
    }

    /// Whether a range has more than one stripe.
    pub(super) fn has_stripes(&self, range: &Range<u32>) -> bool {
        self.layout.stripes_for(range.clone()).len() > 1
    }
}
