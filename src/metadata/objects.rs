//! Objects: the current version of each key.

use std::collections::BTreeMap;

use super::bodies::{self, NewBody, PartRecord, Span, decode_parts, decode_spans};
use super::buckets::{self, BucketRow};
use super::checksums::{decode_stored, encode_stored};
use super::codec::{Reader, Writer, decode_headers, encode_headers};
use super::dialect::{Lock, Sequence};
use super::epochs::{self, Lease};
use super::segments::{self, NewSegment, SegmentRow};
use super::streams::{self, NewStream, StreamContent, StreamRow};
use super::tx::{MetadataError, Operation, Row, Tx, params};
use super::uploads::{self, CommitPart};
use crate::digest::StoredChecksum;
use crate::types::{
    BodyId, BucketName, KeyVersion, ObjectHeaders, ObjectKey, StreamId, UnixMillis, UploadId, WriteCondition,
};

/// Why an operation changed nothing, where callers decide on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No bucket of that name.
    NoSuchBucket,
    /// No object of that key.
    NoSuchKey,
    /// No upload of that id.
    NoSuchUpload,
    /// A condition does not hold; names the header.
    Precondition(&'static str),
    /// What was to be shared or completed has changed since it was read: look again.
    Changed,
}

/// A small object's stream, kept in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineStream {
    /// The stream.
    pub stream: StreamId,
    /// Which key-encryption key wrapped its key.
    pub key_version: KeyVersion,
    /// Its content key, wrapped.
    pub wrapped_key: [u8; 48],
    /// Its sealed blocks.
    pub sealed: Vec<u8>,
}

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectContent {
    /// There are none.
    Empty,
    /// In its row.
    Inline(InlineStream),
    /// In a body that is written with it.
    Body(NewBody),
    /// In a body that exists; the reference has been taken.
    Shared {
        /// The body.
        body: BodyId,
        /// Its number of parts, for one from a multipart upload.
        part_count: Option<u64>,
    },
}

/// An object to be written.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// When to write it.
    pub condition: WriteCondition,
    /// What to keep with it.
    pub headers: ObjectHeaders,
    /// Size in bytes.
    pub size_bytes: u64,
    /// ETag without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<StoredChecksum>,
    /// The time to keep with it.
    pub modified: UnixMillis,
    /// Its bytes.
    pub content: ObjectContent,
}

/// Writes an object together with its streams and segments.
pub struct CommitObject {
    /// The object.
    pub object: NewObject,
    /// The streams that its body refers to.
    pub streams: Vec<NewStream>,
    /// The segments that they lie in.
    pub segments: Vec<NewSegment>,
    /// What the segments' pieces were written under; none without segments.
    pub lease: Option<Lease>,
}

impl Operation for CommitObject {
    type Output = Result<(), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        if let Some(lease) = &self.lease {
            epochs::check(tx, lease).await?;
        }
        let place = match writable(tx, &self.object).await? {
            Ok(place) => place,
            Err(refusal) => return Ok(Err(refusal)),
        };
        segments::insert(tx, &self.segments, &self.streams.iter().collect::<Vec<_>>()).await?;
        for stream in &self.streams {
            streams::insert(tx, stream).await?;
        }
        write(tx, &self.object, &place, None).await?;
        Ok(Ok(()))
    }
}

/// One of those that share a segment.
pub enum SharedMember {
    /// An object with one stream.
    Object(NewObject, NewStream),
    /// A part with one stream.
    Part(CommitPart),
}

/// Writes a segment and all who share it. One that is refused fails alone; if
/// all are, the segment is not kept and its pieces are condemned.
pub struct CommitShared {
    /// The segment.
    pub segment: NewSegment,
    /// Who shares it. Those of parts bring no segment of their own.
    pub members: Vec<SharedMember>,
    /// What its pieces were written under.
    pub lease: Lease,
}

