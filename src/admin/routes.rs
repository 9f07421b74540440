//! From an HTTP request to a command and back.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use serde::Serialize;

use super::operator::{Command, Operator};
use super::{
    AdminError, Change, CreateToken, ErrorKind, ListNodes, ListTokens, Probe, RevokeToken, RunOnce, ShowNode, ShowRun,
    Status,
};

/// Most bytes of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 16 << 10;
/// How long a request's body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

type Reply = Response<Full<Bytes>>;

/// Who may ask.
#[derive(Clone)]
pub(super) enum Access {
    /// Whoever can connect: the socket's file decides.
    Connected,
    /// Who shows this token.
    Bearer(String),
}

impl Access {
    fn admits<B>(&self, request: &Request<B>) -> bool {
        let Self::Bearer(token) = self else { return true };
        let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let Some((scheme, shown)) = shown.split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ")
            && aws_lc_rs::constant_time::verify_slices_are_equal(shown, token.as_bytes()).is_ok()
    }
}

/// Answers one request.
pub(super) async fn answer<B>(operator: &Operator, access: &Access, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.uri().path() == "/health" {
        return health(request.method());
    }
    if !access.admits(&request) {
        return refuse(&AdminError::new(
            ErrorKind::Denied,
            "the admin token is missing or another one: it stands in admin.token in the gateway's data directory",
        ));
    }
    match request.uri().path() {
        Probe::PATH => serve::<Probe, B>(operator, request).await,
        Status::PATH => serve::<Status, B>(operator, request).await,
        ListTokens::PATH => serve::<ListTokens, B>(operator, request).await,
        CreateToken::PATH => serve::<CreateToken, B>(operator, request).await,
        RevokeToken::PATH => serve::<RevokeToken, B>(operator, request).await,
        ListNodes::PATH => serve::<ListNodes, B>(operator, request).await,
        ShowNode::PATH => serve::<ShowNode, B>(operator, request).await,
        Change::PATH => serve::<Change, B>(operator, request).await,
        RunOnce::PATH => serve::<RunOnce, B>(operator, request).await,
        ShowRun::PATH => serve::<ShowRun, B>(operator, request).await,
        _ => refuse(&AdminError::new(ErrorKind::NotFound, "there is nothing at this path")),
    }
}

fn health(method: &Method) -> Reply {
    match *method {
        Method::GET | Method::HEAD => json(StatusCode::OK, &serde_json::json!({ "status": "serving" })),
        _ => wrong_method(&Method::GET),
    }
}

async fn serve<C, B>(operator: &Operator, request: Request<B>) -> Reply
where
    C: Command,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.method() != C::METHOD {
        return wrong_method(&C::METHOD);
    }
    let command: C = match read(request).await {
        Ok(command) => command,
        Err(error) => return refuse(&error),
    };
    match operator.run(&command).await {
        Ok(reply) => json(StatusCode::OK, &reply),
        Err(error) => {
            if error.kind == ErrorKind::Failed {
                tracing::warn!(%error, command = C::PATH, "an operator's command failed");
            }
            refuse(&error)
        }
    }
}

/// A command from a request's body. No body at all says nothing.
async fn read<C, B>(request: Request<B>) -> Result<C, AdminError>
where
    C: Command,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_WITHIN, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(AdminError::invalid(format!("a request has at most {BODY_BYTES_MAX} bytes")));
        }
        Ok(Err(_)) | Err(_) => return Err(AdminError::invalid("the request did not arrive whole")),
    };
    let json: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(json).map_err(|error| AdminError::invalid(format!("the request is not understood: {error}")))
}

fn refuse(error: &AdminError) -> Reply {
    let mut reply = json(error.kind.status(), error);
    if error.kind == ErrorKind::Denied {
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

fn wrong_method(right: &Method) -> Reply {
    let error = AdminError::invalid(format!("this path takes {right} requests"));
    let mut reply = json(StatusCode::METHOD_NOT_ALLOWED, &error);
    let allow = HeaderValue::from_str(right.as_str()).expect("a method is a token, and so a header's value");
    reply.headers_mut().insert(ALLOW, allow);
    reply
}

fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut text = serde_json::to_vec(value).expect("structs of numbers and strings have a JSON form");
    text.push(b'\n');
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A reply may hold a join token.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
