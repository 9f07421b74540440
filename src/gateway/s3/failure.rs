//! Errors as S3 says them: code, status, sentence and details.

use std::borrow::Cow;
use std::error::Error;

use http::header::{CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use s3s::S3ErrorCode;

use super::reply::Reply;
use super::xml::writer;
use crate::gateway::front::BodyError;
use crate::objects::ObjectError;
use crate::types::NameError;
use crate::types::limits::{KEY_BYTES_MAX, PART_BYTES_MIN};

/// Why a request was refused, in S3's words.
#[derive(Debug)]
pub struct Failure {
    code: S3ErrorCode,
    status: StatusCode,
    message: Cow<'static, str>,
    details: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure of that code and its usual status (500 for a code of our own).
    pub fn new(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let status = code.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { code, status, message: message.into(), details: Vec::new(), headers: Vec::new() }
    }

    /// The same with another status.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with one more element in its XML.
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The code's name.
    pub fn code(&self) -> &str {
        self.code.as_str()
    }

    fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        self.headers.extend(value.try_into().ok().map(|value| (name, value)));
        self
    }

    pub(super) fn argument(name: &'static str, value: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(S3ErrorCode::InvalidArgument, message).detail("ArgumentName", name).detail("ArgumentValue", value)
    }

    pub(super) fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(S3ErrorCode::InvalidRequest, message)
    }

    pub(super) fn not_implemented(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(S3ErrorCode::NotImplemented, message)
    }

    /// A header that asks for something that is not built.
    pub(super) fn header_not_implemented(name: &str) -> Self {
        Self::not_implemented("A header you provided implies functionality that is not implemented")
            .detail("Header", name)
    }

    pub(super) fn malformed_xml() -> Self {
        let sentence = "The XML you provided was not well-formed or did not validate against our published schema";
        Self::new(S3ErrorCode::MalformedXML, sentence)
    }

    pub(super) fn no_such_version(id: &str) -> Self {
        Self::new(S3ErrorCode::NoSuchVersion, "The specified version does not exist.").detail("VersionId", id)
    }

    pub(super) fn key_too_long(size_bytes: usize) -> Self {
        Self::new(S3ErrorCode::KeyTooLongError, "Your key is too long")
            .detail("Size", size_bytes.to_string())
            .detail("MaxSizeAllowed", KEY_BYTES_MAX.to_string())
    }

    /// Adds the names that S3 shows with this code.
    pub(super) fn about(mut self, bucket: Option<String>, key: Option<String>) -> Self {
        match self.code {
            S3ErrorCode::NoSuchKey | S3ErrorCode::NoSuchVersion => {
                self.details.extend(key.map(|key| ("Key", key)));
            }
            S3ErrorCode::NoSuchBucket
            | S3ErrorCode::BucketNotEmpty
            | S3ErrorCode::BucketAlreadyOwnedByYou
            | S3ErrorCode::InvalidBucketName => {
                self.details.extend(bucket.map(|bucket| ("BucketName", bucket)));
            }
            _ => {}
        }
        self
    }

    /// Code and sentence, as a multi-object delete lists them.
    pub(super) fn code_and_message(&self) -> (&str, &str) {
        (self.code.as_str(), &self.message)
    }

    pub(super) fn into_reply(self) -> Reply {
        let document = writer::plain_document("Error", |xml| {
            xml.leaf("Code", self.code.as_str());
            xml.leaf("Message", &self.message);
            for (name, value) in &self.details {
                xml.echo(name, value);
            }
        });
        let mut reply = Reply::xml(self.status, document);
        reply.headers.extend(self.headers);
        reply
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Bucket(reason) => {
                Self::new(S3ErrorCode::InvalidBucketName, format!("The specified bucket is not valid: {reason}."))
            }
            NameError::EmptyKey => Self::new(S3ErrorCode::UserKeyMustBeSpecified, "The key is empty."),
            NameError::KeyTooLong(size_bytes) => Self::key_too_long(size_bytes),
        }
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Name(error) => error.into(),
            ObjectError::Body(error) => body_error(error.as_ref()),
            ObjectError::PartTooSmall { number, size_bytes, etag } => part_too_small(number, size_bytes, etag),
            ObjectError::TooLarge { size_bytes, max_bytes } => {
                Self::new(S3ErrorCode::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
                    .detail("ProposedSize", size_bytes.to_string())
                    .detail("MaxSizeAllowed", max_bytes.to_string())
            }
            ObjectError::InvalidRange { size_bytes } => {
                Self::new(S3ErrorCode::InvalidRange, "The requested range is not satisfiable")
                    .detail("ActualObjectSize", size_bytes.to_string())
                    .header(CONTENT_RANGE, format!("bytes */{size_bytes}"))
            }
            ObjectError::InvalidPartNumber => Self::new(
                S3ErrorCode::from_bytes(b"InvalidPartNumber").unwrap_or(S3ErrorCode::InvalidRange),
                "The requested partnumber is not satisfiable",
            )
            .status(StatusCode::RANGE_NOT_SATISFIABLE),
            ObjectError::PreconditionFailed(condition) => precondition_failed(condition),
            // Only a copy's source ends here: a GET answers 304 before.
            ObjectError::NotModified(_) => precondition_failed("x-amz-copy-source-If-None-Match"),
            ObjectError::InvalidPart { number, reason } => invalid_part(number, reason),
            ObjectError::TooFewNodes { .. } | ObjectError::Busy | ObjectError::Unavailable(_) => slow_down(&error),
            ObjectError::DatabaseAway(ref reason) => {
                tracing::warn!(reason, "the metadata database did not do what a request needed");
                slow_down(&error)
            }
            ObjectError::Unreadable(_) => {
                tracing::warn!(%error, "an object cannot be read");
                let message = "The object cannot be read now: too many of its pieces are away. Please try again later.";
                Self::new(S3ErrorCode::ServiceUnavailable, message).header(RETRY_AFTER, HeaderValue::from_static("5"))
            }
            ObjectError::Internal(detail) => {
                tracing::error!(%detail, "internal error");
                Self::new(S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
            }
            error => simple(&error),
        }
    }
}

