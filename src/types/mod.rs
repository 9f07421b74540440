//! The nouns everything else is said in: names, ids, counters and limits.
//!
//! Every id is a type of its own, so that a stream cannot be passed where a
//! segment is meant. Nothing here draws random numbers or reads a clock:
//! whoever makes an id brings its bytes.

mod counters;
mod ids;
pub mod limits;
mod names;
mod object;
pub mod text;
mod time;

pub use counters::{Epoch, Generation, Incarnation, KeyVersion, PieceNumber, Revision};
pub use ids::{
    BodyId, ClusterId, IdError, InstanceId, NodeId, PieceId, SegmentId, StreamId, TokenId, UploadId, VersionId,
};
pub use names::{BucketName, NameError, ObjectKey};
pub use object::{ETagMatch, ObjectHeaders, WriteCondition};
pub use time::UnixMillis;
