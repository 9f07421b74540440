//! An object's bytes on their way out: a unit of blocks is fetched, checked
//! and opened while the one before it is sent.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinHandle;

use super::{ByteStream, ObjectError, Objects};
use crate::metadata::{
    Extent, FindSegments, FindStreams, FoundObject, InlineStream, SegmentRow, Source, Span, StreamContent, StreamRow,
};
use crate::seal::{Opener, SealError, StreamShape};
use crate::transfer::{Reserved, SegmentReader, TransferError};
use crate::types::limits::{BLOCK_BYTES, SEALED_BLOCK_BYTES};
use crate::types::{SegmentId, StreamId};

/// Plaintext that is fetched at once when memory allows.
const UNIT_BYTES: usize = 1 << 20;
/// Segments that are looked up at once.
const SEGMENTS_AT_ONCE: usize = 64;

impl Objects {
    /// The same as [`content`](Self::content), with its beginning read: what
    /// cannot be read is an error here, while it can still be answered as one.
    pub(super) async fn begun_content(
        &self,
        found: FoundObject,
        first: u64,
        length: u64,
    ) -> Result<ByteStream, ObjectError> {
        let mut content = self.content(found, first, length);
        let Some(begin) = content.next().await else {
            return Ok(content);
        };
        let begin = begin.map_err(ObjectError::of_stream)?;
        let rest = content.inspect_err(|error| tracing::error!(%error, "an object could not be read to its end"));
        Ok(Box::pin(stream::iter([Ok(begin)]).chain(rest)))
    }

    /// The bytes from `first` on, `length` of them.
    pub(super) fn content(&self, found: FoundObject, first: u64, length: u64) -> ByteStream {
        match found.source {
            _ if length == 0 => Box::pin(stream::empty()),
            Source::None => Box::pin(stream::empty()),
            Source::Inline(inline) => {
                let opened = self.open_inline(&inline, found.current.size_bytes);
                let range = first as usize..(first + length) as usize;
                Box::pin(stream::once(async move { opened.map(|bytes| bytes.slice(range)).map_err(boxed) }))
            }
            Source::Body { spans, stream, .. } => {
                let spans = clip(&spans, first, length);
                Reader { objects: self.clone(), spans, known: stream, stream: None, ahead: None }.into_stream()
            }
        }
    }

    fn open_inline(&self, inline: &InlineStream, size_bytes: u64) -> Result<Bytes, ObjectError> {
        let opener = self.keys.opener(inline.key_version, inline.stream, &inline.wrapped_key)?;
        open_blocks(&opener, StreamShape::new(size_bytes), 0, inline.sealed.clone())
            .map_err(|error| ObjectError::Internal(format!("stream {}: {error}", inline.stream)))
    }
}

fn boxed(error: ObjectError) -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(error)
}

/// The spans that make up `length` bytes from `first` on.
pub(super) fn clip(spans: &[Span], mut first: u64, mut length: u64) -> VecDeque<Span> {
    let mut clipped = VecDeque::new();
    for span in spans {
        if first >= span.length {
            first -= span.length;
            continue;
        }
        let taken = (span.length - first).min(length);
        if taken == 0 {
            break;
        }
        clipped.push_back(Span { stream: span.stream, offset: span.offset + first, length: taken });
        length -= taken;
        first = 0;
    }
    clipped
}

/// Opens whole blocks, the first of which is `block`, in place.
fn open_blocks(opener: &Opener, shape: StreamShape, mut block: u64, mut sealed: Vec<u8>) -> Result<Bytes, SealError> {
    let (mut from, mut to) = (0, 0);
    while from < sealed.len() {
        let end = sealed.len().min(from + SEALED_BLOCK_BYTES);
        let plain = opener.open_block(block, shape.is_last(block), &mut sealed[from..end])?.len();
        sealed.copy_within(from..from + plain, to);
        (from, to, block) = (end, to + plain, block + 1);
    }
    sealed.truncate(to);
    Ok(Bytes::from(sealed))
}

/// Reads spans, one unit ahead of whoever takes them.
struct Reader {
    objects: Objects,
    spans: VecDeque<Span>,
    /// What the lookup of the object brought along of its only stream.
    known: Option<(StreamRow, Vec<SegmentRow>)>,
    stream: Option<StreamReader>,
    ahead: Option<JoinHandle<Result<Bytes, ObjectError>>>,
}

impl Reader {
    fn into_stream(self) -> ByteStream {
        Box::pin(stream::try_unfold(self, |mut reader| async move {
            let unit = reader.next().await.map_err(boxed)?;
            Ok(unit.map(|unit| (unit, reader)))
        }))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        let running = match self.ahead.take() {
            Some(running) => running,
            None => match self.fetch(true).await? {
                Some(running) => running,
                None => return Ok(None),
            },
        };
        let unit = running.await.map_err(|_| ObjectError::Unavailable("the server is shutting down".into()))??;
        self.ahead = self.fetch(false).await?;
        Ok(Some(unit))
    }

