//! Which rows there are: a function of the seed and the object's number.
//!
//! Objects come in blocks of twenty: ten inline, seven that share a segment, a
//! copy of one of these, one with a segment of its own, and one with one to
//! eight. Sizes have a long tail in each group. Every tenth block has left a
//! row of garbage and the condemned pieces of a segment behind.

use super::super::bodies::{Span, encode_spans};
use super::super::checksums::{encode_checksum, encode_stored};
use super::super::codec::{Writer, encode_headers, encode_labels};
use super::super::nodes::NodeState;
use super::super::objects::{InlineStream, encode_inline};
use super::super::segments::{PiecePlace, encode_pieces};
use super::super::streams::{Extent, encode_extents};
use super::super::tx::Value;
use crate::digest::{Algorithm, Checksum, ChecksumKind, StoredChecksum};
use crate::erasure::Coding;
use crate::segment::{Layout, capacity};
use crate::types::limits::{BLOCK_BYTES, SEALED_BLOCK_BYTES};
use crate::types::{Incarnation, KeyVersion, ObjectKey, PieceNumber, SegmentId, StreamId};

/// Objects in a block: ranges of objects begin and end with one.
pub const BLOCK_OBJECTS: u64 = 20;
/// Objects of a block that are inline, and that share its segment.
const INLINE: u64 = 10;
const SHARED: u64 = 7;
/// Blocks for each that has garbage.
const GARBAGE_EVERY: u64 = 10;
/// Numbers of its rows, which no sequence reaches.
const GARBAGE_FROM: u64 = 1 << 40;
/// Folders of which each holds many keys.
const FOLDERS: u64 = 5000;

/// What is random about a row, by what it is for.
#[derive(Clone, Copy)]
enum About {
    Key,
    Size,
    Body,
    Stream,
    Segment,
    Secret,
    Nodes,
    Dead,
}

/// A table, its columns, and the rows that are to be put into it.
pub(super) struct Rows {
    pub table: &'static str,
    pub columns: &'static [&'static str],
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    /// In the order of their keys, which are the first two columns at most.
    pub fn sort(&mut self) {
        let rank = |value: &Value| match value {
            Value::Int(value) => (*value, Vec::new()),
            Value::Bytes(bytes) => (0, bytes.clone()),
            Value::Null => (0, Vec::new()),
        };
        self.rows.sort_by_cached_key(|row| (rank(&row[0]), rank(&row[1])));
    }
}

/// Rows of all tables that a range of objects takes.
pub(super) struct Batch {
    objects: Rows,
    bodies: Rows,
    streams: Rows,
    segments: Rows,
    garbage: Rows,
    condemned: Rows,
}

impl Batch {
    fn new() -> Self {
        let rows = |table, columns| Rows { table, columns, rows: Vec::new() };
        Self {
            objects: rows(
                "objects",
                &[
                    "bucket_no",
                    "key",
                    "size_bytes",
                    "modified_ms",
                    "etag",
                    "checksum",
                    "sequence",
                    "body_id",
                    "headers",
                    "inline",
                ],
            ),
            bodies: rows("bodies", &["body_id", "refs", "size_bytes", "spans"]),
            streams: rows(
                "streams",
                &[
                    "stream_id",
                    "refs",
                    "size_bytes",
                    "format",
                    "key_version",
                    "wrapped_key",
                    "md5",
                    "checksum",
                    "revision",
                    "extents",
                ],
            ),
            segments: rows(
                "segments",
                &["segment_id", "layout", "mac_key", "root", "epoch", "revision", "streams", "live_bytes", "pieces"],
            ),
            garbage: rows("garbage", &["garbage_no", "left_ms", "spans"]),
            condemned: rows("condemned", &["node_no", "segment_id", "piece", "incarnation", "trashed_ms"]),
        }
    }

    pub fn tables(self) -> [Rows; 6] {
        [self.objects, self.bodies, self.streams, self.segments, self.garbage, self.condemned]
    }
}

fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bytes(bytes.as_ref().to_vec())
}

fn number(number: u64) -> Value {
    Value::Int(number as i64)
}

/// Segments of a block, as they fill.
struct Segment {
    id: SegmentId,
    coding: Coding,
    streams: u64,
    length: u64,
}

/// What is in the database.
#[derive(Debug, Clone, Copy)]
pub struct Synthetic {
    /// Another one, another database.
    pub seed: u64,
    /// Storage nodes, by the numbers from 1 on.
    pub nodes: u32,
    /// The number of the bucket that all objects are in.
    pub bucket: u64,
    /// When all of it was written.
    pub now_ms: i64,
}

impl Synthetic {
    fn random(&self, about: About, of: u64) -> u64 {
        // splitmix64.
        let mut mixed = self.seed ^ (about as u64) << 56 ^ of.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn random_bytes<const N: usize>(&self, about: About, of: u64) -> [u8; N] {
        let mut bytes = [0; N];
        for (at, chunk) in bytes.chunks_mut(8).enumerate() {
            let random = self.random(about, of.wrapping_mul(64) + at as u64).to_be_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        bytes
    }

    /// From `least` up to 2^`doublings` times that; small ones are many.
    fn size(&self, of: u64, least: u64, doublings: f64) -> u64 {
        let share = self.random(About::Size, of) as f64 / u64::MAX as f64;
        (least as f64 * (share * doublings).exp2()) as u64
    }

    /// An object's key: a folder with very many, many folders, dates, and deep ones.
    pub fn key(&self, object: u64) -> ObjectKey {
        let dice = self.random(About::Key, object);
        let (name, month, day) = (self.random(About::Key, !object), dice / 10 % 12 + 1, dice / 120 % 28 + 1);
        let key = match dice % 10 {
            0..4 => format!("images/layers/{name:016x}"),
            4..6 => format!("logs/{:04}/{name:016x}.gz", dice / 10 % FOLDERS),
            6..9 => format!("backup/2026/{month:02}/{day:02}/host-{:02}/{name:016x}", dice / 4000 % 40),
            _ => format!("users/{:03}/photos/2026/{month:02}/{day:02}/raw/{name:016x}.dng", dice / 4000 % 500),
        };
        ObjectKey::new(key).expect("it is short and made of letters")
    }

    /// The rows of some blocks.
    pub(super) fn rows(&self, blocks: std::ops::Range<u64>) -> Batch {
        let mut batch = Batch::new();
        for block in blocks {
            self.block(&mut batch, block);
        }
        batch
    }

    fn block(&self, batch: &mut Batch, block: u64) {
        let coding = self.coding(block);
        let first = block * BLOCK_OBJECTS;
        let mut shared = self.segment(coding, block * 64);
        for object in first..first + INLINE {
            self.inline(batch, object);
        }
        let sharing = first + INLINE..first + INLINE + SHARED;
        for object in sharing.clone() {
            let size = self.size(object, 8 << 10, 4.0);
            let refs = if object + 1 == sharing.end { 2 } else { 1 };
            self.stream(batch, object, size, std::slice::from_mut(&mut shared), refs);
            self.object(batch, object, size, object);
        }
        let copied = sharing.end - 1;
        self.object(batch, sharing.end, self.size(copied, 8 << 10, 4.0), copied);
        if block.is_multiple_of(GARBAGE_EVERY) {
            self.garbage(batch, block, &mut shared);
        }
        let mut segments = vec![self.segment(coding, block * 64 + 1)];
        let (own, large) = (sharing.end + 1, sharing.end + 2);
        let size = self.size(own, 256 << 10, 5.0);
        self.stream(batch, own, size, &mut segments, 1);
        self.object(batch, own, size, own);
        let count = self.size(large, 1, 3.0);
        let mut many: Vec<_> = (0..count).map(|at| self.segment(coding, block * 64 + 2 + at)).collect();
        let room = (count * capacity(coding) as u64) / SEALED_BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        self.stream(batch, large, room - 1000, &mut many, 1);
        self.object(batch, large, room - 1000, large);
        segments.append(&mut many);
        segments.push(shared);
        for segment in segments {
            self.keep(batch, &segment);
        }
    }

    fn coding(&self, block: u64) -> Coding {
        let total = 12 + (self.random(About::Nodes, block) % 5) as u16;
        Coding::new(total / 2, total).expect("six to eight of twelve to sixteen")
    }

    fn segment(&self, coding: Coding, number: u64) -> Segment {
        let id = SegmentId::from_bytes(self.random_bytes(About::Segment, number));
        Segment { id, coding, streams: 0, length: 0 }
    }

    fn checksum(&self, object: u64) -> Checksum {
        let value = self.random(About::Secret, !object).to_be_bytes().to_vec();
        Checksum { algorithm: Algorithm::Crc64Nvme, value }
    }

    fn row(&self, object: u64, size: u64) -> Vec<Value> {
        let checksum = StoredChecksum { checksum: self.checksum(object), kind: ChecksumKind::FullObject, parts: None };
        let headers = [("content-type", "application/octet-stream"), ("x-amz-meta-mtime", "1781234567.123")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let etag = format!("{:032x}", u128::from_be_bytes(self.random_bytes(About::Secret, object)));
        let (bucket, time) = (number(self.bucket), Value::Int(self.now_ms));
        let checksum = bytes(encode_stored(&checksum));
        let key = bytes(self.key(object).as_bytes());
        vec![
            bucket,
            key,
            number(size),
            time,
            bytes(etag),
            checksum,
            number(object + 1),
            Value::Null,
            bytes(encode_headers(&headers)),
            Value::Null,
        ]
    }

    fn inline(&self, batch: &mut Batch, object: u64) {
        let size = self.size(object, 64, 4.0);
        let inline = InlineStream {
            stream: StreamId::from_bytes(self.random_bytes(About::Stream, object)),
            key_version: KeyVersion(1),
            wrapped_key: self.random_bytes(About::Secret, object),
            sealed: vec![0xA5; size as usize + 16],
        };
        let mut row = self.row(object, size);
        row[9] = bytes(encode_inline(&inline));
        batch.objects.rows.push(row);
    }

    /// An object with the body of a stream.
    fn object(&self, batch: &mut Batch, object: u64, size: u64, stream: u64) {
        let mut row = self.row(object, size);
        row[7] = bytes(self.random_bytes::<16>(About::Body, stream));
        batch.objects.rows.push(row);
    }

    /// A stream, behind what is in the segments, and its body.
    fn stream(&self, batch: &mut Batch, object: u64, size: u64, segments: &mut [Segment], refs: u64) {
        let id = StreamId::from_bytes(self.random_bytes(About::Stream, object));
        self.extents(batch, object, id, size, segments);
        let spans = encode_spans(&[Span { stream: id, offset: 0, length: size }]);
        let body = bytes(self.random_bytes::<16>(About::Body, object));
        batch.bodies.rows.push(vec![body, number(refs), number(size), bytes(spans)]);
    }

    fn extents(&self, batch: &mut Batch, object: u64, id: StreamId, size: u64, segments: &mut [Segment]) {
        let (mut left, mut extents) = (size + size.div_ceil(BLOCK_BYTES as u64) * 16, Vec::new());
        let mut done = 0;
        for segment in segments {
            let length = left.min(capacity(segment.coding) as u64 - segment.length);
            if length == 0 {
                continue;
            }
            let (segment_offset, taken) = (segment.length as u32, length as u32);
            extents.push(Extent { stream_offset: done, segment: segment.id, segment_offset, length: taken });
            (segment.streams, segment.length) = (segment.streams + 1, segment.length + length);
            (left, done) = (left - length, done + length);
        }
        assert_eq!(left, 0, "the segments hold the stream");
        let wrapped = self.random_bytes::<48>(About::Secret, object);
        let md5 = self.random_bytes::<16>(About::Secret, object);
        let checksum = bytes(encode_checksum(&self.checksum(object)));
        let (one, size) = (number(1), number(size));
        batch.streams.rows.push(vec![
            bytes(id.as_bytes()),
            one.clone(),
            size,
            one.clone(),
            one.clone(),
            bytes(wrapped),
            bytes(md5),
            checksum,
            one,
            bytes(encode_extents(&extents)),
        ]);
    }

    fn pieces(&self, segment: SegmentId, coding: Coding) -> Vec<PiecePlace> {
        let at = u64::from_be_bytes(*segment.as_bytes().first_chunk().expect("an id has 16 bytes"));
        // Nodes that are apart from each other by a step that is never zero.
        let (first, step) = (at % u64::from(self.nodes), 1 + at / 7 % (u64::from(self.nodes) / 16));
        let place = |piece: u16| PiecePlace {
            piece: PieceNumber(piece),
            node: ((first + u64::from(piece) * step) % u64::from(self.nodes)) as u32 + 1,
            incarnation: Incarnation(1),
        };
        (0..coding.total()).map(place).collect()
    }

    fn keep(&self, batch: &mut Batch, segment: &Segment) {
        if segment.streams == 0 {
            return;
        }
        let layout = Layout::for_length(segment.coding, segment.length).expect("it was filled within its room");
        let at = u64::from_be_bytes(*segment.id.as_bytes().first_chunk().expect("an id has 16 bytes"));
        batch.segments.rows.push(vec![
            bytes(segment.id.as_bytes()),
            bytes(layout.to_bytes()),
            bytes(self.random_bytes::<32>(About::Secret, at)),
            bytes(self.random_bytes::<16>(About::Secret, !at)),
            number(1),
            number(1),
            number(segment.streams),
            number(segment.length),
            bytes(encode_pieces(&self.pieces(segment.id, segment.coding))),
        ]);
    }

    /// A stream that only garbage refers to, and a segment that is gone.
    fn garbage(&self, batch: &mut Batch, block: u64, shared: &mut Segment) {
        let left = !block;
        let id = StreamId::from_bytes(self.random_bytes(About::Dead, left));
        self.extents(batch, left, id, 20_000, std::slice::from_mut(shared));
        let spans = encode_spans(&[Span { stream: id, offset: 0, length: 20_000 }]);
        batch.garbage.rows.push(vec![number(GARBAGE_FROM + block), Value::Int(self.now_ms), bytes(spans)]);
        let dead = SegmentId::from_bytes(self.random_bytes(About::Dead, block));
        for place in self.pieces(dead, shared.coding) {
            let (node, piece, placing) = (place.node.into(), place.piece.0.into(), place.incarnation.0.into());
            let row =
                vec![number(node), bytes(dead.as_bytes()), number(piece), number(placing), Value::Int(self.now_ms)];
            batch.condemned.rows.push(row);
        }
    }

    /// The nodes.
    pub(super) fn node_rows(&self) -> Rows {
        let labels = encode_labels(&[("region".to_owned(), "eu-west".to_owned())].into());
        let mut space = Writer::new(1);
        let space = space.u64(2_000_000_000_000).u64(800_000_000_000).u64(1_100_000_000_000).u64(400_000).finish();
        let row = |node: u32| {
            let id = self.random_bytes::<32>(About::Nodes, !u64::from(node));
            let state = Value::Int(NodeState::Active as i64);
            let (now, none) = (Value::Int(self.now_ms), number(0));
            vec![
                number(node.into()),
                bytes(id),
                state,
                bytes(&labels),
                now.clone(),
                none.clone(),
                none,
                now,
                bytes(&space),
            ]
        };
        Rows {
            table: "nodes",
            columns: &[
                "node_no",
                "node_id",
                "state",
                "labels",
                "joined_ms",
                "start_counter",
                "log_position",
                "seen_ms",
                "space",
            ],
            rows: (1..=self.nodes).map(row).collect(),
        }
    }
}
