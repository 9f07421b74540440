//! Buckets.

use super::dialect::Lock;
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::types::limits::BUCKETS_MAX;
use crate::types::{BucketName, UnixMillis};

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRow {
    /// What objects call it. A bucket made anew under the same name has another.
    pub number: u64,
    /// Its name.
    pub name: BucketName,
    /// When it was made.
    pub created: UnixMillis,
}

fn bucket_row(row: &Row) -> Result<BucketRow, MetadataError> {
    let name = BucketName::new(row.text(1)?).map_err(|error| MetadataError::Corrupt(error.to_string()))?;
    Ok(BucketRow { number: row.u64(0)?, name, created: UnixMillis(row.int(2)?) })
}

pub(super) async fn find(tx: &mut Tx<'_>, name: &BucketName) -> Result<Option<BucketRow>, MetadataError> {
    find_locked(tx, Lock::None, name).await
}

/// The bucket; whoever puts something into it locks its existence first.
pub(super) async fn find_locked(
    tx: &mut Tx<'_>,
    lock: Lock,
    name: &BucketName,
) -> Result<Option<BucketRow>, MetadataError> {
    let sql = "SELECT bucket_no, name, created_ms FROM buckets WHERE name = ?1";
    tx.first_locked(lock, sql, params![name.as_str()]).await?.as_ref().map(bucket_row).transpose()
}

/// One bucket.
pub struct FindBucket {
    /// Its name.
    pub name: BucketName,
}

impl Operation for FindBucket {
    type Output = Option<BucketRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<BucketRow>, MetadataError> {
        find(tx, &self.name).await
    }
}

/// Makes a bucket.
pub struct CreateBucket {
    /// Its name.
    pub name: BucketName,
    /// The time to keep with it.
    pub now: UnixMillis,
}

/// How making a bucket went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedBucket {
    /// It is there now.
    New(BucketRow),
    /// It was there already.
    Exists,
    /// There are too many.
    TooMany,
}

impl Operation for CreateBucket {
    type Output = CreatedBucket;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<CreatedBucket, MetadataError> {
        if find(tx, &self.name).await?.is_some() {
            return Ok(CreatedBucket::Exists);
        }
        // Whoever else makes one waits here, so that all are counted.
        tx.counter("bucket", Lock::Change).await?;
        let count = tx.first("SELECT COUNT(*) FROM buckets", &[]).await?.map_or(Ok(0), |row| row.u64(0))?;
        if count >= BUCKETS_MAX.into() {
            return Ok(CreatedBucket::TooMany);
        }
        let number = tx.next("bucket").await?;
        let insert = "INSERT INTO buckets (bucket_no, name, created_ms) VALUES (?1, ?2, ?3) \
                      ON CONFLICT DO NOTHING";
        tx.insert_new(insert, params![number, self.name.as_str(), self.now]).await?;
        Ok(CreatedBucket::New(BucketRow { number, name: self.name.clone(), created: self.now }))
    }
}

/// Removes an empty bucket.
pub struct DeleteBucket {
    /// Its name.
    pub name: BucketName,
}

/// How removing a bucket went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedBucket {
    /// It is gone, with any uploads that were in progress.
    Gone,
    /// There was none.
    Missing,
    /// It holds objects.
    NotEmpty,
}

impl Operation for DeleteBucket {
    type Output = DeletedBucket;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<DeletedBucket, MetadataError> {
        // One that is in use is found out without waiting for its users.
        if tx.is_concurrent()
            && let Err(outcome) = self.empty(tx, Lock::None).await?
        {
            return Ok(outcome);
        }
        let bucket = match self.empty(tx, Lock::Change).await? {
            Ok(bucket) => bucket,
            Err(outcome) => return Ok(outcome),
        };
        super::uploads::abort_all(tx, bucket.number).await?;
        tx.execute("DELETE FROM buckets WHERE bucket_no = ?1", params![bucket.number]).await?;
        Ok(DeletedBucket::Gone)
    }
}

impl DeleteBucket {
    /// The bucket, if it is there and holds nothing.
    async fn empty(&self, tx: &mut Tx<'_>, lock: Lock) -> Result<Result<BucketRow, DeletedBucket>, MetadataError> {
        let Some(bucket) = find_locked(tx, lock, &self.name).await? else {
            return Ok(Err(DeletedBucket::Missing));
        };
        let object = "SELECT 1 FROM objects WHERE bucket_no = ?1 LIMIT 1";
        match tx.first(object, params![bucket.number]).await? {
            Some(_) => Ok(Err(DeletedBucket::NotEmpty)),
            None => Ok(Ok(bucket)),
        }
    }
}

/// A page of buckets, ascending by name.
pub struct ListBuckets {
    /// Only names that begin with this.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl Operation for ListBuckets {
    type Output = Vec<BucketRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<BucketRow>, MetadataError> {
        let sql = "SELECT bucket_no, name, created_ms FROM buckets \
                   WHERE name > ?1 AND name >= ?2 AND substr(name, 1, CAST(?3 AS INTEGER)) = ?2 ORDER BY name LIMIT ?4";
        let after = self.after.as_deref().unwrap_or_default();
        let prefix_bytes = self.prefix.len() as u64;
        let rows = tx.query(sql, params![after, self.prefix.as_str(), prefix_bytes, self.limit]).await?;
        rows.iter().map(bucket_row).collect()
    }
}
