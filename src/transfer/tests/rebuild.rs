//! Pieces anew.

use super::*;
use crate::metadata::PiecePlace;
use crate::types::{Incarnation, PieceNumber};

fn stored(world: &World, row: &NewSegment, place: &PiecePlace) -> bytes::Bytes {
    let id = world.transfer.piece_id(row.segment, place).unwrap();
    world.puppet(place.node).pieces.lock().unwrap()[&id].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_pieces_are_the_ones_that_were_lost() {
    for (scheme, length) in [("4/5/8/8", 700_001), ("1/1/3/3", 100_000), ("3/3/5/5", 9)] {
        let world = World::new(14, scheme).await;
        let row = world.store(&ciphertext(length, 7)).await.unwrap();
        let lost = [row.pieces[0], row.pieces[row.pieces.len() - 1]];
        let originals = lost.map(|place| stored(&world, &row, &place));
        lost.iter().for_each(|place| world.puppet(place.node).pieces.lock().unwrap().clear());
        let taken: Vec<u64> = row.pieces.iter().map(|place| world.transfer.fleet().domain_of(place.node)).collect();
        let nodes = world.transfer.choose_for_repair(&row, 2, &taken);
        assert_eq!(nodes.len(), 2);
        assert!(nodes.iter().all(|node| row.pieces.iter().all(|place| place.node != *node)));
        let wanted = lost.iter().map(|place| place.piece).zip(nodes).collect();
        let placed = world.transfer.rebuild(&row, wanted, Incarnation(2), Epoch(2), &[]).await.unwrap();
        assert_eq!(placed.len(), 2, "{scheme}");
        for place in placed {
            let original = &originals[usize::from(place.piece != lost[0].piece)];
            assert_eq!(place.incarnation, Incarnation(2));
            assert_eq!(stored(&world, &row, &place), original, "{scheme}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_sees_through_lies_and_reads_as_told() {
    let world = World::new(10, "4/5/8/8").await;
    let row = world.store(&ciphertext(700_000, 7)).await.unwrap();
    let original = stored(&world, &row, &row.pieces[2]);
    world.puppet(row.pieces[0].node).set(Manner::Lying);
    let avoid = [row.pieces[1].node, row.pieces[2].node];
    let node = world.transfer.choose_for_repair(&row, 1, &[])[0];
    let wanted = vec![(PieceNumber(2), node)];
    let placed = world.transfer.rebuild(&row, wanted, Incarnation(2), Epoch(2), &avoid).await.unwrap();
    assert_eq!(stored(&world, &row, &placed[0]), original);
    for number in avoid {
        assert_eq!(world.puppet(number).gets.load(std::sync::atomic::Ordering::Relaxed), 0, "there were others");
    }
    assert_eq!(world.transfer.fleet().take_wrong_shares().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_only_moves_is_copied() {
    let world = World::new(10, "4/5/8/8").await;
    let row = world.store(&ciphertext(700_000, 7)).await.unwrap();
    let node = world.transfer.choose_for_repair(&row, 1, &[])[0];
    let wanted = vec![(PieceNumber(6), node)];
    let before = world.gets();
    let placed = world.transfer.rebuild(&row, wanted.clone(), Incarnation(2), Epoch(2), &[]).await.unwrap();
    assert_eq!(stored(&world, &row, &placed[0]), stored(&world, &row, &row.pieces[6]));
    assert_eq!(world.gets() - before, 1);
    // One that lies is seen through, and its piece computed.
    let original = stored(&world, &row, &row.pieces[6]);
    world.puppet(row.pieces[6].node).set(Manner::Lying);
    let placed = world.transfer.rebuild(&row, wanted, Incarnation(3), Epoch(2), &[]).await.unwrap();
    assert_eq!(stored(&world, &row, &placed[0]), original);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_recorded_segment_is_not_placed() {
    let world = World::new(10, "4/5/8/8").await;
    let mut row = world.store(&ciphertext(700_000, 7)).await.unwrap();
    row.root[3] ^= 1;
    let node = world.transfer.choose_for_repair(&row, 1, &[])[0];
    let before = world.pieces();
    let avoid = [row.pieces[2].node];
    let refused = world.transfer.rebuild(&row, vec![(PieceNumber(2), node)], Incarnation(2), Epoch(2), &avoid).await;
    assert!(matches!(refused, Err(TransferError::Corrupt { .. })), "{refused:?}");
    assert_eq!(world.pieces(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_node_that_was_busy_nobody_says_that_it_has_nothing_left() {
    let world = World::new(9, "4/5/8/8").await;
    let row = world.store(&ciphertext(700_000, 7)).await.unwrap();
    let (gone, busy, lying) = (&row.pieces[..4], row.pieces[4], row.pieces[5]);
    gone.iter().for_each(|place| world.puppet(place.node).pieces.lock().unwrap().clear());
    world.puppet(busy.node).set(Manner::Busy);
    world.puppet(lying.node).set(Manner::Lying);
    let node = world.transfer.choose_for_repair(&row, 1, &[])[0];
    let wanted = vec![(PieceNumber(0), node)];
    let refused = world.transfer.rebuild(&row, wanted, Incarnation(2), Epoch(2), &[]).await;
    let Err(TransferError::TooFewShares { answered, required: 4, .. }) = refused else { panic!("{refused:?}") };
    let all = row.pieces.iter().map(|place| place.node).filter(|node| *node != busy.node);
    assert_eq!(answered, all.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_cannot_be_placed_is_left_out() {
    let world = World::new(11, "4/5/8/8").await;
    let row = world.store(&ciphertext(700_000, 7)).await.unwrap();
    let nodes = world.transfer.choose_for_repair(&row, 3, &[]);
    assert_eq!(nodes.len(), 3);
    world.puppet(nodes[1]).set(Manner::Full);
    let wanted: Vec<_> = [1, 4, 6].map(PieceNumber).into_iter().zip(nodes.clone()).collect();
    let placed = world.transfer.rebuild(&row, wanted, Incarnation(3), Epoch(2), &[]).await.unwrap();
    let mut numbers: Vec<u32> = placed.iter().map(|place| place.node).collect();
    numbers.sort_unstable();
    let mut expected = vec![nodes[0], nodes[2]];
    expected.sort_unstable();
    assert_eq!(numbers, expected);
}
