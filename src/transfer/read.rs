//! A range of a segment from its nodes, out of good shares only.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::fleet::BadPiece;
use super::gather::{Gather, Progress};
use super::pace::Kind;
use super::rebuild::Pieces;
use super::{Transfer, TransferError};
use crate::metadata::{PiecePlace, SegmentRow};
use crate::segment::{Layout, MacKey};
use crate::transport::NodeError;
use crate::types::PieceId;
use crate::types::limits::STRIPES_MAX;

/// Reads one segment. Cheap to clone.
#[derive(Clone)]
pub struct SegmentReader {
    pub(super) transfer: Transfer,
    pub(super) row: Arc<SegmentRow>,
    pub(super) layout: Layout,
    pub(super) mac_key: Arc<MacKey>,
}

impl SegmentReader {
    /// Reads the segment of this row.
    pub fn new(transfer: Transfer, row: SegmentRow) -> Result<Self, TransferError> {
        let layout = Layout::from_bytes(&row.layout)
            .map_err(|error| TransferError::Corrupt { segment: row.segment, reason: error.to_string() })?;
        let mac_key = Arc::new(MacKey::from_bytes(row.mac_key));
        Ok(Self { transfer, row: Arc::new(row), layout, mac_key })
    }

    /// Ciphertext bytes of a full stripe of its coding: ranges that begin at a
    /// multiple of it cost least when something has to be decoded.
    pub fn stripe_bytes(&self) -> usize {
        crate::segment::capacity(self.layout.coding()) / STRIPES_MAX
    }

    /// The ciphertext in that range of the segment, from good shares only.
    pub async fn read(&self, range: Range<u32>) -> Result<Vec<u8>, TransferError> {
        if range.start >= range.end || range.end > self.layout.length() {
            let reason = format!("bytes {}..{} are not in it", range.start, range.end);
            return Err(self.corrupt(reason));
        }
        let outcome = match self.read_now(range.clone()).await {
            Err(TransferError::Unreadable { .. }) if self.nodes_have_come().await => self.read_now(range.clone()).await,
            outcome => outcome,
        };
        match outcome {
            // Its pieces have bad shares, in different stripes perhaps.
            Err(TransferError::Unreadable { .. }) if self.has_stripes(&range) => self.read_by_stripes(range).await,
            outcome => outcome,
        }
    }

    pub(super) async fn read_now(&self, range: Range<u32>) -> Result<Vec<u8>, TransferError> {
        let mut gather = Gather::for_range(self, range.clone());
        match gather.run().await {
            Progress::Direct => {}
            Progress::Decode => gather.decode().await?,
            Progress::Stuck => return Err(gather.unreadable()),
        }
        gather.assemble(range)
    }

    /// Any k whole pieces; those on the nodes in `avoid` last.
    pub(super) async fn read_pieces(&self, avoid: &[u32]) -> Result<Pieces, TransferError> {
        let mut gather = Gather::for_pieces(self, avoid);
        match gather.run().await {
            Progress::Stuck => Err(gather.unreadable()),
            _ => Ok(gather.into_pieces()),
        }
    }

    pub(super) fn required(&self) -> usize {
        usize::from(self.layout.coding().required())
    }

    pub(super) fn corrupt(&self, reason: String) -> TransferError {
        TransferError::Corrupt { segment: self.row.segment, reason }
    }

    /// Bytes that the records of some stripes of a piece take.
    pub(super) fn record_bytes(&self, stripes: &Range<u16>) -> usize {
        self.layout.range_in_piece(stripes.clone()).len()
    }

    /// Asks a node for some stripes of its piece: a record for each, which is
    /// the share and its MAC. All are checked.
    pub(super) async fn fetch(self, place: PiecePlace, stripes: Range<u16>) -> Fetched {
        let records = self.fetch_records(place, stripes.clone()).await;
        Fetched { place, stripes, records }
    }

    async fn fetch_records(&self, place: PiecePlace, stripes: Range<u16>) -> Result<Vec<Bytes>, NodeError> {
        let fleet = &self.transfer.fleet;
        let node = fleet.node_id(place.node).ok_or(NodeError::Offline)?;
        let id = self.transfer.piece_id(self.row.segment, &place).ok_or(NodeError::Offline)?;
        let ticket = fleet.begin(place.node, Kind::Get, self.record_bytes(&stripes)).ok_or(NodeError::Offline)?;
        let range = self.layout.range_in_piece(stripes.clone());
        let piece = fleet.nodes().get_piece(node, id, range.start as u64..range.end as u64).await;
        if matches!(piece, Err(NodeError::Missing | NodeError::Damaged(_))) {
            fleet.note_bad_piece(BadPiece { piece: id, segment: self.row.segment, place, wrong: Vec::new() });
        }
        let records = piece.and_then(|piece| self.check(place, id, stripes, piece));
        ticket.end(&records);
        records
    }

    /// Cuts what a node gave into records. Wrong ones count against it.
    fn check(
        &self,
        place: PiecePlace,
        id: PieceId,
        stripes: Range<u16>,
        mut piece: Bytes,
    ) -> Result<Vec<Bytes>, NodeError> {
        let record_bytes = piece.len() / stripes.len();
        let records: Vec<Bytes> = stripes.clone().map(|_| piece.split_to(record_bytes)).collect();
        let is_wrong =
            |(stripe, record): &(u16, &Bytes)| self.mac_key.verify_share(place.piece, *stripe, record).is_err();
        let wrong: Vec<u16> = stripes.zip(&records).filter(is_wrong).map(|(stripe, _)| stripe).collect();
        if wrong.is_empty() {
            return Ok(records);
        }
        let (fleet, segment) = (&self.transfer.fleet, self.row.segment);
        fleet.count_wrong_shares(place.node, wrong.len() as u64);
        let node = fleet.node_id(place.node).map(|node| node.to_string()).unwrap_or_default();
        tracing::warn!(node, %segment, piece = place.piece.0, wrong = wrong.len(), "a node gave wrong shares");
        fleet.note_bad_piece(BadPiece { piece: id, segment, place, wrong });
        Err(NodeError::Damaged("a share's MAC is wrong".into()))
    }
}

/// What a node answered.
pub(super) struct Fetched {
    pub(super) place: PiecePlace,
    pub(super) stripes: Range<u16>,
    pub(super) records: Result<Vec<Bytes>, NodeError>,
}
