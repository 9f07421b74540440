//! Streams move from segments that are small, or mostly dead, into one that is
//! full. Nothing but the place of their bytes changes.

use std::collections::BTreeMap;

use super::dialect::Lock;
use super::epochs::{Lease, check};
use super::garbage::{CondemnPieces, CondemnedPiece};
use super::segments::{self, NewSegment};
use super::streams::{Extent, decode_extents, encode_extents};
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::types::{Revision, SegmentId, StreamId};

/// Where a stream lies, as of a revision of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPlace {
    /// Which stream.
    pub stream: StreamId,
    /// Rises with every change of its extents.
    pub revision: Revision,
    /// Where its bytes are.
    pub extents: Vec<Extent>,
}

/// A page of all streams that lie in segments, ascending by id.
pub struct ScanStreams {
    /// Begin after this one.
    pub after: Option<StreamId>,
    /// At most so many.
    pub limit: u32,
}

impl Operation for ScanStreams {
    type Output = Vec<StreamPlace>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StreamPlace>, MetadataError> {
        // Inline ones have empty extents here: a page is full all the same.
        let sql = "SELECT stream_id, revision, extents FROM streams WHERE stream_id > ?1 ORDER BY stream_id LIMIT ?2";
        let after = self.after.as_ref().map_or(&[][..], |id| id.as_bytes());
        tx.query(sql, params![after, self.limit]).await?.iter().map(place).collect()
    }
}

fn place(row: &Row) -> Result<StreamPlace, MetadataError> {
    Ok(StreamPlace {
        stream: StreamId::from_bytes(row.array(0)?),
        revision: Revision(row.u64(1)?),
        extents: row.optional(2)?.map(decode_extents).transpose()?.unwrap_or_default(),
    })
}

/// Where some streams lie now; missing ones are left out.
pub struct FindPlaces {
    /// Which ones.
    pub streams: Vec<StreamId>,
}

impl Operation for FindPlaces {
    type Output = Vec<StreamPlace>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StreamPlace>, MetadataError> {
        let ids: Vec<&[u8]> = self.streams.iter().map(|id| &id.as_bytes()[..]).collect();
        let sql = "SELECT stream_id, revision, extents FROM streams \
                   WHERE stream_id IN (SELECT value FROM rarray(?1)) ORDER BY stream_id";
        tx.query(sql, params![&ids[..]]).await?.iter().map(place).collect()
    }
}

/// Has streams lie in a new segment, all of their runs in some segments at
/// once. What they leave is given back: a segment that nobody uses any more
/// goes, and its pieces are condemned.
///
/// A stream that is gone, or has moved since it was read, stays as it is; if
/// none is left, the new segment is not kept and its pieces are condemned,
/// except those that a list names.
/// Answers how many have moved.
pub struct MoveStreams {
    /// The new segment.
    pub segment: NewSegment,
    /// The streams as they were read, each with its new extents.
    pub streams: Vec<(StreamPlace, Vec<Extent>)>,
    /// What the new segment's pieces were written under.
    pub lease: Lease,
}

impl Operation for MoveStreams {
    type Output = usize;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize, MetadataError> {
        check(tx, &self.lease).await?;
        let ids: Vec<&[u8]> = self.streams.iter().map(|(place, _)| &place.stream.as_bytes()[..]).collect();
        let sql = "SELECT stream_id, revision FROM streams WHERE stream_id IN (SELECT value FROM rarray(?1)) \
                   AND refs > 0 ORDER BY stream_id";
        let rows = tx.query_locked(Lock::Change, sql, params![&ids[..]]).await?;
        let found = rows.iter().map(|row| Ok((StreamId::from_bytes(row.array(0)?), Revision(row.u64(1)?))));
        let found: BTreeMap<StreamId, Revision> = found.collect::<Result<_, MetadataError>>()?;
        let is_same = |(place, _): &&(StreamPlace, Vec<Extent>)| found.get(&place.stream) == Some(&place.revision);
        let kept: Vec<&(StreamPlace, Vec<Extent>)> = self.streams.iter().filter(is_same).collect();
        let (mut left, mut taken) = (Vec::new(), Vec::new());
        for (place, extents) in &kept {
            left.extend(place.extents.iter().filter(|extent| !extents.contains(extent)).copied());
            taken.extend(extents.iter().filter(|extent| extent.segment == self.segment.segment).copied());
        }
        if taken.is_empty() {
            let segment = self.segment.segment;
            let pieces = self.segment.pieces.iter().map(|place| CondemnedPiece { segment, place: *place }).collect();
            // Spares them if they have moved there already, and this is the second time.
            CondemnPieces { pieces }.run(tx).await?;
            return Ok(0);
        }
        self.write(tx, &kept).await?;
        segments::insert_used(tx, &self.segment, &taken).await?;
        segments::release(tx, &left).await?;
        Ok(kept.len())
    }
}

impl MoveStreams {
    async fn write(&self, tx: &mut Tx<'_>, kept: &[&(StreamPlace, Vec<Extent>)]) -> Result<(), MetadataError> {
        let encoded: Vec<Vec<u8>> = kept.iter().map(|(_, extents)| encode_extents(extents)).collect();
        let mut rows = Vec::with_capacity(kept.len());
        for ((place, _), extents) in kept.iter().zip(&encoded) {
            rows.push(params![place.stream.as_bytes(), extents].to_vec());
        }
        let sql = "UPDATE streams SET extents = ?2, revision = revision + 1 WHERE stream_id = ?1";
        tx.execute_each(sql, &rows).await.map(drop)
    }
}

/// Removes segments that no stream lies in, and condemns their pieces. A
/// segment is used from the commit on that brings it, or never: who has seen it
/// and then all streams knows. One that has changed since it was seen stays.
///
/// So does one whose row counts bytes that are used. Who has walked the streams
/// may have seen another state than this transaction does: of a server that has
/// failed over since, or of a database that was set back.
pub struct CondemnOrphans {
    /// The segments, as they were seen.
    pub segments: Vec<(SegmentId, Revision)>,
}

/// What became of segments in which no stream was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orphans {
    /// They were removed.
    pub gone: usize,
    /// They stay, since their rows say that streams lie in them.
    pub doubtful: usize,
}

impl Operation for CondemnOrphans {
    type Output = Orphans;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Orphans, MetadataError> {
        let seen: BTreeMap<SegmentId, Revision> = self.segments.iter().copied().collect();
        let ids: Vec<SegmentId> = seen.keys().copied().collect();
        let mut rows = segments::find_locked(tx, Lock::Change, &ids).await?;
        rows.retain(|row| seen.get(&row.segment) == Some(&row.revision));
        let (rows, doubtful): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.live_bytes == 0);
        let gone: Vec<&[u8]> = rows.iter().map(|row| &row.segment.as_bytes()[..]).collect();
        let sql = "DELETE FROM segments WHERE segment_id IN (SELECT value FROM rarray(?1))";
        tx.execute(sql, params![&gone[..]]).await?;
        let pieces: Vec<_> = rows.into_iter().map(|row| (row.segment, row.pieces)).collect();
        super::garbage::condemn(tx, &pieces).await?;
        Ok(Orphans { gone: pieces.len(), doubtful: doubtful.len() })
    }
}
