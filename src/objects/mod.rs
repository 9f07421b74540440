//! Put, get, list, copy, delete, multipart: S3's meaning without S3's protocol.
//!
//! Knows buckets, keys and conditions; not headers, XML or status codes.

mod buckets;
mod conditions;
mod content;
mod copy;
mod epochs;
mod error;
mod keys;
mod lists;
mod multipart;
mod pack;
mod receive;
mod request;
mod service;

pub use epochs::Epochs;
pub use error::ObjectError;
pub use keys::KeyRing;
pub use request::*;
pub use service::Objects;

use crate::metadata::NewSegment;
use crate::segment::Layout;

/// The layout in a segment's row.
fn layout_of(segment: &NewSegment) -> Result<Layout, ObjectError> {
    Layout::from_bytes(&segment.layout)
        .map_err(|error| ObjectError::Internal(format!("segment {}: {error}", segment.segment)))
}
