//! What processes share: tasks that one at a time does, and the queue of
//! segments that wait for repair.

use super::engines::{fresh, open};
use super::server::Server;
use crate::metadata::*;
use crate::types::{Incarnation, PieceNumber, SegmentId};

const ONE: Holder = Holder([1; 16]);
const OTHER: Holder = Holder([2; 16]);
/// Longer than any test.
const LONG_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * LONG_MS;

fn id(number: u8) -> SegmentId {
    SegmentId::from_bytes([number; 16])
}

async fn take(metadata: &Metadata, holder: Holder, for_ms: u64) -> bool {
    metadata.write(TakeTask { task: Task::Health, holder, for_ms }).await.unwrap()
}

async fn state(metadata: &Metadata) -> Option<Vec<u8>> {
    metadata.read(ReadTask { task: Task::Health }).await.unwrap()
}

pub(super) async fn a_task_is_one_process_s_until_its_lease_is_over(metadata: Metadata) {
    assert_eq!(state(&metadata).await, None);
    assert!(take(&metadata, ONE, LONG_MS).await);
    assert!(!take(&metadata, OTHER, LONG_MS).await);
    let delete = TakeTask { task: Task::Delete, holder: OTHER, for_ms: LONG_MS };
    assert!(metadata.write(delete).await.unwrap(), "another task");
    let store = |holder, state: &str| StoreTask { task: Task::Health, holder, state: state.into() };
    assert!(metadata.write(store(ONE, "one")).await.unwrap());
    assert!(!metadata.write(store(OTHER, "other")).await.unwrap());
    assert_eq!(state(&metadata).await.as_deref(), Some(&b"one"[..]));
    // It shortens its own lease, and that runs out.
    assert!(take(&metadata, ONE, 0).await);
    assert!(take(&metadata, OTHER, LONG_MS).await);
    assert_eq!(state(&metadata).await.as_deref(), Some(&b"one"[..]), "what was shown stays");
    metadata.write(ReleaseTask { task: Task::Health, holder: ONE }).await.unwrap();
    assert!(!take(&metadata, ONE, LONG_MS).await, "it has nothing to give back");
    metadata.write(ReleaseTask { task: Task::Health, holder: OTHER }).await.unwrap();
    assert!(take(&metadata, ONE, LONG_MS).await);
    // Its process took it while the clock was a year ahead, and died.
    assert!(take(&metadata, ONE, YEAR_MS).await);
    assert!(take(&metadata, OTHER, LONG_MS).await && !take(&metadata, ONE, LONG_MS).await);
    metadata.close().await;
}

fn wanted(number: u8, margin: i64, need: u8) -> WantedRepair {
    WantedRepair { segment: id(number), margin, need, steady: 900_000, lost: Vec::new() }
}

/// A page from the first segment to that one, or to the end.
fn page(last: Option<u8>, wanted: Vec<WantedRepair>) -> QueueRepairs {
    QueueRepairs { holder: ONE, after: None, last: last.map(id), wanted, hope: false, most: 100 }
}

async fn next(metadata: &Metadata, holder: Holder, limit: u32, for_ms: u64) -> Vec<TakenRepair> {
    metadata.write(TakeRepairs { holder, limit, for_ms }).await.unwrap()
}

fn segments(taken: &[TakenRepair]) -> Vec<SegmentId> {
    taken.iter().map(|taken| taken.segment).collect()
}

async fn finish(metadata: &Metadata, holder: Holder, taken: &TakenRepair, end: RepairEnd) {
    let finished = vec![FinishedRepair { taken: taken.clone(), end }];
    metadata.write(FinishRepairs { holder, finished, repaired: 1, moved: 2, failed: 3 }).await.unwrap();
}

async fn counts(metadata: &Metadata, holder: Holder) -> RepairCounts {
    metadata.read(CountRepairs { holder }).await.unwrap()
}

const AGAIN: RepairEnd = RepairEnd::Again { hopeless: false };

