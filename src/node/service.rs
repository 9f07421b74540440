//! Answers a door's requests from the piece store.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::SemaphorePermit;

use super::run::Inner;
use super::store::{PieceInfo, PieceState, StoreError};
use crate::types::limits::{INVENTORY_PAGE_MAX, PIECE_BYTES_MAX};
use crate::types::{Epoch, PieceId};
use crate::wire::{
    Changed, DIAL_HEADER, EPOCH_HEADER, ErrorBody, ErrorKind, Fields, InventoryEntry, Known, ListAction,
    POSITION_HEADER, Request, Standing, decode_dial, decode_ids, encode_ids, encode_inventory,
};

/// How long a piece may wait for memory before it is declined.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(8);

type Answer = Response<Full<Bytes>>;

/// One request, one answer: errors are answers too.
pub(super) async fn answer(
    inner: Arc<Inner>,
    door: Arc<str>,
    request: hyper::Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (head, mut body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let outcome = match dial(&inner, &door, &head.headers)
        .and_then(|()| Ok(Request::decode(head.method.as_str(), target, fields(&head.headers))?))
    {
        Ok(request) => inner.perform(request, &mut body).await,
        Err(error) => Err(error),
    };
    Ok(match outcome {
        Ok(answer) => answer,
        Err(error) => {
            drain(&mut body).await;
            refused(&error)
        }
    })
}

/// What the door asks for in passing is begun before anything else.
fn dial(inner: &Arc<Inner>, door: &str, headers: &HeaderMap) -> Result<(), ErrorBody> {
    if let Some(count) = field(headers, DIAL_HEADER) {
        inner.dial_more(door, decode_dial(count)?);
    }
    Ok(())
}

fn fields(headers: &HeaderMap) -> Fields<'_> {
    Fields {
        epoch: field(headers, EPOCH_HEADER),
        range: field(headers, "range"),
        length: field(headers, "content-length"),
    }
}

/// A field's text; one that is no text fails every decoder.
fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

impl Inner {
    async fn perform(self: &Arc<Self>, request: Request, body: &mut Incoming) -> Result<Answer, ErrorBody> {
        match request {
            Request::Put { id, epoch, length } => self.put(id, epoch, length, body).await,
            Request::Get { id, range } => {
                let bytes = self.store.get(id, range).await.map_err(|error| self.store_error(error))?;
                Ok(reply(StatusCode::PARTIAL_CONTENT, bytes))
            }
            Request::List { action, length } => self.list(action, length, body).await,
            Request::Inventory { after, limit } => Ok(self.inventory(after, limit)),
            Request::Strays { after, limit, before, length } => self.strays((after, limit, before), length, body).await,
            Request::Damaged { after, limit } => {
                Ok(reply(StatusCode::OK, encode_ids(&self.store.damaged_page(after, limit))))
            }
            Request::Standing { length } => {
                self.hear(Standing::decode(&read(body, length).await?)?);
                Ok(reply(StatusCode::OK, Changed { changed: 0 }.encode()))
            }
            Request::Usage => Ok(reply(StatusCode::OK, self.usage().encode())),
        }
    }

    /// Remembers what the cluster thinks of the node, and dials doors that are
    /// new; that the node has left is said.
    fn hear(self: &Arc<Self>, mut standing: Standing) {
        let doors = std::mem::take(&mut standing.doors);
        self.note_standing(standing);
        if doors.is_empty() {
            return;
        }
        let generation = self.state().generation();
        self.learn(generation, &doors);
    }

    fn note_standing(&self, standing: Standing) {
        let mut state = self.state();
        let before = state.left();
        // In memory it holds even if the disk fails; the door says it again.
        if let Err(error) = state.set_standing(standing) {
            tracing::warn!(node = %self.node, %error, "the node's standing could not be written down");
        }
        if state.left() && !before {
            tracing::info!(node = %self.node, "the node has left the cluster: its disk can be wiped");
        }
    }

    async fn put(&self, id: PieceId, epoch: Epoch, length: usize, body: &mut Incoming) -> Result<Answer, ErrorBody> {
        let _memory = self.memory(length).await?;
        let piece = read(body, length).await?;
        let position = self.store.put(id, epoch, piece).await.map_err(|error| self.store_error(error))?;
        let mut answer = reply(StatusCode::CREATED, Bytes::new());
        answer.headers_mut().insert(POSITION_HEADER, position.0.into());
        Ok(answer)
    }

