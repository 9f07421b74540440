//! Decides from a request's headers what its body must be, and takes it.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;

use super::body::{Failure, Framing, RequestBody};
use super::body_error::BodyError;
use super::chunks::ChunkDecoder;
use super::content_encoding::{has_aws_chunked, remove_aws_chunked};
use super::drain::Source;
use super::extensions::DeclaredLength;
use super::operation::{BodyKind, Operation};
use super::payload::Payload;
use super::refusal::Refusal;
use super::signature::{Chain, EMPTY_SHA256};
use super::small_body::{XML_BYTES_MAX, check_digests, read_whole};
use crate::digest::Algorithm;
use crate::types::limits::PUT_BYTES_MAX;

/// What a request's body must be.
pub(super) struct Plan {
    operation: Operation,
    declared_bytes: u64,
    framing: Framing,
    has_trailers: bool,
}

/// A body that s3s may have.
pub(super) struct Taken {
    pub(super) body: s3s::Body,
    /// Where the reason for its failure will be, if it streams.
    pub(super) failure: Option<Failure>,
}

/// Reads the headers about the body; nothing of it is read yet.
pub(super) fn plan(
    operation: Operation,
    headers: &HeaderMap,
    payload: &Payload,
    chain: Chain,
) -> Result<Plan, Refusal> {
    let kind = operation.body();
    if kind == BodyKind::None {
        return Ok(Plan { operation, declared_bytes: 0, framing: Framing::Plain(None), has_trailers: false });
    }
    if !payload.is_chunked() && headers.get_all(CONTENT_ENCODING).iter().any(has_aws_chunked) {
        let message = "Content-Encoding says aws-chunked, but x-amz-content-sha256 does not say STREAMING-….";
        return Err(Refusal::invalid_request(message));
    }
    let declared_bytes = declared_length(kind, headers, payload)?;
    check_size(kind, declared_bytes)?;
    let trailers = expected_trailers(headers, payload)?;
    let has_trailers = !trailers.is_empty();
    let framing = match payload {
        Payload::Unsigned => Framing::Plain(None),
        Payload::Sha256(hash) => Framing::Plain(Some(hash.clone())),
        Payload::UnsignedChunks => Framing::Chunked(Box::new(ChunkDecoder::new(declared_bytes, None)), trailers),
        Payload::SignedChunks { .. } => {
            Framing::Chunked(Box::new(ChunkDecoder::new(declared_bytes, Some(chain))), trailers)
        }
    };
    Ok(Plan { operation, declared_bytes, framing, has_trailers })
}

fn declared_length(kind: BodyKind, headers: &HeaderMap, payload: &Payload) -> Result<u64, Refusal> {
    let name = if payload.is_chunked() { "x-amz-decoded-content-length" } else { CONTENT_LENGTH.as_str() };
    let streamed = headers.contains_key(TRANSFER_ENCODING);
    match headers.get(name) {
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let length = text.parse().ok().filter(|_| digits);
            length.ok_or_else(|| Refusal::invalid_argument(name, text, format!("{name} must be a number of bytes.")))
        }
        None if kind == BodyKind::OptionalXml && !payload.is_chunked() && !streamed => Ok(0),
        None => {
            let message = format!("You must provide the {name} HTTP header.");
            Err(Refusal::new(411, "MissingContentLength", message))
        }
    }
}

fn check_size(kind: BodyKind, declared_bytes: u64) -> Result<(), Refusal> {
    match kind {
        BodyKind::Bytes if declared_bytes > PUT_BYTES_MAX => {
            Err(Refusal::new(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
                .with("ProposedSize", declared_bytes.to_string())
                .with("MaxSizeAllowed", PUT_BYTES_MAX.to_string()))
        }
        BodyKind::Xml | BodyKind::OptionalXml if declared_bytes > XML_BYTES_MAX => {
            Err(Refusal::new(400, "MaxMessageLengthExceeded", "Your request was too big.")
                .with("MaxMessageLengthBytes", XML_BYTES_MAX.to_string()))
        }
        _ => Ok(()),
    }
}

/// The trailers that `x-amz-trailer` announces: one checksum, or none.
fn expected_trailers(headers: &HeaderMap, payload: &Payload) -> Result<Vec<String>, Refusal> {
    let Some(value) = headers.get("x-amz-trailer") else { return Ok(Vec::new()) };
    let text = value.to_str().unwrap_or_default();
    let names: Vec<String> =
        text.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect();
    if !payload.has_trailers() {
        return Err(Refusal::invalid_request("x-amz-trailer needs an x-amz-content-sha256 of STREAMING-…-TRAILER."));
    }
    if names.len() > 1 {
        return Err(Refusal::invalid_request("Expecting a single x-amz-checksum- trailer. Multiple are not allowed."));
    }
    match names.iter().find(|name| Algorithm::from_header(name).is_none()) {
        Some(_) => Err(Refusal::invalid_request("The value specified in the x-amz-trailer header is not supported")),
        None => Ok(names),
    }
}

/// Takes the body as planned. XML is read whole and checked; an object's bytes
/// are checked while they stream. `parts` then say what s3s is given.
pub(super) async fn take(plan: Plan, source: Source, parts: &mut Parts) -> Result<Taken, Refusal> {
    remove_aws_chunked(&mut parts.headers);
    parts.headers.remove(CONTENT_LENGTH);
    let Plan { operation, declared_bytes, framing, has_trailers } = plan;
    let kind = operation.body();
    if kind == BodyKind::None {
        parts.extensions.insert(DeclaredLength(None));
        return Ok(Taken { body: s3s::Body::empty(), failure: None });
    }
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(declared_bytes));
    parts.extensions.insert(DeclaredLength(Some(declared_bytes)));
    if let Framing::Plain(Some(declared)) = &framing
        && declared_bytes == 0
    {
        check_empty(declared)?;
    }
    let mut body = RequestBody::new(source, framing, declared_bytes);
    let trailing = has_trailers.then(|| body.trailing());
    if let Some(trailing) = &trailing {
        parts.extensions.insert(trailing.clone());
    }
    // An empty body may never be polled, so its end is looked at here.
    if kind == BodyKind::Bytes && declared_bytes > 0 {
        let failure = Some(body.failure());
        return Ok(Taken { body: s3s::Body::http_body_unsync(body), failure });
    }
    let whole: Bytes = read_whole(body).await?;
    if kind != BodyKind::Bytes {
        check_digests(operation, &whole, &parts.headers, trailing.as_ref().and_then(|trailing| trailing.get()))?;
    }
    Ok(Taken { body: s3s::Body::from(whole), failure: None })
}

