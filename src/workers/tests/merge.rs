//! Small segments become full ones, while readers read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rand::Rng;

use super::*;
use crate::env::Shutdown;
use crate::metadata::suite::Elapse;
use crate::objects::{CompleteUpload, CompletedPart, Copy, CopyHeaders, CreateUpload, PartAddress};

const WEEK_AND_MORE_MS: i64 = 8 * 24 * 3600 * 1000;

/// Bytes of a small object: more than what stays in the database.
const SMALL_BYTES: usize = 10_000;

fn incoming(body: &Bytes) -> Incoming {
    Incoming {
        stream: Box::pin(stream::iter([Ok(body.clone())])),
        length: Some(body.len() as u64),
        md5: None,
        algorithm: None,
        checksum: None,
        trailing: None,
    }
}

fn get(key: &str) -> Get {
    Get { address: address(key), range: None, part_number: None, condition: Default::default() }
}

async fn read(objects: &Objects, key: &str) -> Vec<u8> {
    let content = objects.get(get(key)).await.unwrap().1;
    content.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

impl Town {
    /// Objects that come one by one, each in a segment of its own.
    async fn put_small(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.bodies.len();
            let body: Bytes = (0..SMALL_BYTES + number).map(|at| (at / 7 * (number + 3)) as u8).collect();
            let key = format!("small-{number}");
            let put = Put { address: address(&key), headers: ObjectHeaders::default(), condition: Default::default() };
            self.objects.put(put, incoming(&body)).await.unwrap();
            self.bodies.insert(key, body);
        }
    }

    /// Copies an object, which shares its stream.
    async fn copy_one(&mut self, from: &str, to: &str) {
        let copy = Copy {
            source: address(from),
            source_condition: Default::default(),
            destination: address(to),
            headers: CopyHeaders::Source(ObjectHeaders::default()),
            algorithm: None,
            condition: Default::default(),
        };
        self.objects.copy(copy).await.unwrap();
        self.bodies.insert(to.to_owned(), self.bodies[from].clone());
    }

    /// An object of one small part, which has a segment like all others.
    async fn put_multipart(&mut self, key: &str) {
        let create = CreateUpload { address: address(key), headers: ObjectHeaders::default(), checksum: None };
        let upload = self.objects.create_upload(create).await.unwrap();
        let body = Bytes::from(vec![5; SMALL_BYTES]);
        let part = PartAddress { address: address(key), upload, number: 1 };
        let etag = self.objects.put_part(part, incoming(&body)).await.unwrap().etag;
        let parts = vec![CompletedPart { number: 1, etag, checksum: None }];
        let complete = CompleteUpload {
            address: address(key),
            upload,
            parts,
            checksum: None,
            checksum_kind: None,
            size_bytes: None,
            condition: Default::default(),
        };
        self.objects.complete_upload(complete).await.unwrap();
        self.bodies.insert(key.to_owned(), body);
    }

    /// Walks, and merges what that has found.
    async fn merge(&mut self, merge: &mut MergeWorker) {
        self.walk().await;
        merge.step().await.unwrap();
    }

    async fn walk(&mut self) {
        let passes = self.report().passes + 2;
        self.until("all segments were seen", |report| report.passes >= passes).await;
    }
}

/// Reads random objects until it is told to end; answers how many.
fn reader(
    objects: Objects,
    bodies: Arc<BTreeMap<String, Bytes>>,
    ends: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let keys: Vec<&String> = bodies.keys().collect();
        let reads = AtomicUsize::new(0);
        while !ends.load(SeqCst) {
            let key = keys[rand::rng().random_range(0..keys.len())];
            assert!(read(&objects, key).await == bodies[key], "{key} is not what it was");
            reads.fetch_add(1, SeqCst);
        }
        reads.into_inner()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_writes_become_a_handful_of_segments() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put_small(1000).await;
    town.copy_one("small-3", "copied").await;
    town.put_multipart("parted").await;
    assert!(town.segments().await.len() > 900, "each has a segment of its own");
    let (ends, bodies) = (Arc::new(AtomicBool::new(false)), Arc::new(town.bodies.clone()));
    let readers: Vec<_> = (0..2).map(|_| reader(town.objects.clone(), bodies.clone(), ends.clone())).collect();
    let mut merge = town.merger();
    town.merge(&mut merge).await;
    ends.store(true, SeqCst);
    for reader in readers {
        let reads = reader.await.unwrap();
        assert!(reads > 0, "somebody has read meanwhile");
    }
    let segments = town.segments().await;
    assert!(segments.len() <= 5, "{} segments are left", segments.len());
    assert!(town.report().segments_merged > 900);
    town.check().await;
    // The old pieces go, and everything can be read without them.
    let mut deletes = DeleteWorker::new(town.metadata.clone(), town.transfer.clone(), &Env::real());
    while deletes.step().await.unwrap() == Step::Busy {}
    town.metadata.write(Elapse(WEEK_AND_MORE_MS)).await.unwrap();
    while deletes.step().await.unwrap() == Step::Busy {}
    town.check().await;
    town.nothing_leaks(&[]).await;
    // Merged once, they stay where they are.
    town.merge(&mut merge).await;
    let ids = |rows: &[SegmentRow]| rows.iter().map(|row| row.segment).collect::<BTreeSet<_>>();
    assert_eq!(ids(&town.segments().await), ids(&segments));
    town.close().await;
}

