//! Asks one node for shares of one piece, and makes of its answer what may be
//! concluded.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::super::observer::Scene;
use crate::audit::Answer;
use crate::metadata::{Audited, AuditedPiece, MetadataError, PiecePlace, RecordAudits, RecordDamage, SegmentRow};
use crate::transfer::SegmentReader;
use crate::transport::NodeError;
use crate::types::{PieceId, SegmentId};

/// How long a node may take for some shares of a piece.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What asking for some shares of a piece came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// For each share, whether it is what had been stored.
    Shares(Vec<bool>),
    /// The node has not got them, as it says.
    Missing,
    /// It is connected and declined.
    Declined,
    /// It was connected, and no answer came in time, or none before the line
    /// broke or it said that it is closing.
    Late,
    /// It was not connected when it was to be asked: no audit at all.
    Away,
}

impl Asked {
    /// What an answer is worth of a node that was connected when it was asked.
    /// One that goes just then has left the question open: else whoever lost
    /// everything would only have to hang up.
    fn of(answer: Result<Vec<bool>, NodeError>) -> Self {
        match answer {
            Ok(right) => Self::Shares(right),
            Err(NodeError::Missing | NodeError::Damaged(_) | NodeError::Unfit(_)) => Self::Missing,
            Err(NodeError::Timeout | NodeError::Offline | NodeError::Broken(_)) => Self::Late,
            Err(_) => Self::Declined,
        }
    }
}

impl Scene {
    /// Asks for some shares.
    pub(super) async fn ask(&self, reader: &SegmentReader, place: PiecePlace, stripes: std::ops::Range<u16>) -> Asked {
        if !self.transfer.fleet().is_connected(place.node) {
            return Asked::Away;
        }
        let answer = timeout(ANSWER_TIME, reader.audit(place, stripes)).await;
        Asked::of(answer.unwrap_or(Err(NodeError::Timeout)))
    }

    /// Whether others give right shares of the segment. If none does although
    /// somebody answers, it is the segment's own row that has changed, and no
    /// node is to blame.
    pub(super) async fn others_are_right(&self, reader: &SegmentReader, row: &SegmentRow, than: PiecePlace) -> bool {
        let others = row.pieces.iter().filter(|place| place.node != than.node);
        let mut answered = false;
        for place in others {
            if let Asked::Shares(right) = self.ask(reader, *place, 0..1).await {
                if right[0] {
                    return true;
                }
                answered = true;
            }
        }
        if answered {
            tracing::error!(segment = %row.segment, "no node gives right shares of a segment: its row in the metadata \
                database seems to be damaged; its pieces are left as they are");
        }
        !answered
    }

    /// Writes down what was found: in the nodes' records, and among the losses
    /// by which segments are judged. Answers whether any piece was not known to
    /// be lost.
    pub(super) async fn record(&self, pieces: Vec<AuditedPiece>) -> Result<bool, MetadataError> {
        if pieces.is_empty() {
            return Ok(false);
        }
        let mut lost: Vec<_> =
            pieces.iter().filter(|piece| is_lost(piece)).map(|piece| (piece.segment, piece.place)).collect();
        let recorded = self.metadata.write(RecordAudits { pieces }).await?;
        for (node, verdict, why) in &recorded.verdicts {
            tracing::warn!(%node, ?verdict, "what audits conclude of a node has changed: {why}");
        }
        for (node, verdict) in &recorded.held_back {
            tracing::error!(%node, ?verdict, "audits spare a node what its record deserves: so many nodes fail at once \
                that it may be the database that is wrong");
        }
        if !recorded.verdicts.is_empty() {
            self.transfer.fleet().refresh(&self.metadata).await?;
            self.watch.wake();
        }
        lost.extend(recorded.given_up);
        self.record_lost(lost).await
    }

    /// Adds to what is known to be lost, node by node. Answers whether any of
    /// it is news.
    async fn record_lost(&self, lost: Vec<(SegmentId, PiecePlace)>) -> Result<bool, MetadataError> {
        let mut by_node: BTreeMap<u32, Vec<PieceId>> = BTreeMap::new();
        for (segment, place) in lost {
            by_node.entry(place.node).or_default().extend(self.transfer.piece_id(segment, &place));
        }
        let mut news = false;
        for (node, pieces) in by_node {
            let pieces = self.watch.add_damaged(node, pieces);
            if !pieces.is_empty() {
                news = true;
                self.metadata.write(RecordDamage { node, pieces }).await?;
            }
        }
        Ok(news)
    }
}

fn is_lost(piece: &AuditedPiece) -> bool {
    !piece.wrong.is_empty() || matches!(piece.audited, Audited::Told(Answer::Wrong | Answer::Missing))
}

#[cfg(test)]
#[path = "tests/inspect.rs"]
mod tests;
