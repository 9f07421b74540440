//! Multipart uploads and their parts.

use super::bodies::{Span, decode_spans, encode_spans, streams_of};
use super::buckets;
use super::checksums::{decode_checksum, decode_upload_checksum, encode_checksum, encode_upload_checksum};
use super::codec::{decode_headers, encode_headers};
use super::dialect::Lock;
use super::epochs::{self, Lease};
use super::objects::{self, NewObject, Refusal};
use super::segments::{self, NewSegment};
use super::streams::{self, NewStream};
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::digest::{Algorithm, Checksum, ChecksumKind};
use crate::types::{BucketName, ObjectHeaders, ObjectKey, UnixMillis, UploadId};

/// Begins an upload.
pub struct CreateMultipart {
    /// The object's bucket.
    pub bucket: BucketName,
    /// The object's key.
    pub key: ObjectKey,
    /// The upload's new id.
    pub upload: UploadId,
    /// What to keep with the object.
    pub headers: ObjectHeaders,
    /// The checksum that its parts and the object shall have.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
    /// The time to keep with it.
    pub now: UnixMillis,
}

impl Operation for CreateMultipart {
    type Output = Result<(), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let Some(bucket) = buckets::find_locked(tx, Lock::Exists, &self.bucket).await? else {
            return Ok(Err(Refusal::NoSuchBucket));
        };
        let sql = "INSERT INTO uploads (bucket_no, key, upload_id, initiated_ms, checksum, storage_class, headers) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let (key, upload) = (self.key.as_bytes(), self.upload.as_bytes());
        let checksum = self.checksum.map(encode_upload_checksum);
        let class = self.headers.storage_class();
        let headers = encode_headers(&self.headers.0);
        tx.execute(sql, params![bucket.number, key, upload, self.now, checksum, class.as_deref(), &headers]).await?;
        Ok(Ok(()))
    }
}

/// An upload in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// What to keep with the object.
    pub headers: ObjectHeaders,
    /// The checksum that its parts and the object shall have.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
}

/// Looks an upload up.
pub struct FindUpload {
    /// The object's bucket.
    pub bucket: BucketName,
    /// The object's key.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
}

impl Operation for FindUpload {
    type Output = Result<UploadRow, Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        find(tx, Lock::None, &self.bucket, &self.key, &self.upload).await
    }
}

/// The upload. Who adds a part to it shares its lock, who ends it has it
/// alone: then the parts are all there. Everybody locks the bucket first, then
/// uploads, then objects.
async fn find(
    tx: &mut Tx<'_>,
    lock: Lock,
    bucket: &BucketName,
    key: &ObjectKey,
    upload: &UploadId,
) -> Result<Result<UploadRow, Refusal>, MetadataError> {
    let bucket_lock = if lock == Lock::None { Lock::None } else { Lock::Exists };
    let Some(bucket) = buckets::find_locked(tx, bucket_lock, bucket).await? else {
        return Ok(Err(Refusal::NoSuchBucket));
    };
    let sql = "SELECT headers, checksum FROM uploads WHERE bucket_no = ?1 AND key = ?2 AND upload_id = ?3";
    let Some(row) = tx.first_locked(lock, sql, params![bucket.number, key.as_bytes(), upload.as_bytes()]).await? else {
        return Ok(Err(Refusal::NoSuchUpload));
    };
    let headers = ObjectHeaders(decode_headers(row.bytes(0)?)?);
    let checksum = row.maybe_u64(1)?.map(decode_upload_checksum).transpose()?;
    Ok(Ok(UploadRow { headers, checksum }))
}

/// A part to be written.
#[derive(Debug, Clone)]
pub struct NewPart {
    /// The object's bucket.
    pub bucket: BucketName,
    /// The object's key.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// What is kept of it.
    pub row: PartRow,
}

/// Writes a part together with its stream and segments.
pub struct CommitPart {
    /// The part.
    pub part: NewPart,
    /// Its stream; an empty part has none.
    pub stream: Option<NewStream>,
    /// The segments that it lies in.
    pub segments: Vec<NewSegment>,
    /// What the segments' pieces were written under; none without segments.
    pub lease: Option<Lease>,
}