fn check_empty(declared: &str) -> Result<(), Refusal> {
    if declared == EMPTY_SHA256 {
        return Ok(());
    }
    let (declared, computed) = (declared.to_owned(), EMPTY_SHA256.to_owned());
    Err(Refusal::from(&BodyError::PayloadHash { declared, computed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::front::authorization::Scope;
    use crate::gateway::front::signature::Signer;

    fn planned(operation: Operation, payload: Payload, pairs: &[(&'static str, &str)]) -> Result<Plan, Refusal> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let scope = Scope { access_key_id: String::new(), date: String::new(), region: String::new() };
        plan(operation, &headers, &payload, Chain::new(Signer::new("", &scope, ""), ""))
    }

    #[test]
    fn every_body_must_have_a_length() {
        use Operation::*;
        for (operation, payload, pairs, code) in [
            (PutObject, Payload::Unsigned, &[][..], Some("MissingContentLength")),
            (PutObject, Payload::Unsigned, &[("transfer-encoding", "chunked")], Some("MissingContentLength")),
            (PutObject, Payload::UnsignedChunks, &[("content-length", "9")], Some("MissingContentLength")),
            (PutObject, Payload::UnsignedChunks, &[("x-amz-decoded-content-length", "9")], None),
            (PutObject, Payload::UnsignedChunks, &[("x-amz-decoded-content-length", "+9")], Some("InvalidArgument")),
            (PutObject, Payload::UnsignedChunks, &[("x-amz-decoded-content-length", "")], Some("InvalidArgument")),
            (PutObject, Payload::Unsigned, &[("content-length", "5368709121")], Some("EntityTooLarge")),
            (UploadPart, Payload::Unsigned, &[("content-length", "5368709120")], None),
            (DeleteObjects, Payload::Unsigned, &[], Some("MissingContentLength")),
            (DeleteObjects, Payload::Unsigned, &[("content-length", "4194305")], Some("MaxMessageLengthExceeded")),
            (CreateBucket, Payload::Unsigned, &[], None),
            (CreateBucket, Payload::Unsigned, &[("transfer-encoding", "chunked")], Some("MissingContentLength")),
            (GetObject, Payload::Unsigned, &[], None),
        ] {
            let result = planned(operation, payload, pairs);
            assert_eq!(
                result.err().map(|refusal| refusal.code.to_string()).as_deref(),
                code,
                "{operation:?} {pairs:?}"
            );
        }
    }

    #[test]
    fn trailers_must_be_announced_where_they_can_be() {
        let length = ("x-amz-decoded-content-length", "1");
        let with = |payload, names| {
            planned(Operation::PutObject, payload, &[length, ("content-length", "1"), ("x-amz-trailer", names)])
        };
        assert!(with(Payload::UnsignedChunks, "X-Amz-Checksum-CRC32").unwrap().has_trailers);
        assert!(with(Payload::UnsignedChunks, "x-amz-checksum-md5").is_err());
        assert!(with(Payload::UnsignedChunks, "x-amz-checksum-crc32,x-amz-checksum-sha1").is_err());
        assert!(with(Payload::SignedChunks { trailers: false }, "x-amz-checksum-crc32").is_err());
        assert!(with(Payload::Unsigned, "x-amz-checksum-crc32").is_err());
    }

    #[test]
    fn framing_that_is_not_decoded_is_not_stored() {
        let pairs = [("content-length", "1"), ("content-encoding", "gzip, aws-chunked")];
        assert!(planned(Operation::PutObject, Payload::Unsigned, &pairs).is_err());
    }
}
