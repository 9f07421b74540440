//! Segments: erasure-coded ciphertext and the pieces that hold it.

use std::collections::BTreeMap;

use super::codec::{Reader, Writer};
use super::dialect::Lock;
use super::streams::{Extent, NewStream, StreamContent};
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::types::{Epoch, Incarnation, PieceNumber, Revision, SegmentId};

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PiecePlace {
    /// Which of the segment's pieces.
    pub piece: PieceNumber,
    /// The node that acknowledged it, by its number.
    pub node: u32,
    /// Which placing of this piece it is.
    pub incarnation: Incarnation,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    /// The segment.
    pub segment: SegmentId,
    /// Its layout, as the `segment` room writes it. Fixed for life.
    pub layout: Vec<u8>,
    /// The key of its shares' MACs.
    pub mac_key: [u8; 32],
    /// The root over its data shares' MACs.
    pub root: [u8; 16],
    /// The epoch in which its pieces were written.
    pub epoch: Epoch,
    /// Rises with every change of its pieces or its use.
    pub revision: Revision,
    /// Bytes of it that streams use. What a commit brings has those of its streams.
    pub live_bytes: u64,
    /// Its pieces, ascending by number.
    pub pieces: Vec<PiecePlace>,
}

/// A segment that a commit brings. Its revision is the first.
pub type NewSegment = SegmentRow;

pub(super) fn encode_pieces(pieces: &[PiecePlace]) -> Vec<u8> {
    let mut row = Writer::new(1);
    for place in pieces {
        row.u16(place.piece.0).u32(place.node).u32(place.incarnation.0);
    }
    row.finish()
}

pub(super) fn decode_pieces(bytes: &[u8]) -> Result<Vec<PiecePlace>, MetadataError> {
    let mut row = Reader::new("a segment's pieces", bytes, 1)?;
    let mut pieces = Vec::with_capacity(bytes.len() / 10);
    while !row.is_empty() {
        pieces.push(PiecePlace {
            piece: PieceNumber(row.u16()?),
            node: row.u32()?,
            incarnation: Incarnation(row.u32()?),
        });
    }
    Ok(pieces)
}

/// Puts in the segments that these streams lie in, each with the number of
/// streams and bytes that use it.
pub(super) async fn insert(
    tx: &mut Tx<'_>,
    segments: &[NewSegment],
    streams: &[&NewStream],
) -> Result<(), MetadataError> {
    let extents = streams.iter().flat_map(|stream| match &stream.content {
        StreamContent::Extents(extents) => extents.as_slice(),
        StreamContent::Inline(_) => &[],
    });
    insert_with(tx, segments, &uses(extents)).await
}

/// Puts a segment in that these runs lie in.
pub(super) async fn insert_used(tx: &mut Tx<'_>, segment: &NewSegment, used: &[Extent]) -> Result<(), MetadataError> {
    insert_with(tx, std::slice::from_ref(segment), &uses(used)).await
}

async fn insert_with(
    tx: &mut Tx<'_>,
    segments: &[NewSegment],
    uses: &BTreeMap<SegmentId, (u64, u64)>,
) -> Result<(), MetadataError> {
    let sql = "INSERT INTO segments (segment_id, layout, mac_key, root, epoch, revision, streams, live_bytes, pieces) \
               VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8)";
    let pieces: Vec<_> = segments.iter().map(|segment| encode_pieces(&segment.pieces)).collect();
    let mut rows = Vec::with_capacity(segments.len());
    for (segment, pieces) in segments.iter().zip(&pieces) {
        let (streams, bytes) = uses.get(&segment.segment).copied().unwrap_or_default();
        let NewSegment { layout, mac_key, root, epoch, .. } = segment;
        rows.push(params![segment.segment.as_bytes(), layout, mac_key, root, epoch.0, streams, bytes, pieces].to_vec());
    }
    tx.execute_each(sql, &rows).await.map(drop)
}

