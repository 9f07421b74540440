//! Nodes that are drained, and nodes that are given up.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_emptied_and_has_left() {
    let mut town = Town::new(6, "2/2/3/4").await;
    town.put(8).await;
    assert!(town.listed(2).await > 0);
    town.settle().await;
    assert_eq!(town.report().queue, 0);
    town.change(2, NodeChange::Drain).await;
    town.until("it is emptied", |report| report.pieces_to_move.get(&3) == Some(&0)).await;
    assert_eq!(town.listed(2).await, 0);
    assert!(town.report().pieces_moved > 0);
    assert_eq!(town.report().pieces_repaired, 0, "moved, not lost");
    town.settle().await;
    assert_eq!(town.state(2).await, NodeState::Draining, "an upload may still place a piece on it");
    town.nothing_leaks(&[]).await;
    town.renew_lease().await;
    let begun = Instant::now();
    while town.state(2).await != NodeState::Left {
        assert!(begun.elapsed() < SOON, "{:?}", town.report());
        town.step().await;
    }
    while town.door.nodes().is_connected(town.nodes[2].id) {
        assert!(begun.elapsed() < SOON, "it is not let go");
        town.step().await;
    }
    town.nodes[2].stop().await;
    std::fs::remove_dir_all(town.nodes[2].dir()).unwrap();
    town.nothing_leaks(&[2]).await;
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_stays_while_nobody_takes_its_pieces() {
    let mut town = Town::new(2, "1/1/2/2").await;
    town.put(2).await;
    town.change(0, NodeChange::Drain).await;
    town.until("it waits", |report| report.waiting_for.is_some() && report.queue > 0).await;
    town.renew_lease().await;
    let passes = town.report().passes + 3;
    town.until("passes go on", |report| report.passes >= passes).await;
    assert_eq!((town.state(0).await, town.listed(0).await > 0), (NodeState::Draining, true));
    assert!(town.report().waiting_for.unwrap().contains("let more nodes join"));
    town.join().await;
    town.until("a new node takes them", |report| report.pieces_to_move.get(&1) == Some(&0)).await;
    town.settle().await;
    assert_eq!(town.report().waiting_for, None);
    town.nothing_leaks(&[0]).await;
    town.check().await;
    town.close().await;
}

/// With o other pieces in place a node may go though none takes its piece.
#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_cluster_can_lose_a_node_that_wants_to_go() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(3).await;
    town.change(1, NodeChange::Drain).await;
    town.until("it is emptied", |report| report.pieces_to_move.get(&2) == Some(&0)).await;
    town.settle().await;
    assert!(town.segments().await.iter().all(|row| row.pieces.len() >= 3));
    assert_eq!(town.listed(1).await, 0);
    town.nothing_leaks(&[]).await;
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_given_up_are_made_up_for() {
    let mut town = Town::new(8, "4/5/7/8").await;
    town.put(5).await;
    for _ in 0..3 {
        town.join().await;
    }
    town.settle().await;
    assert_eq!((town.report().degraded, town.report().pieces_repaired), (0, 0));
    // As many at once as a segment survives when it is acknowledged.
    for at in [1, 4, 6] {
        town.nodes[at].stop().await;
        town.change(at, NodeChange::Forget).await;
    }
    town.until("it is noticed", |report| report.degraded > 0).await;
    town.until("it is made good", |report| report.degraded == 0 && report.queue == 0).await;
    let report = town.report();
    assert_eq!((report.degraded, report.lost, report.repairs_failed), (0, 0, 0), "{report:?}");
    assert!(report.by_margin.keys().all(|margin| *margin >= 3), "{report:?}");
    assert_eq!(report.if_one_more_domain_dies, OneMore::default());
    for row in town.segments().await {
        let there = row.pieces.iter().filter(|place| ![2, 5, 7].contains(&place.node)).count();
        assert!((7..=8).contains(&there), "{there} of {}", row.pieces.len());
        assert_eq!(there, row.pieces.len(), "what is lost is struck from the list");
    }
    town.nothing_leaks(&[1, 4, 6]).await;
    // Once more as many: nothing depends on the first three.
    for at in [0, 2, 3] {
        town.stop(at).await;
    }
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_repaired_is_counted() {
    let mut town = Town::new(3, "2/2/3/3").await;
    town.put(2).await;
    town.settle().await;
    let segments = town.report().segments;
    assert!(segments > 0);
    assert_eq!(town.report().by_margin, BTreeMap::from([(1, segments)]));
    town.stop(0).await;
    town.change(0, NodeChange::Forget).await;
    town.until("it is noticed", |report| report.degraded == segments).await;
    assert_eq!(town.report().by_margin, BTreeMap::from([(0, segments)]));
    let one_more = town.report().if_one_more_domain_dies;
    assert_eq!((one_more.segments_lost, one_more.nodes.len()), (segments, 1));
    town.check().await;
    town.stop(1).await;
    town.change(1, NodeChange::Forget).await;
    town.until("it is lost", |report| report.lost == segments).await;
    assert_eq!((town.report().unreadable, town.report().healthy), (segments, 0));
    town.close().await;
}