pub(super) async fn nearest_to_loss_comes_first(metadata: Metadata) {
    take(&metadata, ONE, LONG_MS).await;
    let place = PiecePlace { piece: PieceNumber(3), node: 4, incarnation: Incarnation(5) };
    let second = WantedRepair { lost: vec![place], ..wanted(2, 0, 0) };
    let all = vec![wanted(1, 3, 2), second, wanted(3, 3, 1), wanted(4, -1, 0), wanted(5, 9, 0)];
    assert_eq!(metadata.write(QueueRepairs { most: 4, ..page(None, all) }).await.unwrap(), Some(1), "one did not fit");
    let taken = next(&metadata, ONE, 2, LONG_MS).await;
    assert_eq!(segments(&taken), [id(4), id(2)]);
    assert_eq!(taken[1].lost, [place]);
    let rest = next(&metadata, OTHER, 9, LONG_MS).await;
    assert_eq!(segments(&rest), [id(3), id(1)], "nobody gets what another has");
    assert_eq!(next(&metadata, ONE, 9, LONG_MS).await, []);
    // Those without hope come last, until other nodes are there.
    finish(&metadata, OTHER, &rest[0], RepairEnd::Again { hopeless: true }).await;
    finish(&metadata, OTHER, &rest[1], RepairEnd::Over).await;
    let expected =
        RepairCounts { waiting: 3, hopeless: 1, taken: 2, untried: 0, free: 1, repaired: 2, moved: 4, failed: 6 };
    assert_eq!(counts(&metadata, ONE).await, expected);
    let again = || vec![wanted(1, 8, 2), wanted(3, 0, 0)];
    metadata.write(page(Some(3), again())).await.unwrap();
    assert_eq!(counts(&metadata, ONE).await.hopeless, 1);
    let last = next(&metadata, OTHER, 9, 0).await;
    assert_eq!(segments(&last), [id(1), id(3)]);
    metadata.write(QueueRepairs { hope: true, ..page(Some(3), again()) }).await.unwrap();
    assert_eq!(segments(&next(&metadata, OTHER, 9, LONG_MS).await), [id(3), id(1)]);
    metadata.close().await;
}

pub(super) async fn what_a_dead_process_had_taken_comes_back(metadata: Metadata) {
    take(&metadata, ONE, LONG_MS).await;
    metadata.write(page(None, vec![wanted(1, 0, 0), wanted(2, 1, 0)])).await.unwrap();
    let taken = next(&metadata, ONE, 9, 0).await;
    assert_eq!(counts(&metadata, OTHER).await.taken, 0, "its time is over already");
    let renew = |holder, number, for_ms| RenewRepairs { holder, segments: vec![id(number)], for_ms };
    metadata.write(renew(ONE, 1, LONG_MS)).await.unwrap();
    let found = next(&metadata, OTHER, 9, LONG_MS).await;
    assert_eq!(segments(&found), [id(2)], "the first is kept");
    // What the slow one does now changes nothing.
    metadata.write(renew(ONE, 2, 0)).await.unwrap();
    finish(&metadata, ONE, &taken[1], AGAIN).await;
    finish(&metadata, ONE, &taken[1], RepairEnd::Over).await;
    assert_eq!(counts(&metadata, ONE).await.taken, 2);
    finish(&metadata, OTHER, &found[0], RepairEnd::Over).await;
    assert_eq!(counts(&metadata, ONE).await.waiting, 1);
    // So does what was taken while the clock was a year ahead.
    metadata.write(renew(ONE, 1, YEAR_MS)).await.unwrap();
    assert_eq!((counts(&metadata, ONE).await.taken, counts(&metadata, ONE).await.free), (0, 1));
    metadata.write(renew(ONE, 1, LONG_MS)).await.unwrap();
    assert_eq!(counts(&metadata, ONE).await.taken, 1);
    // A process that ends gives its own back, and one that starts frees all.
    metadata.write(renew(ONE, 1, 0)).await.unwrap();
    assert_eq!(segments(&next(&metadata, OTHER, 9, LONG_MS).await), [id(1)]);
    metadata.write(ReleaseAllLeases).await.unwrap();
    assert_eq!(segments(&next(&metadata, ONE, 9, LONG_MS).await), [id(1)]);
    metadata.close().await;
}

