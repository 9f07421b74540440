//! Lists in S3's order: by the bytes of the key, rolled up at a delimiter.
//!
//! A page reads what it returns: after a common prefix the next query begins
//! behind everything that the prefix covers, however many keys that is.

use super::buckets;
use super::checksums::{decode_stored, decode_upload_checksum};
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::digest::{Algorithm, ChecksumKind};
use crate::types::{BucketName, UnixMillis, UploadId};

/// A page of a bucket's keys.
pub struct ListObjects {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys that begin with this.
    pub prefix: Vec<u8>,
    /// Roll keys up that go on after this (not empty).
    pub delimiter: Option<Vec<u8>>,
    /// Only keys and common prefixes after this.
    pub after: Option<Vec<u8>>,
    /// At most so many keys and common prefixes together.
    pub limit: u32,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRow {
    /// The key.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was written.
    pub modified: UnixMillis,
    /// ETag without quotes.
    pub etag: String,
    /// Its checksum's algorithm and kind.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
    /// Its storage class as it was declared.
    pub storage_class: Option<String>,
}

/// A page: entries and common prefixes, both ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPage {
    /// The keys.
    pub rows: Vec<ListedRow>,
    /// The common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// The last key or prefix, where more follow.
    pub next: Option<Vec<u8>>,
}

impl Operation for ListObjects {
    type Output = Option<ListedPage>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<ListedPage>, MetadataError> {
        let Some(bucket) = buckets::find(tx, &self.bucket).await? else {
            return Ok(None);
        };
        let roll = Roll { prefix: &self.prefix, delimiter: self.delimiter.as_deref() };
        let mut page = ListedPage { rows: Vec::new(), prefixes: Vec::new(), next: None };
        let mut last = None;
        let (mut start, end) = (roll.start(self.after.as_deref()), roll.end());
        let mut batch = roll.first_batch(self.limit);
        // However many there are, it takes at most three statements: a few
        // keys, all that the page has room for, and passing over what rolls up.
        let (mut room, mut skips) = (self.limit, false);
        if self.limit == 0 {
            return Ok(Some(page));
        }
        loop {
            let wanted = if skips { room + 1 } else { batch.min(room + 1) };
            let rows = match skips {
                true => skip_from(tx, bucket.number, &roll, &start, &end, wanted).await?,
                false => keys_from(tx, bucket.number, &start, &end, wanted).await?,
            };
            let mut rolled = false;
            for row in &rows {
                let key = row.bytes(0)?;
                if room == 0 {
                    page.next = last;
                    return Ok(Some(page));
                }
                room -= 1;
                let common = roll.common_prefix(key);
                rolled = common.is_some();
                last = Some(common.unwrap_or(key).to_vec());
                match common {
                    None => {
                        start = after(key);
                        page.rows.push(listed_row(row)?);
                    }
                    Some(common) => {
                        start = successor(common);
                        page.prefixes.push(common.to_vec());
                        // What follows is under the same prefix, unless it was passed over.
                        if !skips {
                            break;
                        }
                    }
                }
            }
            if (skips || !rolled) && rows.len() < wanted as usize {
                break;
            }
            skips |= rolled;
            batch = self.limit + 1;
        }
        Ok(Some(page))
    }
}

/// CROSS JOIN: SQLite would walk all keys in their order and look for each in
/// the page.
pub(super) const PASS_OVER: &str = "WITH RECURSIVE page (key, step) AS ( \
    SELECT (SELECT key FROM objects WHERE bucket_no = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT 1), 1 \
    UNION ALL \
    SELECT (SELECT objects.key FROM objects WHERE bucket_no = ?1 AND objects.key < ?3 AND objects.key >= \
    CASE WHEN instr(substr(page.key, CAST(?4 AS INTEGER)), ?5) > 0 \
    THEN CAST(substr(page.key, 1, CAST(?4 AS INTEGER) - 2 + instr(substr(page.key, CAST(?4 AS INTEGER)), ?5)) \
    || ?6 AS BLOB) ELSE CAST(page.key || ?7 AS BLOB) END ORDER BY objects.key LIMIT 1), step + 1 \
    FROM page WHERE page.key IS NOT NULL AND step < ?8) \
    SELECT objects.key, size_bytes, modified_ms, etag, checksum, storage_class FROM page \
    CROSS JOIN objects WHERE bucket_no = ?1 AND objects.key = page.key ORDER BY step";

/// The first key, then the first one behind it or behind its common prefix,
/// and so on.
async fn skip_from(
    tx: &mut Tx<'_>,
    bucket: u64,
    roll: &Roll<'_>,
    start: &[u8],
    end: &[u8],
    limit: u32,
) -> Result<Vec<Row>, MetadataError> {
    let delimiter = roll.delimiter.unwrap_or_default();
    let rest = roll.prefix.len() as u64 + 1;
    let (next, zero): (_, &[u8]) = (successor(delimiter), &[0]);
    tx.query(PASS_OVER, params![bucket, start, end, rest, delimiter, &next, zero, limit]).await
}

/// PostgreSQL has these columns in the key's index.
pub(super) const IN_ORDER: &str = "SELECT key, size_bytes, modified_ms, etag, checksum, storage_class FROM objects \
    WHERE bucket_no = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4";

async fn keys_from(
    tx: &mut Tx<'_>,
    bucket: u64,
    start: &[u8],
    end: &[u8],
    limit: u32,
) -> Result<Vec<Row>, MetadataError> {
    tx.query(IN_ORDER, params![bucket, start, end, limit]).await
}

