//! Strays, the oldest epoch and merges in the suite.

use super::Elapse;
use super::moves::one_segment;
use crate::metadata::*;
use crate::types::{Epoch, Incarnation, PieceId, PieceNumber, Revision, SegmentId};

const HOUR_MS: i64 = 3_600_000;
const OWN: Holder = Holder([1; 16]);

fn piece(number: u8) -> PieceId {
    PieceId::from_bytes([number; 16])
}

/// Nothing that a lease still covers is older than the answer; a lease that has
/// run out covers nothing, but for that of the process that asks.
pub(super) async fn the_oldest_leased_epoch_comes_first(metadata: Metadata) {
    let oldest = async || metadata.write(OldestEpoch { own: OWN }).await.unwrap();
    assert_eq!(oldest().await, Epoch(1), "nobody writes, and the next epoch is this one");
    let own = metadata.write(AcquireLease { holder: OWN }).await.unwrap();
    let other = Holder([2; 16]);
    let begun = metadata.write(AcquireLease { holder: other }).await.unwrap();
    assert_eq!(oldest().await, own);
    metadata.write(RenewLease { holder: OWN, oldest: None }).await.unwrap();
    assert_eq!(oldest().await, begun);
    metadata.write(Elapse(HOUR_MS)).await.unwrap();
    assert_eq!(oldest().await, Epoch(3), "its own lease stays");
    let renewed = metadata.write(RenewLease { holder: other, oldest: Some(begun) }).await;
    assert!(matches!(renewed, Err(MetadataError::LeaseLost)), "{renewed:?}");
    metadata.write(ReleaseLease { holder: OWN }).await.unwrap();
    assert_eq!(oldest().await, Epoch(4));
    // One that was taken while the clock was a year ahead ends nothing for a year.
    metadata.write(AcquireLease { holder: other }).await.unwrap();
    assert_eq!(oldest().await, Epoch(4));
    metadata.write(Elapse(-365 * 24 * HOUR_MS)).await.unwrap();
    assert_eq!(oldest().await, Epoch(5));
    let lost = metadata.write(RenewLease { holder: other, oldest: None }).await;
    assert!(matches!(lost, Err(MetadataError::LeaseLost)), "and nothing is committed under it");
}

/// A stray is purged after its time and after somebody has looked again.
pub(super) async fn strays_wait_and_are_looked_for_again(metadata: Metadata) {
    one_segment(&metadata).await;
    let (node, limit, older_than_ms) = (1, 10, HOUR_MS as u64);
    let condemn = |pieces| CondemnStrays { node, pieces };
    assert_eq!(metadata.write(condemn(vec![piece(2), piece(1)])).await.unwrap(), 2);
    assert_eq!(metadata.write(condemn(vec![piece(1), piece(3)])).await.unwrap(), 1);
    let due = async || metadata.read(NodesToTell { nodes: vec![1, 2], older_than_ms }).await.unwrap();
    assert_eq!(due().await.into_iter().collect::<Vec<_>>(), [1]);
    let pieces = metadata.read(StraysToTrash { node, limit }).await.unwrap();
    assert_eq!(pieces.len(), 3);
    metadata.write(MarkStraysTrashed { node, pieces }).await.unwrap();
    metadata.write(Elapse(2 * HOUR_MS)).await.unwrap();
    let to_purge = async || metadata.read(StraysToPurge { node, older_than_ms, limit }).await.unwrap();
    assert_eq!(to_purge().await, [], "nobody has looked again");
    assert!(due().await.is_empty());
    metadata.write(CheckStrays { node, pieces: vec![piece(1), piece(2)] }).await.unwrap();
    metadata.write(Reprieve { node, strays: vec![piece(2)], condemned: Vec::new() }).await.unwrap();
    assert_eq!(to_purge().await, [piece(1)]);
    assert_eq!(due().await.into_iter().collect::<Vec<_>>(), [1]);
    metadata.write(ForgetStrays { node, pieces: vec![piece(1)] }).await.unwrap();
    let left = async || metadata.read(StraysOf { node, after: None, limit }).await.unwrap();
    assert_eq!(left().await, [(piece(3), false)]);
    assert_eq!(metadata.read(StraysOf { node, after: Some(piece(3)), limit }).await.unwrap(), []);
    super::volunteers::change(&metadata, 1, NodeChange::Forget).await.unwrap();
    assert!(!metadata.write(ForgetDeparted { limit }).await.unwrap());
    assert_eq!(left().await, []);
    assert_eq!(metadata.write(condemn(vec![piece(4)])).await.unwrap(), 0, "it is no member");
}

