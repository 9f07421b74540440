//! Repairs of the suite: they claim a segment, place pieces and replace the
//! list; some are overtaken, some crash, some do not hear the answer.

use rand::Rng;

use super::{Elapse, Model, NODES, PIECES, placed, volunteers};
use crate::metadata::*;
use crate::types::{BucketName, Epoch, Incarnation, ObjectHeaders, ObjectKey, PieceNumber, SegmentId, UnixMillis};

/// A repair whose pieces are placed.
pub(super) struct Repair {
    segment: SegmentId,
    claim: Incarnation,
    removed: Vec<PiecePlace>,
    placed: Vec<PiecePlace>,
}

impl Repair {
    fn replace(&self, lease: Lease) -> ReplacePieces {
        let (removed, placed) = (self.removed.clone(), self.placed.clone());
        ReplacePieces { segment: self.segment, claim: self.claim, removed, placed, lease }
    }

    fn condemn(&self) -> CondemnPieces {
        let pieces = self.placed.iter().map(|&place| CondemnedPiece { segment: self.segment, place });
        CondemnPieces { pieces: pieces.collect() }
    }
}

impl Model {
    /// Moves some pieces, drops some and adds one.
    pub(super) async fn begin_repair(&mut self) {
        let after = Some(SegmentId::from_bytes(self.random()));
        let Some(row) = self.metadata.read(ScanSegments { after, limit: 1 }).await.unwrap().pop() else { return };
        let segment = row.segment;
        let Some((row, claim)) = self.metadata.write(ClaimSegment { segment }).await.unwrap() else { return };
        let before = self.claims.insert(segment, claim);
        assert!(before.unwrap_or(Incarnation(1)) < claim, "an incarnation came twice");
        let mut repair = Repair { segment, claim, removed: Vec::new(), placed: Vec::new() };
        let mut numbers = vec![PieceNumber(PIECES)];
        numbers.retain(|number| row.pieces.iter().all(|place| place.piece != *number));
        for place in row.pieces {
            if self.dice.random() {
                numbers.push(place.piece);
                repair.removed.push(place);
            }
        }
        for piece in numbers {
            if self.dice.random_ratio(3, 4) {
                let node = self.dice.random_range(1..=NODES.into());
                repair.placed.push(PiecePlace { piece, node, incarnation: claim });
            }
        }
        self.unsettled.extend(repair.placed.iter().map(|place| placed(segment, place)));
        self.repairs.push(repair);
    }

    /// Ends any of them, perhaps with a crash.
    pub(super) async fn end_repair(&mut self) {
        if self.repairs.is_empty() {
            return;
        }
        let at = self.dice.random_range(0..self.repairs.len());
        let repair = self.repairs.swap_remove(at);
        if self.dice.random_ratio(1, 8) {
            return;
        }
        let done = self.metadata.write(repair.replace(self.lease)).await.unwrap();
        assert!(!done || self.claims[&repair.segment] == repair.claim, "a repair was overtaken and did not notice");
        if !done || self.dice.random_ratio(1, 4) {
            // Whoever does not hear the answer tries again and then gives up.
            assert!(!self.metadata.write(repair.replace(self.lease)).await.unwrap(), "a claim was used twice");
            self.metadata.write(repair.condemn()).await.unwrap();
        }
        for place in &repair.placed {
            let place = placed(repair.segment, place);
            self.unsettled.remove(&place);
            self.settled.insert(place);
        }
    }
}

impl Model {
    /// Has the streams of some segments lie in a new one; sometimes they have
    /// changed since they were read.
    pub(super) async fn merge(&mut self) {
        let after = Some(SegmentId::from_bytes(self.random()));
        let rows = self.metadata.read(ScanSegments { after, limit: 3 }).await.unwrap();
        let places = self.metadata.read(ScanStreams { after: None, limit: 1000 }).await.unwrap();
        let is_old = |extent: &Extent| rows.iter().any(|row| row.segment == extent.segment);
        let mut moves: Vec<_> = places.into_iter().map(|place| (place.clone(), place.extents)).collect();
        moves.retain(|(_, extents)| extents.iter().any(is_old));
        if moves.is_empty() {
            return;
        }
        let segment = self.segment();
        for extent in moves.iter_mut().flat_map(|(_, extents)| extents).filter(|extent| is_old(extent)) {
            extent.segment = segment.segment;
        }
        if self.dice.random_ratio(1, 4) {
            self.delete().await;
            self.release(100).await;
        }
        let streams = moves;
        self.metadata.write(MoveStreams { segment, streams, lease: self.lease }).await.unwrap();
    }
}