fn slow_down(error: &ObjectError) -> Failure {
    Failure::new(S3ErrorCode::SlowDown, sentence(error)).header(RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Errors that say nothing beyond code and sentence.
fn simple(error: &ObjectError) -> Failure {
    let (code, message): (_, Cow<'static, str>) = match error {
        ObjectError::NoSuchBucket => (S3ErrorCode::NoSuchBucket, "The specified bucket does not exist".into()),
        ObjectError::BucketExists => (
            S3ErrorCode::BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it.".into(),
        ),
        ObjectError::TooManyBuckets(_) => (S3ErrorCode::TooManyBuckets, sentence(error).into()),
        ObjectError::BucketNotEmpty => {
            (S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty".into())
        }
        ObjectError::NoSuchKey => (S3ErrorCode::NoSuchKey, "The specified key does not exist.".into()),
        ObjectError::NoSuchVersion => (S3ErrorCode::NoSuchVersion, "The specified version does not exist.".into()),
        ObjectError::NoSuchUpload => (
            S3ErrorCode::NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted \
             or completed."
                .into(),
        ),
        ObjectError::InvalidPartOrder => (
            S3ErrorCode::InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number.".into(),
        ),
        ObjectError::InvalidRequest(_) => (S3ErrorCode::InvalidRequest, sentence(error).into()),
        ObjectError::Conflict => (S3ErrorCode::OperationAborted, sentence(error).into()),
        ObjectError::BadDigest => {
            (S3ErrorCode::BadDigest, "The Content-MD5 you specified did not match what we received.".into())
        }
        ObjectError::BadChecksum(algorithm) => (
            S3ErrorCode::BadDigest,
            format!("The {algorithm} you specified did not match the calculated checksum.").into(),
        ),
        ObjectError::IncompleteBody { .. } => (S3ErrorCode::IncompleteBody, sentence(error).into()),
        _ => {
            tracing::error!(%error, "an error that has no code in S3");
            (S3ErrorCode::InternalError, "We encountered an internal error. Please try again.".into())
        }
    };
    Failure::new(code, message)
}

/// Why a request's body could not be read: what the layer in front reports.
pub fn body_error(error: &(dyn Error + Send + Sync + 'static)) -> Failure {
    if let Some(error) = error.downcast_ref::<BodyError>() {
        let (code, status) = error.code();
        let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::IncompleteBody);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        return Failure::new(code, error.to_string()).status(status);
    }
    Failure::new(S3ErrorCode::IncompleteBody, format!("The request body could not be read: {error}."))
}

pub(super) fn precondition_failed(condition: &str) -> Failure {
    let message = "At least one of the pre-conditions you specified did not hold";
    Failure::new(S3ErrorCode::PreconditionFailed, message).detail("Condition", condition)
}

fn invalid_part(number: u32, reason: &str) -> Failure {
    let message = format!(
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified \
         entity tag may not match the part's entity tag. (Part {number}: {reason}.)"
    );
    Failure::new(S3ErrorCode::InvalidPart, message).detail("PartNumber", number.to_string())
}

fn part_too_small(number: u32, size_bytes: u64, etag: String) -> Failure {
    Failure::new(S3ErrorCode::EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
        .detail("ProposedSize", size_bytes.to_string())
        .detail("MinSizeAllowed", PART_BYTES_MIN.to_string())
        .detail("PartNumber", number.to_string())
        .detail("ETag", etag)
}

/// An error's own words, begun and ended as a sentence.
fn sentence(error: &ObjectError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(failure: Failure) -> (u16, String) {
        let reply = failure.into_reply();
        let body = reply.body.bytes().unwrap();
        (reply.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn errors_have_s3s_codes_and_statuses() {
        for (error, status, code) in [
            (ObjectError::NoSuchBucket, 404, "NoSuchBucket"),
            (ObjectError::NoSuchKey, 404, "NoSuchKey"),
            (ObjectError::NoSuchUpload, 404, "NoSuchUpload"),
            (ObjectError::BucketExists, 409, "BucketAlreadyOwnedByYou"),
            (ObjectError::BucketNotEmpty, 409, "BucketNotEmpty"),
            (ObjectError::Conflict, 409, "OperationAborted"),
            (ObjectError::PreconditionFailed("If-Match"), 412, "PreconditionFailed"),
            (ObjectError::InvalidRange { size_bytes: 3 }, 416, "InvalidRange"),
            (ObjectError::InvalidPartNumber, 416, "InvalidPartNumber"),
            (ObjectError::Busy, 503, "SlowDown"),
            (ObjectError::TooFewNodes { needed: 5, available: 3, missing: 2 }, 503, "SlowDown"),
            (ObjectError::DatabaseAway("x".into()), 503, "SlowDown"),
            (ObjectError::Unreadable("x".into()), 503, "ServiceUnavailable"),
            (ObjectError::BadChecksum("CRC32"), 400, "BadDigest"),
            (ObjectError::IncompleteBody { received_bytes: 1, expected_bytes: 2 }, 400, "IncompleteBody"),
            (ObjectError::Body("cut".into()), 400, "IncompleteBody"),
            (ObjectError::TooLarge { size_bytes: 2, max_bytes: 1 }, 400, "EntityTooLarge"),
        ] {
            let (shown, body) = render(error.into());
            assert_eq!(shown, status, "{body}");
            assert!(body.contains(&format!("<Code>{code}</Code><Message>")), "{body}");
        }
    }

    #[test]
    fn inner_details_stay_inside() {
        let (status, body) = render(ObjectError::Internal("secret path".into()).into());
        assert_eq!(status, 500);
        assert!(!body.contains("secret"), "{body}");
    }

    #[test]
    fn slow_down_says_how_many_nodes_are_missing_and_when_to_return() {
        let failure = Failure::from(ObjectError::TooFewNodes { needed: 5, available: 3, missing: 2 });
        let reply = failure.into_reply();
        assert_eq!(reply.headers[RETRY_AFTER], "1");
        let body = String::from_utf8(reply.body.bytes().unwrap().to_vec()).unwrap();
        assert!(body.contains("<Message>2 storage nodes are missing"), "{body}");
    }

    #[test]
    fn details_and_headers_come_through() {
        let reply = Failure::from(ObjectError::InvalidRange { size_bytes: 7 }).into_reply();
        assert_eq!(reply.headers[CONTENT_RANGE], "bytes */7");
        let (_, body) = render(Failure::from(ObjectError::NoSuchKey).about(Some("b".into()), Some("k\r<".into())));
        assert!(body.ends_with("<Key>k&#13;&lt;</Key></Error>"), "{body}");
    }
}