/// Gives extents back. A segment without streams goes, and its pieces are
/// condemned.
pub(super) async fn release(tx: &mut Tx<'_>, extents: &[Extent]) -> Result<(), MetadataError> {
    let uses = uses(extents);
    let ids: Vec<&[u8]> = uses.keys().map(|id| &id.as_bytes()[..]).collect();
    let sql = "SELECT segment_id, streams, pieces FROM segments WHERE segment_id IN (SELECT value FROM rarray(?1)) \
               ORDER BY segment_id";
    let rows = tx.query_locked(Lock::Change, sql, params![&ids[..]]).await?;
    if rows.len() != ids.len() {
        let missing = ids.len() - rows.len();
        tracing::error!(missing, "segments that are to be given back are missing in the metadata database");
    }
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for row in &rows {
        let id = SegmentId::from_bytes(row.array(0)?);
        let (streams, bytes) = uses.get(&id).copied().unwrap_or_default();
        match row.int(1)? > streams as i64 {
            true => kept.push(params![row.bytes(0)?, streams, bytes].to_vec()),
            false => gone.push((id, decode_pieces(row.bytes(2)?)?)),
        }
    }
    let sql = "UPDATE segments SET streams = streams - ?2, live_bytes = live_bytes - ?3, revision = revision + 1 \
               WHERE segment_id = ?1";
    tx.execute_each(sql, &kept).await?;
    let ids: Vec<&[u8]> = gone.iter().map(|(id, _)| &id.as_bytes()[..]).collect();
    tx.execute("DELETE FROM segments WHERE segment_id IN (SELECT value FROM rarray(?1))", params![&ids[..]]).await?;
    super::garbage::condemn(tx, &gone).await
}

/// How many runs, and bytes of them, are in each segment.
fn uses<'a>(extents: impl IntoIterator<Item = &'a Extent>) -> BTreeMap<SegmentId, (u64, u64)> {
    let mut uses: BTreeMap<SegmentId, (u64, u64)> = BTreeMap::new();
    for extent in extents {
        let (streams, bytes) = uses.entry(extent.segment).or_default();
        (*streams, *bytes) = (*streams + 1, *bytes + u64::from(extent.length));
    }
    uses
}

pub(super) fn segment_row(row: &Row) -> Result<SegmentRow, MetadataError> {
    Ok(SegmentRow {
        segment: SegmentId::from_bytes(row.array(0)?),
        layout: row.bytes(1)?.to_vec(),
        mac_key: row.array(2)?,
        root: row.array(3)?,
        epoch: Epoch(row.u64(4)?),
        revision: Revision(row.u64(5)?),
        pieces: decode_pieces(row.bytes(6)?)?,
        live_bytes: row.u64(7)?,
    })
}

/// The segments of these ids, in their order; missing ones are left out.
pub(super) async fn find(tx: &mut Tx<'_>, ids: &[SegmentId]) -> Result<Vec<SegmentRow>, MetadataError> {
    find_locked(tx, Lock::None, ids).await
}

/// The same; they are locked in the order of their ids.
pub(super) async fn find_locked(
    tx: &mut Tx<'_>,
    lock: Lock,
    ids: &[SegmentId],
) -> Result<Vec<SegmentRow>, MetadataError> {
    macro_rules! select {
        ($condition:literal) => {
            concat!(
                "SELECT segment_id, layout, mac_key, root, epoch, revision, pieces, live_bytes FROM segments ",
                "WHERE segment_id ",
                $condition
            )
        };
    }
    if let [id] = ids {
        let rows = tx.query_locked(lock, select!("= ?1"), params![id.as_bytes()]).await?;
        return rows.iter().map(segment_row).collect();
    }
    let wanted: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let sql = select!("IN (SELECT value FROM rarray(?1)) ORDER BY segment_id");
    let rows = tx.query_locked(lock, sql, params![&wanted[..]]).await?;
    let found = rows.iter().map(|row| segment_row(row).map(|segment| (segment.segment, segment)));
    let found: BTreeMap<SegmentId, SegmentRow> = found.collect::<Result<_, _>>()?;
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}

/// Makes sure that no transaction that is under way puts one of these in:
/// waits for it, and has the operation run again if it did.
pub(super) async fn stay_missing(tx: &mut Tx<'_>, ids: &[SegmentId]) -> Result<(), MetadataError> {
    if !tx.is_concurrent() || ids.is_empty() {
        return Ok(());
    }
    let place = "INSERT INTO segments (segment_id, layout, mac_key, root, epoch, revision, streams, live_bytes, pieces) \
                 VALUES (?1, ?2, ?2, ?2, 0, 0, 0, 0, ?2) ON CONFLICT DO NOTHING";
    let nothing: &[u8] = &[];
    let rows: Vec<_> = ids.iter().map(|id| params![id.as_bytes(), nothing].to_vec()).collect();
    if tx.execute_each(place, &rows).await? != ids.len() {
        return Err(tx.overtaken());
    }
    let ids: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let sql = "DELETE FROM segments WHERE segment_id IN (SELECT value FROM rarray(?1))";
    tx.execute(sql, params![&ids[..]]).await.map(drop)
}

/// The segments of these ids, in their order; missing ones are left out.
pub struct FindSegments {
    /// Which ones.
    pub segments: Vec<SegmentId>,
}

impl Operation for FindSegments {
    type Output = Vec<SegmentRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<SegmentRow>, MetadataError> {
        find(tx, &self.segments).await
    }
}
