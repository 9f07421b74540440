//! Who comes while another transaction is under way that relies on the same
//! waits for it: each case once, with a server that makes the first one slow.

use std::time::{Duration, Instant};

use super::engines::{fresh, open};
use super::furnish;
use super::moves::{claim, one_segment};
use super::server::Server;
use super::together::{etag_of, small};
use super::volunteers::{body, change, id, join, stream};
use crate::metadata::*;
use crate::types::{
    BodyId, BucketName, Epoch, Incarnation, ObjectHeaders, ObjectKey, PieceNumber, Revision, SegmentId, StreamId,
    UnixMillis, UploadId, WriteCondition,
};

/// How long the first one is made to take.
const SLOW: Duration = Duration::from_millis(900);

/// Two gateways on one database, whose writes to a table are slow from now on.
struct Two {
    database: String,
    one: Metadata,
    other: Metadata,
}

impl Two {
    async fn new() -> Self {
        let database = fresh().await;
        let (one, other) = (open(Server::shared(), &database).await, open(Server::shared(), &database).await);
        Self { database, one, other }
    }

    fn slow(&self, table: &str) {
        let sql = format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep({}); RETURN NULL; END $$; \
             CREATE TRIGGER slow AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION slow()",
            SLOW.as_secs_f64()
        );
        Server::shared().sql(&self.database, &sql);
    }

    /// Does the second one while the first one is made to wait; fails if
    /// it did not wait.
    async fn do_both<O: Operation, P: Operation>(&self, first: O, second: P) -> (O::Output, P::Output) {
        let (one, begun) = (self.one.clone(), Instant::now());
        let first = tokio::spawn(async move { one.write(first).await.unwrap() });
        let asleep = "SELECT COUNT(*) FROM pg_stat_activity \
                      WHERE wait_event = 'PgSleep' AND datname = current_database()";
        while !first.is_finished() && Server::shared().sql(&self.database, asleep) == "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let second = self.other.write(second).await.unwrap();
        assert!(begun.elapsed() >= SLOW, "it did not wait for the first one");
        (first.await.unwrap(), second)
    }
}

fn put() -> CommitObject {
    small("key", "first".into(), WriteCondition::default())
}

