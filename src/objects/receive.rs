//! A body on its way in: hashed, sealed block by block, cut into segments
//! that are stored while the next one fills.
//!
//! A transfer holds two segments at most. Where memory is short a segment is
//! cut early, so that many slow clients still move.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::epochs::EpochGuard;
use super::keys::NewStreamKey;
use super::{Incoming, ObjectError, Objects};
use crate::digest::{Checksum, Digester, Digests};
use crate::metadata::{Extent, InlineStream, NewSegment, NewStream, StreamContent};
use crate::transfer::{Plan, Reserved, Transfer, TransferError};
use crate::types::limits::{BLOCK_BYTES, SEALED_BLOCK_BYTES};

/// How long a segment that is not full waits for memory to grow by a block,
/// before it is stored as it is.
const SHORT_OF_MEMORY: Duration = Duration::from_millis(20);

/// A body that came whole and is what was declared.
pub struct Received {
    /// Size in bytes.
    pub size_bytes: u64,
    /// MD5 and the checksum that was asked for.
    pub digests: Digests,
    /// Where its bytes are.
    pub content: Content,
}

/// Where a received body's bytes are.
pub enum Content {
    /// There are none.
    Empty,
    /// Here, to be kept in the object's row.
    Inline(InlineStream),
    /// Here, to share a segment with others.
    Small(SmallStream),
    /// On nodes.
    Stored(Box<StoredStream>),
}

/// A sealed stream that is to share a segment.
pub struct SmallStream {
    /// Its row but for the place of its bytes.
    pub stream: NewStream,
    /// Its sealed blocks.
    pub sealed: Vec<u8>,
    /// The memory that they take.
    pub reserved: Reserved,
    /// What it was cut by: a segment of this plan holds it.
    pub plan: Plan,
}

/// A stream whose segments are durable, and condemned again when this is
/// dropped without a commit.
pub struct StoredStream {
    /// Its row.
    pub stream: NewStream,
    /// What its pieces were written under.
    pub guard: EpochGuard,
    segments: Abandoned,
}

impl StoredStream {
    /// The row, its segments and the guard, for a commit. From here on the
    /// caller answers for the segments.
    pub fn into_parts(mut self) -> (NewStream, Vec<NewSegment>, EpochGuard) {
        (self.stream, std::mem::take(&mut self.segments.segments), self.guard)
    }
}

/// Segments that are condemned unless somebody takes them.
struct Abandoned {
    transfer: Transfer,
    segments: Vec<NewSegment>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.transfer.abandon(&self.segments);
    }
}

impl Objects {
    /// Takes a body in. Fails, and leaves nothing behind, unless it ends as
    /// declared: length, MD5 and checksum.
    pub(super) async fn receive(&self, body: Incoming, max_bytes: u64) -> Result<Received, ObjectError> {
        let too_large = |size_bytes| ObjectError::TooLarge { size_bytes, max_bytes };
        if let Some(length) = body.length.filter(|length| *length > max_bytes) {
            return Err(too_large(length));
        }
        if !self.metadata.has_room() {
            return Err(ObjectError::Unavailable("the disk of the gateway's database is full; make room on it".into()));
        }
        match body.length {
            Some(length) if length <= self.inline_bytes() as u64 => self.transfer.check_joined()?,
            _ => self.transfer.check_writable()?,
        }
        let Incoming { mut stream, length, md5, algorithm, checksum, trailing } = body;
        let algorithm = checksum.as_ref().map(|checksum| checksum.algorithm).or(algorithm);
        let mut digester = Digester::new(algorithm.as_slice());
        let mut writer = StreamWriter::new(self, length);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(ObjectError::of_stream)?;
            digester.update(&chunk);
            writer.size_bytes += chunk.len() as u64;
            if let Some(expected_bytes) = length.filter(|length| writer.size_bytes > *length) {
                return Err(ObjectError::IncompleteBody { received_bytes: writer.size_bytes, expected_bytes });
            }
            if writer.size_bytes > max_bytes {
                return Err(too_large(writer.size_bytes));
            }
            writer.write(&chunk).await?;
        }
        let digests = digester.finish();
        let declared = checksum.into_iter().chain(trailing.and_then(|trailing| trailing.get().cloned()));
        verify(&digests, length, md5, declared)?;
        let size_bytes = writer.size_bytes;
        let content = writer.finish(&digests).await?;
        Ok(Received { size_bytes, digests, content })
    }
}

