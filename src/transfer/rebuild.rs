//! Pieces of a segment anew, from any k of those that are left.
//!
//! Works on ciphertext alone. Each share is checked by its MAC, and nothing
//! that was computed is placed before the root over all data shares is the one
//! that was recorded.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Duration, timeout};

use super::fleet::Ask;
use super::read::{Fetched, SegmentReader};
use super::upload::put;
use super::{FULL_PIECE_BYTES, Transfer, TransferError};
use crate::erasure::Recovery;
use crate::metadata::{PiecePlace, SegmentRow};
use crate::segment::{Layout, SEGMENT_ROOT_BYTES, root_of};
use crate::types::limits::MAC_BYTES;
use crate::types::{Epoch, Incarnation, PieceNumber, SegmentId};

/// The longest that placing may take. A node that is slower takes no pieces.
const PLACING: Duration = Duration::from_secs(120);
/// The longest that copying may take before what is not there is computed.
const COPYING: Duration = Duration::from_secs(20);

impl Transfer {
    /// Puts the wanted pieces of a segment on their new nodes, under the
    /// incarnation of the caller's claim. Answers those that are durable; the
    /// others failed, and are condemned.
    ///
    /// A piece that only moves is copied: its MACs prove that it is what was
    /// stored, and a k-th is read of what computing it would take. The others
    /// are computed from k good pieces, and if those do not give the segment
    /// that was recorded, or there are fewer, this fails and places nothing.
    /// Pieces on the nodes in `avoid` are read only where others do not suffice.
    pub async fn rebuild(
        &self,
        row: &SegmentRow,
        wanted: Vec<(PieceNumber, u32)>,
        incarnation: Incarnation,
        epoch: Epoch,
        avoid: &[u32],
    ) -> Result<Vec<PiecePlace>, TransferError> {
        let reader = SegmentReader::new(self.clone(), row.clone())?;
        let held = reader.required() + wanted.len();
        let reserved = self.budget.pieces.reserve(reader.layout.piece_bytes() * held).await?;
        let numbers: Vec<PieceNumber> = wanted.iter().map(|(piece, _)| *piece).collect();
        let mut pieces = reader.copy_pieces(&numbers, avoid).await;
        let lost: Vec<PieceNumber> = numbers.into_iter().filter(|piece| !pieces.contains_key(piece)).collect();
        if !lost.is_empty() {
            let sources = reader.read_pieces(avoid).await?;
            let computed = tokio::task::spawn_blocking(move || recompute(&reader, &sources, &lost));
            pieces.extend(computed.await.map_err(|_| TransferError::Closing)??);
        }
        let places = wanted
            .into_iter()
            .filter_map(|(piece, node)| Some((PiecePlace { piece, node, incarnation }, pieces.get(&piece)?.clone())));
        let placed = self.place(row.segment, places.collect(), epoch).await;
        drop(reserved);
        Ok(placed)
    }

    /// Nodes that would take a piece of the segment each: in domains other than
    /// those in `taken` and than one another's, the best first, and none that
    /// holds a piece of it. Fewer where there are no more.
    pub fn choose_for_repair(&self, row: &SegmentRow, count: usize, taken: &[u64]) -> Vec<u32> {
        let piece_bytes =
            Layout::from_bytes(&row.layout).map_or(FULL_PIECE_BYTES, |layout| layout.piece_bytes()) as u64;
        let nodes = row.pieces.iter().map(|place| place.node).collect();
        let domains = taken.iter().copied().collect();
        let seed = u64::from_le_bytes(self.env.random());
        self.fleet.choose(Ask { count, piece_bytes, nodes, domains, strict: true }, seed)
    }

    async fn place(&self, segment: SegmentId, pieces: Vec<(PiecePlace, Bytes)>, epoch: Epoch) -> Vec<PiecePlace> {
        let places = pieces.iter().map(|(place, _)| *place).collect();
        let mut placing = Placing { transfer: self, segment, doubtful: places, placed: Vec::new() };
        let put = |(place, body)| put(self.clone(), segment, place, epoch, body);
        let mut running: FuturesUnordered<_> = pieces.into_iter().map(put).collect();
        let all = async {
            while let Some((place, outcome)) = running.next().await {
                match outcome {
                    Ok(()) => placing.placed.push(place),
                    Err(error) => tracing::debug!(node = place.node, %error, "a rebuilt piece was not stored"),
                }
            }
        };
        let _ = timeout(PLACING, all).await;
        let placed = std::mem::take(&mut placing.placed);
        placing.doubtful.retain(|place| !placed.contains(place));
        placed
    }
}

