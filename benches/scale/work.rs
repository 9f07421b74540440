//! What is done at each size, through the operations that a gateway and its
//! workers use.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use cairn::erasure::Coding;
use cairn::metadata::{
    AcquireLease, CommitObject, DeleteObjects, Extent, FindObject, Holder, InlineStream, Lease, ListNodes, ListObjects,
    Metadata, NewBody, NewObject, NewSegment, NewStream, NodesToTell, ObjectContent, PiecePlace, PiecesToPurge,
    PiecesToTrash, ReleaseGarbage, ScanSegments, Span, StreamContent, Synthetic,
};
use cairn::segment::Layout;
use cairn::types::{
    BodyId, Epoch, Incarnation, KeyVersion, ObjectHeaders, ObjectKey, PieceNumber, Revision, SegmentId, StreamId,
    UnixMillis, WriteCondition,
};

use super::database::{Database, bucket};
use super::measure::{Meter, Table};

/// Of the health loop's pages.
const PAGE: u32 = 500;
/// New objects in segments are numbered from here.
const IN_SEGMENTS: u64 = 1 << 30;
const WEEK_MS: u64 = 7 * 86_400_000;

fn object(number: u64, content: ObjectContent) -> NewObject {
    let name = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    NewObject {
        bucket: bucket(),
        key: ObjectKey::new(format!("images/layers/{name:016x}-new")).unwrap(),
        condition: WriteCondition::default(),
        headers: ObjectHeaders(vec![("content-type".into(), b"application/octet-stream".to_vec())]),
        size_bytes: 1000,
        etag: "0123456789abcdef0123456789abcdef".into(),
        checksum: None,
        modified: UnixMillis(1),
        content,
    }
}

fn small(number: u64) -> CommitObject {
    let stream = StreamId::from_bytes(rand::random());
    let inline = InlineStream { stream, key_version: KeyVersion(1), wrapped_key: [7; 48], sealed: vec![9; 1016] };
    let object = object(number, ObjectContent::Inline(inline));
    CommitObject { object, streams: Vec::new(), segments: Vec::new(), lease: None }
}

fn with_segment(number: u64, lease: Lease) -> CommitObject {
    let segment = SegmentId::from_bytes(rand::random());
    let length = 1_000_256_u32;
    let stream = NewStream {
        stream: StreamId::from_bytes(rand::random()),
        size_bytes: 1_000_000,
        key_version: KeyVersion(1),
        wrapped_key: vec![7; 48],
        md5: rand::random(),
        checksum: None,
        content: StreamContent::Extents(vec![Extent { stream_offset: 0, segment, segment_offset: 0, length }]),
    };
    let place = |piece: u16| PiecePlace {
        piece: PieceNumber(piece),
        node: 1 + u32::from(piece) * 600 + rand::random_range(0..600),
        incarnation: Incarnation(1),
    };
    let segment = NewSegment {
        segment,
        layout: Layout::for_length(Coding::new(7, 14).unwrap(), length.into()).unwrap().to_bytes().to_vec(),
        mac_key: rand::random(),
        root: rand::random(),
        epoch: Epoch(1),
        revision: Revision(1),
        live_bytes: 0,
        pieces: (0..14).map(place).collect(),
    };
    let spans = vec![Span { stream: stream.stream, offset: 0, length: stream.size_bytes }];
    let body = NewBody { body: BodyId::from_bytes(rand::random()), spans, parts: None };
    let object = object(number, ObjectContent::Body(body));
    CommitObject { object, streams: vec![stream], segments: vec![segment], lease: Some(lease) }
}

fn any(objects: u64, number: u64) -> u64 {
    number.wrapping_mul(0x2545_F491_4F6C_DD1D) % objects
}

fn page(prefix: &str, delimiter: Option<&str>, after: Option<String>) -> ListObjects {
    let delimiter = delimiter.map(|text| text.as_bytes().to_vec());
    ListObjects {
        bucket: bucket(),
        prefix: prefix.into(),
        delimiter,
        after: after.map(String::into_bytes),
        limit: 1000,
    }
}

