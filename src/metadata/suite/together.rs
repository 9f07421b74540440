//! Several gateways on one database at once: whatever they do to the same few
//! keys, the audit holds in the end, and of those who write under one
//! condition exactly one wins.

use rand::Rng;

use super::engines::{fresh, open};
use super::server::Server;
use super::{Model, furnish, random};
use crate::metadata::*;
use crate::types::{BucketName, ETagMatch, KeyVersion, ObjectHeaders, ObjectKey, StreamId, UnixMillis, WriteCondition};

/// An object in its row, told apart by its ETag.
pub(super) fn small(key: &str, etag: String, condition: WriteCondition) -> CommitObject {
    let stream = StreamId::from_bytes(rand::random());
    let inline = InlineStream { stream, key_version: KeyVersion(1), wrapped_key: [0; 48], sealed: vec![7; 100] };
    let object = NewObject {
        bucket: BucketName::new("suite").unwrap(),
        key: ObjectKey::new(key.to_owned()).unwrap(),
        condition,
        headers: ObjectHeaders::default(),
        size_bytes: 84,
        etag,
        checksum: None,
        modified: UnixMillis(1),
        content: ObjectContent::Inline(inline),
    };
    CommitObject { object, streams: Vec::new(), segments: Vec::new(), lease: None }
}

pub(super) async fn etag_of(metadata: &Metadata, key: &str) -> Option<String> {
    let (bucket, key) = (BucketName::new("suite").unwrap(), ObjectKey::new(key.to_owned()).unwrap());
    let found = metadata.read(FindObject { bucket, key, with_source: false }).await.unwrap();
    found.ok().map(|found| found.current.etag)
}

async fn gateways(count: usize) -> Vec<Metadata> {
    let database = fresh().await;
    let mut gateways = Vec::new();
    for _ in 0..count {
        gateways.push(open(Server::shared(), &database).await);
    }
    furnish(&gateways[0]).await;
    gateways
}

impl Model {
    /// Removes what there is and the bucket, and makes it anew.
    async fn replace_bucket(&mut self) {
        let keys = (0..6).map(|number| ObjectKey::new(format!("key-{number}")).unwrap());
        let objects = keys.map(|key| (key, WriteCondition::default())).collect();
        let name = self.bucket.clone();
        let _ = self.metadata.write(DeleteObjects { bucket: name.clone(), objects }).await.unwrap();
        self.metadata.write(DeleteBucket { name: name.clone() }).await.unwrap();
        self.metadata.write(CreateBucket { name, now: UnixMillis(1) }).await.unwrap();
    }

    async fn renew(&mut self) {
        let holder = self.lease.holder;
        self.lease.epoch = self.metadata.write(RenewLease { holder, oldest: None }).await.unwrap();
    }
}

async fn everybody_at_once(seed: u64, tasks: u64, steps: usize) {
    let gateways = gateways(3).await;
    let mut whole = Model::new(gateways[0].clone(), seed).await;
    let mut running = Vec::new();
    for task in 0..tasks {
        let uploads = whole.uploads.clone();
        let metadata = gateways[task as usize % gateways.len()].clone();
        running.push(tokio::spawn(async move {
            let mut model = Model::new(metadata, seed ^ ((task + 1) << 56)).await;
            model.uploads = uploads;
            for _ in 0..steps {
                match model.dice.random_range(0..60) {
                    0 => model.replace_bucket().await,
                    1 => model.renew().await,
                    _ => model.step().await,
                }
            }
            model
        }));
    }
    for task in running {
        let mut model = task.await.unwrap();
        while !model.repairs.is_empty() {
            model.end_repair().await;
        }
        whole.settled.append(&mut model.settled);
        whole.unsettled.append(&mut model.unsettled);
    }
    whole.audit(false).await;
    whole.clear().await;
    whole.audit(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_adds_up_whoever_does_it() {
    for _ in 0..2 {
        let seed = random::seed();
        everybody_at_once(seed, 10, 150).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_make_a_key_one_wins() {
    let gateways = gateways(3).await;
    for round in 0..30 {
        let key = format!("key-{round}");
        let mut running = Vec::new();
        for task in 0..12 {
            let (metadata, key) = (gateways[task % 3].clone(), key.clone());
            running.push(tokio::spawn(async move {
                let condition = WriteCondition { if_match: None, if_none_match: Some(ETagMatch::Any) };
                let outcome = metadata.write(small(&key, task.to_string(), condition)).await.unwrap();
                (task, outcome)
            }));
        }
        let mut winners = Vec::new();
        for task in running {
            match task.await.unwrap() {
                (task, Ok(())) => winners.push(task.to_string()),
                (_, Err(refusal)) => assert_eq!(refusal, Refusal::Precondition("If-None-Match")),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(etag_of(&gateways[2], &key).await, winners.pop());
    }
}

/// Everybody counts up by one, if nobody else did meanwhile. Some remove the
/// key before, if it is still what they saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_change_a_key_one_wins() {
    let gateways = gateways(3).await;
    let only_if =
        |etag: &str| WriteCondition { if_match: Some(ETagMatch::OneOf(vec![etag.to_owned()])), if_none_match: None };
    gateways[0].write(small("count", "0".into(), WriteCondition::default())).await.unwrap().unwrap();
    let mut running = Vec::new();
    for task in 0..9 {
        let metadata = gateways[task % 3].clone();
        running.push(tokio::spawn(async move {
            let mut won = 0;
            for _ in 0..40 {
                let etag = etag_of(&metadata, "count").await.unwrap();
                let next = (etag.parse::<u64>().unwrap() + 1).to_string();
                won += u64::from(metadata.write(small("count", next, only_if(&etag))).await.unwrap().is_ok());
            }
            won
        }));
    }
    let mut won = 0;
    for task in running {
        won += task.await.unwrap();
    }
    assert_eq!(etag_of(&gateways[1], "count").await, Some(won.to_string()));
}

/// One row may be locked by somebody at every moment, and who wants it alone
/// has its turn all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_under_load() {
    let gateway = gateways(1).await.remove(0);
    let holder = Holder([9; 16]);
    let epoch = gateway.write(AcquireLease { holder }).await.unwrap();
    let lease = Some(Lease { holder, epoch });
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut running = Vec::new();
    for task in 0..16 {
        let (metadata, over) = (gateway.clone(), over.clone());
        running.push(tokio::spawn(async move {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let commit = small(&format!("key-{task}"), "etag".into(), WriteCondition::default());
                metadata.write(CommitObject { lease, ..commit }).await.unwrap().unwrap();
            }
        }));
    }
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = std::time::Instant::now();
        gateway.write(RenewLease { holder, oldest: Some(epoch) }).await.unwrap();
        times.push(begun.elapsed());
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    // The machine itself may have stood still during some.
    times.sort_unstable();
    assert!(times[15].as_secs() < 2 && times[19].as_secs() < 20, "{times:?}");
    for task in running {
        task.await.unwrap();
    }
    gateway.write(RenewLease { holder, oldest: None }).await.unwrap();
    let late = CommitObject { lease, ..small("late", "etag".into(), WriteCondition::default()) };
    assert!(matches!(gateway.write(late).await, Err(MetadataError::LeaseLost)));
}