    async fn list(&self, action: ListAction, length: usize, body: &mut Incoming) -> Result<Answer, ErrorBody> {
        let ids = decode_ids(&read(body, length).await?)?;
        let changed = match action {
            ListAction::Trash => self.store.trash(&ids).await,
            ListAction::Restore => self.store.restore(&ids).await,
            ListAction::Purge => self.store.purge(&ids).await,
        };
        let changed = changed.map_err(|error| self.store_error(error))? as u64;
        Ok(reply(StatusCode::OK, Changed { changed }.encode()))
    }

    fn inventory(&self, after: Option<PieceId>, limit: usize) -> Answer {
        let page = self.store.inventory(after, limit);
        let entries: Vec<InventoryEntry> = page.into_iter().map(entry).collect();
        reply(StatusCode::OK, encode_inventory(&entries))
    }

    /// The pieces that are not as the door knows them. Nothing happens to them
    /// here: what it decides, it orders.
    async fn strays(
        &self,
        (mut after, limit, before): (Option<PieceId>, usize, Epoch),
        length: usize,
        body: &mut Incoming,
    ) -> Result<Answer, ErrorBody> {
        let _memory = self.memory(length).await?;
        let known = Known::decode(&read(body, length).await?)?;
        let mut strays = Vec::new();
        while strays.len() < limit {
            let page = self.store.inventory(after, INVENTORY_PAGE_MAX);
            let is_last = page.len() < INVENTORY_PAGE_MAX;
            after = page.last().map(|(id, _)| *id);
            let wrong = page.into_iter().map(entry).filter(|entry| known.contradicts(entry, before));
            strays.extend(wrong.take(limit - strays.len()));
            if is_last {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(reply(StatusCode::OK, encode_inventory(&strays)))
    }

    /// Room for a piece that is coming in, for as long as it is held.
    async fn memory(&self, length: usize) -> Result<SemaphorePermit<'_>, ErrorBody> {
        let permits = self.memory.acquire_many(u32::try_from(length).unwrap_or(u32::MAX));
        match tokio::time::timeout(MEMORY_TIMEOUT, permits).await {
            Ok(Ok(permits)) => Ok(permits),
            _ => Err(ErrorBody::new(ErrorKind::Busy, "the node has no memory for the piece: too many are coming in")),
        }
    }

    fn store_error(&self, error: StoreError) -> ErrorBody {
        let kind = match error {
            StoreError::Missing => ErrorKind::Missing,
            StoreError::Conflict => ErrorKind::Conflict,
            StoreError::Full { .. } => ErrorKind::Full,
            StoreError::Damaged { .. } => ErrorKind::Damaged,
            StoreError::OutOfRange { .. } | StoreError::TooLarge { .. } => ErrorKind::Invalid,
            StoreError::Closed => ErrorKind::Closing,
            StoreError::Failed(_) | StoreError::Locked | StoreError::Version { .. } | StoreError::Io(_) => {
                ErrorKind::Failed
            }
        };
        if kind == ErrorKind::Failed && !self.store_failed.swap(true, Relaxed) {
            tracing::error!(node = %self.node, %error, "the piece store fails; requests are answered so from now on");
        }
        ErrorBody::new(kind, error.to_string())
    }
}

fn entry((id, info): (PieceId, PieceInfo)) -> InventoryEntry {
    let PieceInfo { length, epoch, state } = info;
    InventoryEntry { id, epoch, length, trashed: state == PieceState::Trash }
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

fn refused(error: &ErrorBody) -> Answer {
    reply(StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.encode())
}

/// Reads a body whose length was checked against the limits.
async fn read(body: &mut Incoming, length: usize) -> Result<Bytes, ErrorBody> {
    let mut whole = BytesMut::with_capacity(length);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ErrorBody::new(ErrorKind::Invalid, error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            whole.extend_from_slice(data);
        }
    }
    match whole.len() == length {
        true => Ok(whole.freeze()),
        false => Err(ErrorBody::new(ErrorKind::Invalid, "the body is not as long as its content-length says")),
    }
}

/// Reads what is left of a piece that is declined, so that the door can read
/// why and go on with the connection. What is larger than a piece closes it.
async fn drain(body: &mut Incoming) {
    let mut left = PIECE_BYTES_MAX + 1;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
