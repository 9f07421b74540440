//! Buckets.

use super::{BucketInfo, ObjectError, Objects};
use crate::metadata::{BucketRow, CreateBucket, CreatedBucket, DeleteBucket, DeletedBucket, FindBucket, ListBuckets};
use crate::types::BucketName;
use crate::types::limits::BUCKETS_MAX;

type Result<T> = std::result::Result<T, ObjectError>;

fn info(row: BucketRow) -> BucketInfo {
    BucketInfo { name: row.name, created: row.created }
}

impl Objects {
    /// Makes a bucket.
    pub async fn create_bucket(&self, name: &BucketName) -> Result<BucketInfo> {
        let create = CreateBucket { name: name.clone(), now: self.env.now() };
        match self.metadata.write(create).await? {
            CreatedBucket::New(row) => Ok(info(row)),
            CreatedBucket::Exists => Err(ObjectError::BucketExists),
            CreatedBucket::TooMany => Err(ObjectError::TooManyBuckets(BUCKETS_MAX)),
        }
    }

    /// Looks a bucket up.
    pub async fn head_bucket(&self, name: &BucketName) -> Result<BucketInfo> {
        let row = self.metadata.read(FindBucket { name: name.clone() }).await?;
        row.map(info).ok_or(ObjectError::NoSuchBucket)
    }

    /// Removes an empty bucket; its uploads in progress are given up.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        match self.metadata.write(DeleteBucket { name: name.clone() }).await? {
            DeletedBucket::Gone => Ok(()),
            DeletedBucket::Missing => Err(ObjectError::NoSuchBucket),
            DeletedBucket::NotEmpty => Err(ObjectError::BucketNotEmpty),
        }
    }

    /// Buckets whose names begin with `prefix` and come after `after`,
    /// ascending, at most `limit`.
    pub async fn list_buckets(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<BucketInfo>> {
        let list = ListBuckets { prefix: prefix.into(), after: after.map(Into::into), limit };
        Ok(self.metadata.read(list).await?.into_iter().map(info).collect())
    }
}
