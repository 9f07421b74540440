//! The room's one handle, and the operations on whole objects.

use std::sync::Arc;

use super::conditions::{check_read, resolve};
use super::pack::{Owner, Packer};
use super::receive::{Content, Received};
use super::{
    Address, ByteStream, Delete, Epochs, Found, Get, Incoming, KeyRing, ObjectError, ObjectInfo, PartInfo, Put, Stored,
};
use crate::digest::{ChecksumKind, StoredChecksum, etag};
use crate::env::Env;
use crate::metadata::{
    CommitObject, Current, DeleteObjects, FindObject, FoundObject, Metadata, NewBody, NewObject, ObjectContent,
    PartRecord, Refusal, Source, Span, check_condition,
};
use crate::transfer::Transfer;
use crate::types::limits::PUT_BYTES_MAX;
use crate::types::{BodyId, BucketName, UnixMillis, WriteCondition};

type Result<T> = std::result::Result<T, ObjectError>;

/// The objects of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Objects(Arc<Parts>);

/// What the room is made of.
pub struct Parts {
    pub(super) metadata: Metadata,
    pub(super) transfer: Transfer,
    pub(super) keys: KeyRing,
    pub(super) epochs: Epochs,
    pub(super) packer: Packer,
    pub(super) env: Env,
}

impl std::ops::Deref for Objects {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Objects {
    /// Opens the room over its parts.
    pub fn new(metadata: Metadata, transfer: Transfer, keys: KeyRing, epochs: Epochs, env: Env) -> Self {
        let (packer, task) = Packer::new();
        let objects = Self(Arc::new(Parts { metadata, transfer, keys, epochs, packer, env }));
        tokio::spawn(task.run(objects.clone()));
        objects
    }

    /// Largest object that is kept in its row: about `k` × 4 KiB.
    pub(super) fn inline_bytes(&self) -> usize {
        4096 * usize::from(self.transfer.scheme().required())
    }

    /// Writes an object. It is durable when this returns.
    pub async fn put(&self, put: Put, body: Incoming) -> Result<Stored> {
        self.check_early(&put.address, &put.condition).await?;
        let received = self.receive(body, PUT_BYTES_MAX).await?;
        let checksum = received.digests.checksums.first().cloned();
        let object = NewObject {
            bucket: put.address.bucket,
            key: put.address.key,
            condition: put.condition,
            headers: put.headers,
            size_bytes: received.size_bytes,
            etag: etag(&received.digests.md5),
            checksum: checksum.map(|checksum| StoredChecksum { checksum, kind: ChecksumKind::FullObject, parts: None }),
            modified: self.env.now(),
            content: ObjectContent::Empty,
        };
        let stored = stored(&object);
        self.commit(object, received).await?;
        Ok(stored)
    }

    /// Refuses what could not be committed anyway before its body is read.
    async fn check_early(&self, address: &Address, condition: &WriteCondition) -> Result<()> {
        let etag = match self.find(address, false).await {
            Ok(found) => Some(found.current.etag),
            Err(ObjectError::NoSuchKey) => None,
            Err(error) => return Err(error),
        };
        Ok(check_condition(condition, etag.as_deref())?)
    }

    async fn commit(&self, object: NewObject, received: Received) -> Result<()> {
        let commit = match received.content {
            Content::Empty => commit_alone(object, ObjectContent::Empty),
            Content::Inline(inline) => commit_alone(object, ObjectContent::Inline(inline)),
            Content::Small(small) => {
                let object = NewObject { content: self.body_of(small.stream.stream, object.size_bytes), ..object };
                return Ok(self.packer.commit(small, Owner::Object(Box::new(object))).await??);
            }
            Content::Stored(stream) => {
                let (stream, segments, guard) = stream.into_parts();
                let object = NewObject { content: self.body_of(stream.stream, object.size_bytes), ..object };
                let lease = Some(guard.lease());
                let commit = CommitObject { object, streams: vec![stream], segments: segments.clone(), lease };
                return self.commit_segments(commit, segments, guard).await;
            }
        };
        Ok(self.metadata.write(commit).await??)
    }

    /// Commits what refers to segments; condemns them if it is refused. Goes
    /// on to its end even if the caller goes away: a commit that was begun
    /// must not lose its guard.
    pub(super) async fn commit_segments<O>(
        &self,
        commit: O,
        segments: Vec<crate::metadata::NewSegment>,
        guard: super::epochs::EpochGuard,
    ) -> Result<()>
    where
        O: crate::metadata::Operation<Output = std::result::Result<(), Refusal>>,
    {
        let objects = self.clone();
        let committed = tokio::spawn(async move {
            let outcome = objects.metadata.write(commit).await;
            if let Ok(Err(_)) = &outcome {
                objects.transfer.abandon(&segments);
            }
            drop(guard);
            outcome
        });
        let outcome = committed.await.map_err(|_| ObjectError::Unavailable("the server is shutting down".into()))?;
        Ok(outcome??)
    }

