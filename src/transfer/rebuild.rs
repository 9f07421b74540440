//! Pieces of a segment anew, from any k of those that are left.
//!
//! Works on ciphertext alone. Each share is checked by its MAC, and nothing
//! that was computed is placed before the root over all data shares is the one
//! that was recorded.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Duration, timeout};

use super::fleet::Ask;
use super::read::{Fetched, SegmentReader};
use super::salvage::Shares;
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
    /// Where fewer are whole, each stripe is computed from any k good shares.
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
        let mut reserved = self.budget.pieces.reserve(reader.layout.piece_bytes() * held).await?;
        let numbers: Vec<PieceNumber> = wanted.iter().map(|(piece, _)| *piece).collect();
        let mut pieces = reader.copy_pieces(&numbers, avoid).await;
        let lost: Vec<PieceNumber> = numbers.into_iter().filter(|piece| !pieces.contains_key(piece)).collect();
        if !lost.is_empty() {
            let (sources, answered) = match reader.read_pieces(avoid).await {
                Err(TransferError::Unreadable { .. }) => {
                    // Never more while some is held: two that wait for each other would wait for ever.
                    drop(reserved);
                    let held = row.pieces.len() + wanted.len();
                    reserved = self.budget.pieces.reserve(reader.layout.piece_bytes() * held).await?;
                    reader.read_shares().await
                }
                pieces => (Shares::of_pieces(pieces?), BTreeSet::new()),
            };
            let computed = tokio::task::spawn_blocking(move || recompute(&reader, &sources, &lost));
            let computed = computed.await.map_err(|_| TransferError::Closing)?;
            pieces.extend(computed.map_err(|error| beyond(error, answered))?);
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

/// That good shares were looked for on all nodes, of which these answered.
fn beyond(error: TransferError, answered: BTreeSet<u32>) -> TransferError {
    match error {
        TransferError::Unreadable { segment, readable, required } => {
            TransferError::TooFewShares { segment, readable, required, answered }
        }
        other => other,
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

/// The pieces that are wanted, stripe by stripe from any k good shares. What
/// is computed last is thrown away unless the whole gives the root that was
/// recorded.
fn recompute(
    reader: &SegmentReader,
    sources: &Shares,
    wanted: &[PieceNumber],
) -> Result<Vec<(PieceNumber, Bytes)>, TransferError> {
    let (layout, key) = (&reader.layout, &reader.mac_key);
    let mut pieces = vec![Vec::with_capacity(layout.piece_bytes()); wanted.len()];
    let mut data_macs = Vec::with_capacity(usize::from(layout.stripes()) * reader.required());
    let mut step: Option<Step> = None;
    for stripe in 0..layout.stripes() {
        let given = sources.of_stripe(stripe, reader.required());
        let mut planned = match step.take() {
            Some(step) if step.have.iter().eq(given.keys()) => step,
            _ => Step::plan(reader, given.keys().copied().collect(), wanted)?,
        };
        let shares: Vec<&[u8]> = given.values().map(|record| &record[..layout.share_bytes()]).collect();
        planned.recovery.recover(&shares, &mut planned.out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        let computed = planned.compute.iter().zip(&planned.out);
        let macs: Vec<[u8; MAC_BYTES]> = computed.map(|(piece, share)| key.share_mac(*piece, stripe, share)).collect();
        for (piece, (share, mac)) in pieces.iter_mut().zip(planned.out.iter().zip(&macs)) {
            piece.extend_from_slice(share);
            piece.extend_from_slice(mac);
        }
        data_macs.extend((0..layout.coding().required()).map(|number| match given.get(&number) {
            Some(record) => mac_of(record),
            None => macs[planned.at(number)],
        }));
        step = Some(planned);
    }
    let root: [u8; SEGMENT_ROOT_BYTES] = root_of(layout, key, &data_macs);
    match root == reader.row.root {
        true => Ok(wanted.iter().copied().zip(pieces.into_iter().map(Bytes::from)).collect()),
        false => Err(reader.corrupt("its pieces do not give the segment that was recorded".into())),
    }
}

/// How a stripe is computed, and the next one if the same pieces are there.
struct Step {
    have: Vec<u16>,
    /// What is wanted, then the data shares that are not there.
    compute: Vec<PieceNumber>,
    recovery: Recovery,
    out: Vec<Vec<u8>>,
}

impl Step {
    fn plan(reader: &SegmentReader, have: Vec<u16>, wanted: &[PieceNumber]) -> Result<Self, TransferError> {
        let (segment, required, readable) = (reader.row.segment, reader.required(), have.len());
        if readable < required {
            return Err(TransferError::Unreadable { segment, readable, required });
        }
        let lost = (0..required as u16).filter(|piece| !have.contains(piece)).map(PieceNumber);
        let compute: Vec<PieceNumber> = wanted.iter().copied().chain(lost).collect();
        let numbers: Vec<PieceNumber> = have.iter().copied().map(PieceNumber).collect();
        let recovery = Recovery::plan(reader.layout.coding(), &numbers, &compute);
        let recovery = recovery.map_err(|error| reader.corrupt(error.to_string()))?;
        let out = vec![vec![0; reader.layout.share_bytes()]; compute.len()];
        Ok(Self { have, compute, recovery, out })
    }

    fn at(&self, number: u16) -> usize {
        self.compute.iter().rposition(|piece| piece.0 == number).expect("a data share that is not there is computed")
    }
}

fn mac_of(record: &[u8]) -> [u8; MAC_BYTES] {
    *record.last_chunk().expect("a record ends with a MAC that was checked")
}
