//! A front around a service that repeats what reached it, and requests to it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use s3s::{Body, HttpRequest, HttpResponse, StdError};

use crate::gateway::front::signature::hex;
use crate::gateway::front::*;
use crate::objects::TrailingChecksum;

pub(super) const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// Repeats requests; the key's first word says what else it does.
#[derive(Clone, Default)]
pub(super) struct Echo;

impl Inner for Echo {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, StdError> {
        let (parts, mut body) = request.into_parts();
        if parts.uri.path().contains("missing") {
            return Ok(error(404, "<Error><Code>NoSuchKey</Code></Error>"));
        }
        assert!(!parts.uri.path().contains("broken-handler"), "a defect on purpose");
        if parts.uri.path().contains("broken-body") {
            let broken = futures_util::stream::poll_fn(
                |_| -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, StdError>>> {
                    panic!("a broken body on purpose")
                },
            );
            return Ok(Response::new(Body::http_body_unsync(http_body_util::StreamBody::new(broken))));
        }
        if parts.uri.path().contains("unmodified") {
            return Ok(error(304, "<Error><Code>NotModified</Code></Error>"));
        }
        let (mut bytes, mut failure) = (Vec::new(), None);
        while let Some(next) = body.next().await {
            match next {
                Ok(next) => bytes.extend_from_slice(&next),
                Err(error) => failure = Some(error.downcast::<BodyError>().expect("the front's own error")),
            }
        }
        if let Some(failure) = failure {
            if parts.uri.path().contains("unexplained") {
                return Ok(error(500, "<Error><Code>InternalError</Code></Error>"));
            }
            let (code, status) = failure.code();
            return Ok(error(status, &format!("<Error><Code>{code}</Code></Error>")));
        }
        let trailing = parts.extensions.get::<TrailingChecksum>().map(|slot| slot.get().cloned());
        let filled = matches!(trailing, Some(Some(_)));
        let etag = format!("\"{}-{filled}\"", bytes.len());
        let mut reply = Response::new(Body::from(bytes));
        reply.headers_mut().insert("etag", etag.parse()?);
        reply.headers_mut().insert("echo-uri", parts.uri.to_string().parse()?);
        reply.headers_mut().insert("echo-trailing", hex(format!("{trailing:?}").as_bytes()).parse()?);
        let length = parts.extensions.get::<DeclaredLength>().map(|length| format!("{:?}", length.0));
        reply.headers_mut().insert("echo-length", length.unwrap_or_default().parse()?);
        reply.headers_mut().insert("echo-caller", parts.extensions.get::<Caller>().is_some().to_string().parse()?);
        for (name, value) in &parts.headers {
            reply.headers_mut().append(http::HeaderName::try_from(format!("echo-header-{name}"))?, value.clone());
        }
        Ok(reply)
    }
}

fn error(status: u16, xml: &str) -> HttpResponse {
    let mut reply = Response::new(Body::from(xml.to_owned()));
    *reply.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    reply.headers_mut().insert("content-type", http::HeaderValue::from_static("application/xml"));
    reply.headers_mut().insert("etag", http::HeaderValue::from_static("\"kept\""));
    reply
}

pub(super) fn config(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> FrontConfig {
    let domains = Domains::new(["s3.amazonaws.com"]).unwrap();
    let mut config =
        FrontConfig::new("us-east-1", domains, "owner", Arc::new(RootCredentials::new(ACCESS_KEY, SECRET_KEY)));
    config.clock = Arc::new(now);
    config
}

pub(super) fn front() -> Front<Echo> {
    Front::new(config(SystemTime::now), Echo)
}

/// An answer, whole.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl Answered {
    pub(super) fn code(&self) -> &str {
        self.body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code)
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) async fn send<I: Inner>(front: &Front<I>, request: Request<Bytes>) -> Answered {
    let reply = front.answer(request.map(Full::new)).await;
    let (parts, body) = reply.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answered { status: parts.status.as_u16(), headers: parts.headers, body: String::from_utf8_lossy(&body).into() }
}

/// How a request is to be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Header,
    Query,
}

/// Signs with AWS's own crate. The hash of the payload is that of `payload`, or
/// what an `x-amz-content-sha256` among the headers says.
pub(super) fn sign_request(mut request: Request<Bytes>, way: Way) -> Request<Bytes> {
    let identity = AwsCredentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if way == Way::Query {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.expires_in = Some(Duration::from_secs(60));
    }
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let declared = request.headers_mut().remove("x-amz-content-sha256").map(|value| value.to_str().unwrap().to_owned());
    let payload = request.body().clone();
    let payload = match (declared, way) {
        (Some(declared), _) => SignableBody::Precomputed(declared),
        (None, Way::Query) => SignableBody::UnsignedPayload,
        (None, Way::Header) => SignableBody::Bytes(&payload),
    };
    let host = request.headers()["host"].to_str().unwrap();
    let uri = format!("http://{host}{}", request.uri());
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, payload).unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    instructions.apply_to_request_http1x(&mut request);
    request
}

/// A request with `Host: localhost`, not signed.
pub(super) fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let body = body.into();
    let mut builder = Request::builder().method(method).uri(uri).header("host", "localhost");
    if method == "PUT" || method == "POST" {
        builder = builder.header("content-length", body.len());
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap()
}

/// Sends a request signed in the header.
pub(super) async fn ask(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answered {
    send(&front(), sign_request(request(method, uri, headers, body), Way::Header)).await
}
