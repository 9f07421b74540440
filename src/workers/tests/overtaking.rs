//! Two repairs of one segment, and one that is cut off.

use super::super::census::Census;
use super::super::repair::Outcome;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_repairs_one_is_overtaken_and_leaves_nothing() {
    let mut town = Town::new(7, "2/2/3/4").await;
    town.put(1).await;
    town.settle().await;
    let segment = town.segments().await[0].segment;
    let node = town.segments().await[0].pieces[0].node as usize - 1;
    town.change(node, NodeChange::Drain).await;
    let watch = town.health.watch();
    let census = Arc::new(Census::take(&town.metadata, &town.transfer, &watch).await.unwrap());
    let repairer =
        Repairer { metadata: town.metadata.clone(), transfer: town.transfer.clone(), epochs: town.epochs.clone() };
    let begin = || tokio::spawn(repairer.clone().repair(segment, Vec::new(), census.clone()));
    let (one, other) = (begin(), begin());
    let outcomes = [one.await.unwrap(), other.await.unwrap()];
    let done = |outcome: &&Outcome| matches!(outcome, Outcome::Done { repaired: 0, short: false, .. });
    let nothing = |outcome: &&Outcome| matches!(outcome, Outcome::Nothing | Outcome::NotNeeded);
    assert_eq!(outcomes.iter().filter(done).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(nothing).count(), 1, "{outcomes:?}");
    assert_eq!(town.listed(node).await, 0);
    town.nothing_leaks(&[]).await;
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_cut_off_changes_nothing() {
    let mut town = Town::new(7, "2/2/3/4").await;
    town.put(1).await;
    town.settle().await;
    let before = town.segments().await;
    let node = before[0].pieces[0].node as usize - 1;
    town.change(node, NodeChange::Drain).await;
    let watch = town.health.watch();
    let census = Arc::new(Census::take(&town.metadata, &town.transfer, &watch).await.unwrap());
    let repairer =
        Repairer { metadata: town.metadata.clone(), transfer: town.transfer.clone(), epochs: town.epochs.clone() };
    for patience in 0..10u64 {
        let repair = repairer.clone().repair(before[0].segment, Vec::new(), census.clone());
        if tokio::time::timeout(Duration::from_micros(patience * 300), repair).await.is_ok() {
            break;
        }
        town.check().await;
    }
    town.settle().await;
    assert_eq!(town.listed(node).await, 0);
    let row = town.segments().await.remove(0);
    for place in &row.pieces {
        let id = town.transfer.piece_id(row.segment, place).unwrap();
        let store = town.nodes[place.node as usize - 1].store();
        assert!(store.stat(&id).is_some(), "a piece in the list is on its node");
    }
    town.check().await;
    town.close().await;
}