    /// Starts on the next unit. When memory is short a reader that must have
    /// it waits for a small one, and one that only reads ahead does not.
    async fn fetch(&mut self, must: bool) -> Result<Option<JoinHandle<Result<Bytes, ObjectError>>>, ObjectError> {
        while self.stream.as_ref().is_none_or(|stream| stream.plain.is_empty()) {
            let Some(span) = self.spans.pop_front() else {
                return Ok(None);
            };
            self.stream = Some(StreamReader::open(&self.objects, span, self.known.take()).await?);
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let purse = &self.objects.transfer.budget().read;
        let stripe = stream.stripe_bytes();
        let left = usize::try_from(stream.plain.end - stream.plain.start).unwrap_or(usize::MAX);
        let (small, large) = (stripe.min(left), UNIT_BYTES.max(stripe).min(left));
        // Reading ahead is for when there is plenty.
        if !must && purse.is_half_used() {
            return Ok(None);
        }
        let (unit_bytes, reserved) = match purse.try_reserve(large) {
            Some(reserved) => (UNIT_BYTES.max(stripe), reserved),
            None if must => (stripe, purse.reserve(small).await?),
            None => return Ok(None),
        };
        let unit = stream.next_unit(unit_bytes).await?;
        Ok(Some(tokio::spawn(unit.read(reserved))))
    }
}

/// One span's stream.
struct StreamReader {
    objects: Objects,
    row: StreamRow,
    opener: Arc<Opener>,
    /// What is still to be read of its plaintext.
    plain: Range<u64>,
    segments: HashMap<SegmentId, SegmentReader>,
}

impl StreamReader {
    async fn open(
        objects: &Objects,
        span: Span,
        known: Option<(StreamRow, Vec<SegmentRow>)>,
    ) -> Result<Self, ObjectError> {
        let (row, segments) = match known {
            Some(known) => known,
            None => (objects.find_stream(span.stream).await?, Vec::new()),
        };
        let opener = objects.keys.opener(row.key_version, row.stream, &row.wrapped_key)?;
        let mut reader = Self {
            objects: objects.clone(),
            row,
            opener: Arc::new(opener),
            plain: span.offset..span.offset + span.length,
            segments: HashMap::new(),
        };
        reader.know(segments)?;
        Ok(reader)
    }

    /// A stripe of the segments that come, as far as they are known.
    fn stripe_bytes(&self) -> usize {
        let known = self.segments.values().map(SegmentReader::stripe_bytes).max();
        known.unwrap_or_else(|| self.objects.transfer.plan().stripe_bytes())
    }

    fn know(&mut self, rows: Vec<SegmentRow>) -> Result<(), ObjectError> {
        for row in rows {
            let id = row.segment;
            self.segments.insert(id, SegmentReader::new(self.objects.transfer.clone(), row)?);
        }
        Ok(())
    }

    /// The next blocks: up to a multiple of the unit within their segment, so
    /// that units begin with stripes.
    async fn next_unit(&mut self, unit_bytes: usize) -> Result<Unit, ObjectError> {
        let shape = StreamShape::new(self.row.size_bytes);
        let mut blocks = shape.blocks_for(self.plain.clone());
        let unit_blocks = (unit_bytes / BLOCK_BYTES).max(1) as u64;
        let sealed_from = shape.sealed_range(blocks.clone()).start;
        let place = match &self.row.content {
            StreamContent::Inline(sealed) => Place::Inline(sealed.clone()),
            StreamContent::Extents(_) => {
                let (segment, extent) = self.segment_of(sealed_from).await?;
                let first = extent.stream_offset / SEALED_BLOCK_BYTES as u64;
                let last = (extent.stream_offset + u64::from(extent.length)).div_ceil(SEALED_BLOCK_BYTES as u64);
                let aligned = first + (blocks.start - first) / unit_blocks * unit_blocks + unit_blocks;
                blocks.end = blocks.end.min(last).min(aligned);
                let sealed = shape.sealed_range(blocks.clone());
                let offset = u64::from(extent.segment_offset) + (sealed.start - extent.stream_offset);
                let range = offset as u32..(offset + (sealed.end - sealed.start)) as u32;
                Place::Segment(segment, range)
            }
        };
        if matches!(place, Place::Inline(_)) {
            blocks = 0..shape.blocks();
        }
        let covered = shape.plain_range(blocks.clone());
        let end = self.plain.end.min(covered.end);
        let slice = (self.plain.start - covered.start) as usize..(end - covered.start) as usize;
        self.plain.start = end;
        let (objects, opener, stream) = (self.objects.clone(), self.opener.clone(), self.row.stream);
        Ok(Unit { objects, opener, stream, shape, first_block: blocks.start, sealed_from, place, slice })
    }

