//! Segments: erasure-coded ciphertext and the pieces that hold it.

use std::collections::BTreeMap;

use super::codec::{Reader, Writer};
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
    let mut uses: BTreeMap<SegmentId, (u64, u64)> = BTreeMap::new();
    for stream in streams {
        if let StreamContent::Extents(extents) = &stream.content {
            for extent in extents {
                let (streams, bytes) = uses.entry(extent.segment).or_default();
                *streams += 1;
                *bytes += u64::from(extent.length);
            }
        }
    }
    let sql = "INSERT INTO segments (segment_id, layout, mac_key, root, epoch, revision, streams, live_bytes, pieces) \
               VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8)";
    for segment in segments {
        let (streams, bytes) = uses.get(&segment.segment).copied().unwrap_or_default();
        let pieces = encode_pieces(&segment.pieces);
        let id = segment.segment.as_bytes();
        let epoch = segment.epoch.0;
        let (layout, mac_key, root) = (&segment.layout, &segment.mac_key, &segment.root);
        tx.execute(sql, params![id, layout, mac_key, root, epoch, streams, bytes, &pieces]).await?;
    }
    Ok(())
}

/// Gives an extent back. A segment without streams goes, and its pieces are
/// condemned.
pub(super) async fn release(tx: &mut Tx<'_>, extent: &Extent) -> Result<(), MetadataError> {
    let sql = "UPDATE segments SET streams = streams - 1, live_bytes = live_bytes - ?2, revision = revision + 1 \
               WHERE segment_id = ?1 RETURNING streams, pieces";
    let id = extent.segment.as_bytes();
    let row = tx.first(sql, params![id, extent.length]).await?;
    let Some(row) = row else {
        tracing::error!(segment = %extent.segment, "a segment that is to be given back is missing in the metadata database");
        return Ok(());
    };
    if row.int(0)? > 0 {
        return Ok(());
    }
    tx.execute("DELETE FROM segments WHERE segment_id = ?1", params![id]).await?;
    super::garbage::condemn(tx, extent.segment, &decode_pieces(row.bytes(1)?)?).await
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
    })
}

/// The segments of these ids, in their order; missing ones are left out.
pub(super) async fn find(tx: &mut Tx<'_>, ids: &[SegmentId]) -> Result<Vec<SegmentRow>, MetadataError> {
    let sql = "SELECT segment_id, layout, mac_key, root, epoch, revision, pieces FROM segments WHERE segment_id = ?1";
    let mut segments = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(row) = tx.first(sql, params![id.as_bytes()]).await? {
            segments.push(segment_row(&row)?);
        }
    }
    Ok(segments)
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
