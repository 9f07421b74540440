//! What nothing refers to any more, on its way out: first the spans of bodies
//! and parts, then the pieces of segments. Workers carry it on in small steps.

use super::bodies::{Span, decode_spans, encode_spans};
use super::segments::PiecePlace;
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::types::{Incarnation, PieceNumber, SegmentId};

/// Leaves encoded spans behind that held one reference each.
pub(super) async fn leave(tx: &mut Tx<'_>, spans: &[u8]) -> Result<(), MetadataError> {
    let number = tx.next("garbage").await?;
    let now = tx.now().await?;
    let sql = "INSERT INTO garbage (garbage_no, left_ms, spans) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![number, now, spans]).await?;
    Ok(())
}

pub(super) async fn condemn(tx: &mut Tx<'_>, segment: SegmentId, pieces: &[PiecePlace]) -> Result<(), MetadataError> {
    // Those of a node that is gone too: it is told when it joins again.
    let sql = "INSERT INTO condemned (node_no, segment_id, piece, incarnation) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT DO NOTHING";
    for place in pieces {
        let (piece, incarnation) = (u32::from(place.piece.0), place.incarnation.0);
        tx.execute(sql, params![place.node, segment.as_bytes(), piece, incarnation]).await?;
    }
    Ok(())
}

/// Gives the streams of some garbage back: a bounded amount, since writers
/// wait meanwhile. Answers whether there was any, so that the caller comes
/// again at once.
pub struct ReleaseGarbage {
    /// Milliseconds of the database's clock for which garbage stays as it is,
    /// so that who reads it may finish.
    pub older_than_ms: u64,
    /// Extents to give back, about: the last stream is given back whole.
    pub extents: usize,
}

impl Operation for ReleaseGarbage {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let before = tx.now().await?.0 - self.older_than_ms as i64;
        let mut room = self.extents;
        let mut found = false;
        let sql = "SELECT garbage_no, spans FROM garbage WHERE left_ms <= ?1 ORDER BY garbage_no LIMIT 1";
        while room > 0
            && let Some(row) = tx.first(sql, params![before]).await?
        {
            found = true;
            let left = release(tx, decode_spans(row.bytes(1)?)?, &mut room).await?;
            let number = row.int(0)?;
            match left.is_empty() {
                true => tx.execute("DELETE FROM garbage WHERE garbage_no = ?1", params![number]).await?,
                false => {
                    let sql = "UPDATE garbage SET spans = ?2 WHERE garbage_no = ?1";
                    tx.execute(sql, params![number, &encode_spans(&left)]).await?
                }
            };
        }
        Ok(found)
    }
}

/// Gives spans back as long as there is room; answers those that are left.
async fn release(tx: &mut Tx<'_>, mut spans: Vec<Span>, room: &mut usize) -> Result<Vec<Span>, MetadataError> {
    while let Some(span) = spans.pop() {
        let released = super::streams::release(tx, &span.stream).await?;
        *room = room.saturating_sub(released + 1);
        if *room == 0 {
            break;
        }
    }
    Ok(spans)
}

/// A piece that nothing refers to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CondemnedPiece {
    /// The segment that it was of.
    pub segment: SegmentId,
    /// Which piece, where, and which placing.
    pub place: PiecePlace,
}

fn condemned_piece(row: &Row) -> Result<CondemnedPiece, MetadataError> {
    let piece = u16::try_from(row.int(2)?).map_err(|_| MetadataError::Corrupt("a piece number is too large".into()))?;
    Ok(CondemnedPiece {
        segment: SegmentId::from_bytes(row.array(1)?),
        place: PiecePlace { node: row.u32(0)?, piece: PieceNumber(piece), incarnation: Incarnation(row.u32(3)?) },
    })
}

/// Condemns the pieces of an upload or a repair that was given up. Pieces that
/// a list names are spared: whoever does not know how a commit ended may say
/// that it failed.
pub struct CondemnPieces {
    /// Which ones.
    pub pieces: Vec<CondemnedPiece>,
}

impl Operation for CondemnPieces {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        for CondemnedPiece { segment, place } in &self.pieces {
            let row = super::segments::find(tx, &[*segment]).await?.pop();
            if !row.is_some_and(|row| row.pieces.contains(place)) {
                condemn(tx, *segment, &[*place]).await?;
            }
        }
        Ok(())
    }
}

/// Condemned pieces of a node that are not in its trash yet.
pub struct PiecesToTrash {
    /// The node, by its number.
    pub node: u32,
    /// At most so many.
    pub limit: u32,
}

impl Operation for PiecesToTrash {
    type Output = Vec<CondemnedPiece>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<CondemnedPiece>, MetadataError> {
        let sql = "SELECT node_no, segment_id, piece, incarnation FROM condemned \
                   WHERE node_no = ?1 AND trashed_ms IS NULL LIMIT ?2";
        tx.query(sql, params![self.node, self.limit]).await?.iter().map(condemned_piece).collect()
    }
}

/// Notes that pieces are in their node's trash since now.
pub struct MarkTrashed {
    /// Which ones.
    pub pieces: Vec<CondemnedPiece>,
}

impl Operation for MarkTrashed {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let now = tx.now().await?;
        let sql = "UPDATE condemned SET trashed_ms = ?5 \
                   WHERE node_no = ?1 AND segment_id = ?2 AND piece = ?3 AND incarnation = ?4";
        for CondemnedPiece { segment, place } in &self.pieces {
            let (piece, incarnation) = (u32::from(place.piece.0), place.incarnation.0);
            tx.execute(sql, params![place.node, segment.as_bytes(), piece, incarnation, now]).await?;
        }
        Ok(())
    }
}

/// Pieces that have been in their node's trash for long enough.
pub struct PiecesToPurge {
    /// The node, by its number.
    pub node: u32,
    /// Milliseconds of the database's clock.
    pub older_than_ms: u64,
    /// At most so many.
    pub limit: u32,
}

impl Operation for PiecesToPurge {
    type Output = Vec<CondemnedPiece>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<CondemnedPiece>, MetadataError> {
        let before = tx.now().await?.0 - self.older_than_ms as i64;
        let sql = "SELECT node_no, segment_id, piece, incarnation FROM condemned \
                   WHERE trashed_ms < ?1 AND node_no = ?2 LIMIT ?3";
        tx.query(sql, params![before, self.node, self.limit]).await?.iter().map(condemned_piece).collect()
    }
}

/// Forgets pieces that their node has purged.
pub struct ForgetCondemned {
    /// Which ones.
    pub pieces: Vec<CondemnedPiece>,
}

impl Operation for ForgetCondemned {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "DELETE FROM condemned WHERE node_no = ?1 AND segment_id = ?2 AND piece = ?3 AND incarnation = ?4";
        for CondemnedPiece { segment, place } in &self.pieces {
            let (piece, incarnation) = (u32::from(place.piece.0), place.incarnation.0);
            tx.execute(sql, params![place.node, segment.as_bytes(), piece, incarnation]).await?;
        }
        Ok(())
    }
}