impl Operation for CommitPart {
    type Output = Result<(), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        commit_part(tx, self).await
    }
}

pub(super) async fn commit_part(tx: &mut Tx<'_>, commit: &CommitPart) -> Result<Result<(), Refusal>, MetadataError> {
    if let Some(lease) = &commit.lease {
        epochs::check(tx, lease).await?;
    }
    let part = &commit.part;
    if let Err(refusal) = find(tx, Lock::Share, &part.bucket, &part.key, &part.upload).await? {
        return Ok(Err(refusal));
    }
    if let Some(stream) = &commit.stream {
        segments::insert(tx, &commit.segments, &[stream]).await?;
        streams::insert(tx, stream).await?;
    }
    replace(tx, part).await?;
    Ok(Ok(()))
}

/// Writes a part that shares other streams' bytes.
pub struct CommitCopiedPart {
    /// The part.
    pub part: NewPart,
}

impl Operation for CommitCopiedPart {
    type Output = Result<(), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let part = &self.part;
        if let Err(refusal) = find(tx, Lock::Share, &part.bucket, &part.key, &part.upload).await? {
            return Ok(Err(refusal));
        }
        if !streams::reference(tx, &streams_of(&part.row.spans)).await? {
            return Ok(Err(Refusal::Changed));
        }
        replace(tx, part).await?;
        Ok(Ok(()))
    }
}

/// Puts a part in the place of one with the same number. Of two that meet
/// there, the second one starts again.
async fn replace(tx: &mut Tx<'_>, part: &NewPart) -> Result<(), MetadataError> {
    let old = "DELETE FROM parts WHERE upload_id = ?1 AND number = ?2 RETURNING spans";
    if let Some(row) = tx.first(old, params![part.upload.as_bytes(), part.row.number]).await? {
        super::garbage::leave(tx, vec![decode_spans(row.bytes(0)?)?]).await?;
    }
    let sql = "INSERT INTO parts (upload_id, number, size_bytes, modified_ms, etag, checksum, spans) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    let PartRow { number, size_bytes, modified, etag, checksum, spans } = &part.row;
    let (checksum, spans) = (checksum.as_ref().map(encode_checksum), encode_spans(spans));
    let upload = part.upload.as_bytes();
    let values = params![upload, *number, *size_bytes, *modified, etag.as_str(), checksum.as_ref(), &spans];
    tx.insert_new(sql, values).await
}

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRow {
    /// From 1 to 10,000.
    pub number: u32,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was uploaded.
    pub modified: UnixMillis,
    /// ETag without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Its bytes.
    pub spans: Vec<Span>,
}

fn part_row(row: &Row) -> Result<PartRow, MetadataError> {
    Ok(PartRow {
        number: row.u32(0)?,
        size_bytes: row.u64(1)?,
        modified: UnixMillis(row.int(2)?),
        etag: row.text(3)?,
        checksum: row.optional(4)?.map(decode_checksum).transpose()?,
        spans: decode_spans(row.bytes(5)?)?,
    })
}

/// An upload and its parts, ascending by number.
pub struct ListParts {
    /// The upload.
    pub upload: FindUpload,
    /// Only numbers above this one.
    pub after: u32,
    /// At most so many.
    pub limit: u32,
}

impl Operation for ListParts {
    type Output = Result<(UploadRow, Vec<PartRow>), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let upload = match self.upload.run(tx).await? {
            Ok(upload) => upload,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let sql = "SELECT number, size_bytes, modified_ms, etag, checksum, spans FROM parts \
                   WHERE upload_id = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        let rows = tx.query(sql, params![self.upload.upload.as_bytes(), self.after, self.limit]).await?;
        Ok(Ok((upload, rows.iter().map(part_row).collect::<Result<_, _>>()?)))
    }
}

/// Makes an object of an upload's parts. The references that the parts hold
/// become the body's; parts that were left out go to the garbage.
pub struct CompleteObject {
    /// The object, with its body.
    pub object: NewObject,
    /// The upload.
    pub upload: UploadId,
    /// The parts that the body was made of, as they were read: number and
    /// spans. Others by now are `Changed`.
    pub parts: Vec<(u32, Vec<Span>)>,
}

