//! The admin socket, the admin address and the observe address: one request per connection, few at
//! a time, none for long.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::SOCKET;
use super::operator::Operator;
use super::routes::{Access, answer};
use crate::env::{Lines, LocalSocket, Shutdown};

/// Connections at the same time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take in all.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);
/// Most bytes of a request's line and headers together.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long accepting rests when the process has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Opens `admin.sock` in this directory, whose lock the caller holds, and
/// answers there until the order to stop. The socket is open when this
/// returns; its file is removed when the future ends or is dropped.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve_unix(
    dir: &Path,
    operator: Operator,
    shutdown: Shutdown,
) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let socket = LocalSocket::bind(dir, SOCKET)?;
    let desk = Arc::new(Desk { operator, access: Access::Connected });
    Ok(async move { serve(|| socket.accept(), desk, shutdown).await })
}

/// Answers on this address until the order to stop, to whoever shows `token`.
/// There is no TLS: for loopback or an internal network.
pub async fn serve_tcp(listener: TcpListener, token: String, operator: Operator, shutdown: Shutdown) {
    let desk = Arc::new(Desk { operator, access: Access::Bearer(token) });
    let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
    serve(accept, desk, shutdown).await;
}

struct Desk {
    operator: Operator,
    access: Access,
}

async fn serve<S, F>(accept: impl Fn() -> F, desk: Arc<Desk>, shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>>,
{
    let handle = move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(answer(&desk.operator, &desk.access, request).await) }
    };
    let mut connections = accept_all(accept, handle, shutdown.requested()).await;
    let finish = async { while connections.join_next().await.is_some() {} };
    // What is not done by then is dropped with the set.
    let _ = tokio::time::timeout(shutdown.remaining().unwrap_or_default(), finish).await;
}

/// Has every request handled until `end` comes; then answers the connections
/// that are left.
pub(super) async fn accept_all<S, F, R>(
    accept: impl Fn() -> F,
    handle: impl Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    end: impl Future<Output = ()>,
) -> JoinSet<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>>,
    R: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let failures = Lines::default();
    let mut connections = JoinSet::new();
    let mut end = std::pin::pin!(end);
    loop {
        let next = async {
            let turn = turns.clone().acquire_owned().await.expect("the semaphore is never closed");
            (turn, accept().await)
        };
        let (turn, accepted) = tokio::select! {
            () = &mut end => return connections,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(stream) => {
                let handle = handle.clone();
                connections.spawn(async move {
                    connection(stream, handle).await;
                    drop(turn);
                });
            }
            Err(error) => {
                if let Some(left_out) = failures.next(Instant::now()) {
                    tracing::warn!(%error, left_out, "a connection to the operator's door could not be accepted");
                }
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn connection<R>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handle: impl Fn(Request<Incoming>) -> R + Send + 'static,
) where
    R: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service_fn(handle));
    match tokio::time::timeout(CONNECTION_WITHIN, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an operator's connection ended"),
        Err(_) => tracing::debug!("an operator's connection took too long"),
    }
}
