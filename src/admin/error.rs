//! Why the operator's command was not done: a kind for programs and one
//! sentence for people. It travels as `{"kind": …, "sentence": …}`.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::metadata::MetadataError;

/// A command that was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{sentence}")]
pub struct AdminError {
    /// For programs.
    pub kind: ErrorKind,
    /// For people: what is wrong, and what to do about it.
    pub sentence: String,
}

/// What whoever asked can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request makes no sense: change it.
    Invalid,
    /// The admin token is missing or another one.
    Denied,
    /// There is no such thing.
    NotFound,
    /// It would do harm, or is not possible from here; some of these can be forced.
    Refused,
    /// Try again later.
    Unavailable,
    /// Nothing answers where a process should be.
    NotRunning,
    /// Anything else.
    #[serde(other)]
    Failed,
}

impl ErrorKind {
    /// What HTTP calls it.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Refused => StatusCode::CONFLICT,
            Self::Unavailable | Self::NotRunning => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl AdminError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    pub(super) fn invalid(sentence: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, sentence)
    }

    pub(super) fn refused(sentence: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, sentence)
    }
}

impl From<MetadataError> for AdminError {
    fn from(error: MetadataError) -> Self {
        let kind = match error {
            MetadataError::Unavailable(_) | MetadataError::OutcomeUnknown | MetadataError::Full => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}