/// Wherever a merge ends, everything can be read, and the next one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_is_cut_off_leaves_the_old_or_the_new() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put_small(30).await;
    let mut merge = town.merger();
    for patience_ms in [0, 1, 2, 4, 8, 12, 20, 40] {
        town.walk().await;
        let _ = tokio::time::timeout(Duration::from_millis(patience_ms), merge.step()).await;
        town.check().await;
    }
    let begun = Instant::now();
    while town.segments().await.len() > 1 {
        assert!(begun.elapsed() < SOON, "it does not go on");
        town.merge(&mut merge).await;
    }
    town.check().await;
    town.close().await;
}

/// The others beside it merge.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_read_stays_alone() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put_small(12).await;
    // Of one of them every node has lost its piece.
    let lost = town.segments().await.remove(5);
    for place in &lost.pieces {
        let id = town.transfer.piece_id(lost.segment, place).unwrap();
        let node = town.nodes[place.node as usize - 1].id;
        town.door.nodes().trash(node, &[id]).await.unwrap();
        town.door.nodes().purge(node, &[id]).await.unwrap();
    }
    let mut merge = town.merger();
    town.merge(&mut merge).await;
    let left = town.segments().await;
    assert_eq!(left.len(), 2);
    assert!(left.iter().any(|row| row.segment == lost.segment));
    assert_eq!(town.report().segments_merged, 11);
    town.close().await;
}

/// Whatever it waits for.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_stop_does_not_wait_for_merging() {
    let mut town = Town::new(4, "2/2/3/4").await;
    for number in 0..6 {
        let key = format!("half-{number}");
        let put = Put { address: address(&key), headers: ObjectHeaders::default(), condition: Default::default() };
        town.objects.put(put, incoming(&Bytes::from(vec![number; 1_900_000]))).await.unwrap();
    }
    let merge = town.merger();
    town.walk().await;
    // There is no memory for it: each of its new segments waits for half a minute.
    let _all = town.transfer.budget().fill.reserve(usize::MAX / 2).await.unwrap();
    let shutdown = Shutdown::new(Duration::ZERO);
    let mut run = Box::pin(merge.run(shutdown.clone()));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut run).await.is_err(), "nobody has told it to stop");
    shutdown.request();
    tokio::time::timeout(SOON, run).await.expect("it goes on");
    town.close().await;
}

/// A reader that has begun looks up anew what is not where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_when_the_old_pieces_are_gone() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(1).await;
    town.put_small(8).await;
    let body: Bytes = (0..6_000_000u32).map(|at| (at / 11) as u8).collect();
    let put = Put { address: address("large"), headers: ObjectHeaders::default(), condition: Default::default() };
    town.objects.put(put, incoming(&body)).await.unwrap();
    let mut content = town.objects.get(get("large")).await.unwrap().1;
    let mut got = content.try_next().await.unwrap().unwrap().to_vec();
    let before = town.segments().await.len();
    let mut merge = town.merger();
    town.merge(&mut merge).await;
    assert!(town.segments().await.len() < before, "its last segment went into another one");
    let mut deletes = DeleteWorker::new(town.metadata.clone(), town.transfer.clone(), &Env::real());
    while deletes.step().await.unwrap() == Step::Busy {}
    town.metadata.write(Elapse(WEEK_AND_MORE_MS)).await.unwrap();
    while deletes.step().await.unwrap() == Step::Busy {}
    while let Some(unit) = content.try_next().await.unwrap() {
        got.extend_from_slice(&unit);
    }
    assert!(got == body);
    town.check().await;
    town.close().await;
}
