//! What the front tells whoever answers, in the request's extensions.
//!
//! Besides these, a request whose body brings a checksum in a trailer carries
//! a `crate::objects::TrailingChecksum`, filled before the body's stream ends.

use std::fmt;
use std::sync::Arc;

/// The id in `x-amz-request-id`: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id with these random bits.
    pub fn new(random: u64) -> Self {
        Self(format!("{random:016X}").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many bytes the body has once it is decoded; `None` where the operation
/// has no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredLength(pub Option<u64>);

/// Who signed the request: a verified access key id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The access key id.
    pub access_key_id: String,
}
