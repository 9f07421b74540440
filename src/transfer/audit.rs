//! Shares as audits and salvage want them: each by itself, good or not. One
//! node is asked, and nothing is decoded.

use std::ops::Range;

use bytes::Bytes;

use super::pace::Kind;
use super::read::SegmentReader;
use crate::metadata::PiecePlace;
use crate::transport::NodeError;

impl SegmentReader {
    /// Asks a node for some stripes of its piece and says of each share
    /// whether it is what was stored, by its MAC alone. Shares that are not
    /// count against the node.
    ///
    /// # Errors
    /// What the node answered instead; nothing is concluded from it here.
    pub async fn audit(&self, place: PiecePlace, stripes: Range<u16>) -> Result<Vec<bool>, NodeError> {
        let shares = self.shares(place, stripes.clone()).await?;
        let right: Vec<bool> = shares.iter().map(Option::is_some).collect();
        let wrong: Vec<u16> = stripes.zip(&right).filter(|(_, right)| !**right).map(|(stripe, _)| stripe).collect();
        if !wrong.is_empty() {
            let fleet = &self.transfer.fleet;
            fleet.count_wrong_shares(place.node, wrong.len() as u64);
            let node = fleet.node_id(place.node).map(|node| node.to_string()).unwrap_or_default();
            let (segment, piece) = (self.row.segment, place.piece.0);
            tracing::warn!(node, %segment, piece, stripes = ?wrong, "a node gave wrong shares in an audit");
        }
        Ok(right)
    }

    /// The stripes of a piece in parts that are never the whole: a node checks
    /// a whole piece itself, and gives nothing of one that its disk has changed,
    /// though most of its shares may be good.
    pub fn parts(&self) -> Vec<Range<u16>> {
        let stripes = self.layout.stripes();
        match stripes {
            0 | 1 => vec![0..stripes],
            _ => vec![0..stripes / 2, stripes / 2..stripes],
        }
    }

    /// How many shares each piece has.
    pub fn stripes(&self) -> u16 {
        self.layout.stripes()
    }

    /// Bytes of a piece, shares and MACs.
    pub fn piece_bytes(&self) -> usize {
        self.layout.piece_bytes()
    }

    /// Records of some stripes of a piece, each where its MAC is right.
    pub(super) async fn shares(&self, place: PiecePlace, stripes: Range<u16>) -> Result<Vec<Option<Bytes>>, NodeError> {
        let fleet = &self.transfer.fleet;
        let node = fleet.node_id(place.node).ok_or(NodeError::Offline)?;
        let id = self.transfer.piece_id(self.row.segment, &place).ok_or(NodeError::Offline)?;
        let ticket = fleet.begin(place.node, Kind::Get, self.record_bytes(&stripes)).ok_or(NodeError::Offline)?;
        let range = self.layout.range_in_piece(stripes.clone());
        let piece = fleet.nodes().get_piece(node, id, range.start as u64..range.end as u64).await;
        ticket.end(&piece);
        let mut piece = piece?;
        let record_bytes = piece.len() / stripes.len();
        let is_right = |stripe: u16, record: &Bytes| self.mac_key.verify_share(place.piece, stripe, record).is_ok();
        let records =
            stripes.map(|stripe| Some(piece.split_to(record_bytes)).filter(|record| is_right(stripe, record)));
        Ok(records.collect())
    }
}