/// Nodes 1 to 4, and a segment with pieces on the first three.
pub(super) async fn one_segment(metadata: &Metadata) -> (Lease, SegmentId, Vec<PiecePlace>) {
    for node in 1..=4 {
        volunteers::join(metadata, node).await;
    }
    let holder = Holder([7; 16]);
    let lease = Lease { holder, epoch: metadata.write(AcquireLease { holder }).await.unwrap() };
    let (name, segment) = (BucketName::new("moves").unwrap(), SegmentId::from_bytes([1; 16]));
    metadata.write(CreateBucket { name: name.clone(), now: UnixMillis(1) }).await.unwrap();
    let place =
        |piece: u16| PiecePlace { piece: PieceNumber(piece), node: u32::from(piece) + 1, incarnation: Incarnation(1) };
    let pieces: Vec<_> = (0..3).map(place).collect();
    let stream = volunteers::stream(segment);
    let object = NewObject {
        bucket: name,
        key: ObjectKey::new("key").unwrap(),
        condition: Default::default(),
        headers: ObjectHeaders::default(),
        size_bytes: 100,
        etag: "etag".into(),
        checksum: None,
        modified: UnixMillis(1),
        content: ObjectContent::Body(volunteers::body(&stream)),
    };
    let row = NewSegment {
        segment,
        layout: vec![1],
        mac_key: [0; 32],
        root: [0; 16],
        epoch: Epoch(1),
        revision: crate::types::Revision(1),
        live_bytes: 0,
        pieces: pieces.clone(),
    };
    let commit = CommitObject { object, streams: vec![stream], segments: vec![row], lease: Some(lease) };
    metadata.write(commit).await.unwrap().unwrap();
    (lease, segment, pieces)
}

pub(super) async fn claim(metadata: &Metadata, segment: SegmentId) -> Incarnation {
    metadata.write(ClaimSegment { segment }).await.unwrap().unwrap().1
}

pub(super) async fn a_repair_is_overtaken_or_late(metadata: Metadata) {
    let (lease, segment, pieces) = one_segment(&metadata).await;
    let moved = |claim| {
        let placed = vec![PiecePlace { piece: PieceNumber(0), node: 4, incarnation: claim }];
        Repair { segment, claim, removed: vec![pieces[0]], placed }
    };
    let first = moved(claim(&metadata, segment).await);
    let second = moved(claim(&metadata, segment).await);
    assert!(!metadata.write(first.replace(lease)).await.unwrap(), "overtaken");
    metadata.write(first.condemn()).await.unwrap();

    // A piece that was condemned meanwhile is not taken in, nor one that bears another claim.
    metadata.write(second.condemn()).await.unwrap();
    assert!(!metadata.write(second.replace(lease)).await.unwrap(), "condemned");
    let mut wrong = moved(claim(&metadata, segment).await);
    wrong.placed[0].incarnation = Incarnation(1);
    assert!(metadata.write(wrong.replace(lease)).await.is_err());

    // Nor one on a node that takes none, nor a second one of a number, nor one under a lost lease.
    let third = moved(wrong.claim);
    volunteers::change(&metadata, 4, NodeChange::Drain).await.unwrap();
    assert!(!metadata.write(third.replace(lease)).await.unwrap(), "draining");
    volunteers::change(&metadata, 4, NodeChange::Resume).await.unwrap();
    let twice = Repair { segment, claim: third.claim, removed: Vec::new(), placed: third.placed.clone() };
    assert!(metadata.write(twice.replace(lease)).await.is_err());
    let lost = Lease { epoch: Epoch(0), ..lease };
    assert!(matches!(metadata.write(third.replace(lost)).await, Err(MetadataError::LeaseLost)));
    assert_eq!(metadata.read(FindSegments { segments: vec![segment] }).await.unwrap()[0].pieces, pieces);

    // What was asked to leave and is not there is not condemned: it may have gone to another list's repair.
    let stranger = PiecePlace { piece: PieceNumber(9), node: 2, incarnation: Incarnation(1) };
    let mut third = third;
    third.removed.push(stranger);
    assert!(metadata.write(third.replace(lease)).await.unwrap());
    metadata.write(third.condemn()).await.unwrap();
    let listed = metadata.read(FindSegments { segments: vec![segment] }).await.unwrap().remove(0).pieces;
    assert_eq!(listed, [third.placed[0], pieces[1], pieces[2]]);
    let trash = |node| metadata.read(PiecesToTrash { node, limit: 9 });
    assert_eq!(trash(1).await.unwrap(), [CondemnedPiece { segment, place: pieces[0] }]);
    assert_eq!(trash(2).await.unwrap(), []);
    assert_eq!(trash(4).await.unwrap().len(), 2, "of the repairs that failed");
    metadata.close().await;
}

