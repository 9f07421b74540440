//! Disks that change what they hold, and nodes that come back as they were.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use super::*;

/// Changes a byte of every piece that is in a folder's logs, about.
fn spoil(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("logs")).unwrap() {
        let file = OpenOptions::new().read(true).write(true).open(entry.unwrap().path()).unwrap();
        let length = file.metadata().unwrap().len();
        for at in (50_000..length).step_by(100_000) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[!byte[0]], at).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_node_finds_is_made_good_at_once() {
    let mut town = Town::new(5, "2/2/3/4").await;
    town.put(6).await;
    town.settle().await;
    let before = town.listed(1).await;
    assert!(before > 0);
    spoil(town.nodes[1].dir());
    town.check().await;
    // Somebody reads its pieces whole, as its own scrub does.
    for (id, info) in town.nodes[1].store().inventory(None, 1000) {
        let _ = town.nodes[1].store().get(id, 0..info.length).await;
    }
    let damaged: BTreeSet<PieceId> = town.nodes[1].store().damaged().into_iter().collect();
    let rows = town.segments().await;
    let places = rows.iter().flat_map(|row| row.pieces.iter().map(|place| (row.segment, place)));
    let ids = places.map(|(segment, place)| town.transfer.piece_id(segment, place).unwrap());
    let named = ids.filter(|id| damaged.contains(id)).count();
    assert!(named > 0);
    town.until("it is heard of", |report| report.pieces_repaired >= named as u64).await;
    town.settle().await;
    let known: BTreeSet<PieceId> =
        town.metadata.read(ListDamage).await.unwrap().into_iter().map(|(_, id)| id).collect();
    assert_eq!(known, damaged);
    assert_eq!(town.report().repairs_failed, 0);
    for row in town.segments().await {
        for place in row.pieces.iter().filter(|place| place.node == 2) {
            let id = town.transfer.piece_id(row.segment, place).unwrap();
            let info = town.nodes[1].store().stat(&id).unwrap();
            town.nodes[1].store().get(id, 0..info.length).await.unwrap();
        }
    }
    // Now any two of the others can go.
    town.stop(0).await;
    town.check().await;
    town.close().await;
}

/// Four of six nodes serve from files that are deleted: what they give is used
/// as long as they run, and not trusted to be there when they have ended.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_in_deleted_logs_are_made_anew_while_they_can_be_read() {
    let mut town = Town::new(6, "2/2/3/4").await;
    town.put(6).await;
    for _ in 0..4 {
        town.join().await;
    }
    town.settle().await;
    for at in 0..4 {
        std::fs::remove_dir_all(town.nodes[at].dir().join("logs")).unwrap();
    }
    let begun = Instant::now();
    while town.health.watch().failing().len() < 4 {
        assert!(begun.elapsed() < SOON, "it is not noticed");
        town.step().await;
    }
    town.settle().await;
    let report = town.report();
    assert_eq!((report.degraded, report.unreadable, report.lost, report.repairs_failed), (0, 0, 0, 0), "{report:?}");
    assert!(report.pieces_repaired > 0);
    for at in 0..4 {
        assert_eq!(town.listed(at).await, 0, "node {at}");
        town.kill(at).await;
    }
    town.check().await;
    // One that comes back with a sound store counts as any other.
    town.start(0).await;
    town.step().await;
    assert_eq!(*town.health.watch().failing(), BTreeSet::from([2, 3, 4]));
    let begun = Instant::now();
    while town.listed(0).await == 0 {
        assert!(begun.elapsed() < SOON, "it is given nothing");
        town.put(1).await;
    }
    town.settle().await;
    town.close().await;
}

/// As many nodes as pieces: what a node has lost comes back to itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_set_back_is_made_whole() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(2).await;
    town.settle().await;
    town.stop(0).await;
    let image = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        let status = std::process::Command::new("cp").arg("-aT").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    copy(town.nodes[0].dir(), image.path());
    town.start(0).await;
    town.step().await;
    town.put(4).await;
    town.settle().await;
    // A slow disk may have been left out of some.
    let everywhere = |row: &SegmentRow| row.pieces.len() == 4;
    let whole: Vec<_> = town.segments().await.into_iter().filter(everywhere).map(|row| row.segment).collect();
    town.stop(0).await;
    std::fs::remove_dir_all(town.nodes[0].dir()).unwrap();
    copy(image.path(), town.nodes[0].dir());
    town.start(0).await;
    assert_eq!(town.metadata.read(ListRolledBack).await.unwrap(), [(1, 1)]);
    town.until("it is compared", |report| report.pieces_repaired > 0).await;
    // A pass that begins when all is made good finds nothing missing.
    let begun = Instant::now();
    while !town.metadata.read(ListRolledBack).await.unwrap().is_empty() {
        assert!(begun.elapsed() < SOON, "{:?}", town.report());
        town.step().await;
    }
    town.settle().await;
    let after = town.segments().await;
    assert!(after.iter().filter(|row| whole.contains(&row.segment)).all(everywhere), "there is no other place");
    town.nothing_leaks(&[]).await;
    // As many as a segment of o pieces survives.
    town.stop(1).await;
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_anew_is_compared_and_left_alone() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(2).await;
    town.settle().await;
    town.stop(3).await;
    town.start(3).await;
    town.step().await;
    town.settle().await;
    assert_eq!((town.report().pieces_repaired, town.report().repairs_failed), (0, 0));
    assert!(town.health.watch().suspects().is_empty(), "it was compared");
    town.nothing_leaks(&[]).await;
    town.close().await;
}