/// Those that were never compared come first, then those that wait longest.
pub(super) async fn nodes_are_compared_in_turn(metadata: Metadata) {
    one_segment(&metadata).await;
    let due = async || {
        let nodes = vec![1, 2, 3];
        metadata.read(NodesToCompare { nodes, older_than_ms: HOUR_MS as u64 }).await.unwrap()
    };
    assert_eq!(due().await, [1, 2, 3]);
    metadata.write(MarkReclaimed { node: 2 }).await.unwrap();
    metadata.write(Elapse(HOUR_MS / 2)).await.unwrap();
    metadata.write(MarkReclaimed { node: 1 }).await.unwrap();
    assert_eq!(due().await, [3]);
    metadata.write(Elapse(HOUR_MS)).await.unwrap();
    assert_eq!(due().await, [3, 2, 1]);
    metadata.write(Elapse(-48 * HOUR_MS)).await.unwrap();
    assert_eq!(due().await, [3, 2, 1], "the clock was set back");
}

/// A stream moves once; the old segment's pieces are condemned then. One that
/// has changed meanwhile stays, and what was stored for it is condemned.
pub(super) async fn streams_move_or_stay(metadata: Metadata) {
    let (lease, old, pieces) = one_segment(&metadata).await;
    let places = metadata.read(ScanStreams { after: None, limit: 10 }).await.unwrap();
    assert_eq!(metadata.read(FindPlaces { streams: vec![places[0].stream] }).await.unwrap(), places);
    let row = metadata.read(FindSegments { segments: vec![old] }).await.unwrap().remove(0);
    let to = |number: u8| {
        let place = |place: &PiecePlace| PiecePlace { node: 4, incarnation: Incarnation(number.into()), ..*place };
        let segment = SegmentId::from_bytes([number; 16]);
        let pieces = pieces[..1].iter().map(place).collect();
        let segment = NewSegment { segment, revision: Revision(1), pieces, ..row.clone() };
        let extents = places[0].extents.iter().map(|extent| Extent { segment: segment.segment, ..*extent });
        let streams = vec![(places[0].clone(), extents.collect())];
        MoveStreams { segment, streams, lease }
    };
    assert_eq!(metadata.write(to(2)).await.unwrap(), 1);
    assert_eq!(metadata.write(to(2)).await.unwrap(), 0, "it lies there by now");
    assert_eq!(condemned_pieces(&metadata, SegmentId::from_bytes([2; 16])).await, [], "it is in use");
    assert_eq!(metadata.write(to(3)).await.unwrap(), 0, "it lies elsewhere by now");
    let segments = metadata.read(ScanSegments { after: None, limit: 10 }).await.unwrap();
    assert_eq!(segments.iter().map(|row| row.segment).collect::<Vec<_>>(), [SegmentId::from_bytes([2; 16])]);
    assert_eq!(segments[0].live_bytes, 100);
    for (place, segment) in [
        (pieces[0], old),
        (PiecePlace { node: 4, incarnation: Incarnation(3), ..pieces[0] }, SegmentId::from_bytes([3; 16])),
    ] {
        let condemned = metadata.read(CondemnedOf { node: place.node, after: None, limit: 10 }).await.unwrap();
        assert!(condemned.contains(&CondemnedPiece { segment, place }), "{condemned:?}");
        let last = condemned.last().copied();
        assert_eq!(metadata.read(CondemnedOf { node: place.node, after: last, limit: 10 }).await.unwrap(), []);
    }
    assert_eq!(condemned_pieces(&metadata, old).await, [PieceNumber(0), PieceNumber(1), PieceNumber(2)]);
    metadata.write(ReleaseLease { holder: lease.holder }).await.unwrap();
    assert!(matches!(metadata.write(to(5)).await, Err(MetadataError::LeaseLost)));
}

async fn condemned_pieces(metadata: &Metadata, segment: SegmentId) -> Vec<PieceNumber> {
    let mut pieces = Vec::new();
    for node in 1..=4 {
        let found = metadata.read(CondemnedOf { node, after: None, limit: 10 }).await.unwrap();
        pieces.extend(found.iter().filter(|piece| piece.segment == segment).map(|piece| piece.place.piece));
    }
    pieces
}

/// What no stream lies in goes, unless it has changed since it was seen, or its
/// row says that one does: whoever saw none saw another state of the database.
pub(super) async fn orphans_go_as_they_were_seen(metadata: Metadata) {
    let (_, used, pieces) = one_segment(&metadata).await;
    let row = metadata.read(FindSegments { segments: vec![used] }).await.unwrap().remove(0);
    let orphan = SegmentId::from_bytes([8; 16]);
    metadata.write(super::Orphan(NewSegment { segment: orphan, ..row.clone() })).await.unwrap();
    let condemn = |revision| CondemnOrphans { segments: vec![(orphan, Revision(revision)), (used, row.revision)] };
    let outcome = |gone| Orphans { gone, doubtful: 1 };
    assert_eq!(metadata.write(condemn(2)).await.unwrap(), outcome(0));
    assert_eq!(metadata.write(condemn(1)).await.unwrap(), outcome(1));
    assert_eq!(metadata.write(condemn(1)).await.unwrap(), outcome(0));
    assert_eq!(condemned_pieces(&metadata, orphan).await.len(), pieces.len());
    assert_eq!(condemned_pieces(&metadata, used).await, []);
    assert_eq!(metadata.read(ScanSegments { after: None, limit: 10 }).await.unwrap(), [row]);
}
