//! A reply before it becomes a response.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{Body, S3Response};

use super::operation::Operation;

/// Status, headers and body of a reply.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) operation: Option<Operation>,
}

impl Reply {
    /// A reply without body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::empty(), operation: None }
    }

    /// An XML document.
    pub(super) fn xml(status: StatusCode, document: String) -> Self {
        let mut reply = Self::empty(status);
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        reply.body = Body::from(document);
        reply
    }

    /// Sets a header. A name or value that HTTP cannot carry is left out: what
    /// is kept came in as a header, so only a damaged row can hold one.
    pub(super) fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_ref())) {
            self.headers.insert(name, value);
        }
    }

    /// The response. To a HEAD it has the body's length but no body.
    pub(super) fn into_response(mut self, is_head: bool) -> S3Response<Body> {
        if is_head {
            let length = http_body::Body::size_hint(&self.body).exact().filter(|&length| length > 0);
            if let Some(length) = length {
                self.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
            }
            self.body = Body::empty();
        }
        let mut response = S3Response::with_status(self.body, self.status);
        response.headers = self.headers;
        if let Some(operation) = self.operation {
            response.extensions.insert(operation);
        }
        response
    }
}