    /// The run that has this byte of the ciphertext, and what reads it. The
    /// stream may lie in another segment by now: it is looked up anew once.
    async fn segment_of(&mut self, offset: u64) -> Result<(SegmentReader, Extent), ObjectError> {
        for is_last in [false, true] {
            let StreamContent::Extents(extents) = &self.row.content else {
                return Err(ObjectError::Internal("an inline stream has no segments".into()));
            };
            let (at, extent) = extent_of(&self.row, extents, offset)?;
            let following = extents[at..].iter().take(SEGMENTS_AT_ONCE).map(|extent| extent.segment).collect();
            if let Some(segment) = self.segment(extent.segment, following).await? {
                return Ok((segment, extent));
            }
            if !is_last {
                self.row = self.objects.find_stream(self.row.stream).await?;
            }
        }
        Err(ObjectError::Unreadable(format!("a segment of stream {} was deleted while it was read", self.row.stream)))
    }

    /// The reader of a segment, if it is there; looks it and the ones after it
    /// up where it is not known yet.
    async fn segment(
        &mut self,
        id: SegmentId,
        following: Vec<SegmentId>,
    ) -> Result<Option<SegmentReader>, ObjectError> {
        if !self.segments.contains_key(&id) {
            self.segments.clear();
            let rows = self.objects.metadata.read(FindSegments { segments: following }).await?;
            self.know(rows)?;
        }
        Ok(self.segments.get(&id).cloned())
    }
}

/// The run that has this byte of the ciphertext, and which one it is.
fn extent_of(row: &StreamRow, extents: &[Extent], offset: u64) -> Result<(usize, Extent), ObjectError> {
    let at = extents.partition_point(|extent| extent.stream_offset <= offset).checked_sub(1);
    let found = at.and_then(|at| extents.get(at).map(|extent| (at, *extent)));
    found
        .filter(|(_, extent)| offset < extent.stream_offset + u64::from(extent.length))
        .ok_or_else(|| ObjectError::Internal(format!("stream {}: no extent has byte {offset}", row.stream)))
}

enum Place {
    Inline(Vec<u8>),
    Segment(SegmentReader, Range<u32>),
}

/// Some whole blocks of a stream.
struct Unit {
    objects: Objects,
    opener: Arc<Opener>,
    stream: StreamId,
    shape: StreamShape,
    first_block: u64,
    /// First byte of the blocks in the stream's ciphertext.
    sealed_from: u64,
    place: Place,
    /// What is wanted of their plaintext.
    slice: Range<usize>,
}

impl Unit {
    async fn read(self, reserved: Reserved) -> Result<Bytes, ObjectError> {
        let sealed = match &self.place {
            Place::Inline(sealed) => sealed.clone(),
            Place::Segment(segment, range) => self.fetch(segment, range.clone()).await?,
        };
        let opened = open_blocks(&self.opener, self.shape, self.first_block, sealed)
            .map_err(|error| ObjectError::Internal(format!("stream {}: {error}", self.stream)))?;
        // The memory counts until the last of it has been sent.
        Ok(Bytes::from_owner(Held { bytes: opened, _reserved: reserved }).slice(self.slice))
    }

    /// A piece that cannot be read may have moved, or the stream lies in
    /// another segment: both are looked up anew once.
    async fn fetch(&self, segment: &SegmentReader, range: Range<u32>) -> Result<Vec<u8>, ObjectError> {
        match segment.read(range.clone()).await {
            Err(TransferError::Unreadable { segment: id, .. }) => {
                let (row, range) = self.resolve(id, range).await?;
                Ok(SegmentReader::new(self.objects.transfer.clone(), row)?.read(range).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Where this is now. Runs move whole, so what was in one is in one.
    async fn resolve(&self, id: SegmentId, range: Range<u32>) -> Result<(SegmentRow, Range<u32>), ObjectError> {
        let find = |id| FindSegments { segments: vec![id] };
        if let Some(row) = self.objects.metadata.read(find(id)).await?.pop() {
            return Ok((row, range));
        }
        let gone = || ObjectError::Unreadable(format!("segment {id} was deleted meanwhile"));
        let stream = self.objects.find_stream(self.stream).await?;
        let StreamContent::Extents(extents) = &stream.content else { return Err(gone()) };
        let (_, extent) = extent_of(&stream, extents, self.sealed_from)?;
        let row = self.objects.metadata.read(find(extent.segment)).await?.pop().ok_or_else(gone)?;
        let from = extent.segment_offset + (self.sealed_from - extent.stream_offset) as u32;
        Ok((row, from..from + (range.end - range.start)))
    }
}

struct Held {
    bytes: Bytes,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Objects {
    async fn find_stream(&self, id: StreamId) -> Result<StreamRow, ObjectError> {
        let rows = self.metadata.read(FindStreams { streams: vec![id] }).await?;
        let gone = || ObjectError::Unreadable(format!("stream {id} was deleted while it was read; try again"));
        rows.into_iter().next().ok_or_else(gone)
    }
}
