//! Uploads to nodes that stall, refuse or are too few.

use std::collections::BTreeSet;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_upload_goes_everywhere_and_leaves_nothing_else() {
    let world = World::new(8, "4/5/7/8").await;
    let bytes = ciphertext(3_000_000, 1);
    let row = world.store(&bytes).await.unwrap();
    assert!(row.pieces.len() >= 7);
    assert!(row.pieces.is_sorted_by(|one, next| one.piece < next.piece));
    assert_eq!(row.pieces.iter().map(|place| place.node).collect::<BTreeSet<_>>().len(), row.pieces.len());
    assert_eq!(world.read(&row).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stalls_is_replaced_early_and_avoided_then() {
    // No slack: all eight of the nodes chosen must take their pieces.
    let world = World::new(10, "4/4/8/8").await;
    world.practise().await;
    let usual = longest_upload(&world, 4, || {}).await;
    let stalled = &world.puppets[3];
    stalled.set(Manner::Stalled);
    let mut times = Vec::new();
    for seed in 0..12 {
        let begun = Instant::now();
        let row = world.store(&ciphertext(400_000, seed)).await.unwrap();
        times.push(begun.elapsed());
        assert_eq!(row.pieces.len(), 8);
        assert!(row.pieces.iter().all(|place| place.node != stalled.number));
    }
    // It was met, and cost little; it is met again only now and then.
    assert!(times.iter().all(|time| *time < usual + secs(10.0)), "{times:?} beside {usual:?}");
    assert!(times.iter().filter(|time| **time > usual + secs(0.25)).count() <= 4, "{times:?} beside {usual:?}");
    assert!(world.transfer.fleet().is_slow(stalled.number), "{times:?}");
    assert!(world.transfer.fleet().success(stalled.number).unwrap() > 0.99, "slowness is no failure");
    // What it may hold is condemned: the loser's place, not the winner's.
    world.until_condemned(|condemned| condemned.iter().any(|piece| piece.place.node == stalled.number)).await;
}

/// So many uploads at once, and how long the longest took. In their middle
/// something happens.
async fn longest_upload(world: &World, count: u64, meanwhile: impl FnOnce()) -> Duration {
    let uploads: Vec<_> = (0..count)
        .map(|seed| {
            let (transfer, bytes) = (world.transfer.clone(), ciphertext(300_000, seed));
            tokio::spawn(async move {
                let begun = Instant::now();
                transfer.store(transfer.plan(), bytes, Epoch(1)).await.unwrap();
                begun.elapsed()
            })
        })
        .collect();
    meanwhile();
    let mut longest = Duration::ZERO;
    for upload in uploads {
        longest = longest.max(upload.await.unwrap());
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_uploads_survive_a_node_that_stops_in_the_middle() {
    let world = World::new(16, "4/5/7/8").await;
    world.practise().await;
    // Beside what the same takes without, since machines differ.
    let healthy = longest_upload(&world, 64, || {}).await;
    let stopped = longest_upload(&world, 64, || world.puppets[5].set(Manner::Stalled)).await;
    assert!(stopped < healthy * 2 + secs(10.0), "{stopped:?} beside {healthy:?}");
    let mut later = Vec::new();
    for _ in 0..5 {
        later.push(longest_upload(&world, 1, || {}).await);
    }
    later.sort_unstable();
    assert!(later[2] < healthy + secs(0.5), "{later:?} beside {healthy:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_nodes_are_passed_over() {
    let world = World::new(14, "4/5/7/8").await;
    world.puppets[..6].iter().for_each(|puppet| puppet.set(Manner::Full));
    let bytes = ciphertext(500_000, 1);
    for _ in 0..3 {
        let row = world.store(&bytes).await.unwrap();
        assert!(row.pieces.iter().all(|place| world.puppet(place.node).number > 6), "they are in no list");
        assert_eq!(world.read(&row).await.unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_refused_and_leaves_nothing() {
    let world = World::new(8, "4/5/7/8").await;
    world.puppets[..2].iter().for_each(|puppet| puppet.set(Manner::Full));
    let refused = world.store(&ciphertext(500_000, 1)).await;
    assert!(matches!(refused, Err(TransferError::TooFewNodes { needed: 7, available: 6 })), "{:?}", refused.err());
    // Whatever a node holds is condemned.
    assert!(world.pieces() >= 6);
    let is_whole = |condemned: &[CondemnedPiece]| {
        let ids: BTreeSet<_> =
            condemned.iter().map(|piece| world.transfer.piece_id(piece.segment, &piece.place).unwrap()).collect();
        world.puppets.iter().all(|puppet| puppet.pieces.lock().unwrap().keys().all(|id| ids.contains(id)))
    };
    world.until_condemned(is_whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_recover_in_time_save_the_upload() {
    let world = World::new(8, "4/5/7/8").await;
    world.puppets[..3].iter().for_each(|puppet| puppet.set(Manner::Full));
    let (bytes, transfer) = (ciphertext(500_000, 1), world.transfer.clone());
    let upload = tokio::spawn(async move { transfer.store(transfer.plan(), bytes, Epoch(1)).await });
    tokio::time::sleep(secs(0.1)).await;
    world.all(Manner::Good);
    let row = upload.await.unwrap().unwrap();
    assert_eq!(world.read(&row).await.unwrap(), ciphertext(500_000, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_dropped_condemns_what_it_sent() {
    let world = World::new(8, "4/5/7/8").await;
    world.all(Manner::Stalled);
    let (bytes, transfer) = (ciphertext(500_000, 1), world.transfer.clone());
    let upload = tokio::spawn(async move { transfer.store(transfer.plan(), bytes, Epoch(1)).await });
    let begun = Instant::now();
    while world.puts() < 8 {
        assert!(begun.elapsed() < SOON, "only {} nodes were given a piece", world.puts());
        tokio::time::sleep(secs(0.01)).await;
    }
    upload.abort();
    let nodes = |condemned: &[CondemnedPiece]| condemned.iter().map(|piece| piece.place.node).collect::<BTreeSet<_>>();
    world.until_condemned(|condemned| nodes(condemned).len() == 8).await;
}
