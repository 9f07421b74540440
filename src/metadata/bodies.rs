//! Bodies: immutable lists of spans that object versions share.

use std::collections::BTreeMap;

use super::checksums::{decode_checksum, encode_checksum};
use super::codec::{Reader, Writer};

use super::tx::{MetadataError, Tx, params};
use crate::digest::Checksum;
use crate::types::{BodyId, StreamId};

/// A run of a stream's plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The stream.
    pub stream: StreamId,
    /// First byte of the run in the stream.
    pub offset: u64,
    /// Bytes of the run; never zero.
    pub length: u64,
}

/// A part of a completed multipart upload, kept for `partNumber` and
/// GetObjectAttributes. Apart from spans: a part may have many, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRecord {
    /// From 1 to 10,000.
    pub number: u32,
    /// Size in bytes.
    pub size_bytes: u64,
    /// ETag without quotes.
    pub etag: String,
    /// Its checksum, where the upload has an algorithm.
    pub checksum: Option<Checksum>,
}

/// A body that a commit brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBody {
    /// Its id.
    pub body: BodyId,
    /// Its spans, in order.
    pub spans: Vec<Span>,
    /// Its parts, for one from a multipart upload.
    pub parts: Option<Vec<PartRecord>>,
}

pub(super) fn encode_spans(spans: &[Span]) -> Vec<u8> {
    let mut row = Writer::new(1);
    for span in spans {
        row.raw(span.stream.as_bytes()).u64(span.offset).u64(span.length);
    }
    row.finish()
}

pub(super) fn decode_spans(bytes: &[u8]) -> Result<Vec<Span>, MetadataError> {
    let mut row = Reader::new("a body's spans", bytes, 1)?;
    let mut spans = Vec::with_capacity(bytes.len() / 32);
    while !row.is_empty() {
        spans.push(Span { stream: StreamId::from_bytes(row.id()?), offset: row.u64()?, length: row.u64()? });
    }
    Ok(spans)
}

fn encode_parts(parts: &[PartRecord]) -> Vec<u8> {
    let mut row = Writer::new(1);
    for part in parts {
        row.u32(part.number).u64(part.size_bytes).bytes(part.etag.as_bytes());
        row.bytes(&part.checksum.as_ref().map(encode_checksum).unwrap_or_default());
    }
    row.finish()
}

pub(super) fn decode_parts(bytes: &[u8]) -> Result<Vec<PartRecord>, MetadataError> {
    let mut row = Reader::new("a body's parts", bytes, 1)?;
    let mut parts = Vec::new();
    while !row.is_empty() {
        let (number, size_bytes) = (row.u32()?, row.u64()?);
        let etag = super::codec::text(row.bytes()?)?;
        let checksum = match row.bytes()? {
            [] => None,
            bytes => Some(decode_checksum(bytes)?),
        };
        parts.push(PartRecord { number, size_bytes, etag, checksum });
    }
    Ok(parts)
}

/// Puts a body in, with one reference. Its spans' references are the caller's.
pub(super) async fn insert(tx: &mut Tx<'_>, body: &NewBody) -> Result<(), MetadataError> {
    let size: u64 = body.spans.iter().map(|span| span.length).sum();
    let spans = encode_spans(&body.spans);
    let parts = body.parts.as_deref().map(encode_parts);
    let sql = "INSERT INTO bodies (body_id, refs, size_bytes, spans, parts) VALUES (?1, 1, ?2, ?3, ?4)";
    tx.execute(sql, params![body.body.as_bytes(), size, &spans, parts.as_ref()]).await?;
    Ok(())
}

/// Takes a reference. Fails unless the body is alive.
pub(super) async fn reference(tx: &mut Tx<'_>, body: &BodyId) -> Result<bool, MetadataError> {
    let sql = "UPDATE bodies SET refs = refs + 1 WHERE body_id = ?1 AND refs > 0";
    Ok(tx.execute(sql, params![body.as_bytes()]).await? == 1)
}

/// Gives a reference back. The last one takes the body away and leaves its
/// spans to the garbage, which a worker gives back later.
pub(super) async fn release(tx: &mut Tx<'_>, body: &BodyId) -> Result<(), MetadataError> {
    let sql = "UPDATE bodies SET refs = refs - 1 WHERE body_id = ?1 RETURNING refs";
    let row = tx.first(sql, params![body.as_bytes()]).await?;
    let row = row.ok_or_else(|| MetadataError::Corrupt(format!("body {body} is missing")))?;
    if row.int(0)? > 0 {
        return Ok(());
    }
    let sql = "DELETE FROM bodies WHERE body_id = ?1 RETURNING spans";
    if let Some(row) = tx.first(sql, params![body.as_bytes()]).await? {
        super::garbage::leave(tx, row.bytes(0)?).await?;
    }
    Ok(())
}

/// How often each stream stands in these spans.
pub(super) fn streams_of(spans: &[Span]) -> BTreeMap<StreamId, u64> {
    let mut counts = BTreeMap::new();
    for span in spans {
        *counts.entry(span.stream).or_default() += 1;
    }
    counts
}