    fn body_of(&self, stream: crate::types::StreamId, length: u64) -> ObjectContent {
        let spans = vec![Span { stream, offset: 0, length }];
        ObjectContent::Body(NewBody { body: self.new_body_id(), spans, parts: None })
    }

    pub(super) fn new_body_id(&self) -> BodyId {
        BodyId::from_bytes(self.env.random())
    }

    pub(super) async fn find(&self, address: &Address, with_source: bool) -> Result<FoundObject> {
        let find = FindObject { bucket: address.bucket.clone(), key: address.key.clone(), with_source };
        Ok(self.metadata.read(find).await??)
    }

    /// An object without its bytes.
    pub async fn head(&self, get: Get) -> Result<Found> {
        let found = self.find(&get.address, get.part_number.is_some()).await?;
        Ok(select(&get, &found)?.0)
    }

    /// An object, or a range or part of it.
    pub async fn get(&self, get: Get) -> Result<(Found, ByteStream)> {
        let found = self.find(&get.address, true).await?;
        let (answer, first, length) = select(&get, &found)?;
        let content = self.begun_content(found, first, length).await?;
        Ok((answer, content))
    }

    /// An object and a page of its parts (numbers above `after`, at most
    /// `limit`). The last value says whether more parts follow.
    pub async fn attributes(&self, get: Get, after: u32, limit: u32) -> Result<(ObjectInfo, Vec<PartInfo>, bool)> {
        let found = self.find(&get.address, true).await?;
        let info = info(&found.current);
        check_read(&get.condition, &info)?;
        let mut parts: Vec<PartInfo> = match found.source {
            Source::Body { parts, .. } => parts.into_iter().filter(|part| part.number > after).map(part_info).collect(),
            _ => Vec::new(),
        };
        let more = parts.len() > limit as usize;
        parts.truncate(limit as usize);
        Ok((info, parts, more))
    }

    /// Removes an object. Removing what is not there succeeds, unless a
    /// condition is given.
    pub async fn delete(&self, bucket: &BucketName, delete: Delete) -> Result<()> {
        let mut outcomes = self.delete_many(bucket, vec![delete]).await?;
        outcomes.pop().unwrap_or(Ok(()))
    }

    /// Removes objects in one transaction; one answer for each, in order.
    pub async fn delete_many(&self, bucket: &BucketName, deletes: Vec<Delete>) -> Result<Vec<Result<()>>> {
        let objects =
            deletes.into_iter().map(|Delete { key, if_match }| (key, WriteCondition { if_match, if_none_match: None }));
        let operation = DeleteObjects { bucket: bucket.clone(), objects: objects.collect() };
        let outcomes = self.metadata.write(operation).await??;
        Ok(outcomes.into_iter().map(|outcome| outcome.map_err(Into::into)).collect())
    }
}

fn commit_alone(object: NewObject, content: ObjectContent) -> CommitObject {
    let object = NewObject { content, ..object };
    CommitObject { object, streams: Vec::new(), segments: Vec::new(), lease: None }
}

pub(super) fn stored(object: &NewObject) -> Stored {
    Stored {
        etag: object.etag.clone(),
        modified: object.modified,
        size_bytes: object.size_bytes,
        checksum: object.checksum.clone(),
    }
}

pub(super) fn info(current: &Current) -> ObjectInfo {
    ObjectInfo {
        size_bytes: current.size_bytes,
        etag: current.etag.clone(),
        modified: current.modified,
        headers: current.headers.clone(),
        checksum: current.checksum.clone(),
        part_count: current.part_count,
    }
}

fn part_info(part: PartRecord) -> PartInfo {
    let PartRecord { number, size_bytes, etag, checksum } = part;
    PartInfo { number, size_bytes, etag, checksum, modified: UnixMillis(0) }
}

/// What a GET or HEAD answers, and the bytes that it means.
fn select(get: &Get, found: &FoundObject) -> Result<(Found, u64, u64)> {
    let info = info(&found.current);
    check_read(&get.condition, &info)?;
    let size = info.size_bytes;
    let (range, part_checksum) = match (get.part_number, get.range) {
        (Some(number), _) => part_range(found, number)?,
        (None, Some(range)) => (Some(resolve(range, size)?), None),
        (None, None) => (None, None),
    };
    let (first, length) = range.unwrap_or((0, size));
    Ok((Found { info, range, part_checksum }, first, length))
}

type PartRange = (Option<(u64, u64)>, Option<crate::digest::Checksum>);

/// Where a part is. An object that was not uploaded in parts is its own first.
fn part_range(found: &FoundObject, number: u32) -> Result<PartRange> {
    let parts = match &found.source {
        Source::Body { parts, .. } => parts.as_slice(),
        _ => &[],
    };
    if parts.is_empty() && number == 1 {
        return Ok((Some((0, found.current.size_bytes)), None));
    }
    let at = parts.iter().position(|part| part.number == number).ok_or(ObjectError::InvalidPartNumber)?;
    let first = parts[..at].iter().map(|part| part.size_bytes).sum();
    Ok((Some((first, parts[at].size_bytes)), parts[at].checksum.clone()))
}
