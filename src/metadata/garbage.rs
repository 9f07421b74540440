//! What nothing refers to any more, on its way out: first the spans of bodies
//! and parts, then the pieces of segments. Workers carry it on in small steps.

use std::collections::{BTreeMap, BTreeSet};

use super::bodies::{Span, decode_spans, encode_spans, streams_of};
use super::dialect::{Lock, Sequence};
use super::segments::PiecePlace;
use super::tx::{MetadataError, Operation, Param, Row, Tx, params};
use crate::types::{Incarnation, PieceNumber, SegmentId, UnixMillis};

/// Spans in one row of garbage: a worker writes the row anew after each step.
const SPANS_AT_ONCE: usize = 10_000;

/// Leaves spans behind that held one reference each.
pub(super) async fn leave(tx: &mut Tx<'_>, spans: Vec<Vec<Span>>) -> Result<(), MetadataError> {
    let spans = spans.concat();
    if spans.is_empty() {
        return Ok(());
    }
    let now = tx.now().await?;
    for spans in spans.chunks(SPANS_AT_ONCE) {
        let number = tx.draw(Sequence::Garbage).await?;
        let sql = "INSERT INTO garbage (garbage_no, left_ms, spans) VALUES (?1, ?2, ?3)";
        tx.execute(sql, params![number, now, &encode_spans(spans)]).await?;
    }
    Ok(())
}

/// Condemns pieces of segments that this transaction has for itself.
pub(super) async fn condemn(tx: &mut Tx<'_>, segments: &[(SegmentId, Vec<PiecePlace>)]) -> Result<(), MetadataError> {
    let mut pieces: Vec<CondemnedPiece> = Vec::new();
    for (segment, places) in segments {
        pieces.extend(places.iter().map(|place| CondemnedPiece { segment: *segment, place: *place }));
    }
    // Those of a node that is gone too: it may join again, with its old pieces.
    let sql = "INSERT INTO condemned (node_no, segment_id, piece, incarnation) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT DO NOTHING";
    tx.execute_each(sql, &columns(&pieces, None)).await.map(drop)
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
        // Several workers each take rows of their own.
        while room > 0 {
            let rows = tx.query_locked(Lock::Take, DUE, params![before, ROWS_AT_ONCE]).await?;
            if rows.is_empty() {
                break;
            }
            found = true;
            release(tx, &rows, &mut room).await?;
        }
        Ok(found)
    }
}

pub(super) const DUE: &str =
    "SELECT garbage_no, spans FROM garbage WHERE left_ms <= ?1 ORDER BY left_ms, garbage_no LIMIT ?2";

/// Rows of garbage that are given back at once.
const ROWS_AT_ONCE: u32 = 32;

/// Gives the streams of these rows back, the least ones first, as long as
/// there is room. What is left over stays in its row.
async fn release(tx: &mut Tx<'_>, rows: &[Row], room: &mut usize) -> Result<(), MetadataError> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        all.push((row.int(0)?, decode_spans(row.bytes(1)?)?));
    }
    let counts = streams_of(all.iter().flat_map(|(_, spans)| spans));
    let next = super::streams::release(tx, &counts, room).await?;
    let mut done = Vec::new();
    for (number, mut spans) in all {
        spans.retain(|span| next.is_some_and(|next| span.stream >= next));
        match spans.is_empty() {
            true => done.push(number),
            false => {
                let sql = "UPDATE garbage SET spans = ?2 WHERE garbage_no = ?1";
                tx.execute(sql, params![number, &encode_spans(&spans)]).await?;
            }
        }
    }
    tx.execute("DELETE FROM garbage WHERE garbage_no IN (SELECT value FROM rarray(?1))", params![&done[..]]).await?;
    Ok(())
}

/// A piece that nothing refers to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CondemnedPiece {
    /// The segment that it was of.
    pub segment: SegmentId,
    /// Which piece, where, and which placing.
    pub place: PiecePlace,
}

