//! Put, get, list, copy, delete, multipart: S3's meaning without S3's protocol.
//!
//! Knows buckets, keys and conditions; not headers, XML or status codes.

mod error;
mod request;
mod service;

pub use error::ObjectError;
pub use request::*;
pub use service::Objects;
