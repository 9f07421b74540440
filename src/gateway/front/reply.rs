//! Makes of what s3s replies what S3 would have replied.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, SERVER};
use http::{Method, Response, StatusCode};
use quick_xml::events::Event;

use super::body::Failure;
use super::refusal::Refusal;

/// An error's XML is not longer than this.
const ERROR_BYTES_MAX: usize = 256 << 10;

/// What a reply needs to know of its request.
pub(super) struct Asker {
    pub(super) method: Method,
    /// The raw path: ASCII, so that it can stand in XML.
    pub(super) resource: String,
    pub(super) request_id: String,
    pub(super) host_id: String,
}

impl Asker {
    /// The reply to a request that is refused, and its code for the log.
    pub(super) fn refuse(&self, refusal: Refusal) -> (Response<s3s::Body>, Option<String>) {
        let code = refusal.code.to_string();
        let reply = refusal.into_response(&self.resource, &self.request_id, &self.host_id);
        (reply.map(s3s::Body::from), Some(code))
    }

    /// Repairs s3s's reply. Where the request's body failed, that is the reason
    /// for the error, whatever those say who could not read it.
    pub(super) async fn repair(
        &self,
        reply: Response<s3s::Body>,
        failure: Option<&Failure>,
    ) -> (Response<s3s::Body>, Option<String>) {
        if !reply.status().is_client_error() && !reply.status().is_server_error() {
            return (reply, None);
        }
        let (mut parts, mut body) = reply.into_parts();
        let xml = body.store_all_limited(ERROR_BYTES_MAX).await.unwrap_or_default();
        let mut refusal = parse_error(&xml, parts.status);
        if let Some(reason) = failure.and_then(|failure| failure.get()) {
            refusal = Refusal::from(reason);
        }
        for stale in [CONTENT_TYPE, CONTENT_LENGTH] {
            parts.headers.remove(stale);
        }
        let (mut reply, code) = self.refuse(refusal);
        for (name, value) in &parts.headers {
            reply.headers_mut().append(name, value.clone());
        }
        (reply, code)
    }

    /// The last touches that every reply gets.
    pub(super) fn finish(&self, mut reply: Response<s3s::Body>, now: std::time::SystemTime) -> Response<s3s::Body> {
        let status = reply.status();
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        let failed = status.is_client_error() || status.is_server_error();
        if bodiless || self.method == Method::HEAD {
            *reply.body_mut() = s3s::Body::empty();
        }
        if bodiless || (self.method == Method::HEAD && failed) {
            reply.headers_mut().remove(CONTENT_LENGTH);
        }
        if status == StatusCode::NOT_MODIFIED {
            reply.headers_mut().remove(CONTENT_TYPE);
        }
        let headers = reply.headers_mut();
        insert(headers, "x-amz-request-id", &self.request_id);
        insert(headers, "x-amz-id-2", &self.host_id);
        headers.insert(SERVER, HeaderValue::from_static("Cairn"));
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
            headers.insert(DATE, date);
        }
        reply
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Reads the error in a reply's body. One that cannot be read, or says too
/// little, is completed from its status and code.
pub(super) fn parse_error(xml: &[u8], status: StatusCode) -> Refusal {
    let mut fields = error_fields(xml);
    let mut take = |wanted: &str| {
        let at = fields.iter().position(|(name, text)| name == wanted && !text.is_empty())?;
        Some(fields.remove(at).1)
    };
    let code = take("Code").unwrap_or_else(|| default_code(status).to_owned());
    let message = take("Message").unwrap_or_else(|| sentence(&code).to_owned());
    for replaced in ["Resource", "RequestId", "HostId"] {
        let _ = take(replaced);
    }
    let mut refusal = Refusal::new(status.as_u16(), code, message);
    refusal.details = fields.into_iter().map(|(name, text)| (name.into(), text)).collect();
    refusal
}

/// The children of the root and their text.
fn error_fields(xml: &[u8]) -> Vec<(String, String)> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    let mut path: Vec<String> = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                if path.len() == 1 {
                    fields.push((name.clone(), String::new()));
                }
                path.push(name);
            }
            Ok(Event::End(_)) => drop(path.pop()),
            Ok(Event::Text(text)) if path.len() == 2 => {
                append(&mut fields, &text.decode().unwrap_or_default());
            }
            Ok(Event::GeneralRef(reference)) if path.len() == 2 => {
                let name = reference.decode().unwrap_or_default();
                let character = reference.resolve_char_ref().ok().flatten().map(String::from);
                let text = character.or_else(|| quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned));
                append(&mut fields, &text.unwrap_or_default());
            }
            Ok(Event::Eof) | Err(_) => return fields,
            Ok(_) => {}
        }
    }
}