/// What is done, and how often in a round.
struct Work {
    name: &'static str,
    kind: Kind,
    count: u64,
    rounds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Head,
    GetInline,
    GetInSegments,
    FirstPage,
    Prefix,
    DeepMarker,
    ManyPrefixes,
    FewPrefixes,
    PutInline,
    PutInSegment,
    Delete,
    DeleteMany,
    Pass,
    Nodes,
    Garbage,
    NodesDue,
    DeadPieces,
}

const fn work(name: &'static str, kind: Kind, count: u64, rounds: u32) -> Work {
    Work { name, kind, count, rounds }
}

const ROUNDS: u32 = 15;

const WORKS: [Work; 17] = [
    work("HEAD", Kind::Head, 800, ROUNDS),
    work("GET, inline", Kind::GetInline, 800, ROUNDS),
    work("GET, in segments", Kind::GetInSegments, 800, ROUNDS),
    work("LIST, first page", Kind::FirstPage, 20, ROUNDS),
    work("LIST, prefix", Kind::Prefix, 20, ROUNDS),
    work("LIST, deep marker", Kind::DeepMarker, 20, ROUNDS),
    work("LIST, delimiter: 1,000 prefixes", Kind::ManyPrefixes, 20, ROUNDS),
    work("LIST, delimiter: 4 prefixes over all", Kind::FewPrefixes, 150, ROUNDS),
    work("PUT, inline", Kind::PutInline, 160, ROUNDS),
    work("PUT, in a segment", Kind::PutInSegment, 160, ROUNDS),
    work("DELETE", Kind::Delete, 60, ROUNDS),
    // One of those that were put inline, one of the others.
    work("DELETE of 1,000 keys", Kind::DeleteMany, 2, 2),
    work("pass over all segments", Kind::Pass, 1, 1),
    work("list of 10,000 nodes", Kind::Nodes, 3, ROUNDS),
    work("look for garbage (none is old)", Kind::Garbage, 20, ROUNDS),
    work("which of 10,000 nodes have dead pieces due", Kind::NodesDue, 3, ROUNDS),
    work("look for a node's dead pieces", Kind::DeadPieces, 150, ROUNDS),
];

/// Everything. The sizes take turns, so that a machine that is slower for a
/// while is so for all of them.
pub async fn run(benches: &[Bench], table: &mut Table) {
    for work in &WORKS {
        for bench in benches {
            bench.database.warm();
            bench.database.checkpoint();
        }
        for _ in 0..work.rounds {
            for bench in benches {
                bench.round(work, table).await;
            }
        }
        table.tell(work.name);
    }
}

/// A database of one size.
pub struct Bench {
    pub database: Database,
    pub metadata: Metadata,
    pub made: Synthetic,
    pub objects: u64,
    /// What new objects are numbered from.
    first: u64,
    lease: Lease,
    /// How often each was done.
    done: RefCell<HashMap<Kind, u64>>,
}

impl Bench {
    pub async fn new(database: Database, objects: u64) -> Self {
        let made = database.load(0..objects).await;
        println!("Bytes at {objects} objects:\n\n{}", database.sizes());
        let metadata = database.open().await;
        let holder = Holder(rand::random());
        let epoch = metadata.write(AcquireLease { holder }).await.unwrap();
        let (first, lease) = (rand::random_range(0..1 << 60), Lease { holder, epoch });
        Self { database, metadata, made, objects, first, lease, done: RefCell::default() }
    }

    /// Does it a few times, then measures it.
    async fn round(&self, work: &Work, table: &mut Table) {
        let once = |number| self.once(work.kind, number);
        let mut warm_up = Meter::new(&self.database);
        warm_up.each(self.numbers(work.kind, work.count / 8), once).await;
        let mut meter = Meter::new(&self.database);
        meter.each(self.numbers(work.kind, work.count), once).await;
        table.enter(work.name, self.objects, meter);
    }

