//! A request's body on its way to s3s: framing taken off, hashes and trailers
//! checked, its last bytes kept back until all of it is known to be good.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest::{Context as Hash, SHA256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body_error::BodyError;
use super::chunks::ChunkDecoder;
use super::drain::Source;
use super::signature::hex;
use super::trailers::Trailer;
use crate::digest::{Algorithm, Checksum};
use crate::objects::TrailingChecksum;

/// How long a client may send nothing in the middle of a body.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How the bytes are wrapped and vouched for.
pub(super) enum Framing {
    /// As they are, with the SHA-256 (lower-case hexadecimal) that they must have.
    Plain(Option<String>),
    /// In aws-chunked framing, with the trailers that must follow.
    Chunked(Box<ChunkDecoder>, Vec<String>),
}

/// Where the reason for a body's failure is left for whoever repairs the reply.
pub(super) type Failure = Arc<OnceLock<BodyError>>;

/// A body that gives exactly its declared length of verified bytes, or an error.
pub(super) struct RequestBody {
    source: Source,
    stage: Stage,
    declared_bytes: u64,
    received_bytes: u64,
    released_bytes: u64,
    trailing: Option<TrailingChecksum>,
    failure: Failure,
    idle: Option<Pin<Box<tokio::time::Sleep>>>,
}

enum Stage {
    Plain(Option<(Box<Hash>, String)>),
    Chunked(Box<ChunkDecoder>, Vec<String>),
    /// All is checked; these chunks are yet to be given.
    Verified(std::collections::VecDeque<Bytes>),
    Failed,
}

impl RequestBody {
    pub(super) fn new(source: Source, framing: Framing, declared_bytes: u64) -> Self {
        let stage = match framing {
            Framing::Plain(sha256) => Stage::Plain(sha256.map(|hash| (Box::new(Hash::new(&SHA256)), hash))),
            Framing::Chunked(decoder, trailers) => Stage::Chunked(decoder, trailers),
        };
        Self {
            source,
            stage,
            declared_bytes,
            received_bytes: 0,
            released_bytes: 0,
            trailing: None,
            failure: Failure::default(),
            idle: None,
        }
    }

    /// Where the trailers' checksum will be.
    pub(super) fn trailing(&mut self) -> TrailingChecksum {
        self.trailing.get_or_insert_default().clone()
    }

    /// Where the reason will be, should it fail.
    pub(super) fn failure(&self) -> Failure {
        self.failure.clone()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            match &mut self.stage {
                Stage::Failed => return Poll::Ready(None),
                Stage::Verified(chunks) => return Poll::Ready(chunks.pop_front().map(Ok)),
                Stage::Plain(_) => {}
                Stage::Chunked(decoder, _) => {
                    if let Some(bytes) = next_ready(decoder, self.declared_bytes - self.released_bytes) {
                        self.released_bytes += bytes.len() as u64;
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
            match ready!(self.poll_source(cx))? {
                Some(bytes) => {
                    if let Some(bytes) = self.take(bytes)? {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                None => self.finish()?,
            }
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        match self.source.poll_data(cx) {
            Poll::Ready(next) => {
                self.idle = None;
                Poll::Ready(next.transpose().map_err(|_| BodyError::Disconnected))
            }
            Poll::Pending => {
                let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(IDLE_MAX)));
                ready!(idle.as_mut().poll(cx));
                Poll::Ready(Err(BodyError::TimedOut))
            }
        }
    }

    /// Takes bytes of the source. Plain ones come back when they may be given.
    fn take(&mut self, bytes: Bytes) -> Result<Option<Bytes>, BodyError> {
        if let Stage::Chunked(decoder, _) = &mut self.stage {
            return decoder.feed(bytes).map(|()| None);
        }
        self.received_bytes += bytes.len() as u64;
        if self.received_bytes > self.declared_bytes {
            return Err(BodyError::TooLong { declared_bytes: self.declared_bytes });
        }
        if let Stage::Plain(Some((hash, _))) = &mut self.stage {
            hash.update(&bytes);
        }
        if self.received_bytes == self.declared_bytes {
            self.check_hash()?;
        }
        Ok(Some(bytes))
    }

    /// The source has ended.
    fn finish(&mut self) -> Result<(), BodyError> {
        let mut rest = std::collections::VecDeque::new();
        match &mut self.stage {
            Stage::Chunked(decoder, expected) => {
                let trailers = decoder.finish(expected)?;
                rest = std::mem::take(decoder.ready());
                fill(self.trailing.as_ref(), &trailers)?;
            }
            _ if self.received_bytes < self.declared_bytes => {
                let (received_bytes, declared_bytes) = (self.received_bytes, self.declared_bytes);
                return Err(BodyError::Incomplete { received_bytes, declared_bytes });
            }
            _ => self.check_hash()?,
        }
        self.stage = Stage::Verified(rest);
        Ok(())
    }

    /// Compares the hash once; what was compared is not compared again.
    fn check_hash(&mut self) -> Result<(), BodyError> {
        let Stage::Plain(hash) = &mut self.stage else { return Ok(()) };
        let Some((hash, declared)) = hash.take() else { return Ok(()) };
        let computed = hex(hash.finish().as_ref());
        if computed == declared { Ok(()) } else { Err(BodyError::PayloadHash { declared, computed }) }
    }
}

/// The next decoded bytes, unless they are the last: those wait for the end.
fn next_ready(decoder: &mut ChunkDecoder, missing_bytes: u64) -> Option<Bytes> {
    let next = decoder.ready().front()?;
    if next.len() as u64 == missing_bytes { None } else { decoder.ready().pop_front() }
}

/// Leaves a checksum from the trailers where it is waited for.
fn fill(trailing: Option<&TrailingChecksum>, trailers: &[Trailer]) -> Result<(), BodyError> {
    for (name, value) in trailers {
        let algorithm = Algorithm::from_header(name).filter(|_| trailing.is_some());
        let (Some(algorithm), Some(slot)) = (algorithm, trailing) else { continue };
        let value = BASE64_STANDARD.decode(value).ok().filter(|value| value.len() == algorithm.value_bytes());
        let value = value.ok_or_else(|| BodyError::BadTrailer(format!("the value of {name} is not valid")))?;
        // A body ends once, and it alone holds the slot's filling end.
        let _ = slot.set(Checksum { algorithm, value });
    }
    Ok(())
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let next = ready!(this.poll_next(cx));
        if let Some(Err(error)) = &next {
            this.stage = Stage::Failed;
            // The first reason is the one that counts.
            let _ = this.failure.set(error.clone());
        }
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.declared_bytes)
    }
}