impl Operation for CommitShared {
    type Output = Vec<Result<(), Refusal>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        epochs::check(tx, &self.lease).await?;
        let mut outcomes = vec![Ok(()); self.members.len()];
        let mut kept = Vec::new();
        for (at, member) in self.in_order() {
            let (outcome, stream) = match member {
                SharedMember::Object(object, stream) => (commit_member(tx, object, stream).await?, Some(stream)),
                SharedMember::Part(part) => (uploads::commit_part(tx, part).await?, part.stream.as_ref()),
            };
            if outcome.is_ok() {
                kept.extend(stream);
            }
            outcomes[at] = outcome;
        }
        match kept.is_empty() {
            true => super::garbage::condemn(tx, &[(self.segment.segment, self.segment.pieces.clone())]).await?,
            false => segments::insert(tx, std::slice::from_ref(&self.segment), &kept).await?,
        }
        Ok(outcomes)
    }
}

impl CommitShared {
    /// The members in the order in which everybody locks: uploads, then keys.
    /// Those of one key stay in theirs.
    fn in_order(&self) -> Vec<(usize, &SharedMember)> {
        let mut members: Vec<_> = self.members.iter().enumerate().collect();
        members.sort_by_key(|(_, member)| match member {
            SharedMember::Part(part) => (Some(part.part.upload), None),
            SharedMember::Object(object, _) => (None, Some((object.bucket.as_str(), object.key.as_bytes()))),
        });
        let parts = members.iter().filter(|(_, member)| matches!(member, SharedMember::Part(_))).count();
        members.rotate_right(parts);
        members
    }
}

async fn commit_member(
    tx: &mut Tx<'_>,
    object: &NewObject,
    stream: &NewStream,
) -> Result<Result<(), Refusal>, MetadataError> {
    let place = match writable(tx, object).await? {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    streams::insert(tx, stream).await?;
    write(tx, object, &place, None).await?;
    Ok(Ok(()))
}

/// Where an object will be, and what is there now.
pub(super) struct Place {
    bucket: BucketRow,
    /// Of the object that is there now.
    old_sequence: Option<u64>,
    old_body: Option<BodyId>,
}

impl Place {
    pub(super) fn bucket_no(&self) -> u64 {
        self.bucket.number
    }
}

/// Checks that the bucket exists and the condition holds. Bucket and object
/// stay as they are until the transaction's end; an object that is not there
/// can come meanwhile, which [`write`] notices.
pub(super) async fn writable(tx: &mut Tx<'_>, object: &NewObject) -> Result<Result<Place, Refusal>, MetadataError> {
    let Some(bucket) = buckets::find_locked(tx, Lock::Exists, &object.bucket).await? else {
        return Ok(Err(Refusal::NoSuchBucket));
    };
    let sql = "SELECT etag, body_id, sequence FROM objects WHERE bucket_no = ?1 AND key = ?2";
    let row = tx.first_locked(Lock::Change, sql, params![bucket.number, object.key.as_bytes()]).await?;
    let etag = row.as_ref().map(|row| row.text(0)).transpose()?;
    if let Err(refusal) = check_condition(&object.condition, etag.as_deref()) {
        return Ok(Err(refusal));
    }
    let Some(row) = row else { return Ok(Ok(Place { bucket, old_sequence: None, old_body: None })) };
    let old_body = row.optional(1)?.map(BodyId::from_slice).transpose()?;
    Ok(Ok(Place { bucket, old_sequence: Some(row.u64(2)?), old_body }))
}

/// Whether a write's condition holds for the current object's ETag.
pub fn check_condition(condition: &WriteCondition, current: Option<&str>) -> Result<(), Refusal> {
    match (&condition.if_match, current) {
        (Some(_), None) => return Err(Refusal::NoSuchKey),
        (Some(wanted), Some(etag)) if !wanted.matches(etag) => return Err(Refusal::Precondition("If-Match")),
        _ => {}
    }
    match (&condition.if_none_match, current) {
        (Some(unwanted), Some(etag)) if unwanted.matches(etag) => Err(Refusal::Precondition("If-None-Match")),
        _ => Ok(()),
    }
}

/// Writes the object's row over what was there, and lets that go. Of two that
/// both saw nothing there, the second one starts again.
pub(super) async fn write(
    tx: &mut Tx<'_>,
    object: &NewObject,
    place: &Place,
    upload: Option<&UploadId>,
) -> Result<(), MetadataError> {
    let (body_id, inline, parts) = match &object.content {
        ObjectContent::Empty => (None, None, None),
        ObjectContent::Inline(inline) => (None, Some(encode_inline(inline)), None),
        ObjectContent::Body(body) => {
            bodies::insert(tx, body).await?;
            (Some(*body.body.as_bytes()), None, body.parts.as_ref().map(|parts| parts.len() as u64))
        }
        ObjectContent::Shared { body, part_count } => (Some(*body.as_bytes()), None, *part_count),
    };
    // Whatever a sequence hands out to whom: it rises with every write of the key.
    let sequence = tx.draw(Sequence::Object).await?.max(place.old_sequence.map_or(0, |old| old + 1));
    let checksum = object.checksum.as_ref().map(encode_stored);
    let class = object.headers.storage_class();
    let sql = match place.old_sequence {
        Some(_) => {
            "UPDATE objects SET size_bytes = ?3, modified_ms = ?4, etag = ?5, checksum = ?6, storage_class = ?7, \
             sequence = ?8, body_id = ?9, upload_id = ?10, part_count = ?11, headers = ?12, inline = ?13 \
             WHERE bucket_no = ?1 AND key = ?2"
        }
        None => {
            "INSERT INTO objects (bucket_no, key, size_bytes, modified_ms, etag, checksum, storage_class, \
             sequence, body_id, upload_id, part_count, headers, inline) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING"
        }
    };
    tx.insert_new(
        sql,
        params![
            place.bucket.number,
            object.key.as_bytes(),
            object.size_bytes,
            object.modified,
            object.etag.as_str(),
            checksum.as_ref(),
            class.as_deref(),
            sequence,
            body_id.as_ref(),
            upload.map(UploadId::as_bytes),
            parts,
            &encode_headers(&object.headers.0),
            inline.as_ref(),
        ],
    )
    .await?;
    match &place.old_body {
        Some(old) => bodies::release(tx, &[*old]).await,
        None => Ok(()),
    }
}

/// An object's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Rises with every write in the cluster; tells two writes of a key apart.
    pub sequence: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was written.
    pub modified: UnixMillis,
    /// ETag without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<StoredChecksum>,
    /// What was kept with it.
    pub headers: ObjectHeaders,
    /// Number of parts, for one from a multipart upload.
    pub part_count: Option<u32>,
    /// The upload that it came from.
    pub upload: Option<UploadId>,
}

