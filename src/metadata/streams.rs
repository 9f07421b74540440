//! Streams: the sealed bytes of one PUT or part, and where they are.

use std::collections::BTreeMap;

use super::checksums::{decode_checksum, encode_checksum};
use super::codec::{Reader, Writer};
use super::dialect::Lock;
use super::tx::{MetadataError, Row, Tx, params};
use crate::digest::Checksum;
use crate::types::{KeyVersion, SegmentId, StreamId};

/// A run of a stream's ciphertext in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte of the run in the stream's ciphertext.
    pub stream_offset: u64,
    /// The segment.
    pub segment: SegmentId,
    /// First byte of the run in the segment.
    pub segment_offset: u32,
    /// Bytes of the run.
    pub length: u32,
}

/// Where a stream's ciphertext is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamContent {
    /// In the database.
    Inline(Vec<u8>),
    /// In segments: runs that follow each other without gaps.
    Extents(Vec<Extent>),
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The stream.
    pub stream: StreamId,
    /// Plaintext bytes.
    pub size_bytes: u64,
    /// Which key-encryption key wrapped its key.
    pub key_version: KeyVersion,
    /// Its content key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// MD5 of its plaintext.
    pub md5: [u8; 16],
    /// The checksum that was computed of its plaintext.
    pub checksum: Option<Checksum>,
    /// Its ciphertext.
    pub content: StreamContent,
}

/// A stream that a commit brings.
pub type NewStream = StreamRow;

/// Format of sealed streams: blocks of 65,536 bytes, AES-256-GCM.
const FORMAT: u32 = 1;

pub(super) fn encode_extents(extents: &[Extent]) -> Vec<u8> {
    let mut row = Writer::new(1);
    for extent in extents {
        row.u64(extent.stream_offset).raw(extent.segment.as_bytes()).u32(extent.segment_offset).u32(extent.length);
    }
    row.finish()
}

pub(super) fn decode_extents(bytes: &[u8]) -> Result<Vec<Extent>, MetadataError> {
    let mut row = Reader::new("a stream's extents", bytes, 1)?;
    let mut extents = Vec::with_capacity(bytes.len() / 32);
    while !row.is_empty() {
        extents.push(Extent {
            stream_offset: row.u64()?,
            segment: SegmentId::from_bytes(row.id()?),
            segment_offset: row.u32()?,
            length: row.u32()?,
        });
    }
    Ok(extents)
}

/// Puts a stream in, with one reference.
pub(super) async fn insert(tx: &mut Tx<'_>, stream: &NewStream) -> Result<(), MetadataError> {
    let (extents, inline) = match &stream.content {
        StreamContent::Inline(bytes) => (None, Some(bytes)),
        StreamContent::Extents(extents) => (Some(encode_extents(extents)), None),
    };
    let checksum = stream.checksum.as_ref().map(encode_checksum);
    let sql = "INSERT INTO streams (stream_id, refs, size_bytes, format, key_version, wrapped_key, md5, checksum, \
               revision, extents, inline) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?9)";
    tx.execute(
        sql,
        params![
            stream.stream.as_bytes(),
            stream.size_bytes,
            FORMAT,
            stream.key_version.0,
            &stream.wrapped_key,
            &stream.md5,
            checksum.as_ref(),
            extents.as_ref(),
            inline,
        ],
    )
    .await?;
    Ok(())
}

fn stream_row(row: &Row) -> Result<StreamRow, MetadataError> {
    let format = row.u32(2)?;
    if format != FORMAT {
        return Err(MetadataError::Corrupt(format!("stream format {format} is unknown")));
    }
    let content = match row.optional(7)? {
        Some(extents) => StreamContent::Extents(decode_extents(extents)?),
        None => StreamContent::Inline(row.bytes(8)?.to_vec()),
    };
    Ok(StreamRow {
        stream: StreamId::from_bytes(row.array(0)?),
        size_bytes: row.u64(1)?,
        key_version: KeyVersion(row.u32(3)?),
        wrapped_key: row.bytes(4)?.to_vec(),
        md5: row.array(5)?,
        checksum: row.optional(6)?.map(decode_checksum).transpose()?,
        content,
    })
}

