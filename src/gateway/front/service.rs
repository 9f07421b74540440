//! The way of a request: verified, routed, unwrapped, answered, repaired.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body;
use http_body_util::BodyExt;
use s3s::{HttpRequest, HttpResponse, StdError};

use super::answers::Answer;
use super::body::Failure;
use super::config::FrontConfig;
use super::drain::Source;
use super::encoding::{encode, parse_query, write_query};
use super::extensions::RequestId;
use super::headers::{Wishes, sift, unhoist};
use super::intake::{plan, take};
use super::record::{Record, ReplyBody};
use super::refusal::Refusal;
use super::reply::{Asker, parse_error};
use super::routes::{Resolved, check_method, resolve};
use super::target::{Target, settle_host};
use super::verify::{Verified, verify};
use crate::env::contain_future;

/// Whoever answers the requests that this front lets through: s3s.
pub trait Inner: Send + Sync + 'static {
    /// Answers one request. It carries no signature any more.
    fn call(&self, request: HttpRequest) -> impl Future<Output = Result<HttpResponse, StdError>> + Send;
}

impl Inner for s3s::service::S3Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, StdError> {
        Ok(s3s::service::S3Service::call(self, request).await?)
    }
}

/// The front: a hyper service around an inner one. Clones share it.
pub struct Front<I> {
    shared: Arc<Shared<I>>,
}

struct Shared<I> {
    config: FrontConfig,
    inner: I,
    /// `x-amz-id-2`: tells which start of which gateway answered.
    host_id: String,
}

impl<I> Clone for Front<I> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<I: Inner> hyper::service::Service<Request<hyper::body::Incoming>> for Front<I> {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

impl<I: Inner> Front<I> {
    /// A front of `inner`, which must be built without authentication and with
    /// [`super::s3_host`] of the same domains.
    pub fn new(config: FrontConfig, inner: I) -> Self {
        let bytes: Vec<u8> = (0..6).flat_map(|_| (config.dice)().to_be_bytes()).collect();
        let host_id = BASE64_STANDARD.encode(bytes);
        Self { shared: Arc::new(Shared { config, inner, host_id }) }
    }

    /// Answers one request, whatever it is.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes, Error: Into<StdError>> + Send + 'static,
    {
        let began = Instant::now();
        let (mut parts, body) = request.into_parts();
        let request_id = RequestId::new((self.shared.config.dice)());
        let waits =
            parts.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let alone = parts.version < Version::HTTP_2;
        let source = Source::new(body.map_err(Into::into).boxed_unsync(), waits, alone);
        let received_bytes = source.received_bytes();
        let asker = Asker {
            method: parts.method.clone(),
            resource: parts.uri.path().to_owned(),
            request_id: request_id.as_str().to_owned(),
            host_id: self.shared.host_id.clone(),
        };
        let mut record = Record {
            method: parts.method.clone(),
            path: asker.resource.clone(),
            bucket: None,
            operation: None,
            request_id: request_id.clone(),
            began,
            received_bytes: received_bytes.clone(),
            code: None,
            meter: self.shared.config.meter.clone(),
        };
        parts.extensions.insert(request_id);
        let passed = contain_future(self.shared.pass(parts, source, &mut record)).await;
        let (reply, code) = match passed.unwrap_or_else(|_| Err(Refusal::internal_error())) {
            Ok((reply, failure)) => asker.repair(reply, failure.as_ref()).await,
            Err(refusal) => asker.refuse(refusal),
        };
        record.code = code;
        let mut reply = asker.finish(reply, (self.shared.config.clock)());
        // Who asked for "100 Continue" and gets its answer instead, because it
        // is refused or its body is empty: botocore takes the status of that
        // answer for that of the next request on the connection, and then
        // waits a minute for what it already had.
        if waits && alone && received_bytes.load(Ordering::Relaxed) == 0 {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let status = reply.status();
        reply.map(|body| ReplyBody::new(body, status, record))
    }
}

impl<I: Inner> Shared<I> {
    /// Lets a request through to `inner`, or refuses it.
    async fn pass(
        &self,
        mut parts: Parts,
        source: Source,
        record: &mut Record,
    ) -> Result<(HttpResponse, Option<Failure>), Refusal> {
        let host = settle_host(&mut parts)?;
        let target = Target::parse(&self.config.domains, &host, parts.uri.path())?;
        record.bucket.clone_from(&target.bucket);
        check_method(&parts.method, target.level(), parts.headers.get(CONTENT_TYPE))?;
        let query = parse_query(parts.uri.query().unwrap_or_default())?;
        let verified = verify(&parts, &query, &self.config)?;
        let query = if verified.presigned { unhoist(query, &mut parts.headers)? } else { query };
        let copies = parts.headers.contains_key("x-amz-copy-source");
        let resolved = resolve(&parts.method, target.level(), query, copies)?;
        record.operation = Some(resolved.operation);
        let Verified { caller, payload, chain, .. } = verified;
        let plan = plan(resolved.operation, &parts.headers, &payload, chain)?;
        let wishes = sift(&mut parts.headers, resolved.operation)?;
        if let Some(answer) = resolved.answer {
            return Ok((self.answer_setting(&target, answer).await?, None));
        }
        parts.extensions.insert(caller);
        let taken = take(plan, source, &mut parts).await?;
        rewrite(&mut parts, &resolved)?;
        let mut reply = self.call(Request::from_parts(parts, taken.body)).await?;
        wishes.grant(&mut reply);
        Ok((reply, taken.failure))
    }

    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, Refusal> {
        self.inner.call(request).await.map_err(|error| {
            tracing::error!(%error, "the S3 service failed");
            Refusal::internal_error()
        })
    }

    /// A setting is told only of what exists.
    async fn answer_setting(&self, target: &Target, answer: &Answer) -> Result<HttpResponse, Refusal> {
        let bucket = format!("/{}", encode(target.bucket.as_deref().unwrap_or_default().as_bytes(), false));
        self.ask(Method::GET, &format!("{bucket}?location")).await?;
        if let Some(key) = &target.key {
            self.ask(Method::HEAD, &format!("{bucket}/{}", encode(key.as_bytes(), true))).await?;
        }
        Ok(answer.reply(&self.config.owner_id)?.map(s3s::Body::from))
    }

    /// Asks `inner` something of our own; path style, as it has no host.
    async fn ask(&self, method: Method, uri: &str) -> Result<(), Refusal> {
        let mut request = Request::new(s3s::Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().map_err(|_| Refusal::invalid_uri())?;
        let mut reply = self.call(request).await?;
        if reply.status().is_success() {
            return Ok(());
        }
        let xml = reply.body_mut().store_all_limited(64 << 10).await.unwrap_or_default();
        Err(parse_error(&xml, reply.status()))
    }
}

/// Turns a request into what s3s is to see.
fn rewrite(parts: &mut Parts, resolved: &Resolved) -> Result<(), Refusal> {
    let query = write_query(&resolved.query);
    let path = parts.uri.path();
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    parts.uri = uri.parse::<Uri>().map_err(|_| Refusal::invalid_uri())?;
    Ok(())
}

impl Wishes {
    fn grant(self, reply: &mut HttpResponse) {
        if self.encryption && reply.status().is_success() {
            reply.headers_mut().insert("x-amz-server-side-encryption", HeaderValue::from_static("AES256"));
        }
    }
}
