//! What is asked of the objects room, and what it answers.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::Stream;

pub use crate::digest::StoredChecksum;
use crate::digest::{Algorithm, Checksum, ChecksumKind};
use crate::types::{BucketName, ObjectKey, UnixMillis, UploadId};
pub use crate::types::{ETagMatch, ObjectHeaders, WriteCondition};

/// An object's bytes on their way in or out. An error ends it.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

/// A checksum that a trailer brings: filled before the body's stream ends.
pub type TrailingChecksum = Arc<OnceLock<Checksum>>;

/// The body of a PUT or of a part, with all that was declared about it.
pub struct Incoming {
    /// The bytes, decoded from any transfer framing.
    pub stream: ByteStream,
    /// Declared length in bytes.
    pub length: Option<u64>,
    /// Content-MD5.
    pub md5: Option<[u8; 16]>,
    /// The algorithm whose checksum shall be computed and kept.
    pub algorithm: Option<Algorithm>,
    /// The checksum that was declared in a header.
    pub checksum: Option<Checksum>,
    /// Where a trailer's checksum will be.
    pub trailing: Option<TrailingChecksum>,
}

/// Conditions of a read, as RFC 9110 section 13.2.2 orders them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadCondition {
    /// If-Match.
    pub if_match: Option<ETagMatch>,
    /// If-None-Match.
    pub if_none_match: Option<ETagMatch>,
    /// If-Modified-Since, in seconds since 1970.
    pub if_modified_since: Option<i64>,
    /// If-Unmodified-Since, in seconds since 1970.
    pub if_unmodified_since: Option<i64>,
}

/// Which bytes of an object are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=first-last`, both inclusive.
    Inclusive(u64, u64),
    /// `bytes=first-`.
    From(u64),
    /// `bytes=-length`: that many from the end.
    Last(u64),
}

/// An object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The bucket.
    pub bucket: BucketName,
    /// The key in it.
    pub key: ObjectKey,
}

/// A PUT of a whole object.
#[derive(Debug, Clone)]
pub struct Put {
    /// Where to.
    pub address: Address,
    /// What to keep with it.
    pub headers: ObjectHeaders,
    /// When to.
    pub condition: WriteCondition,
}

/// A GET or HEAD.
#[derive(Debug, Clone)]
pub struct Get {
    /// Which object.
    pub address: Address,
    /// Which bytes; all of them without.
    pub range: Option<ByteRange>,
    /// Which part of a multipart object, from 1.
    pub part_number: Option<u32>,
    /// When to.
    pub condition: ReadCondition,
}

/// An object as HEAD sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size_bytes: u64,
    /// ETag without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: UnixMillis,
    /// What was kept with it.
    pub headers: ObjectHeaders,
    /// Its checksum. Every object has one: where the client declared none, it
    /// is a CRC64NVME as S3 computes it by default.
    pub checksum: Option<StoredChecksum>,
    /// Number of parts, for an object from a multipart upload.
    pub part_count: Option<u32>,
}

/// What a GET or HEAD found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The object.
    pub info: ObjectInfo,
    /// First byte and number of bytes that are given, where that is not all
    /// (a range or a part was asked for).
    pub range: Option<(u64, u64)>,
    /// The checksum of the part that was asked for by number.
    pub part_checksum: Option<Checksum>,
}

/// A part of a multipart object, for GetObjectAttributes and ListParts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// From 1 to 10,000.
    pub number: u32,
    /// Size in bytes.
    pub size_bytes: u64,
    /// ETag without quotes.
    pub etag: String,
    /// Its checksum, where the upload has an algorithm.
    pub checksum: Option<Checksum>,
    /// When it was uploaded. Not kept after completion (zero then).
    pub modified: UnixMillis,
}

/// What a write left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// ETag without quotes.
    pub etag: String,
    /// When it was committed.
    pub modified: UnixMillis,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The checksum that was kept.
    pub checksum: Option<StoredChecksum>,
}

/// A delete of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The key.
    pub key: ObjectKey,
    /// If-Match: only the object with one of these ETags.
    pub if_match: Option<ETagMatch>,
}

/// Where a copy's headers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyHeaders {
    /// From the source, but for those of its place (see
    /// [`ObjectHeaders::is_of_place`]), instead of which the copy gets these.
    Source(ObjectHeaders),
    /// All of them are new.
    New(ObjectHeaders),
}