/// Where an object's bytes are, and all that it takes to read the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// There are none, or they were not asked for.
    None,
    /// In its row.
    Inline(InlineStream),
    /// In a body.
    Body {
        /// The body.
        body: BodyId,
        /// Its spans.
        spans: Vec<Span>,
        /// Its parts, for one from a multipart upload.
        parts: Vec<PartRecord>,
        /// Its stream and that one's segments, where it has a single span.
        stream: Option<(StreamRow, Vec<SegmentRow>)>,
    },
}

/// An object as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundObject {
    /// Its row.
    pub current: Current,
    /// Its bytes.
    pub source: Source,
}

/// Looks an object up.
pub struct FindObject {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// Whether its bytes (or parts) are wanted, too.
    pub with_source: bool,
}

/// Segments that a lookup brings along; a reader asks for later ones itself.
const SEGMENTS_AT_ONCE: usize = 256;

impl Operation for FindObject {
    type Output = Result<FoundObject, Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let sql = "SELECT sequence, size_bytes, modified_ms, etag, checksum, headers, part_count, upload_id, body_id, \
                   CASE WHEN ?3 = 1 THEN inline END FROM buckets LEFT JOIN objects \
                   ON objects.bucket_no = buckets.bucket_no AND objects.key = ?2 WHERE buckets.name = ?1";
        let wanted = i64::from(self.with_source);
        let Some(row) = tx.first(sql, params![self.bucket.as_str(), self.key.as_bytes(), wanted]).await? else {
            return Ok(Err(Refusal::NoSuchBucket));
        };
        if row.maybe_u64(0)?.is_none() {
            return Ok(Err(Refusal::NoSuchKey));
        }
        let source = if self.with_source { find_source(tx, &row).await? } else { Source::None };
        Ok(Ok(FoundObject { current: current(&row)?, source }))
    }
}

