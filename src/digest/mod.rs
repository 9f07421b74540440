//! What S3 wants hashed: MD5 for ETags, and the five checksum algorithms that
//! clients declare.
//!
//! Knows bytes and their digests; not where they come from or who asks.

mod algorithm;
mod checksum;
mod digester;
mod multipart;

pub use algorithm::{Algorithm, Checksum, ChecksumKind, StoredChecksum};
pub use checksum::ChecksumError;
pub use digester::{Digester, Digests};
pub use multipart::{composite, etag, full_object, md5_of_etag, multipart_etag};
