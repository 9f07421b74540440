//! A reply that says no: S3's error code, its status and a sentence.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::body_error::BodyError;

/// An error reply before it has a request id.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
    /// Further elements, in order.
    pub(super) details: Vec<(Cow<'static, str>, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.into(),
            message: message.into(),
            details: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(super) fn access_denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, "AccessDenied", message)
    }

    pub(super) fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "InvalidRequest", message)
    }

    pub(super) fn invalid_argument(name: &str, value: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "InvalidArgument", message).with("ArgumentName", name).with("ArgumentValue", value)
    }

    pub(super) fn not_implemented(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(501, "NotImplemented", message)
    }

    pub(super) fn invalid_uri() -> Self {
        Self::new(400, "InvalidURI", "Couldn't parse the specified URI: its escapes are not valid UTF-8.")
    }

    pub(super) fn internal_error() -> Self {
        Self::new(500, "InternalError", "We encountered an internal error. Please try again.")
    }

    /// The same with one more element.
    pub(super) fn with(mut self, element: &'static str, text: impl Into<String>) -> Self {
        self.details.push((Cow::Borrowed(element), text.into()));
        self
    }

    /// The same with a header.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The reply, whole.
    pub(super) fn into_response(self, resource: &str, request_id: &str, host_id: &str) -> Response<Bytes> {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        element(&mut xml, "Code", &self.code);
        element(&mut xml, "Message", &self.message);
        for (name, text) in &self.details {
            element(&mut xml, name, text);
        }
        element(&mut xml, "Resource", resource);
        element(&mut xml, "RequestId", request_id);
        element(&mut xml, "HostId", host_id);
        xml.push_str("</Error>");
        let mut response = Response::new(Bytes::from(xml));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        response
    }
}

impl From<&BodyError> for Refusal {
    fn from(error: &BodyError) -> Self {
        let (code, status) = error.code();
        let refusal = Self::new(status, code, error.to_string());
        match error {
            BodyError::PayloadHash { declared, computed } => {
                refusal.with("ClientComputedContentSHA256", declared).with("S3ComputedContentSHA256", computed)
            }
            BodyError::Incomplete { received_bytes, declared_bytes } => refusal
                .with("NumberBytesExpected", declared_bytes.to_string())
                .with("NumberBytesProvided", received_bytes.to_string()),
            _ => refusal,
        }
    }
}

/// Appends `<name>text</name>`. Characters that XML 1.0 cannot hold at all
/// become U+FFFD.
pub(super) fn element(xml: &mut String, name: &str, text: &str) {
    xml.extend(["<", name, ">"]);
    for character in text.chars() {
        match character {
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '&' => xml.push_str("&amp;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#13;"),
            '\t' | '\n' => xml.push(character),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            _ => xml.push(character),
        }
    }
    xml.extend(["</", name, ">"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_makes_xml_that_can_be_read() {
        let refusal = Refusal::new(400, "A", "<&>\u{0}\u{1b}\"\r é").with("Detail", "]]>");
        let response = refusal.into_response("/b/%00", "ID", "HOST");
        let xml = String::from_utf8(response.body().to_vec()).unwrap();
        assert!(xml.contains("<Message>&lt;&amp;&gt;\u{fffd}\u{fffd}&quot;&#13; é</Message>"), "{xml}");
        assert!(xml.contains("<Detail>]]&gt;</Detail><Resource>/b/%00</Resource><RequestId>ID</RequestId>"), "{xml}");
        assert_eq!(response.status(), 400);
    }
}