/// The streams of these ids, in their order; missing ones are left out.
pub(super) async fn find(tx: &mut Tx<'_>, ids: &[StreamId]) -> Result<Vec<StreamRow>, MetadataError> {
    macro_rules! select {
        ($condition:literal) => {
            concat!(
                "SELECT stream_id, size_bytes, format, key_version, wrapped_key, md5, checksum, extents, inline ",
                "FROM streams WHERE stream_id ",
                $condition
            )
        };
    }
    if let [id] = ids {
        return tx.query(select!("= ?1"), params![id.as_bytes()]).await?.iter().map(stream_row).collect();
    }
    let wanted: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let rows = tx.query(select!("IN (SELECT value FROM rarray(?1))"), params![&wanted[..]]).await?;
    let found = rows.iter().map(|row| stream_row(row).map(|stream| (stream.stream, stream)));
    let found: BTreeMap<StreamId, StreamRow> = found.collect::<Result<_, _>>()?;
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}

/// Takes references, as many of each as are told. Answers false, and changes
/// nothing, unless all of them are alive.
pub(super) async fn reference(tx: &mut Tx<'_>, counts: &BTreeMap<StreamId, u64>) -> Result<bool, MetadataError> {
    let all: Vec<&[u8]> = counts.keys().map(|id| &id.as_bytes()[..]).collect();
    let sql = "SELECT 1 FROM streams WHERE stream_id IN (SELECT value FROM rarray(?1)) AND refs > 0 ORDER BY stream_id";
    if tx.query_locked(Lock::Change, sql, params![&all[..]]).await?.len() != all.len() {
        return Ok(false);
    }
    let mut groups: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for (id, count) in counts {
        groups.entry(*count).or_default().push(id.as_bytes());
    }
    let sql = "UPDATE streams SET refs = refs + ?2 WHERE stream_id IN (SELECT value FROM rarray(?1))";
    for (count, ids) in groups {
        tx.execute(sql, params![&ids[..], count]).await?;
    }
    Ok(true)
}

/// Gives references back, as many of each as are told; the last one of a
/// stream takes it and its key away and lets go of its segments. Stops after
/// `room` streams and extents, and answers the stream that comes next, if any.
pub(super) async fn release(
    tx: &mut Tx<'_>,
    counts: &BTreeMap<StreamId, u64>,
    room: &mut usize,
) -> Result<Option<StreamId>, MetadataError> {
    let ids: Vec<&[u8]> = counts.keys().take(*room).map(|id| &id.as_bytes()[..]).collect();
    let sql = "SELECT stream_id, refs, extents FROM streams WHERE stream_id IN (SELECT value FROM rarray(?1)) \
               ORDER BY stream_id";
    let rows = tx.query_locked(Lock::Change, sql, params![&ids[..]]).await?;
    let found = rows.iter().map(|row| Ok((StreamId::from_bytes(row.array(0)?), row)));
    let found: BTreeMap<StreamId, &Row> = found.collect::<Result<_, MetadataError>>()?;
    let (mut kept, mut gone, mut extents) = (BTreeMap::<u64, Vec<&[u8]>>::new(), Vec::new(), Vec::new());
    let mut next = None;
    for (id, count) in counts {
        if *room == 0 {
            next = Some(*id);
            break;
        }
        *room -= 1;
        let Some(row) = found.get(id) else {
            // One damaged row must not keep all other garbage from going.
            tracing::error!(stream = %id, "a stream that is to be given back is missing in the metadata database");
            continue;
        };
        if row.int(1)? > *count as i64 {
            kept.entry(*count).or_default().push(id.as_bytes());
            continue;
        }
        gone.push(&id.as_bytes()[..]);
        let own = row.optional(2)?.map(decode_extents).transpose()?.unwrap_or_default();
        *room = room.saturating_sub(own.len());
        extents.extend(own);
    }
    let sql = "UPDATE streams SET refs = refs - ?2 WHERE stream_id IN (SELECT value FROM rarray(?1))";
    for (count, ids) in kept {
        tx.execute(sql, params![&ids[..], count]).await?;
    }
    if !gone.is_empty() {
        let sql = "DELETE FROM streams WHERE stream_id IN (SELECT value FROM rarray(?1))";
        tx.execute(sql, params![&gone[..]]).await?;
        super::segments::release(tx, &extents).await?;
    }
    Ok(next)
}
