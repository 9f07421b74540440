//! Pieces that nobody refers to, and such as were condemned by mistake: on
//! real nodes, by real comparisons.

use super::super::observer::{Observer, Scene};
use super::super::reclaim::Reclaim;
use super::super::reclaim::ask::{Asking, Bookmarks, Pages, Sum};
use super::super::reclaim::round::{Round, Subject};
use super::*;
use crate::metadata::suite::{Elapse, Orphan};
use crate::node::store::PieceState;
use crate::types::{Epoch, Incarnation, PieceNumber, Revision, SegmentId};

const WEEK_AND_MORE_MS: i64 = 8 * 24 * 3600 * 1000;

/// A town whose nodes are compared in every pass, and what deletes there.
async fn town() -> (Town, DeleteWorker) {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.compare_always();
    let deletes = DeleteWorker::new(town.metadata.clone(), town.transfer.clone(), &Env::real());
    (town, deletes)
}

fn piece(number: u8) -> PieceId {
    PieceId::from_bytes([number; 16])
}

impl Town {
    async fn place(&self, at: usize, id: PieceId, epoch: Epoch) {
        let body = Bytes::from_static(b"nobody refers to it");
        self.door.nodes().put_piece(self.nodes[at].id, id, epoch, body).await.unwrap();
    }

    fn state_of(&self, at: usize, id: PieceId) -> Option<PieceState> {
        self.nodes[at].store().stat(&id).map(|info| info.state)
    }

    /// Until so many more whole comparisons have ended.
    async fn compare(&mut self) {
        let passes = self.report().passes + 3;
        self.until("the nodes are compared", |report| report.passes >= passes && report.comparing == 0).await;
    }

    /// The piece that the first list names first, and the place of its node.
    async fn some_piece(&self) -> (usize, PieceId) {
        let row = self.segments().await.remove(0);
        (row.pieces[0].node as usize - 1, self.transfer.piece_id(row.segment, &row.pieces[0]).unwrap())
    }
}

