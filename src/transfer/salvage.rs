//! A segment of which fewer than k pieces are whole, stripe by stripe: of each
//! stripe any k good shares give the others, whichever pieces they are of. With
//! one share in a hundred changed everywhere, more pieces have a bad share than
//! a segment can spare, and yet nearly every stripe can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Duration, timeout};

use super::TransferError;
use super::read::SegmentReader;
use crate::metadata::PiecePlace;
use crate::transport::NodeError;

/// The longest that all that is left of a segment may take to be read.
const READING: Duration = Duration::from_secs(120);

/// Good shares by piece and stripe, each with its MAC.
pub(super) struct Shares(BTreeMap<u16, Vec<Option<Bytes>>>);

/// Whether this is all that a node has of what it was asked for. Any other
/// failure passes, and says nothing of what it has.
fn is_answer<T>(given: &Result<T, NodeError>) -> bool {
    matches!(given, Ok(_) | Err(NodeError::Missing | NodeError::Damaged(_) | NodeError::Unfit(_)))
}

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
    /// All good shares that can be had, of all pieces, and the nodes that have
    /// answered for all that they were asked for.
    pub(super) async fn read_shares(&self) -> (Shares, BTreeSet<u32>) {
        let fleet = &self.transfer.fleet;
        let places: Vec<_> = self.row.pieces.iter().filter(|place| fleet.is_readable(place.node)).collect();
        let mut unanswered: Vec<u32> =
            places.iter().flat_map(|place| self.parts().into_iter().map(|_| place.node)).collect();
        let asked: BTreeSet<u32> = unanswered.iter().copied().collect();
        let parts = places.into_iter().flat_map(|place| self.parts().into_iter().map(|part| (*place, part)));
        let ask = |(place, part): (PiecePlace, Range<u16>)| async move {
            (place, part.clone(), self.shares(place, part).await)
        };
        let mut running: FuturesUnordered<_> = parts.map(ask).collect();
        let mut shares: BTreeMap<u16, Vec<Option<Bytes>>> = BTreeMap::new();
        let all = async {
            while let Some((place, part, records)) = running.next().await {
                if is_answer(&records)
                    && let Some(at) = unanswered.iter().position(|node| *node == place.node)
                {
                    unanswered.swap_remove(at);
                }
                let held =
                    shares.entry(place.piece.0).or_insert_with(|| vec![None; usize::from(self.layout.stripes())]);
                for (stripe, record) in part.zip(records.unwrap_or_default()) {
                    held[usize::from(stripe)] = record;
                }
            }
        };
        let _ = timeout(READING, all).await;
        (Shares(shares), asked.into_iter().filter(|node| !unanswered.contains(node)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_share_or_its_loss_is_an_answer() {
        let failed = |error: NodeError| is_answer::<()>(&Err(error));
        assert!(is_answer(&Ok(())) && failed(NodeError::Missing) && failed(NodeError::Damaged("a spot".to_owned())));
        assert!(
            !failed(NodeError::Timeout)
                && !failed(NodeError::Offline)
                && !failed(NodeError::Refused("busy".to_owned()))
        );
    }
}
