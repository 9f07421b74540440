//! Reads from nodes that are slow, silent or lie.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_read_asks_only_those_that_hold_the_range() {
    let world = World::new(8, "4/5/8/8").await;
    let bytes = ciphertext(4 * 65_552 * 3, 1);
    let row = world.store(&bytes).await.unwrap();
    let reader = SegmentReader::new(world.transfer.clone(), row.clone()).unwrap();
    let range = 65_552 * 5 + 7..65_552 * 6;
    // More are asked where one is late, as on a machine that stands still for a moment.
    let (mut part, mut whole) = (usize::MAX, usize::MAX);
    for _ in 0..5 {
        let before = world.gets();
        assert_eq!(reader.read(range.clone()).await.unwrap(), bytes[range.start as usize..range.end as usize]);
        part = part.min(world.gets() - before);
        let before = world.gets();
        assert_eq!(world.read(&row).await.unwrap(), bytes);
        whole = whole.min(world.gets() - before);
    }
    assert_eq!(part, 1);
    assert!(whole <= 5, "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_is_made_up_for_and_avoided_then() {
    let world = World::new(10, "4/5/10/10").await;
    world.practise().await;
    let bytes = ciphertext(4 * 65_552 * 4, 1);
    let row = world.store(&bytes).await.unwrap();
    let slow = world.puppet(row.pieces[1].node);
    for manner in [Manner::Slow, Manner::Stalled] {
        slow.set(manner);
        let mut times = Vec::new();
        for _ in 0..12 {
            let begun = Instant::now();
            assert_eq!(world.read(&row).await.unwrap(), bytes);
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        assert!(times[times.len() / 2] < secs(1.0) && times[times.len() - 1] < secs(10.0), "{manner:?}: {times:?}");
        assert!(world.transfer.fleet().is_slow(slow.number), "{manner:?}: {times:?}");
    }
    assert!(world.transfer.fleet().success(slow.number).unwrap() > 0.99, "slowness is no failure");
    // It answers again, and all is forgiven: tried again after its rest.
    slow.set(Manner::Good);
    for _ in 0..400 {
        tokio::time::sleep(secs(0.2)).await;
        assert_eq!(world.read(&row).await.unwrap(), bytes);
        if !world.transfer.fleet().is_slow(slow.number) {
            return;
        }
    }
    panic!("a node that is as fast as others is still avoided");
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_are_counted_and_the_reader_notices_nothing() {
    let world = World::new(8, "4/5/8/8").await;
    let bytes = ciphertext(900_000, 1);
    let row = world.store(&bytes).await.unwrap();
    let liars: Vec<u32> = [0, 2, 5].map(|at: usize| row.pieces[at].node).into();
    liars.iter().for_each(|number| world.puppet(*number).set(Manner::Lying));
    for _ in 0..5 {
        assert_eq!(world.read(&row).await.unwrap(), bytes);
    }
    let wrong = world.transfer.fleet().take_wrong_shares();
    assert!(wrong.iter().all(|(number, count)| liars.contains(number) && *count > 0), "{wrong:?}");
    for data in &liars[..2] {
        assert!(wrong.iter().any(|(number, _)| number == data));
        assert!(world.transfer.fleet().success(*data).unwrap() < 0.9);
    }
    assert_eq!(world.transfer.fleet().take_wrong_shares(), [], "they are counted once");
}

/// As after a gateway's start.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_nodes_that_are_about_to_connect() {
    let world = World::new(8, "4/5/8/8").await;
    let bytes = ciphertext(500_000, 1);
    let row = world.store(&bytes).await.unwrap();
    world.all(Manner::Away);
    world.puppets.iter().for_each(|puppet| world.door.nodes().disconnect(puppet.node));
    assert!(world.door.nodes().connected().len() < 4, "they dial again, but not at once");
    let (read, ()) = tokio::join!(world.read(&row), async {
        tokio::time::sleep(secs(0.1)).await;
        world.all(Manner::Good);
    });
    assert_eq!(read.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_says_so() {
    let world = World::new(8, "4/5/8/8").await;
    let row = world.store(&ciphertext(500_000, 1)).await.unwrap();
    world.puppets[..5].iter().for_each(|puppet| puppet.pieces.lock().unwrap().clear());
    let unreadable = world.read(&row).await;
    assert!(
        matches!(unreadable, Err(TransferError::Unreadable { readable: 3, required: 4, .. })),
        "{:?}",
        unreadable.err()
    );
}
