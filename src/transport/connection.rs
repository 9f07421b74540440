//! One connection of a node, on the door's side: an HTTP/1.1 client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

use super::metered::Metered;
use super::tuning::BUFFER_BYTES;
use super::{Activity, NodeError};
use crate::types::limits::JSON_REPLY_BYTES_MAX;
use crate::wire::{DIAL_HEADER, ErrorBody, POSITION_HEADER, Purpose, Request};

/// A connection that can take one request at a time. Dropping it closes it.
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) purpose: Purpose,
    pub(super) activity: Arc<Activity>,
    /// When a request other than a ping last ended.
    pub(super) used: Instant,
    sender: SendRequest<Full<Bytes>>,
    hang_up: oneshot::Sender<Ended>,
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The other side closed, or the path broke, or it was of no more use.
    Lost,
    /// We closed it because a request on it was cancelled.
    Cancelled,
}

/// A request that was answered.
pub(super) struct Reply {
    pub(super) body: Bytes,
    /// The node's log position, where the answer says it.
    pub(super) position: Option<u64>,
}

/// What body a request's answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Exactly(usize),
    AtMost(usize),
}

/// Why a request got no reply.
pub(super) enum Failure {
    /// The connection was closed before anything was sent: use another one.
    Unsent,
    /// The node answered with an error; the connection is as good as before.
    Answered(NodeError),
    /// The connection is of no more use.
    Broken(NodeError),
}

impl Connection {
    /// Becomes a client on a stream whose hello was answered. `closed` is
    /// called when the other side has closed: it has to drop a connection that
    /// is idle. `ended` is called last, when whoever held it has let go: only
    /// the holder knows whether a request was cancelled.
    pub(super) async fn open(
        number: u64,
        purpose: Purpose,
        stream: TlsStream<Metered>,
        closed: impl FnOnce() + Send + 'static,
        ended: impl FnOnce(Ended) + Send + 'static,
    ) -> hyper::Result<Self> {
        let activity = stream.get_ref().0.activity().clone();
        let (sender, driver) =
            http1::Builder::new().max_buf_size(2 * BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
        let (hang_up, mut hung_up) = oneshot::channel();
        tokio::spawn(async move {
            let by_us = tokio::select! {
                biased;
                how = &mut hung_up => Some(how),
                _ = driver => None,
            };
            let how = match by_us {
                Some(how) => how,
                None => {
                    closed();
                    hung_up.await
                }
            };
            ended(how.unwrap_or(Ended::Lost));
        });
        Ok(Self { number, purpose, activity, used: Instant::now(), sender, hang_up })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Closes it in the middle of a request that nobody waits for any more.
    pub(super) fn cancel(self) {
        let _ = self.hang_up.send(Ended::Cancelled);
    }

    /// One request and its answer. Any outcome but `Ok` and `Answered` leaves
    /// the connection useless; so does dropping the future.
    pub(super) async fn request(
        &mut self,
        request: &Request,
        body: Bytes,
        expect: Expect,
        dial: usize,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        self.activity.touch();
        let activity = self.activity.clone();
        tokio::select! {
            biased;
            outcome = self.exchange(request, body, expect, dial) => outcome,
            () = activity.stalled(patience) => Err(Failure::Broken(NodeError::Timeout)),
        }
    }

    async fn exchange(
        &mut self,
        request: &Request,
        body: Bytes,
        expect: Expect,
        dial: usize,
    ) -> Result<Reply, Failure> {
        self.sender.ready().await.map_err(|_| Failure::Unsent)?;
        let response = self.sender.send_request(http_request(request, body, dial)).await.map_err(broken)?;
        let position = response.headers().get(POSITION_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        if !response.status().is_success() {
            let body = collect(response.into_body(), Expect::AtMost(JSON_REPLY_BYTES_MAX)).await?;
            let error = ErrorBody::decode(&body).map_err(broken)?;
            return Err(Failure::Answered(error.into()));
        }
        if matches!(request, Request::Get { .. }) && response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(broken("the node ignored the range"));
        }
        Ok(Reply { body: collect(response.into_body(), expect).await?, position })
    }
}

fn broken(error: impl ToString) -> Failure {
    Failure::Broken(NodeError::Broken(error.to_string()))
}

fn http_request(request: &Request, body: Bytes, dial: usize) -> http::Request<Full<Bytes>> {
    let mut builder = http::Request::builder()
        .method(request.method())
        .uri(request.target())
        .header(header::HOST, HeaderValue::from_static("node"));
    if let Some((name, value)) = request.field() {
        builder = builder.header(name, value);
    }
    if dial > 0 {
        builder = builder.header(DIAL_HEADER, dial);
    }
    builder.body(Full::new(body)).expect("the wire's targets and fields are valid in HTTP")
}

/// Reads a body into one buffer, as fast as it comes. A node cannot make it
/// grow beyond what was asked for.
async fn collect(mut body: Incoming, expect: Expect) -> Result<Bytes, Failure> {
    let length = body.size_hint().exact().ok_or_else(|| broken("the node's answer has no length"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match expect {
        Expect::Exactly(wanted) if length != wanted => {
            return Err(broken(format!("the node sent {length} bytes where {wanted} were asked for")));
        }
        Expect::AtMost(max) if length > max => {
            return Err(broken(format!("the node's answer has {length} bytes; at most {max} are possible")));
        }
        _ => {}
    }
    let mut collected = BytesMut::with_capacity(length);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(broken)?.data_ref() {
            collected.extend_from_slice(data);
        }
    }
    if collected.len() != length {
        return Err(broken("the node's answer ended early"));
    }
    Ok(collected.freeze())
}