fn append(fields: &mut [(String, String)], text: &str) {
    if let Some((_, field)) = fields.last_mut() {
        field.push_str(text);
    }
}

fn default_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "InvalidRequest",
        403 => "AccessDenied",
        404 => "NoSuchKey",
        405 => "MethodNotAllowed",
        409 => "OperationAborted",
        411 => "MissingContentLength",
        412 => "PreconditionFailed",
        416 => "InvalidRange",
        501 => "NotImplemented",
        503 => "SlowDown",
        _ => "InternalError",
    }
}

/// What S3 says with a code when nothing more is known.
fn sentence(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "BadDigest" => "The Content-MD5 or checksum you specified did not match what we received.",
        "BucketAlreadyExists" => "The requested bucket name is not available. Please select a different name.",
        "BucketAlreadyOwnedByYou" => {
            "Your previous request to create the named bucket succeeded and you already own it."
        }
        "BucketNotEmpty" => "The bucket you tried to delete is not empty.",
        "ConditionalRequestConflict" => "A conflicting operation occurred during the request. Please try again.",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed object size.",
        "EntityTooSmall" => "Your proposed upload is smaller than the minimum allowed object size.",
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidArgument" => "An argument of the request is not valid.",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidDigest" => "The Content-MD5 or checksum value that you specified is not valid.",
        "InvalidPart" => "One or more of the specified parts could not be found or has another ETag.",
        "InvalidPartNumber" => "The requested partnumber is not satisfiable.",
        "InvalidPartOrder" => "The list of parts was not in ascending order.",
        "InvalidRange" => "The requested range is not satisfiable.",
        "InvalidRequest" => "The request is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long: at most 1,024 bytes of UTF-8 are possible.",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema.",
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "NoSuchBucket" => "The specified bucket does not exist.",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchUpload" => "The specified multipart upload does not exist. It may have been aborted or completed.",
        "NoSuchVersion" => "The specified version does not exist.",
        "NotImplemented" => "A functionality that this request needs is not implemented.",
        "OperationAborted" => "A conflicting operation is in progress against this resource. Please try again.",
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold.",
        "ServiceUnavailable" | "SlowDown" => "Please reduce your request rate, and try again.",
        _ => "The request could not be carried out.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_what_it_said_and_gets_what_it_lacks() {
        let xml = b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Key>a&amp;b&#13;c</Key><RequestId>x</RequestId></Error>";
        let refusal = parse_error(xml, StatusCode::NOT_FOUND);
        assert_eq!((&*refusal.code, &*refusal.message), ("NoSuchKey", "The specified key does not exist."));
        assert_eq!(refusal.details, [("Key".into(), "a&b\rc".to_owned())]);
        let said = parse_error(b"<Error><Code>A</Code><Message>b &lt; c</Message></Error>", StatusCode::CONFLICT);
        assert_eq!((&*said.code, &*said.message), ("A", "b < c"));
    }

    #[test]
    fn what_is_no_error_document_becomes_one() {
        for body in [&b""[..], b"not xml", b"<Error><Code>", b"<a></b>", b"\xff\xfe<"] {
            let refusal = parse_error(body, StatusCode::NOT_IMPLEMENTED);
            assert_eq!(refusal.code, "NotImplemented");
            assert!(!refusal.message.is_empty());
        }
    }
}