impl Operation for CompleteObject {
    type Output = Result<(), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let object = &self.object;
        if let Err(refusal) = find(tx, Lock::Change, &object.bucket, &object.key, &self.upload).await? {
            return Ok(Err(refusal));
        }
        let place = match objects::writable(tx, object).await? {
            Ok(place) => place,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(left) = self.left_out(tx).await? else {
            return Ok(Err(Refusal::Changed));
        };
        if !left.is_empty() {
            super::garbage::leave(tx, vec![left]).await?;
        }
        objects::write(tx, object, &place, Some(&self.upload)).await?;
        tx.execute("DELETE FROM parts WHERE upload_id = ?1", params![self.upload.as_bytes()]).await?;
        remove(tx, place.bucket_no(), &object.key, &self.upload).await?;
        Ok(Ok(()))
    }
}

impl CompleteObject {
    /// The spans of parts that the body does not have; none if a part that it
    /// has is another by now.
    async fn left_out(&self, tx: &mut Tx<'_>) -> Result<Option<Vec<Span>>, MetadataError> {
        let sql = "SELECT number, spans FROM parts WHERE upload_id = ?1 ORDER BY number";
        let mut wanted = self.parts.iter().peekable();
        let mut left = Vec::new();
        for row in tx.query(sql, params![self.upload.as_bytes()]).await? {
            let (number, spans) = (row.u32(0)?, decode_spans(row.bytes(1)?)?);
            match wanted.next_if(|(wanted, _)| *wanted == number) {
                Some((_, expected)) if *expected != spans => return Ok(None),
                Some(_) => {}
                None => left.extend(spans),
            }
        }
        Ok(wanted.next().is_none().then_some(left))
    }
}

/// Gives an upload up.
pub struct AbortUpload {
    /// Which one.
    pub upload: FindUpload,
}

impl Operation for AbortUpload {
    type Output = Result<(), Refusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let FindUpload { bucket, key, upload } = &self.upload;
        if let Err(refusal) = find(tx, Lock::Change, bucket, key, upload).await? {
            return Ok(Err(refusal));
        }
        drop_parts(tx, &[upload.as_bytes()]).await?;
        if let Some(bucket) = buckets::find(tx, bucket).await? {
            remove(tx, bucket.number, key, upload).await?;
        }
        Ok(Ok(()))
    }
}

/// Takes the parts of uploads that are locked away; what they refer to is
/// garbage.
async fn drop_parts(tx: &mut Tx<'_>, uploads: &[&[u8]]) -> Result<(), MetadataError> {
    let sql = "DELETE FROM parts WHERE upload_id IN (SELECT value FROM rarray(?1)) RETURNING spans";
    let rows = tx.query(sql, params![uploads]).await?;
    let spans = rows.iter().map(|row| decode_spans(row.bytes(0)?)).collect::<Result<_, _>>()?;
    super::garbage::leave(tx, spans).await
}

async fn remove(tx: &mut Tx<'_>, bucket: u64, key: &ObjectKey, upload: &UploadId) -> Result<(), MetadataError> {
    let sql = "DELETE FROM uploads WHERE bucket_no = ?1 AND key = ?2 AND upload_id = ?3";
    tx.execute(sql, params![bucket, key.as_bytes(), upload.as_bytes()]).await.map(drop)
}

/// Gives all uploads of a bucket up, which nobody else can reach.
pub(super) async fn abort_all(tx: &mut Tx<'_>, bucket: u64) -> Result<(), MetadataError> {
    let sql = "SELECT upload_id FROM uploads WHERE bucket_no = ?1 ORDER BY key, upload_id";
    let rows = tx.query_locked(Lock::Change, sql, params![bucket]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let uploads: Vec<&[u8]> = rows.iter().map(|row| row.bytes(0)).collect::<Result<_, _>>()?;
    drop_parts(tx, &uploads).await?;
    tx.execute("DELETE FROM uploads WHERE bucket_no = ?1", params![bucket]).await.map(drop)
}
