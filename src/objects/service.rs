//! The operations, each a method.

use crate::types::{BucketName, UploadId};

use super::*;

/// The objects of a cluster.
#[derive(Clone)]
pub struct Objects {}

type Result<T> = std::result::Result<T, ObjectError>;

#[allow(unused_variables, missing_docs, clippy::todo)]
impl Objects {
    pub async fn create_bucket(&self, name: &BucketName) -> Result<BucketInfo> {
        todo!()
    }
    pub async fn head_bucket(&self, name: &BucketName) -> Result<BucketInfo> {
        todo!()
    }
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        todo!()
    }
    /// Ascending by name; after `after`, at most `limit`.
    pub async fn list_buckets(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<BucketInfo>> {
        todo!()
    }
    pub async fn put(&self, put: Put, body: Incoming) -> Result<Stored> {
        todo!()
    }
    pub async fn head(&self, get: Get) -> Result<Found> {
        todo!()
    }
    pub async fn get(&self, get: Get) -> Result<(Found, ByteStream)> {
        todo!()
    }
    /// The object and a page of its parts (number above `after`, at most `limit`), for GetObjectAttributes.
    /// The bool says whether more parts follow.
    pub async fn attributes(&self, get: Get, after: u32, limit: u32) -> Result<(ObjectInfo, Vec<PartInfo>, bool)> {
        todo!()
    }
    /// Deleting what is not there succeeds, unless `if_match` is given (NoSuchKey then).
    pub async fn delete(&self, bucket: &BucketName, delete: Delete) -> Result<()> {
        todo!()
    }
    /// One answer per entry, in order; one transaction.
    pub async fn delete_many(&self, bucket: &BucketName, deletes: Vec<Delete>) -> Result<Vec<Result<()>>> {
        todo!()
    }
    pub async fn copy(&self, copy: Copy) -> Result<Stored> {
        todo!()
    }
    pub async fn list(&self, bucket: &BucketName, list: List) -> Result<ListPage> {
        todo!()
    }
    pub async fn create_upload(&self, create: CreateUpload) -> Result<UploadId> {
        todo!()
    }
    pub async fn put_part(&self, part: PartAddress, body: Incoming) -> Result<PartInfo> {
        todo!()
    }
    pub async fn copy_part(&self, copy: CopyPart) -> Result<PartInfo> {
        todo!()
    }
    pub async fn complete_upload(&self, complete: CompleteUpload) -> Result<Stored> {
        todo!()
    }
    pub async fn abort_upload(&self, address: &Address, upload: UploadId) -> Result<()> {
        todo!()
    }
    /// Parts above number `after`, at most `limit`.
    pub async fn list_parts(&self, address: &Address, upload: UploadId, after: u32, limit: u32) -> Result<PartPage> {
        todo!()
    }
    pub async fn list_uploads(&self, bucket: &BucketName, list: ListUploads) -> Result<UploadPage> {
        todo!()
    }
}
