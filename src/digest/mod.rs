//! What S3 wants hashed: MD5 for ETags, and the five checksum algorithms that
//! clients declare.
//!
//! Knows bytes and their digests; not where they come from or who asks.

mod algorithm;

pub use algorithm::{Algorithm, Checksum, ChecksumKind, StoredChecksum};