fn current(row: &Row) -> Result<Current, MetadataError> {
    Ok(Current {
        sequence: row.u64(0)?,
        size_bytes: row.u64(1)?,
        modified: UnixMillis(row.int(2)?),
        etag: row.text(3)?,
        checksum: row.optional(4)?.map(decode_stored).transpose()?,
        headers: ObjectHeaders(decode_headers(row.bytes(5)?)?),
        part_count: row.maybe_u64(6)?.map(|parts| parts as u32),
        upload: row.optional(7)?.map(UploadId::from_slice).transpose()?,
    })
}

async fn find_source(tx: &mut Tx<'_>, row: &Row) -> Result<Source, MetadataError> {
    let Some(body) = row.optional(8)?.map(BodyId::from_slice).transpose()? else {
        return Ok(row.optional(9)?.map(decode_inline).transpose()?.map_or(Source::None, Source::Inline));
    };
    let found = tx.first("SELECT spans, parts FROM bodies WHERE body_id = ?1", params![body.as_bytes()]).await?;
    let found = found.ok_or_else(|| MetadataError::Corrupt(format!("body {body} is missing")))?;
    let spans = decode_spans(found.bytes(0)?)?;
    let parts = found.optional(1)?.map(decode_parts).transpose()?.unwrap_or_default();
    let stream = match spans.as_slice() {
        [span] => Some(find_stream(tx, span.stream).await?),
        _ => None,
    };
    Ok(Source::Body { body, spans, parts, stream })
}

async fn find_stream(tx: &mut Tx<'_>, id: StreamId) -> Result<(StreamRow, Vec<SegmentRow>), MetadataError> {
    let mut found = streams::find(tx, &[id]).await?;
    let stream = found.pop().ok_or_else(|| MetadataError::Corrupt(format!("stream {id} is missing")))?;
    let segments = match &stream.content {
        StreamContent::Inline(_) => Vec::new(),
        StreamContent::Extents(extents) => {
            let ids: Vec<_> = extents.iter().take(SEGMENTS_AT_ONCE).map(|extent| extent.segment).collect();
            segments::find(tx, &ids).await?
        }
    };
    Ok((stream, segments))
}

/// The streams of these ids, in their order; missing ones are left out.
pub struct FindStreams {
    /// Which ones.
    pub streams: Vec<StreamId>,
}

impl Operation for FindStreams {
    type Output = Vec<StreamRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StreamRow>, MetadataError> {
        streams::find(tx, &self.streams).await
    }
}

/// Writes an object that shares another's bytes. The content of `object` does
/// not count; what the source has is taken.
pub struct CopyObject {
    /// The source's bucket.
    pub source_bucket: BucketName,
    /// The source's key.
    pub source_key: ObjectKey,
    /// The source as it was read: another write in between is `Changed`.
    pub source_sequence: u64,
    /// The object to be written.
    pub object: NewObject,
}

impl Operation for CopyObject {
    type Output = Result<(), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let target = (&self.object.bucket, &self.object.key);
        let found = match (&self.source_bucket, &self.source_key) < target {
            true => Some(self.source(tx).await?),
            false => None,
        };
        let place = match writable(tx, &self.object).await? {
            Ok(place) => place,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let found = match found {
            Some(found) => found,
            None => self.source(tx).await?,
        };
        let Some(row) = found else { return Ok(Err(Refusal::Changed)) };
        // The reference is taken before the old body is let go: it may be the same.
        let content = match row.optional(0)?.map(BodyId::from_slice).transpose()? {
            Some(body) if bodies::reference(tx, &body).await? => {
                ObjectContent::Shared { body, part_count: row.maybe_u64(2)? }
            }
            Some(_) => return Ok(Err(Refusal::Changed)),
            None => {
                row.optional(1)?.map(decode_inline).transpose()?.map_or(ObjectContent::Empty, ObjectContent::Inline)
            }
        };
        write(tx, &NewObject { content, ..self.object.clone() }, &place, None).await?;
        Ok(Ok(()))
    }
}

