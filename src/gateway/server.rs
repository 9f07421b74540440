//! Sockets and TLS in front of a service: HTTP/1.1 and HTTP/2 on one port.
//!
//! Knows connections and their limits; nothing of S3.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::stall::Stall;
use super::tls::{Tls, watch_files};
use crate::env::{Crowd, Lines, Place};

/// How long a client that has connected may say nothing.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(30);
/// Clients of one source that have said nothing yet. More are hung up on, so
/// that nobody can take all descriptors by connecting alone.
const SILENT_MAX: usize = 256;
/// How long a client may take to begin a request after the one before.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// How long a client may take for the TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Most bytes of a request's line and headers together; also the most that is
/// read at once.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// Requests at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 200;
/// HTTP/2 receive window of a connection: what a fast upload has under way.
const WINDOW_BYTES: u32 = 1 << 20;
/// How long accepting rests when the process has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves connections until `shutdown` completes; then takes no more, lets the
/// requests in flight finish for `finish_within`, and drops the rest. Gives the
/// number of connections that were dropped.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    service: S,
    shutdown: impl Future<Output = ()>,
    finish_within: Duration,
) -> usize
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let tls = tls.map(Arc::new);
    if let Some(tls) = &tls {
        connections.spawn(watch_files(tls.clone(), stopped.clone()));
    }
    let mut shutdown = pin!(shutdown);
    let (silent, failures) = (Arc::new(Crowd::new(SILENT_MAX)), Lines::default());
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = silent.enter(peer.ip()) else { continue };
                connections.spawn(connect(stream, place, tls.clone(), service.clone(), stopped.clone()));
            }
            Err(error) => {
                if let Some(left_out) = failures.next(Instant::now()) {
                    tracing::warn!(%error, left_out, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    // Nobody may be left to hear it; then there is nothing to stop.
    let _ = stop.send(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    let finished = tokio::time::timeout(finish_within, finish).await.is_ok();
    if finished { 0 } else { connections.len() }
}

/// Serves one connection to its end.
async fn connect<S, B>(
    stream: TcpStream,
    silent: Place,
    tls: Option<Arc<Tls>>,
    service: S,
    mut stopped: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    // A socket that does not take the option is slower, not wrong.
    let _ = stream.set_nodelay(true);
    // hyper's own timeouts begin when it knows the protocol.
    let first_byte = tokio::time::timeout(FIRST_BYTE_MAX, async { stream.peek(&mut [0]).await });
    let begun = tokio::select! {
        begun = first_byte => matches!(begun, Ok(Ok(1))),
        () = told(&mut stopped) => false,
    };
    if !begun {
        return;
    }
    drop(silent);
    let Some(tls) = tls else { return run(stream, None, service, stopped).await };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            run(stream, Some(http2), service, stopped).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

/// Speaks HTTP: version 2 or 1 where that is settled, else as the client does.
async fn run<S, B, T>(stream: T, http2: Option<bool>, service: S, mut stopped: watch::Receiver<bool>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    let builder = protocol(http2);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Stall::new(stream)), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// Waits until serving is to end.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say so, which says it too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn protocol(http2: Option<bool>) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .keep_alive_interval(IDLE_MAX)
        .keep_alive_timeout(Duration::from_secs(20));
    match http2 {
        None => builder,
        Some(true) => builder.http2_only(),
        Some(false) => builder.http1_only(),
    }
}
