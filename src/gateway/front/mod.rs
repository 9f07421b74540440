//! What stands between the socket and s3s: who asks, whether the bytes are
//! what was signed, and whether the release acts on what is asked.
//!
//! Knows HTTP, SigV4 and S3's error codes; nothing of objects or where they
//! are kept. s3s behind it runs without authentication: whatever reaches it
//! has been verified here.

mod answers;
mod authorization;
mod body;
mod body_error;
mod canonical;
mod chunks;
mod config;
mod content_encoding;
mod credential;
mod drain;
mod encoding;
mod extensions;
mod headers;
mod host;
mod intake;
mod operation;
mod payload;
mod record;
mod refusal;
mod reply;
mod routes;
mod service;
mod signature;
mod small_body;
mod target;
mod time;
mod trailers;
mod verify;

#[cfg(fuzzing)]
pub mod fuzz;
#[cfg(test)]
mod tests;

pub use body_error::BodyError;
pub use config::{Clock, Dice, FrontConfig};
pub use credential::{Asked, CredentialError, Credentials, RootCredentials};
pub use extensions::{Caller, DeclaredLength, RequestId};
pub use host::{DomainError, Domains, s3_host};
pub use record::ReplyBody;
pub use service::{Front, Inner};