/// A CopyObject.
#[derive(Debug, Clone)]
pub struct Copy {
    /// What to copy.
    pub source: Address,
    /// When to, by the source (x-amz-copy-source-if-*).
    pub source_condition: ReadCondition,
    /// Where to.
    pub destination: Address,
    /// What to keep with it.
    pub headers: CopyHeaders,
    /// A checksum algorithm that the copy shall have; the source's without.
    pub algorithm: Option<Algorithm>,
    /// When to, by the destination.
    pub condition: WriteCondition,
}

/// A ListObjects, of either version.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Roll keys up that go on after this.
    pub delimiter: Option<String>,
    /// Only keys and common prefixes after this one.
    pub after: Option<String>,
    /// At most so many keys and common prefixes together (0 to 1,000).
    pub max_keys: u32,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// The key.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// ETag without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: UnixMillis,
    /// Its checksum's algorithm and kind.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
    /// Its storage class as it was declared (`STANDARD` without).
    pub storage_class: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// Keys, ascending by bytes.
    pub objects: Vec<ListedObject>,
    /// Common prefixes, ascending by bytes.
    pub common_prefixes: Vec<String>,
    /// The last key or common prefix of the page, where more follow: the next
    /// page's `after`.
    pub next: Option<String>,
}

/// A CreateMultipartUpload.
#[derive(Debug, Clone)]
pub struct CreateUpload {
    /// Where the object will be.
    pub address: Address,
    /// What to keep with it.
    pub headers: ObjectHeaders,
    /// The checksum that parts and object shall have.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
}

/// Which part of which upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartAddress {
    /// The upload's object.
    pub address: Address,
    /// The upload.
    pub upload: UploadId,
    /// From 1 to 10,000.
    pub number: u32,
}

/// An UploadPartCopy.
#[derive(Debug, Clone)]
pub struct CopyPart {
    /// What to copy.
    pub source: Address,
    /// Which bytes, both ends inclusive; all without.
    pub range: Option<(u64, u64)>,
    /// When to, by the source.
    pub source_condition: ReadCondition,
    /// Where to.
    pub part: PartAddress,
}

/// A part as a CompleteMultipartUpload names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// From 1 to 10,000.
    pub number: u32,
    /// The ETag that the upload of the part answered, without quotes.
    pub etag: String,
    /// The checksum that the client believes it has.
    pub checksum: Option<Checksum>,
}

/// A CompleteMultipartUpload.
#[derive(Debug, Clone)]
pub struct CompleteUpload {
    /// The object.
    pub address: Address,
    /// The upload.
    pub upload: UploadId,
    /// Its parts, ascending.
    pub parts: Vec<CompletedPart>,
    /// The whole object's checksum that the client declared (for a composite
    /// one without its `-N`).
    pub checksum: Option<Checksum>,
    /// The kind of checksum that the client believes the upload has.
    pub checksum_kind: Option<ChecksumKind>,
    /// The whole object's size that the client declared (x-amz-mp-object-size).
    pub size_bytes: Option<u64>,
    /// When to.
    pub condition: WriteCondition,
}

/// A ListParts page.
#[derive(Debug, Clone)]
pub struct PartPage {
    /// Ascending by number.
    pub parts: Vec<PartInfo>,
    /// More parts follow the last one.
    pub truncated: bool,
    /// The upload's checksum.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
    /// The upload's storage class as it was declared.
    pub storage_class: Option<String>,
}

/// A ListMultipartUploads.
#[derive(Debug, Clone, Default)]
pub struct ListUploads {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Roll keys up that go on after this.
    pub delimiter: Option<String>,
    /// Only keys after this one, or the same key with a later upload id.
    pub key_marker: Option<String>,
    /// With `key_marker`: uploads of that very key after this one, too.
    pub upload_marker: Option<UploadId>,
    /// At most so many uploads and common prefixes together (0 to 1,000).
    pub max_uploads: u32,
}

/// An upload in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
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

/// A ListMultipartUploads page.
#[derive(Debug, Clone, Default)]
pub struct UploadPage {
    /// Ascending by key, then by upload id.
    pub uploads: Vec<UploadInfo>,
    /// Ascending by bytes.
    pub common_prefixes: Vec<String>,
    /// Where the next page begins: a key or common prefix, and the upload.
    pub next: Option<(String, Option<UploadId>)>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: BucketName,
    /// When it was created.
    pub created: UnixMillis,
}
