//! Several processes on one PostgreSQL: who does what, and what becomes of it
//! when one of them dies.

use super::*;
use crate::metadata::suite::Shared;

/// Two gateways. The first one is the town's own.
async fn two(scheme: &str) -> (Town, Process) {
    let database = Shared::new().await;
    let town = Town::of(Process::new(database.open().await, scheme).await).await;
    (town, Process::new(database.open().await, scheme).await)
}

fn doors(processes: &[&Process]) -> Vec<String> {
    processes.iter().map(|process| process.door.local_addr().to_string()).collect()
}

/// Lets a node run that dials these, and waits until it is there.
async fn run(node: &mut Volunteer, cluster: ClusterId, processes: &[&Process]) {
    let begun = Instant::now();
    node.start(cluster, doors(processes)).await;
    for process in processes {
        while !process.door.nodes().is_connected(node.id) {
            assert!(begun.elapsed() < SOON, "a node does not connect");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A gateway with so many nodes that dial it and another. The first one walks.
async fn everywhere(nodes: usize, scheme: &str) -> (Town, Process) {
    let (mut town, other) = two(scheme).await;
    for at in 0..nodes {
        town.enlist().await;
        let Town { process, nodes, cluster, .. } = &mut town;
        run(&mut nodes[at], *cluster, &[process, &other]).await;
    }
    for process in [&town.process, &other] {
        process.transfer.fleet().refresh(&process.metadata).await.unwrap();
    }
    town.step().await;
    (town, other)
}

/// Both go on until that is so.
async fn until(town: &mut Town, other: &mut Process, what: &str, is_so: impl Fn(&Process, &Process) -> bool) {
    let begun = Instant::now();
    while !is_so(&town.process, other) {
        assert!(begun.elapsed() < SOON, "{what}: {:?} and {:?}", town.report(), other.report());
        tokio::join!(town.process.step(), other.step());
    }
}

/// Both go on until the first one has ended some more passes and nothing waits.
async fn settle(town: &mut Town, other: &mut Process) {
    let passes = town.report().passes + 3;
    until(town, other, "nothing waits", |one, _| one.report().passes >= passes && one.report().queue == 0).await;
}

async fn counts(town: &Town) -> RepairCounts {
    town.metadata.read(CountRepairs { holder: Holder([9; 16]) }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_walks_and_another_repairs() {
    let (mut town, mut other) = everywhere(6, "2/2/3/4").await;
    town.health.tuning.repairs = 0;
    town.put(6).await;
    settle(&mut town, &mut other).await;
    let pieces = town.listed(2).await as u64;
    assert!(pieces > 0);
    town.change(2, NodeChange::Drain).await;
    let emptied = |process: &Process| process.report().pieces_to_move.get(&3) == Some(&0);
    until(&mut town, &mut other, "it is emptied", |one, other| emptied(one) && emptied(other)).await;
    assert_eq!(town.listed(2).await, 0);
    let counts = counts(&town).await;
    assert_eq!((counts.moved, counts.failed), (pieces, 0), "each once");
    until(&mut town, &mut other, "both show the same", |one, other| one.report() == other.report()).await;
    assert_eq!(town.report().pieces_moved, pieces);
    town.nothing_leaks(&[]).await;
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_repair_and_nothing_is_repaired_twice() {
    let (mut town, mut other) = everywhere(8, "2/2/3/4").await;
    for process in [&mut town.process, &mut other] {
        process.health.tuning.repairs = 2;
    }
    town.put(12).await;
    settle(&mut town, &mut other).await;
    let rows = town.segments().await;
    let pieces = (town.listed(2).await + town.listed(5).await) as u64;
    for at in [2, 5] {
        town.change(at, NodeChange::Drain).await;
    }
    let emptied = |report: &HealthReport| [3, 6].iter().all(|node| report.pieces_to_move.get(node) == Some(&0));
    until(&mut town, &mut other, "they are emptied", |one, _| emptied(&one.report())).await;
    settle(&mut town, &mut other).await;
    let counts = counts(&town).await;
    assert_eq!((counts.moved, counts.failed, counts.waiting), (pieces, 0, 0));
    // Every claim that was in vain would show here, too.
    for (before, after) in rows.iter().zip(town.segments().await) {
        let moved = before.pieces.iter().any(|place| [3, 6].contains(&place.node));
        let changes = after.revision.0 - before.revision.0;
        assert_eq!((before.segment, changes), (after.segment, u64::from(moved)));
    }
    town.nothing_leaks(&[]).await;
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_was_repairing_is_repaired_by_others() {
    let (mut town, mut other) = everywhere(6, "2/2/3/4").await;
    town.health.tuning.repairs = 0;
    town.put(6).await;
    settle(&mut town, &mut other).await;
    town.change(2, NodeChange::Drain).await;
    let begun = Instant::now();
    while counts(&town).await.waiting == 0 {
        assert!(begun.elapsed() < SOON, "nothing is queued");
        town.step().await;
    }
    // It takes some, and dies before they are done.
    other.watch.step().await.unwrap();
    let taken = TakeRepairs { holder: other.health.holder, limit: 2, for_ms: 1000 };
    assert!(!other.metadata.write(taken).await.unwrap().is_empty());
    drop(other);
    town.health.tuning.repairs = 4;
    town.until("it is emptied", |report| report.pieces_to_move.get(&3) == Some(&0)).await;
    assert_eq!(town.listed(2).await, 0);
    town.settle().await;
    town.nothing_leaks(&[]).await;
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_walked_and_died_is_replaced_within_its_lease() {
    let (mut town, mut other) = everywhere(6, "2/2/3/4").await;
    town.put(6).await;
    settle(&mut town, &mut other).await;
    let passes = town.report().passes;
    town.change(2, NodeChange::Drain).await;
    // The first one is about to move its pieces.
    town.step().await;
    let Town { process, nodes, .. } = town;
    let (metadata, lease) = (process.metadata.clone(), process.health.tuning.lease);
    drop(process);
    let begun = Instant::now();
    while other.report().passes <= passes + 1 {
        assert!(begun.elapsed() < SOON, "{:?}", other.report());
        other.step().await;
    }
    let took = begun.elapsed();
    assert!(took < lease * 2 + Duration::from_secs(10), "{took:?}");
    while other.report().pieces_to_move.get(&3) != Some(&0) {
        assert!(begun.elapsed() < SOON, "{:?}", other.report());
        other.step().await;
    }
    let rows = metadata.read(ScanSegments { after: None, limit: 1000 }).await.unwrap();
    assert!(rows.iter().all(|row| row.pieces.iter().all(|place| place.node != 3)));
    // One that ends leaves its task at once.
    let task = |holder| TakeTask { task: crate::metadata::Task::Health, holder, for_ms: 1 };
    assert!(!metadata.write(task(Holder([9; 16]))).await.unwrap());
    other.health.end().await;
    assert!(metadata.write(task(Holder([9; 16]))).await.unwrap());
    for mut node in nodes {
        node.stop().await;
    }
}

/// Nodes 4 and 5 are connected to the other gateway only.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_hears_the_others_know() {
    let (mut town, mut other) = everywhere(3, "2/2/3/4").await;
    let cluster = town.cluster;
    for at in [3, 4] {
        town.enlist().await;
        run(&mut town.nodes[at], cluster, &[&other]).await;
    }
    for process in [&town.process, &other] {
        process.transfer.fleet().refresh(&process.metadata).await.unwrap();
    }
    // Written through the one that reaches all of them.
    std::mem::swap(&mut town.process, &mut other);
    town.put(6).await;
    std::mem::swap(&mut town.process, &mut other);
    settle(&mut town, &mut other).await;
    assert_eq!(*town.health.watch().elsewhere(), BTreeSet::from([1, 2, 3, 4, 5]));
    let report = town.report();
    assert_eq!((report.degraded, report.unreadable, report.pieces_repaired), (0, 0, 0), "{report:?}");
    assert_eq!(report.if_one_more_domain_dies, OneMore::default());
    assert!(town.listed(3).await > 0);

    // Damage that only the other one hears of.
    let victim = town.segments().await.into_iter().find(|row| row.pieces.iter().any(|place| place.node == 4)).unwrap();
    let place = *victim.pieces.iter().find(|place| place.node == 4).unwrap();
    let piece = other.transfer.piece_id(victim.segment, &place).unwrap();
    other.metadata.write(RecordDamage { node: 4, pieces: vec![piece] }).await.unwrap();
    until(&mut town, &mut other, "it is made anew", |one, _| one.report().pieces_repaired > 0).await;
    settle(&mut town, &mut other).await;

    // A start that only the other one sees: it alone can compare.
    town.nodes[3].stop().await;
    while other.door.nodes().is_connected(town.nodes[3].id) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run(&mut town.nodes[3], cluster, &[&other]).await;
    let suspected = |process: &Process| !process.health.watch().suspects().is_empty();
    until(&mut town, &mut other, "both notice", |one, other| suspected(one) || suspected(other)).await;
    until(&mut town, &mut other, "it is compared", |one, other| !suspected(one) && !suspected(other)).await;

    // Its store is gone from its disk.
    std::fs::remove_dir_all(town.nodes[3].dir().join("logs")).unwrap();
    let failing = |process: &Process| process.health.watch().failing().contains(&4);
    until(&mut town, &mut other, "both know", |one, other| failing(one) && failing(other)).await;
    let begun = Instant::now();
    while town.listed(3).await > 0 {
        assert!(begun.elapsed() < SOON, "{:?}", town.report());
        tokio::join!(town.process.step(), other.step());
    }
    town.nodes[3].kill();
    town.check().await;
    town.close().await;
}

/// A node that only one gateway reaches is told to delete as well.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_s_nodes_are_told_to_delete() {
    let (mut town, other) = everywhere(1, "1/1/1/1").await;
    let cluster = town.cluster;
    town.enlist().await;
    run(&mut town.nodes[1], cluster, &[&other]).await;
    let mut workers = Vec::new();
    for process in [&town.process, &other] {
        process.transfer.fleet().refresh(&process.metadata).await.unwrap();
        workers.push(DeleteWorker::new(process.metadata.clone(), process.transfer.clone(), &Env::real()));
    }
    let condemned = |node| {
        let (piece, incarnation) = (crate::types::PieceNumber(0), crate::types::Incarnation(1));
        let segment = crate::types::SegmentId::from_bytes([node as u8; 16]);
        CondemnedPiece { segment, place: PiecePlace { piece, node, incarnation } }
    };
    let pieces = vec![condemned(1), condemned(2)];
    town.metadata.write(CondemnPieces { pieces }).await.unwrap();
    for worker in &mut workers {
        worker.step().await.unwrap();
    }
    for node in [1, 2] {
        assert_eq!(town.metadata.read(PiecesToTrash { node, limit: 9 }).await.unwrap(), [], "node {node}");
    }
    for mut worker in workers {
        worker.end().await;
    }
    town.close().await;
}