/// Pieces on their way. What may be left somewhere is condemned, however this
/// ends.
struct Placing<'t> {
    transfer: &'t Transfer,
    segment: SegmentId,
    doubtful: Vec<PiecePlace>,
    placed: Vec<PiecePlace>,
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        self.transfer.condemn(self.segment, &self.doubtful);
    }
}

impl SegmentReader {
    /// Those of these pieces that can be read as they are, on nodes that are
    /// not to be avoided.
    async fn copy_pieces(&self, numbers: &[PieceNumber], avoid: &[u32]) -> BTreeMap<PieceNumber, Bytes> {
        let fleet = &self.transfer.fleet;
        let stripes = 0..self.layout.stripes();
        let is_there = |place: &&PiecePlace| {
            numbers.contains(&place.piece) && !avoid.contains(&place.node) && fleet.is_readable(place.node)
        };
        let mut running: FuturesUnordered<_> =
            self.row.pieces.iter().filter(is_there).map(|place| self.clone().fetch(*place, stripes.clone())).collect();
        let mut copied = BTreeMap::new();
        let all = async {
            while let Some(Fetched { place, records, .. }) = running.next().await {
                if let Ok(records) = records {
                    copied.insert(place.piece, Bytes::from(records.concat()));
                }
            }
        };
        let _ = timeout(COPYING, all).await;
        copied
    }
}

/// Whole pieces by number: for each stripe its share and MAC, checked.
pub(super) type Pieces = BTreeMap<u16, Vec<Bytes>>;

/// The pieces that are wanted from k others, stripe by stripe.
fn recompute(
    reader: &SegmentReader,
    sources: &Pieces,
    wanted: &[PieceNumber],
) -> Result<Vec<(PieceNumber, Bytes)>, TransferError> {
    let (layout, key) = (&reader.layout, &reader.mac_key);
    let have: Vec<PieceNumber> = sources.keys().map(|piece| PieceNumber(*piece)).collect();
    let lost = (0..layout.coding().required()).filter(|piece| !sources.contains_key(piece)).map(PieceNumber);
    let compute: Vec<PieceNumber> = wanted.iter().copied().chain(lost).collect();
    let plan = Recovery::plan(layout.coding(), &have, &compute).map_err(|error| reader.corrupt(error.to_string()))?;
    let mut pieces = vec![Vec::with_capacity(layout.piece_bytes()); wanted.len()];
    let mut data_macs = Vec::with_capacity(usize::from(layout.stripes()) * reader.required());
    let mut out = vec![vec![0; layout.share_bytes()]; compute.len()];
    for stripe in 0..layout.stripes() {
        let given: Vec<&[u8]> =
            sources.values().map(|records| &records[usize::from(stripe)][..layout.share_bytes()]).collect();
        plan.recover(&given, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        let macs: Vec<[u8; MAC_BYTES]> =
            compute.iter().zip(&out).map(|(piece, share)| key.share_mac(*piece, stripe, share)).collect();
        for (piece, (share, mac)) in pieces.iter_mut().zip(out.iter().zip(&macs)) {
            piece.extend_from_slice(share);
            piece.extend_from_slice(mac);
        }
        data_macs.extend((0..layout.coding().required()).map(|number| match sources.get(&number) {
            Some(records) => mac_of(&records[usize::from(stripe)]),
            None => macs[compute.iter().rposition(|piece| piece.0 == number).expect("what is lost is computed")],
        }));
    }
    let root: [u8; SEGMENT_ROOT_BYTES] = root_of(layout, key, &data_macs);
    match root == reader.row.root {
        true => Ok(wanted.iter().copied().zip(pieces.into_iter().map(Bytes::from)).collect()),
        false => Err(reader.corrupt("its pieces do not give the segment that was recorded".into())),
    }
}

fn mac_of(record: &[u8]) -> [u8; MAC_BYTES] {
    *record.last_chunk().expect("a record ends with a MAC that was checked")
}