    /// The next numbers of this kind.
    fn numbers(&self, kind: Kind, count: u64) -> Range<u64> {
        let mut done = self.done.borrow_mut();
        let from = done.entry(kind).or_default();
        *from += count;
        *from - count..*from
    }

    async fn once(&self, kind: Kind, number: u64) {
        let by_bytes = rand::random::<u64>() / 2;
        match kind {
            Kind::Head => self.find(any(self.objects, number), false).await,
            // Blocks of twenty: the first ten are inline, the others have streams.
            Kind::GetInline => self.find(any(self.objects, number) / 20 * 20 + number % 10, true).await,
            Kind::GetInSegments => self.find(any(self.objects, number) / 20 * 20 + 10 + number % 10, true).await,
            Kind::FirstPage => self.list(page("", None, None), 1000).await,
            Kind::Prefix => self.list(page("images/layers/", None, None), 1000).await,
            Kind::DeepMarker => {
                self.list(page("", None, Some(format!("images/layers/{by_bytes:016x}"))), 1000).await;
            }
            Kind::ManyPrefixes => self.list(page("logs/", Some("/"), None), 1000).await,
            Kind::FewPrefixes => self.list(page("", Some("/"), None), 4).await,
            Kind::PutInline => self.put(small(self.first + number)).await,
            Kind::PutInSegment => self.put(with_segment(self.first + IN_SEGMENTS + number, self.lease)).await,
            Kind::Delete => self.delete(vec![self.made.key(self.victim(number))]).await,
            Kind::DeleteMany => {
                let from = self.first + number % 2 * IN_SEGMENTS + number / 2 * 1000;
                self.delete((from..from + 1000).map(|number| object(number, ObjectContent::Empty).key).collect()).await;
            }
            Kind::Pass => self.pass().await,
            Kind::Nodes => assert_eq!(self.metadata.read(ListNodes).await.unwrap().len(), 10_000),
            Kind::Garbage => {
                let none = ReleaseGarbage { older_than_ms: WEEK_MS, extents: 500 };
                assert!(!self.metadata.write(none).await.unwrap());
            }
            Kind::NodesDue => {
                let all = NodesToTell { nodes: (1..=10_000).collect(), older_than_ms: WEEK_MS };
                assert!(self.metadata.read(all).await.unwrap().is_empty());
            }
            Kind::DeadPieces => {
                let (node, older_than_ms, limit) = ((any(10_000, number) + 1) as u32, WEEK_MS, 1000);
                assert!(self.metadata.read(PiecesToTrash { node, limit }).await.unwrap().is_empty());
                assert!(self.metadata.read(PiecesToPurge { node, older_than_ms, limit }).await.unwrap().is_empty());
            }
        }
    }

    async fn find(&self, number: u64, with_source: bool) {
        let key = self.made.key(number);
        self.metadata.read(FindObject { bucket: bucket(), key, with_source }).await.unwrap().unwrap();
    }

    async fn list(&self, page: ListObjects, wanted: usize) {
        let page = self.metadata.read(page).await.unwrap().unwrap();
        assert!(page.rows.len() + page.prefixes.len() >= wanted, "{} {}", page.rows.len(), page.prefixes.len());
    }

    async fn put(&self, commit: CommitObject) {
        self.metadata.write(commit).await.unwrap().unwrap();
    }

    async fn delete(&self, keys: Vec<ObjectKey>) {
        let objects = keys.into_iter().map(|key| (key, WriteCondition::default())).collect();
        self.metadata.write(DeleteObjects { bucket: bucket(), objects }).await.unwrap().unwrap();
    }

    /// Blocks all over lose one each.
    fn victim(&self, number: u64) -> u64 {
        number * (self.objects / 1500 / 20).max(1) * 20 % self.objects + 7 + number % 7
    }

    async fn pass(&self) {
        let mut after = None;
        loop {
            let rows = self.metadata.read(ScanSegments { after, limit: PAGE }).await.unwrap();
            after = rows.last().map(|row| row.segment);
            if rows.len() < PAGE as usize {
                break;
            }
        }
    }
}