/// Largest sealed stream that shares a segment with others.
fn shared_bytes(plan: Plan) -> usize {
    plan.segment_bytes() / 8
}

fn verify(
    digests: &Digests,
    length: Option<u64>,
    md5: Option<[u8; 16]>,
    declared: impl Iterator<Item = Checksum>,
) -> Result<(), ObjectError> {
    if let Some(expected_bytes) = length.filter(|length| *length != digests.length) {
        return Err(ObjectError::IncompleteBody { received_bytes: digests.length, expected_bytes });
    }
    if md5.is_some_and(|md5| md5 != digests.md5) {
        return Err(ObjectError::BadDigest);
    }
    for checksum in declared {
        if !digests.checksums.contains(&checksum) {
            return Err(ObjectError::BadChecksum(checksum.algorithm.name()));
        }
    }
    Ok(())
}

/// Seals a stream and stores its segments.
struct StreamWriter<'o> {
    objects: &'o Objects,
    key: NewStreamKey,
    size_bytes: u64,
    blocks: u64,
    /// Sealed blocks of the segment that fills, then the plaintext of the
    /// block that does.
    buffer: Vec<u8>,
    sealed: usize,
    /// What the segment that fills is made by.
    plan: Plan,
    reserved: Option<Reserved>,
    expected_bytes: Option<u64>,
    extents: Vec<Extent>,
    segments: Abandoned,
    running: Option<oneshot::Receiver<Result<Abandoned, TransferError>>>,
    guard: Option<EpochGuard>,
}

impl<'o> StreamWriter<'o> {
    fn new(objects: &'o Objects, expected_bytes: Option<u64>) -> Self {
        Self {
            objects,
            key: objects.keys.new_stream(),
            size_bytes: 0,
            blocks: 0,
            buffer: Vec::new(),
            sealed: 0,
            plan: objects.transfer.plan(),
            reserved: None,
            expected_bytes,
            extents: Vec::new(),
            segments: Abandoned { transfer: objects.transfer.clone(), segments: Vec::new() },
            running: None,
            guard: None,
        }
    }

    async fn write(&mut self, mut chunk: &[u8]) -> Result<(), ObjectError> {
        while !chunk.is_empty() {
            if self.buffer.len() - self.sealed == BLOCK_BYTES {
                self.seal(false);
                self.make_room().await?;
            }
            if self.reserved.is_none() {
                self.begin_segment().await?;
            }
            let room = BLOCK_BYTES - (self.buffer.len() - self.sealed);
            let (now, later) = chunk.split_at(room.min(chunk.len()));
            self.buffer.extend_from_slice(now);
            chunk = later;
        }
        Ok(())
    }

    /// Seals the block at the end of the buffer, in place.
    fn seal(&mut self, last: bool) {
        let tag = self.key.sealer.seal_block(self.blocks, last, &mut self.buffer[self.sealed..]);
        self.buffer.extend_from_slice(&tag);
        self.sealed = self.buffer.len();
        self.blocks += 1;
    }

    /// After a block, before the next: the segment grows by another, or is
    /// stored if it is full or memory stays short. It grows block by block, so
    /// that a client holds no more than what it has sent.
    async fn make_room(&mut self) -> Result<(), ObjectError> {
        if self.sealed < self.plan.segment_bytes()
            && let Some(reserved) = self.reserved.as_mut()
        {
            let purse = &self.objects.transfer.budget().fill;
            if let Ok(Ok(more)) = timeout(SHORT_OF_MEMORY, purse.reserve(SEALED_BLOCK_BYTES)).await {
                reserved.merge(more);
                return Ok(());
            }
        }
        self.store_segment().await
    }

