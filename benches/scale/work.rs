//! What is done at each size, through the operations that a gateway and its
//! workers use.

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

const WARM_UP: u64 = 300;
const WRITES: u64 = 1000;
const READS: u64 = 8000;
const LISTS: u64 = 150;
/// Of the health loop's pages.
const PAGE: u32 = 500;

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

/// Everything, at one size.
pub async fn run(database: &Database, metadata: &Metadata, made: &Synthetic, objects: u64, table: &mut Table) {
    let bench = Bench { database, metadata, made, objects };
    bench.reads(table).await;
    bench.lists(table).await;
    bench.writes(table).await;
    bench.workers(table).await;
    for line in database.plans().lines().rev().take(400).collect::<Vec<_>>().into_iter().rev() {
        println!("{line}");
    }
}

struct Bench<'a> {
    database: &'a Database,
    metadata: &'a Metadata,
    made: &'a Synthetic,
    objects: u64,
}

impl Bench<'_> {
    /// Does it a few times, then measures it.
    async fn measure<F: Future<Output = ()>>(
        &self,
        table: &mut Table,
        name: &str,
        count: u64,
        work: impl Fn(u64) -> F,
    ) {
        self.database.warm();
        let warm_up = WARM_UP.min(count);
        Meter::new(self.database).each(0..warm_up, &work).await;
        let mut meter = Meter::new(self.database);
        meter.each(warm_up..warm_up + count, &work).await;
        table.enter(name, self.objects, meter);
    }

    async fn reads(&self, table: &mut Table) {
        let find = |number, with_source| async move {
            let key = self.made.key(any(self.objects, number));
            // One in a hundred or so was deleted at the size before.
            let _ = self.metadata.read(FindObject { bucket: bucket(), key, with_source }).await.unwrap();
        };
        self.measure(table, "HEAD", READS, |number| find(number, false)).await;
        // Blocks of twenty: the first ten are inline, the others have streams.
        self.measure(table, "GET, inline", READS, |number| {
            find(any(self.objects, number) / 20 * 20 + number % 10, true)
        })
        .await;
        self.measure(table, "GET, in segments", READS, |number| {
            find(any(self.objects, number) / 20 * 20 + 10 + number % 10, true)
        })
        .await;
    }

    async fn lists(&self, table: &mut Table) {
        let list = |page: ListObjects, wanted: usize| async move {
            let page = self.metadata.read(page).await.unwrap().unwrap();
            assert!(page.rows.len() + page.prefixes.len() >= wanted, "{} {}", page.rows.len(), page.prefixes.len());
        };
        self.measure(table, "LIST, first page", LISTS, |_| list(page("", None, None), 1000)).await;
        self.measure(table, "LIST, prefix", LISTS, |_| list(page("images/layers/", None, None), 1000)).await;
        self.measure(table, "LIST, deep marker", LISTS, |number| {
            let marker = rand::random::<u64>() / 2 + number;
            list(page("", None, Some(format!("images/layers/{marker:016x}"))), 1000)
        })
        .await;
        self.measure(table, "LIST, delimiter: 1,000 prefixes", LISTS, |_| list(page("logs/", Some("/"), None), 1000))
            .await;
        self.measure(table, "LIST, delimiter: 4 prefixes over all", READS / 8, |_| list(page("", Some("/"), None), 4))
            .await;
    }

    async fn writes(&self, table: &mut Table) {
        let holder = Holder(rand::random());
        let epoch = self.metadata.write(AcquireLease { holder }).await.unwrap();
        let lease = Lease { holder, epoch };
        let first = rand::random_range(0..1 << 60);
        let put = |commit: CommitObject| async move { self.metadata.write(commit).await.unwrap().unwrap() };
        self.database.checkpoint();
        self.measure(table, "PUT, inline", WRITES, |number| put(small(first + number))).await;
        self.database.checkpoint();
        self.measure(table, "PUT, in a segment", WRITES, |number| put(with_segment(first + (1 << 30) + number, lease)))
            .await;
        let delete = |keys: Vec<ObjectKey>| async move {
            let objects = keys.into_iter().map(|key| (key, WriteCondition::default())).collect();
            self.metadata.write(DeleteObjects { bucket: bucket(), objects }).await.unwrap().unwrap();
        };
        self.database.checkpoint();
        // Every fifth block loses one.
        let some = |number: u64| {
            self.made.key(number * (self.objects / 1500 / 20).max(1) * 20 % self.objects + 7 + number % 7)
        };
        self.measure(table, "DELETE", 500, |number| delete(vec![some(number)])).await;
        let many = |from: u64| (from..from + 1000).map(|number| object(number, ObjectContent::Empty).key).collect();
        let begin = [first, first + (1 << 30)];
        let mut meter = Meter::new(self.database);
        meter.each(begin.into_iter(), |from| delete(many(from))).await;
        table.enter("DELETE of 1,000 keys", self.objects, meter);
    }

    async fn workers(&self, table: &mut Table) {
        self.database.warm();
        let mut meter = Meter::new(self.database);
        meter
            .each(0..1, |_| async {
                let mut after = None;
                loop {
                    let rows = self.metadata.read(ScanSegments { after, limit: PAGE }).await.unwrap();
                    after = rows.last().map(|row| row.segment);
                    if rows.len() < PAGE as usize {
                        break;
                    }
                }
            })
            .await;
        table.enter("pass over all segments", self.objects, meter);
        self.measure(table, "list of 10,000 nodes", 10, |_| async {
            assert_eq!(self.metadata.read(ListNodes).await.unwrap().len(), 10_000);
        })
        .await;
        self.measure(table, "look for garbage (none is old)", 50, |_| async {
            let none = ReleaseGarbage { older_than_ms: 7 * 86_400_000, extents: 500 };
            assert!(!self.metadata.write(none).await.unwrap());
        })
        .await;
        self.measure(table, "which of 10,000 nodes have dead pieces due", 20, |_| async {
            let all = NodesToTell { nodes: (1..=10_000).collect(), older_than_ms: 7 * 86_400_000 };
            assert!(self.metadata.read(all).await.unwrap().is_empty());
        })
        .await;
        self.measure(table, "look for a node's dead pieces", 2000, |number| async move {
            let (node, older_than_ms, limit) = ((any(10_000, number) + 1) as u32, 7 * 86_400_000, 1000);
            assert!(self.metadata.read(PiecesToTrash { node, limit }).await.unwrap().is_empty());
            assert!(self.metadata.read(PiecesToPurge { node, older_than_ms, limit }).await.unwrap().is_empty());
        })
        .await;
    }
}