impl CopyObject {
    /// The source as it was read, unless it has changed. It stays so: source
    /// and target are locked in the order of their names.
    async fn source(&self, tx: &mut Tx<'_>) -> Result<Option<Row>, MetadataError> {
        let Some(bucket) = buckets::find(tx, &self.source_bucket).await? else { return Ok(None) };
        let sql = "SELECT body_id, inline, part_count FROM objects WHERE bucket_no = ?1 AND key = ?2 AND sequence = ?3";
        let key = self.source_key.as_bytes();
        tx.first_locked(Lock::Share, sql, params![bucket.number, key, self.source_sequence]).await
    }
}

/// Removes objects; one answer for each. Removing what is not there succeeds,
/// unless a condition is given.
pub struct DeleteObjects {
    /// Their bucket.
    pub bucket: BucketName,
    /// Their keys, each with its condition.
    pub objects: Vec<(ObjectKey, WriteCondition)>,
}

impl Operation for DeleteObjects {
    type Output = Result<Vec<Result<(), Refusal>>, Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let Some(bucket) = buckets::find(tx, &self.bucket).await? else {
            return Ok(Err(Refusal::NoSuchBucket));
        };
        let mut there = self.there(tx, bucket.number).await?;
        let mut outcomes = Vec::with_capacity(self.objects.len());
        let (mut removed, mut bodies) = (Vec::new(), Vec::new());
        for (key, condition) in &self.objects {
            let key = key.as_bytes();
            let outcome = check_condition(condition, there.get(key).map(|(etag, _)| etag.as_str()));
            // A key that stands there twice is gone the second time.
            if outcome.is_ok()
                && let Some((_, body)) = there.remove(key)
            {
                removed.push(key);
                bodies.extend(body);
            }
            outcomes.push(outcome);
        }
        if !removed.is_empty() {
            let sql = "DELETE FROM objects WHERE bucket_no = ?1 AND key IN (SELECT value FROM rarray(?2))";
            tx.execute(sql, params![bucket.number, &removed[..]]).await?;
        }
        if !bodies.is_empty() {
            bodies::release(tx, &bodies).await?;
        }
        Ok(Ok(outcomes))
    }
}

/// ETag and body.
type There = (String, Option<BodyId>);

impl DeleteObjects {
    /// Those of the keys that are there.
    async fn there(&self, tx: &mut Tx<'_>, bucket: u64) -> Result<BTreeMap<Vec<u8>, There>, MetadataError> {
        let keys: Vec<&[u8]> = self.objects.iter().map(|(key, _)| key.as_bytes()).collect();
        let sql = "SELECT key, etag, body_id FROM objects \
                   WHERE bucket_no = ?1 AND key IN (SELECT value FROM rarray(?2)) ORDER BY key";
        let rows = tx.query_locked(Lock::Change, sql, params![bucket, &keys[..]]).await?;
        let there = rows.iter().map(|row| {
            let body = row.optional(2)?.map(BodyId::from_slice).transpose()?;
            Ok((row.bytes(0)?.to_vec(), (row.text(1)?, body)))
        });
        there.collect()
    }
}

pub(super) fn encode_inline(inline: &InlineStream) -> Vec<u8> {
    let mut row = Writer::new(1);
    row.raw(inline.stream.as_bytes()).u32(inline.key_version.0).raw(&inline.wrapped_key).bytes(&inline.sealed);
    row.finish()
}

fn decode_inline(bytes: &[u8]) -> Result<InlineStream, MetadataError> {
    let mut row = Reader::new("an inline stream", bytes, 1)?;
    Ok(InlineStream {
        stream: StreamId::from_bytes(row.id()?),
        key_version: KeyVersion(row.u32()?),
        wrapped_key: row.id()?,
        sealed: row.bytes()?.to_vec(),
    })
}
