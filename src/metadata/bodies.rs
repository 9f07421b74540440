//! Bodies: immutable lists of spans that object versions share.

use std::collections::BTreeMap;

use super::checksums::{decode_checksum, encode_checksum};
use super::codec::{Reader, Writer};

use super::dialect::Lock;
use super::tx::{MetadataError, Row, Tx, params};
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

/// Gives references back, each as often as it stands here. The last one takes
/// the body away and leaves its spans to the garbage, which a worker gives
/// back later.
pub(super) async fn release(tx: &mut Tx<'_>, bodies: &[BodyId]) -> Result<(), MetadataError> {
    let mut dead: Vec<BodyId> = Vec::new();
    for (count, bodies) in by_count(bodies) {
        let sql = "UPDATE bodies SET refs = refs - ?2 WHERE body_id IN (SELECT value FROM rarray(?1)) \
                   RETURNING body_id, refs";
        let ids: Vec<&[u8]> = bodies.iter().map(|body| &body.as_bytes()[..]).collect();
        let rows = lock_and_query(tx, sql, &ids, count).await?;
        if rows.len() != ids.len() {
            return Err(MetadataError::Corrupt(format!("of {} bodies only {} are there", ids.len(), rows.len())));
        }
        for row in rows.iter().filter(|row| row.int(1).is_ok_and(|refs| refs <= 0)) {
            dead.push(BodyId::from_bytes(row.array(0)?));
        }
    }
    if dead.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM bodies WHERE body_id IN (SELECT value FROM rarray(?1)) RETURNING spans";
    let ids: Vec<&[u8]> = dead.iter().map(|body| &body.as_bytes()[..]).collect();
    let rows = tx.query(sql, params![&ids[..]]).await?;
    let spans = rows.iter().map(|row| decode_spans(row.bytes(0)?)).collect::<Result<Vec<_>, _>>()?;
    super::garbage::leave(tx, spans).await
}

/// Rows are locked in their order before they are changed, so that nobody who
/// does the same with others of them waits in a circle.
async fn lock_and_query(
    tx: &mut Tx<'_>,
    sql: &'static str,
    ids: &[&[u8]],
    count: u64,
) -> Result<Vec<Row>, MetadataError> {
    if ids.len() > 1 && tx.is_concurrent() {
        let lock = "SELECT 1 FROM bodies WHERE body_id IN (SELECT value FROM rarray(?1)) ORDER BY body_id";
        tx.query_locked(Lock::Change, lock, params![ids]).await?;
    }
    tx.query(sql, params![ids, count]).await
}

/// The ids that stand there once, twice, and so on; each group ascending.
fn by_count(ids: &[BodyId]) -> BTreeMap<u64, Vec<BodyId>> {
    let mut counts: BTreeMap<BodyId, u64> = BTreeMap::new();
    for id in ids {
        *counts.entry(*id).or_default() += 1;
    }
    let mut groups: BTreeMap<u64, Vec<BodyId>> = BTreeMap::new();
    for (id, count) in counts {
        groups.entry(count).or_default().push(id);
    }
    groups
}

/// How often each stream stands in these spans.
pub(super) fn streams_of<'a>(spans: impl IntoIterator<Item = &'a Span>) -> BTreeMap<StreamId, u64> {
    let mut counts = BTreeMap::new();
    for span in spans {
        *counts.entry(span.stream).or_default() += 1;
    }
    counts
}
