//! Why an operation on objects did not happen. Nothing has changed then.

use crate::metadata::{MetadataError, Refusal};
use crate::transfer::{BudgetError, TransferError};
use crate::types::NameError;

/// One error for the room: the gateway gives each its S3 code.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// A bucket name or key that breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The bucket does not exist.
    #[error("the bucket does not exist")]
    NoSuchBucket,
    /// A bucket of that name exists already, and it is the caller's.
    #[error("the bucket exists already and is yours")]
    BucketExists,
    /// Too many buckets.
    #[error("there are {0} buckets already, which is the limit")]
    TooManyBuckets(u32),
    /// The bucket still holds objects or multipart uploads.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// No object of that key.
    #[error("the key does not exist")]
    NoSuchKey,
    /// No version of that id.
    #[error("the version does not exist")]
    NoSuchVersion,
    /// The upload id is unknown, or the upload was completed or aborted.
    #[error("the multipart upload does not exist; it may have been completed or aborted")]
    NoSuchUpload,
    /// A part that was never uploaded, or whose ETag or checksum differs.
    #[error("part {number}: {reason}")]
    InvalidPart {
        /// The part's number.
        number: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The parts of a completion are not in ascending order.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is smaller than 5 MiB.
    #[error("part {number} has {size_bytes} bytes; all but the last need at least 5 MiB")]
    PartTooSmall {
        /// The part's number.
        number: u32,
        /// Its size.
        size_bytes: u64,
        /// Its ETag, as S3's error shows it.
        etag: String,
    },
    /// A request that contradicts itself or the upload it belongs to.
    #[error("{0}")]
    InvalidRequest(String),
    /// More bytes than S3 allows for one PUT, part or object.
    #[error("the upload has {size_bytes} bytes; at most {max_bytes} are possible")]
    TooLarge {
        /// The size that was declared or reached.
        size_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// A condition of a write or read does not hold; names the header.
    #[error("the condition in {0} does not hold")]
    PreconditionFailed(&'static str),
    /// A conditional read finds what the client already has. Carries what a
    /// 304 has to repeat.
    #[error("not modified")]
    NotModified(Box<super::ObjectInfo>),
    /// The range begins at or after the object's end.
    #[error("the range cannot be satisfied: the object has {size_bytes} bytes")]
    InvalidRange {
        /// The object's size.
        size_bytes: u64,
    },
    /// `partNumber` of a part that the object does not have.
    #[error("the object has no such part")]
    InvalidPartNumber,
    /// Another write to the same key or upload came between; try again.
    #[error("another operation on this key came between; try again")]
    Conflict,
    /// The body's MD5 differs from Content-MD5.
    #[error("the body's MD5 differs from the Content-MD5 that was sent")]
    BadDigest,
    /// The body's checksum differs from the declared one; names the algorithm.
    #[error("the body's {0} differs from the checksum that was sent")]
    BadChecksum(&'static str),
    /// The body ended before its declared length, or went on after it.
    #[error("the body has {received_bytes} bytes where {expected_bytes} were declared")]
    IncompleteBody {
        /// What came.
        received_bytes: u64,
        /// What was declared.
        expected_bytes: u64,
    },
    /// The body's stream failed; the gateway put the reason in and takes it out.
    #[error("the body could not be read: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not enough storage nodes take writes.
    #[error(
        "{missing} storage {} missing: {needed} must take the data and {available} can; try again later",
        if *missing == 1 { "node is" } else { "nodes are" }
    )]
    TooFewNodes {
        /// Nodes that a write must reach.
        needed: usize,
        /// Nodes that would take it.
        available: usize,
        /// The difference.
        missing: usize,
    },
    /// The memory for transfers is spent; try again.
    #[error("the server is busy: all of its transfer memory is in use; try again")]
    Busy,
    /// The object's bytes cannot be read now: too many pieces are away.
    #[error("{0}")]
    Unreadable(String),
    /// Something that is needed is away for a while; try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The same of the metadata database. Why is the operator's business.
    #[error("the metadata database is not available")]
    DatabaseAway(String),
    /// The database or the disk failed; the log has the details.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ObjectError {
    /// The error that a body's stream ended with: our own where an object is
    /// read for a copy, else the client's side's.
    pub(super) fn of_stream(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        error.downcast::<Self>().map_or_else(Self::Body, |own| *own)
    }

    /// The same error for another who waited for the same thing.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::TooFewNodes { needed, available, missing } => {
                Self::TooFewNodes { needed: *needed, available: *available, missing: *missing }
            }
            Self::Busy => Self::Busy,
            Self::Unavailable(reason) => Self::Unavailable(reason.clone()),
            Self::DatabaseAway(reason) => Self::DatabaseAway(reason.clone()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<TransferError> for ObjectError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::TooFewNodes { needed, available } => {
                Self::TooFewNodes { needed, available, missing: needed.saturating_sub(available) }
            }
            TransferError::Busy(_) => Self::Busy,
            TransferError::NotReady(_) => Self::Unavailable(error.to_string()),
            TransferError::Unreadable { .. } | TransferError::TooFewShares { .. } => {
                Self::Unreadable(error.to_string())
            }
            TransferError::Corrupt { .. } => Self::Internal(error.to_string()),
            TransferError::Metadata(error) => error.into(),
            TransferError::Closing => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<BudgetError> for ObjectError {
    fn from(_: BudgetError) -> Self {
        Self::Busy
    }
}

impl From<MetadataError> for ObjectError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Unavailable(reason) => Self::DatabaseAway(reason),
            MetadataError::OutcomeUnknown | MetadataError::LeaseLost | MetadataError::Full => {
                Self::Unavailable(error.to_string())
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<Refusal> for ObjectError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchBucket => Self::NoSuchBucket,
            Refusal::NoSuchKey => Self::NoSuchKey,
            Refusal::NoSuchUpload => Self::NoSuchUpload,
            Refusal::Precondition(header) => Self::PreconditionFailed(header),
            Refusal::Changed => Self::Conflict,
        }
    }
}