async fn delete(deletes: &mut DeleteWorker) {
    while deletes.step().await.unwrap() == Step::Busy {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_refers_to_is_condemned_when_nobody_can_any_more() {
    let (mut town, mut deletes) = town().await;
    town.put(2).await;
    let guard = town.epochs.begin();
    town.place(0, piece(1), Epoch(0)).await;
    town.place(1, piece(2), guard.epoch()).await;
    town.compare().await;
    delete(&mut deletes).await;
    assert_eq!(town.state_of(0, piece(1)), Some(PieceState::Trash));
    assert_eq!(town.state_of(1, piece(2)), Some(PieceState::Live), "its upload goes on");
    let (holder, oldest) = (town.epochs.holder(), Some(guard.epoch()));
    town.metadata.write(RenewLease { holder, oldest }).await.unwrap();
    town.compare().await;
    assert_eq!(town.state_of(1, piece(2)), Some(PieceState::Live), "its upload still goes on");
    drop(guard);
    town.metadata.write(RenewLease { holder, oldest: None }).await.unwrap();
    town.metadata.write(Elapse(WEEK_AND_MORE_MS)).await.unwrap();
    delete(&mut deletes).await;
    assert_eq!(town.state_of(0, piece(1)), None, "a week is over, and a comparison has looked again");
    town.compare().await;
    delete(&mut deletes).await;
    assert_eq!(town.state_of(1, piece(2)), Some(PieceState::Trash));
    town.check().await;
    assert_eq!(town.report().pieces_restored, 0);
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_condemned_by_mistake_is_restored_and_never_purged() {
    let (mut town, mut deletes) = town().await;
    town.put(1).await;
    let (at, id) = town.some_piece().await;
    // Somebody puts it into the trash: the database knows nothing of it.
    town.door.nodes().trash(town.nodes[at].id, &[id]).await.unwrap();
    town.compare().await;
    assert_eq!(town.state_of(at, id), Some(PieceState::Live));
    // A filter was wrong: the database says that it is dead.
    let wrong = CondemnStrays { node: at as u32 + 1, pieces: vec![id] };
    assert_eq!(town.metadata.write(wrong).await.unwrap(), 1);
    delete(&mut deletes).await;
    assert_eq!(town.state_of(at, id), Some(PieceState::Trash));
    town.metadata.write(Elapse(WEEK_AND_MORE_MS)).await.unwrap();
    delete(&mut deletes).await;
    assert_eq!(town.state_of(at, id), Some(PieceState::Trash), "nobody has looked again");
    town.check().await;
    town.compare().await;
    assert_eq!(town.state_of(at, id), Some(PieceState::Live));
    assert_eq!(town.metadata.read(StraysOf { node: at as u32 + 1, after: None, limit: 10 }).await.unwrap(), []);
    assert!(town.report().pieces_restored >= 2);
    town.check().await;
    town.close().await;
}

/// What one comparison does not come to, the next one begins with.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_more_than_one_comparison_asks_for_is_compared_to_the_end() {
    let (town, _) = town().await;
    for number in 1..=3 {
        town.place(0, piece(number), Epoch(0)).await;
    }
    town.renew_lease().await;
    let (subject, bookmarks) = (Subject { number: 1, node: town.nodes[0].id, pieces: 3 }, Bookmarks::default());
    let compare = async || {
        let (metadata, nodes) = (town.metadata.clone(), town.door.nodes());
        let round = Round::begin(&metadata, town.transfer.piece_ids(), town.epochs.holder(), &[subject], 1).await;
        let asking = Asking::new(round.unwrap(), metadata, nodes, bookmarks.clone());
        let mut condemned = 0;
        let tell = |sum: Sum| condemned += sum.condemned;
        asking.with_pages(Pages { most: 1, limit: 2 }).run(tell).await;
        condemned
    };
    let due = async || town.metadata.read(NodesToCompare { nodes: vec![1], older_than_ms: 3_600_000 }).await.unwrap();
    assert_eq!((compare().await, due().await), (2, vec![1]));
    // Of what comes before the place it goes on from nothing is said this time.
    town.place(0, PieceId::from_bytes([0; 16]), Epoch(0)).await;
    assert_eq!((compare().await, due().await), (1, vec![]));
    assert_eq!(compare().await, 1);
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_somebody_waits_for_waits_for_no_node() {
    let (town, _) = town().await;
    let mut reclaim = Reclaim::new(town.epochs.holder(), Duration::ZERO);
    reclaim.asking = Some(tokio::spawn(std::future::pending()));
    let scene = Scene { asked: true, ..town.health.scene() };
    let begun = tokio::time::timeout(SOON, reclaim.begin(&scene)).await;
    begun.expect("it waits for a node that hangs").unwrap();
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_a_node_that_has_gone() {
    let (mut town, _) = town().await;
    town.put(1).await;
    town.place(0, piece(1), Epoch(0)).await;
    town.compare().await;
    let strays = || StraysOf { node: 1, after: None, limit: 10 };
    assert_eq!(town.metadata.read(strays()).await.unwrap().len(), 1);
    town.change(0, NodeChange::Forget).await;
    town.compare().await;
    assert_eq!(town.metadata.read(strays()).await.unwrap(), []);
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_no_stream_lies_in_goes() {
    let (mut town, _) = town().await;
    town.put(2).await;
    let segment = SegmentId::from_bytes([9; 16]);
    let place = PiecePlace { piece: PieceNumber(0), node: 1, incarnation: Incarnation(1) };
    let row = NewSegment { segment, revision: Revision(1), pieces: vec![place], ..town.segments().await.remove(0) };
    town.metadata.write(Orphan(row)).await.unwrap();
    let before = town.segments().await.len();
    let mut merge = town.merger();
    town.compare().await;
    merge.step().await.unwrap();
    assert_eq!(town.segments().await.len(), before - 1);
    assert_eq!(town.report().segments_orphaned, 1);
    let condemned = town.metadata.read(PiecesToTrash { node: 1, limit: 10 }).await.unwrap();
    assert!(condemned.contains(&CondemnedPiece { segment, place }));
    town.check().await;
    town.close().await;
}