    async fn begin_segment(&mut self) -> Result<(), ObjectError> {
        self.plan = self.objects.transfer.plan();
        let full = self.plan.segment_bytes();
        let done = self.blocks * BLOCK_BYTES as u64;
        let left = self.expected_bytes.map_or(u64::MAX, |expected| expected.saturating_sub(done));
        let sealed_left = usize::try_from(crate::seal::sealed_length(left.min(full as u64))).unwrap_or(full);
        self.reserved = Some(self.objects.transfer.budget().fill.reserve(SEALED_BLOCK_BYTES.min(sealed_left)).await?);
        self.buffer.reserve_exact(full.min(sealed_left));
        Ok(())
    }

    /// Hands the filled segment over, once the one before is stored.
    async fn store_segment(&mut self) -> Result<(), ObjectError> {
        self.collect().await?;
        let guard = self.guard.get_or_insert_with(|| self.objects.epochs.begin());
        let (transfer, plan, epoch) = (self.objects.transfer.clone(), self.plan, guard.epoch());
        let ciphertext = std::mem::take(&mut self.buffer);
        let reserved = self.reserved.take();
        self.sealed = 0;
        let (sender, receiver) = oneshot::channel();
        self.running = Some(receiver);
        tokio::spawn(async move {
            let stored = transfer.store(plan, ciphertext, epoch).await;
            drop(reserved);
            // Wherever it is when the upload is given up, it is condemned.
            let _ = sender.send(stored.map(|segment| Abandoned { transfer, segments: vec![segment] }));
        });
        Ok(())
    }

    /// Waits for the segment that is being stored.
    async fn collect(&mut self) -> Result<(), ObjectError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let mut stored = running.await.map_err(|_| TransferError::Closing)??;
        for segment in &stored.segments {
            let stream_offset = self.extents.last().map_or(0, |last| last.stream_offset + u64::from(last.length));
            let length = super::layout_of(segment)?.length();
            self.extents.push(Extent { stream_offset, segment: segment.segment, segment_offset: 0, length });
        }
        self.segments.segments.append(&mut stored.segments);
        Ok(())
    }

    async fn finish(mut self, digests: &Digests) -> Result<Content, ObjectError> {
        if self.size_bytes == 0 {
            return Ok(Content::Empty);
        }
        self.seal(true);
        let alone = self.running.is_none() && self.extents.is_empty();
        if alone && self.size_bytes <= self.objects.inline_bytes() as u64 {
            return Ok(Content::Inline(InlineStream {
                stream: self.key.stream,
                key_version: self.key.key_version,
                wrapped_key: self.key.wrapped_key,
                sealed: self.buffer,
            }));
        }
        if alone && self.sealed <= shared_bytes(self.plan) {
            let stream = self.row(digests);
            let reserved = self.reserved.take().ok_or(ObjectError::Busy)?;
            return Ok(Content::Small(SmallStream { stream, sealed: self.buffer, reserved, plan: self.plan }));
        }
        self.store_segment().await?;
        self.collect().await?;
        let stream = self.row(digests);
        let guard = self.guard.take().ok_or(ObjectError::Busy)?;
        Ok(Content::Stored(Box::new(StoredStream { stream, guard, segments: self.segments })))
    }

    fn row(&mut self, digests: &Digests) -> NewStream {
        NewStream {
            stream: self.key.stream,
            size_bytes: self.size_bytes,
            key_version: self.key.key_version,
            wrapped_key: self.key.wrapped_key.to_vec(),
            md5: digests.md5,
            checksum: digests.checksums.first().cloned(),
            content: StreamContent::Extents(std::mem::take(&mut self.extents)),
        }
    }
}