pub(super) async fn who_could_not_repair_leaves_it_to_others(metadata: Metadata) {
    take(&metadata, ONE, LONG_MS).await;
    metadata.write(page(None, vec![wanted(1, 0, 0)])).await.unwrap();
    for holder in [ONE, OTHER] {
        assert_eq!(counts(&metadata, holder).await.free, 1);
        let taken = next(&metadata, holder, 9, LONG_MS).await;
        finish(&metadata, holder, &taken[0], AGAIN).await;
        assert_eq!(next(&metadata, holder, 9, LONG_MS).await, [], "not the same one at once");
    }
    let all = counts(&metadata, ONE).await;
    assert_eq!((all.waiting, all.untried, all.free), (1, 0, 0));
    metadata.write(page(None, vec![wanted(1, 0, 0)])).await.unwrap();
    assert_eq!(counts(&metadata, ONE).await.untried, 1, "the walk has come by");
    metadata.close().await;
}

pub(super) async fn what_needs_nothing_leaves_the_queue(metadata: Metadata) {
    take(&metadata, ONE, LONG_MS).await;
    metadata.write(page(None, (1..=6).map(|number| wanted(number, number.into(), 0)).collect())).await.unwrap();
    let taken = next(&metadata, OTHER, 1, LONG_MS).await;
    let part = QueueRepairs { after: Some(id(2)), ..page(Some(4), vec![wanted(4, 0, 0)]) };
    metadata.write(part).await.unwrap();
    assert_eq!(counts(&metadata, ONE).await.waiting, 5, "the third, and none of other pages");
    metadata.write(page(None, Vec::new())).await.unwrap();
    assert_eq!(counts(&metadata, ONE).await.waiting, 1, "what is being repaired is left to who does it");
    finish(&metadata, OTHER, &taken[0], RepairEnd::Over).await;
    assert_eq!(counts(&metadata, ONE).await.waiting, 0);
    metadata.close().await;
}

/// A process that walked and was stalled changes nothing when it goes on.
#[tokio::test]
async fn only_who_walks_fills_the_queue() {
    let metadata = open(Server::shared(), &fresh().await).await;
    assert_eq!(metadata.write(page(None, vec![wanted(1, 0, 0)])).await.unwrap(), None);
    assert!(take(&metadata, ONE, 0).await);
    assert_eq!(metadata.write(page(None, vec![wanted(1, 0, 0)])).await.unwrap(), Some(0), "nobody else has it");
    assert!(take(&metadata, OTHER, LONG_MS).await);
    assert_eq!(metadata.write(page(None, Vec::new())).await.unwrap(), None);
    assert_eq!(counts(&metadata, ONE).await.waiting, 1);
}

/// Many take at once, from two gateways; nobody waits and nobody gets the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_segments_of_its_own() {
    let database = fresh().await;
    let gateways = [open(Server::shared(), &database).await, open(Server::shared(), &database).await];
    take(&gateways[0], ONE, LONG_MS).await;
    let all: Vec<_> = (0..200).map(|number| wanted(number, 0, 0)).collect();
    gateways[0].write(QueueRepairs { most: 1000, ..page(None, all) }).await.unwrap();
    let mut running = Vec::new();
    for task in 0..8u8 {
        let metadata = gateways[usize::from(task) % 2].clone();
        running.push(tokio::spawn(async move {
            let holder = Holder([task + 10; 16]);
            let mut mine = Vec::new();
            loop {
                let taken = next(&metadata, holder, 3, LONG_MS).await;
                if taken.is_empty() && counts(&metadata, holder).await.free == 0 {
                    return mine;
                }
                for taken in &taken {
                    finish(&metadata, holder, taken, RepairEnd::Over).await;
                }
                mine.extend(segments(&taken));
            }
        }));
    }
    let mut repaired = Vec::new();
    for task in running {
        repaired.extend(task.await.unwrap());
    }
    repaired.sort();
    assert_eq!(repaired, (0..200).map(id).collect::<Vec<_>>(), "each once");
    let counts = counts(&gateways[1], ONE).await;
    assert_eq!((counts.waiting, counts.repaired), (0, 200));
}
