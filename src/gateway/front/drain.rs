//! A body that is read on for a while when nobody wants it any more.
//!
//! Without that, a refusal while the client is still sending would close the
//! connection on it, and many clients then report a broken pipe instead of
//! the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;

/// How much is read on: two parts of the size that clients upload by default.
const BYTES_MAX: usize = 16 << 20;
/// How long it is read on.
const TIME_MAX: Duration = Duration::from_secs(10);

type Inner = UnsyncBoxBody<Bytes, s3s::StdError>;

/// A request's body as the connection gives it.
pub(super) struct Source {
    inner: Option<Inner>,
    /// The client waits for "100 Continue", which the first poll sends.
    waits: bool,
    /// A refused HTTP/2 stream is reset by itself, without harm.
    drains: bool,
    received_bytes: Arc<AtomicU64>,
}

impl Source {
    /// The body of a request that has `Expect: 100-continue` where `waits`, and
    /// has its connection to itself where `drains`.
    pub(super) fn new(inner: Inner, waits: bool, drains: bool) -> Self {
        let inner = (!inner.is_end_stream()).then_some(inner);
        Self { inner, waits, drains, received_bytes: Arc::default() }
    }

    /// Where the number of bytes that came so far can be read, also later.
    pub(super) fn received_bytes(&self) -> Arc<AtomicU64> {
        self.received_bytes.clone()
    }

    /// The next bytes; `None` at the end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, s3s::StdError>>> {
        self.waits = false;
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let next = std::task::ready!(poll_data(inner, cx));
        match &next {
            Some(Ok(bytes)) => {
                self.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Some(Err(_)) | None => self.inner = None,
        }
        Poll::Ready(next)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take().filter(|inner| self.drains && !self.waits && !inner.is_end_stream())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(TIME_MAX, drain(inner)));
        }
    }
}

async fn drain(mut body: Inner) {
    let mut left = BYTES_MAX;
    while let Some(Ok(bytes)) = poll_fn(|cx| poll_data(&mut body, cx)).await {
        match left.checked_sub(bytes.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn poll_data(body: &mut Inner, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, s3s::StdError>>> {
    loop {
        match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(bytes))) => return Poll::Ready(Some(Ok(bytes))),
            Some(Ok(Err(_trailers))) => {}
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}