fn suite() -> BucketName {
    BucketName::new("suite").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_there_until_the_commit() {
    let two = Two::new().await;
    furnish(&two.one).await;
    let holder = Holder([7; 16]);
    let lease = Some(Lease { holder, epoch: two.one.write(AcquireLease { holder }).await.unwrap() });
    two.slow("objects");
    two.do_both(CommitObject { lease, ..put() }, ReleaseLease { holder }).await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_there_until_the_commit() {
    let two = Two::new().await;
    furnish(&two.one).await;
    two.slow("objects");
    let (put, deleted) = two.do_both(put(), DeleteBucket { name: suite() }).await;
    assert_eq!((put, deleted), (Ok(()), DeletedBucket::NotEmpty));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_there_until_the_copy_is() {
    let two = Two::new().await;
    furnish(&two.one).await;
    two.one.write(put()).await.unwrap().unwrap();
    two.slow("objects");
    let object = NewObject { key: ObjectKey::new("copy").unwrap(), ..put().object };
    let (source_bucket, source_key, source_sequence) = (suite(), ObjectKey::new("key").unwrap(), 1);
    let copy = CopyObject { source_bucket, source_key, source_sequence, object };
    let outcome = two.do_both(copy, small("key", "second".into(), WriteCondition::default())).await;
    assert_eq!(outcome, (Ok(()), Ok(())));
    assert_eq!(etag_of(&two.one, "key").await.as_deref(), Some("second"));
    assert_eq!(etag_of(&two.one, "copy").await.as_deref(), Some("first"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_ends_after_its_parts() {
    let two = Two::new().await;
    furnish(&two.one).await;
    let (key, upload) = (ObjectKey::new("key").unwrap(), UploadId::from_bytes([1; 16]));
    let (headers, now) = (ObjectHeaders::default(), UnixMillis(1));
    let create = CreateMultipart { bucket: suite(), key: key.clone(), upload, headers, checksum: None, now };
    two.one.write(create).await.unwrap().unwrap();
    two.slow("parts");
    let row =
        PartRow { number: 1, size_bytes: 0, modified: now, etag: "part".into(), checksum: None, spans: Vec::new() };
    let part = NewPart { bucket: suite(), key: key.clone(), upload, row };
    let commit = CommitPart { part, stream: None, segments: Vec::new(), lease: None };
    let find = FindUpload { bucket: suite(), key, upload };
    assert_eq!(two.do_both(commit, AbortUpload { upload: find }).await, (Ok(()), Ok(())));
    assert_eq!(Server::shared().sql(&two.database, "SELECT COUNT(*) FROM parts"), "0");
}

/// Somebody who does not know how a commit ends condemns its pieces while it
/// is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_are_not_condemned_while_they_are_committed() {
    let two = Two::new().await;
    furnish(&two.one).await;
    let segment = SegmentId::from_bytes([1; 16]);
    let place = PiecePlace { piece: PieceNumber(0), node: 1, incarnation: Incarnation(1) };
    let stream = NewStream { stream: StreamId::from_bytes([2; 16]), ..stream(segment) };
    let body = NewBody { body: BodyId::from_bytes([2; 16]), ..body(&stream) };
    let object = NewObject { content: ObjectContent::Body(body), ..put().object };
    let row = NewSegment {
        segment,
        layout: vec![1],
        mac_key: [0; 32],
        root: [0; 16],
        epoch: Epoch(1),
        revision: Revision(1),
        live_bytes: 0,
        pieces: vec![place],
    };
    two.slow("objects");
    let commit = CommitObject { object, streams: vec![stream], segments: vec![row], lease: None };
    two.do_both(commit, CondemnPieces { pieces: vec![CondemnedPiece { segment, place }] }).await.0.unwrap();
    assert_eq!(two.one.read(PiecesToTrash { node: 1, limit: 9 }).await.unwrap(), []);
    assert_eq!(two.one.read(FindSegments { segments: vec![segment] }).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_not_drained_while_it_gets_a_piece() {
    let two = Two::new().await;
    let (lease, segment, _) = one_segment(&two.one).await;
    let claim = claim(&two.one, segment).await;
    two.slow("segments");
    let placed = vec![PiecePlace { piece: PieceNumber(9), node: 4, incarnation: claim }];
    let replace = ReplacePieces { segment, claim, removed: Vec::new(), placed, lease };
    let drain = ChangeNode { node: id(4), change: NodeChange::Drain, reason: None };
    let (replaced, drained) = two.do_both(replace, drain).await;
    assert!(replaced && drained.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_are_not_condemned_while_they_are_placed() {
    let two = Two::new().await;
    let (lease, segment, _) = one_segment(&two.one).await;
    let claim = claim(&two.one, segment).await;
    two.slow("segments");
    let place = PiecePlace { piece: PieceNumber(9), node: 4, incarnation: claim };
    let replace = ReplacePieces { segment, claim, removed: Vec::new(), placed: vec![place], lease };
    let condemn = CondemnPieces { pieces: vec![CondemnedPiece { segment, place }] };
    assert!(two.do_both(replace, condemn).await.0);
    assert_eq!(two.one.read(PiecesToTrash { node: 4, limit: 9 }).await.unwrap(), []);
}

/// An epoch that is being handed out when a node is drained is one in which
/// pieces may still be placed on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_sees_leases_that_are_being_taken() {
    let two = Two::new().await;
    join(&two.one, 1).await;
    two.slow("leases");
    let drain = ChangeNode { node: id(1), change: NodeChange::Drain, reason: None };
    two.do_both(AcquireLease { holder: Holder([7; 16]) }, drain).await.1.unwrap();
    assert_eq!(two.one.write(IsDrained { node: 1 }).await.unwrap(), None);
}

/// A lease at an older epoch that is being taken when somebody looks whether
/// a node is drained.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_leases_waits_for_those_being_taken() {
    let two = Two::new().await;
    join(&two.one, 1).await;
    change(&two.one, 1, NodeChange::Drain).await.unwrap();
    two.slow("leases");
    let acquired = two.do_both(AcquireLease { holder: Holder([7; 16]) }, IsDrained { node: 1 }).await;
    assert_eq!(acquired, (Epoch(1), Some(Epoch(0))), "it is a newer one");
}
