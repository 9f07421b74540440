//! One log line for each request, when its reply has gone out or was given up.
//! Then it is counted, too.
//!
//! The line never holds a header or a query: signatures stand in both.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::extensions::RequestId;
use super::operation::Operation;
use crate::env::contain;
use crate::gateway::Meter;
use crate::gateway::meter::Request;

/// What a request's line says.
pub(super) struct Record {
    pub(super) method: Method,
    /// The path as it arrived, escapes and all.
    pub(super) path: String,
    pub(super) bucket: Option<String>,
    pub(super) operation: Option<Operation>,
    pub(super) request_id: RequestId,
    pub(super) began: Instant,
    pub(super) received_bytes: Arc<AtomicU64>,
    /// S3's error code.
    pub(super) code: Option<String>,
    pub(super) meter: Meter,
}

/// A reply's body. It counts what is sent.
pub struct ReplyBody {
    inner: s3s::Body,
    status: StatusCode,
    sent_bytes: u64,
    /// Bytes that will be sent, where that is known.
    whole_bytes: Option<u64>,
    failed: Option<String>,
    record: Option<Record>,
}

impl ReplyBody {
    pub(super) fn new(inner: s3s::Body, status: StatusCode, record: Record) -> Self {
        let whole_bytes = inner.size_hint().exact();
        Self { inner, status, sent_bytes: 0, whole_bytes, failed: None, record: Some(record) }
    }

    fn log(&mut self) {
        let Some(record) = self.record.take() else { return };
        let (took, received_bytes) = (record.began.elapsed(), record.received_bytes.load(Ordering::Relaxed));
        record.meter.count(&Request {
            operation: record.operation.as_ref().map(|operation| operation as &dyn std::fmt::Debug),
            status: self.status.as_u16(),
            received_bytes,
            sent_bytes: self.sent_bytes,
            took,
        });
        let complete = self.failed.is_none() && self.whole_bytes.is_none_or(|whole| whole == self.sent_bytes);
        tracing::info!(
            target: "cairn::request",
            method = %record.method,
            path = ?record.path,
            bucket = record.bucket,
            operation = record.operation.map(tracing::field::debug),
            status = self.status.as_u16(),
            code = record.code,
            received_bytes,
            sent_bytes = self.sent_bytes,
            ms = took.as_millis() as u64,
            request_id = %record.request_id,
            complete,
            failure = self.failed.as_deref(),
        );
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let this = self.get_mut();
        let next = match contain(|| Pin::new(&mut this.inner).poll_frame(cx)) {
            Ok(poll) => ready!(poll),
            Err(panicked) => {
                this.inner = s3s::Body::empty();
                Some(Err(panicked.into()))
            }
        };
        match &next {
            Some(Ok(frame)) => this.sent_bytes += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(error)) => this.failed = Some(error.to_string()),
            None => this.whole_bytes = None,
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.log();
    }
}
