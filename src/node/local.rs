//! The volunteer's socket: `node.sock` in the node's folder, for whoever may
//! read the folder. HTTP/1.1 and JSON:
//!
//! ```text
//! GET  /status   200 NodeReport
//! POST /leave    200 NodeReport; the node wants to leave, durably
//! ```

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::report::NodeReport;
use super::run::Inner;
use crate::env::LocalSocket;

const SOCKET: &str = "node.sock";
/// Bytes of a report, at most.
const REPORT_BYTES_MAX: usize = 4 << 20;
/// A node that is alive answers sooner.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a running node could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No process serves the folder's socket.
    #[error("no node runs on this folder")]
    NotRunning,
    /// The socket is there but cannot be used.
    #[error("the node's socket cannot be used: {0}")]
    Io(#[from] io::Error),
    /// What came back was no answer.
    #[error("the node's answer was not understood: {0}")]
    Answer(String),
    /// The node answered that it could not, in a sentence.
    #[error("{0}")]
    Refused(String),
}

/// Serves the node's socket until the node stops. Whoever calls it holds the
/// folder's lock, so a socket that is there was left behind.
pub(super) fn serve(inner: &Arc<Inner>) -> io::Result<()> {
    let socket = LocalSocket::bind(&inner.dir, SOCKET)?;
    let inner_of_task = inner.clone();
    inner.spawn(async move {
        let inner = inner_of_task;
        let mut stopped = inner.stop.subscribe();
        tokio::select! {
            _ = stopped.wait_for(|&stopped| stopped) => {}
            () = accept(socket, &inner) => {}
        }
    });
    Ok(())
}

async fn accept(socket: LocalSocket, inner: &Arc<Inner>) {
    loop {
        match socket.accept().await {
            Ok(stream) => {
                let inner = inner.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                        let answer = answer(&inner, request.method(), request.uri().path());
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = tokio::time::timeout(ANSWER_TIMEOUT, connection).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the local socket cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn answer(inner: &Arc<Inner>, method: &Method, path: &str) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET, "/status") => report(inner),
        (&Method::POST, "/leave") => {
            let asked = inner.state().set_leaving();
            match asked {
                Ok(()) => {
                    tracing::info!(node = %inner.node, "the volunteer wants to leave: the pieces will be moved elsewhere");
                    report(inner)
                }
                Err(error) => {
                    let sentence = format!("the node could not note that it leaves, and stays: {error}");
                    reply(StatusCode::INTERNAL_SERVER_ERROR, sentence)
                }
            }
        }
        (_, "/status" | "/leave") => reply(StatusCode::METHOD_NOT_ALLOWED, "GET /status or POST /leave"),
        _ => reply(StatusCode::NOT_FOUND, "there is GET /status and POST /leave"),
    }
}

fn report(inner: &Arc<Inner>) -> Response<Full<Bytes>> {
    match serde_json::to_vec(&inner.report()) {
        Ok(json) => reply(StatusCode::OK, json),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// The report of the node that runs on this folder.
pub async fn status(folder: &Path) -> Result<NodeReport, LocalError> {
    ask(folder, Method::GET, "/status").await
}

/// Asks the node that runs on this folder to leave its cluster. Durable there
/// when this returns; asking again is fine.
pub async fn leave(folder: &Path) -> Result<NodeReport, LocalError> {
    ask(folder, Method::POST, "/leave").await
}

async fn ask(folder: &Path, method: Method, path: &str) -> Result<NodeReport, LocalError> {
    let asking = exchange(folder, method, path);
    match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(LocalError::Answer("it took too long".to_owned())),
    }
}

async fn exchange(folder: &Path, method: Method, path: &str) -> Result<NodeReport, LocalError> {
    let stream = LocalSocket::connect(folder, SOCKET).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => LocalError::NotRunning,
        _ => LocalError::Io(error),
    })?;
    let broken = |error: hyper::Error| LocalError::Answer(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driver = tokio::spawn(connection);
    let request = http::Request::builder().method(method).uri(path).header(http::header::HOST, "node");
    let request = request.body(Empty::<Bytes>::new()).expect("a fixed method, path and field are valid");
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), REPORT_BYTES_MAX).collect().await;
    let body = body.map_err(|error| LocalError::Answer(error.to_string()))?.to_bytes();
    driver.abort();
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|error| LocalError::Answer(error.to_string())),
        _ => Err(LocalError::Refused(String::from_utf8_lossy(&body).into_owned())),
    }
}
