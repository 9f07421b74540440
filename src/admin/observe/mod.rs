//! The observe address: plain HTTP for orchestrators and Prometheus.
//!
//! ```text
//! GET /health/live    200 while the process runs
//! GET /health/ready   200 or 503, with a sentence
//! GET /metrics        Prometheus' text format
//! ```
//!
//! Nothing here names a bucket, a key or a node, and nothing is a secret.

mod exposition;
mod node;
mod serving;

use std::convert::Infallible;

use bytes::Bytes;
pub use exposition::Exposition;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
pub use node::NodeSubject;
pub use serving::ServingSubject;
use tokio::net::TcpListener;

use super::server::accept_all;
use super::stage::Stage;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers on this address for as long as the process runs, also while it
/// starts and stops.
pub async fn observe(listener: TcpListener, stage: Stage) {
    let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
    let handle = move |request| {
        let stage = stage.clone();
        async move { Ok::<_, Infallible>(answer(&stage, &request).await) }
    };
    accept_all(accept, handle, std::future::pending()).await;
}

async fn answer(stage: &Stage, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut reply = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this path takes GET requests\n".to_owned());
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match request.uri().path() {
        "/health/live" => reply(StatusCode::OK, TEXT, "the process runs\n".to_owned()),
        "/health/ready" => {
            let health = stage.health().await;
            let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            reply(status, TEXT, format!("{}\n", health.sentence))
        }
        "/metrics" => reply(StatusCode::OK, METRICS, stage.metrics().await),
        _ => reply(StatusCode::NOT_FOUND, TEXT, "there is /health/live, /health/ready and /metrics\n".to_owned()),
    }
}

fn reply(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