fn listed_row(row: &Row) -> Result<ListedRow, MetadataError> {
    let checksum = row.optional(4)?.map(decode_stored).transpose()?;
    Ok(ListedRow {
        key: row.text(0)?,
        size_bytes: row.u64(1)?,
        modified: UnixMillis(row.int(2)?),
        etag: row.text(3)?,
        checksum: checksum.map(|stored| (stored.checksum.algorithm, stored.kind)),
        storage_class: row.optional(5)?.map(super::codec::text).transpose()?,
    })
}

/// A page of a bucket's uploads in progress.
pub struct ListUploads {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys that begin with this.
    pub prefix: Vec<u8>,
    /// Roll keys up that go on after this (not empty).
    pub delimiter: Option<Vec<u8>>,
    /// Only keys and common prefixes after this; with an upload also that
    /// key's uploads after it.
    pub after: Option<(Vec<u8>, Option<UploadId>)>,
    /// At most so many uploads and common prefixes together.
    pub limit: u32,
}

/// An upload in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// The object's key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// When it was created.
    pub initiated: UnixMillis,
    /// Its checksum.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
    /// Its storage class as it was declared.
    pub storage_class: Option<String>,
}

/// A page of uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListedUploads {
    /// Ascending by key, then by upload.
    pub uploads: Vec<ListedUpload>,
    /// The common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// The last key or prefix (and upload), where more follow.
    pub next: Option<(Vec<u8>, Option<UploadId>)>,
}

impl Operation for ListUploads {
    type Output = Option<ListedUploads>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<ListedUploads>, MetadataError> {
        let Some(bucket) = buckets::find(tx, &self.bucket).await? else {
            return Ok(None);
        };
        let roll = Roll { prefix: &self.prefix, delimiter: self.delimiter.as_deref() };
        let mut page = ListedUploads::default();
        let mut last = None;
        let end = roll.end();
        let mut start = match &self.after {
            Some((key, Some(upload))) => (key.clone(), upload.as_bytes().to_vec()),
            after => (roll.start(after.as_ref().map(|(key, _)| key.as_slice())), Vec::new()),
        };
        start = start.max((self.prefix.clone(), Vec::new()));
        let batch = self.limit + 1;
        if self.limit == 0 {
            return Ok(Some(page));
        }
        'pages: loop {
            let rows = uploads_from(tx, bucket.number, &start, &end, batch).await?;
            for row in &rows {
                let key = row.bytes(0)?;
                if page.uploads.len() + page.prefixes.len() == self.limit as usize {
                    page.next = last;
                    break 'pages;
                }
                if let Some(common) = roll.common_prefix(key) {
                    last = Some((common.to_vec(), None));
                    start = (successor(common), Vec::new());
                    page.prefixes.push(common.to_vec());
                    continue 'pages;
                }
                let upload = listed_upload(row)?;
                last = Some((key.to_vec(), Some(upload.upload)));
                start = (key.to_vec(), upload.upload.as_bytes().to_vec());
                page.uploads.push(upload);
            }
            if rows.len() < batch as usize {
                break;
            }
        }
        Ok(Some(page))
    }
}

async fn uploads_from(
    tx: &mut Tx<'_>,
    bucket: u64,
    start: &(Vec<u8>, Vec<u8>),
    end: &[u8],
    limit: u32,
) -> Result<Vec<Row>, MetadataError> {
    let sql = "SELECT key, upload_id, initiated_ms, checksum, storage_class FROM uploads \
               WHERE bucket_no = ?1 AND (key, upload_id) > (?2, ?3) AND key < ?4 \
               ORDER BY key, upload_id LIMIT ?5";
    tx.query(sql, params![bucket, &start.0, &start.1, end, limit]).await
}

fn listed_upload(row: &Row) -> Result<ListedUpload, MetadataError> {
    Ok(ListedUpload {
        key: row.text(0)?,
        upload: UploadId::from_bytes(row.array(1)?),
        initiated: UnixMillis(row.int(2)?),
        checksum: row.maybe_u64(3)?.map(decode_upload_checksum).transpose()?,
        storage_class: row.optional(4)?.map(super::codec::text).transpose()?,
    })
}

/// How keys roll up, and where a page begins and ends.
struct Roll<'a> {
    prefix: &'a [u8],
    delimiter: Option<&'a [u8]>,
}

impl Roll<'_> {
    /// What the key rolls up to, if it goes on after a delimiter.
    fn common_prefix<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }

    /// The least key that the page may read. A marker inside of a common
    /// prefix is behind that prefix, as S3 compares what it returns.
    fn start(&self, marker: Option<&[u8]>) -> Vec<u8> {
        let behind = marker.map(|marker| match self.common_prefix(marker) {
            Some(common) => successor(common),
            None => after(marker),
        });
        behind.unwrap_or_default().max(self.prefix.to_vec())
    }

    fn end(&self) -> Vec<u8> {
        successor(self.prefix)
    }

    /// With a delimiter the first key may already stand for many: read few.
    fn first_batch(&self, limit: u32) -> u32 {
        if self.delimiter.is_some() { 2 } else { limit + 1 }
    }
}

/// The least byte string greater than `key`.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The least byte string greater than everything that begins with `prefix`.
/// Keys are UTF-8, which has no byte 0xFF.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if last < 0xFF {
            next.push(last + 1);
            return next;
        }
    }
    vec![0xFF]
}