pub(super) fn condemned_piece(row: &Row) -> Result<CondemnedPiece, MetadataError> {
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
        let mut segments: BTreeMap<SegmentId, Vec<PiecePlace>> = BTreeMap::new();
        for CondemnedPiece { segment, place } in &self.pieces {
            segments.entry(*segment).or_default().push(*place);
        }
        let ids: Vec<SegmentId> = segments.keys().copied().collect();
        let found = super::segments::find_locked(tx, Lock::Change, &ids).await?;
        let listed: BTreeMap<SegmentId, Vec<PiecePlace>> =
            found.into_iter().map(|row| (row.segment, row.pieces)).collect();
        let missing: Vec<SegmentId> = ids.into_iter().filter(|id| !listed.contains_key(id)).collect();
        super::segments::stay_missing(tx, &missing).await?;
        for (segment, pieces) in &mut segments {
            let listed = listed.get(segment).map_or(&[][..], Vec::as_slice);
            pieces.retain(|place| !listed.contains(place));
        }
        condemn(tx, &segments.into_iter().collect::<Vec<_>>()).await
    }
}

pub(super) const NODES_DUE: &str = "SELECT node_no FROM nodes WHERE node_no IN (SELECT value FROM rarray(?1)) AND \
    ((SELECT 1 FROM condemned WHERE condemned.node_no = nodes.node_no AND trashed_ms IS NULL LIMIT 1) = 1 OR \
     (SELECT 1 FROM condemned WHERE condemned.node_no = nodes.node_no AND trashed_ms < ?2 LIMIT 1) = 1 OR \
     (SELECT 1 FROM strays WHERE strays.node_no = nodes.node_no AND trashed_ms IS NULL LIMIT 1) = 1 OR \
     (SELECT 1 FROM strays WHERE strays.node_no = nodes.node_no AND trashed_ms < ?2 AND checked = 1 LIMIT 1) = 1)";

/// The nodes that have condemned pieces to be put into their trash, or to be
/// purged from it.
pub struct NodesToTell {
    /// Among these, by their numbers.
    pub nodes: Vec<u32>,
    /// How long pieces stay in the trash, in milliseconds of the database's
    /// clock.
    pub older_than_ms: u64,
}

impl Operation for NodesToTell {
    type Output = BTreeSet<u32>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<BTreeSet<u32>, MetadataError> {
        let before = tx.now().await?.0 - self.older_than_ms as i64;
        let nodes: Vec<i64> = self.nodes.iter().map(|node| i64::from(*node)).collect();
        tx.query(NODES_DUE, params![&nodes[..], before]).await?.iter().map(|row| row.u32(0)).collect()
    }
}

pub(super) const TO_TRASH: &str = "SELECT node_no, segment_id, piece, incarnation FROM condemned \
    WHERE node_no = ?1 AND trashed_ms IS NULL LIMIT ?2";

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
        tx.query(TO_TRASH, params![self.node, self.limit]).await?.iter().map(condemned_piece).collect()
    }
}

/// The columns that tell pieces apart, in the table's order, and a time.
fn columns(pieces: &[CondemnedPiece], time: Option<UnixMillis>) -> Vec<Vec<Param<'_>>> {
    let mut pieces: Vec<&CondemnedPiece> = pieces.iter().collect();
    pieces.sort_by_key(|piece| (piece.place.node, piece.segment, piece.place.piece, piece.place.incarnation));
    let mut rows = Vec::with_capacity(pieces.len());
    for CondemnedPiece { segment, place } in pieces {
        let (piece, incarnation) = (u32::from(place.piece.0), place.incarnation.0);
        let mut row = params![place.node, segment.as_bytes(), piece, incarnation].to_vec();
        row.extend(time.map(Param::from));
        rows.push(row);
    }
    rows
}

/// Notes that pieces are in their node's trash since now, if they were not
/// before.
pub struct MarkTrashed {
    /// Which ones.
    pub pieces: Vec<CondemnedPiece>,
}

impl Operation for MarkTrashed {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let now = tx.now().await?;
        let sql = "UPDATE condemned SET trashed_ms = ?5 WHERE node_no = ?1 AND segment_id = ?2 AND piece = ?3 \
                   AND incarnation = ?4 AND trashed_ms IS NULL";
        tx.execute_each(sql, &columns(&self.pieces, Some(now))).await.map(drop)
    }
}

pub(super) const TO_PURGE: &str = "SELECT node_no, segment_id, piece, incarnation FROM condemned \
    WHERE trashed_ms < ?1 AND node_no = ?2 LIMIT ?3";

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
        tx.query(TO_PURGE, params![before, self.node, self.limit]).await?.iter().map(condemned_piece).collect()
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
        tx.execute_each(sql, &columns(&self.pieces, None)).await.map(drop)
    }
}