pub(super) async fn a_node_is_drained_when_no_upload_can_reach_it(metadata: Metadata) {
    let (lease, ..) = one_segment(&metadata).await;
    let drained = || metadata.write(IsDrained { node: 1 });
    assert!(drained().await.unwrap().is_none(), "nobody drains it");
    volunteers::change(&metadata, 1, NodeChange::Drain).await.unwrap();
    assert!(drained().await.unwrap().is_none(), "the upload that is leased may place a piece on it");
    let renew = |oldest| metadata.write(RenewLease { holder: lease.holder, oldest });
    renew(Some(lease.epoch)).await.unwrap();
    assert!(drained().await.unwrap().is_none(), "it goes on");
    renew(None).await.unwrap();
    let first = drained().await.unwrap().unwrap();
    let late = Holder([8; 16]);
    metadata.write(AcquireLease { holder: late }).await.unwrap();
    assert_eq!(drained().await.unwrap(), Some(first), "who comes later knows that it is drained");
    volunteers::change(&metadata, 1, NodeChange::Resume).await.unwrap();
    volunteers::change(&metadata, 1, NodeChange::Drain).await.unwrap();
    assert!(drained().await.unwrap().is_none(), "drained anew");
    let let_go =
        |drained_since| metadata.write(LetGo { node: volunteers::id(1), drained_since, reason: "empty".into() });
    assert!(let_go(first).await.unwrap().is_err(), "it was found empty before it was drained anew");
    renew(None).await.unwrap();
    metadata.write(RenewLease { holder: late, oldest: None }).await.unwrap();
    let again = drained().await.unwrap().unwrap();
    assert!(again > first);
    // A lease that was taken while the clock was a year ahead, by a process that died.
    metadata.write(Elapse(-365 * 24 * 3_600_000)).await.unwrap();
    assert_eq!(drained().await.unwrap(), Some(again));
    let condemn = async |segment| {
        let place = PiecePlace { piece: PieceNumber(0), node: 1, incarnation: Incarnation(1) };
        let piece = CondemnedPiece { segment: SegmentId::from_bytes([segment; 16]), place };
        metadata.write(CondemnPieces { pieces: vec![piece] }).await.unwrap();
        piece
    };
    let before = condemn(8).await;
    assert_eq!(let_go(again).await.unwrap().unwrap().state, NodeState::Left);
    assert!(drained().await.unwrap().is_none(), "it has left");
    let after = condemn(9).await;
    volunteers::join_again(&metadata, 1).await;
    let told = metadata.read(PiecesToTrash { node: 1, limit: 9 }).await.unwrap();
    assert_eq!(told, [before, after], "its old pieces are not left on its disk when it is back");
    metadata.close().await;
}

pub(super) async fn nodes_with_dead_pieces_are_named(metadata: Metadata) {
    one_segment(&metadata).await;
    let piece = |node, segment| CondemnedPiece {
        segment: SegmentId::from_bytes([segment; 16]),
        place: PiecePlace { piece: PieceNumber(0), node, incarnation: Incarnation(1) },
    };
    let pieces = vec![piece(1, 7), piece(1, 8), piece(2, 8)];
    metadata.write(CondemnPieces { pieces }).await.unwrap();
    metadata.write(MarkTrashed { pieces: vec![piece(1, 7), piece(2, 8)] }).await.unwrap();
    let due = async |nodes: &[u32], older_than_ms| {
        let named = metadata.read(NodesToTell { nodes: nodes.to_vec(), older_than_ms }).await.unwrap();
        named.into_iter().collect::<Vec<_>>()
    };
    let (an_hour, at_once) = (3_600_000, 0u64.wrapping_sub(60_000));
    assert_eq!(due(&[1, 2, 3, 99], an_hour).await, [1], "for its piece that is in no trash");
    assert_eq!(due(&[1, 2, 3, 99], at_once).await, [1, 2], "and what has been there for long enough");
    assert_eq!(due(&[2, 3], at_once).await, [2], "only of those that are asked for");
    assert!(due(&[], at_once).await.is_empty());
    metadata.write(MarkTrashed { pieces: vec![piece(1, 8)] }).await.unwrap();
    assert!(due(&[1, 2, 3], an_hour).await.is_empty());
    metadata.close().await;
}

pub(super) async fn a_lease_that_was_given_back_holds_nothing_up(metadata: Metadata) {
    let (lease, ..) = one_segment(&metadata).await;
    volunteers::change(&metadata, 1, NodeChange::Drain).await.unwrap();
    let drained = || metadata.write(IsDrained { node: 1 });
    assert!(drained().await.unwrap().is_none(), "the upload that is leased may place a piece on it");
    metadata.write(ReleaseLease { holder: lease.holder }).await.unwrap();
    assert!(drained().await.unwrap().is_some());
    let renewed = metadata.write(RenewLease { holder: lease.holder, oldest: None }).await;
    assert!(matches!(renewed, Err(MetadataError::LeaseLost)), "nothing of it can be committed any more");
    for holder in [3, 4] {
        metadata.write(AcquireLease { holder: Holder([holder; 16]) }).await.unwrap();
    }
    metadata.write(ReleaseAllLeases).await.unwrap();
    let renewed = metadata.write(RenewLease { holder: Holder([4; 16]), oldest: None }).await;
    assert!(matches!(renewed, Err(MetadataError::LeaseLost)));
    metadata.close().await;
}
