//! restic: two backups, verified, pruned and restored.

use std::path::Path;

use crate::support::data;
use crate::support::process::Invocation;
use crate::visit::Visit;

#[test]
fn backs_up_prunes_and_restores() {
    let visit = Visit::new("restic");
    visit.make_bucket();
    let from = visit.work.folder("from");
    fill(&from);
    restic(&visit).arg("init").run();
    backup(&visit, &from);
    let first = visit.work.folder("first");
    restic(&visit).args(["restore", "latest", "--target"]).arg(&first).run();
    data::assert_same_tree(&from, &first.join("from"));

    change(&from);
    backup(&visit, &from);
    restic(&visit).args(["check", "--read-data"]).run();
    let before = visit.keys("backups/data/").len();
    restic(&visit).args(["forget", "--keep-last", "1", "--prune"]).run();
    assert_eq!(snapshots(&visit), 1);
    let after = visit.keys("backups/data/").len();
    assert!(after < before, "pruning should delete packs: {before} before, {after} after");
    restic(&visit).args(["check", "--read-data"]).run();
    let second = visit.work.folder("second");
    restic(&visit).args(["restore", "latest", "--target"]).arg(&second).run();
    data::assert_same_tree(&from, &second.join("from"));
}

/// About 150 MB: three large files, many small ones, odd names.
fn fill(from: &Path) {
    for number in 0..3 {
        data::random_file(&from.join(format!("large-{number}.bin")), 800 + number, 47 * data::MIB);
    }
    data::plain_tree(&from.join("small"), 810, 200);
    data::odd_tree(&from.join("odd"), 1100);
}

/// One large file gone, one changed, one new, small ones moved.
fn change(from: &Path) {
    std::fs::remove_file(from.join("large-0.bin")).expect("it was written");
    data::random_file(&from.join("large-1.bin"), 900, 31 * data::MIB);
    data::random_file(&from.join("new.bin"), 901, 20 * data::MIB);
    std::fs::rename(from.join("small/d0"), from.join("moved")).expect("it was written");
}

fn backup(visit: &Visit, from: &Path) {
    let folder = from.parent().expect("a folder below the test's own");
    restic(visit).current_dir(folder).args(["backup", "from"]).run();
}

fn snapshots(visit: &Visit) -> usize {
    let text = restic(visit).args(["snapshots", "--json"]).run().text();
    serde_json::from_str::<Vec<serde_json::Value>>(&text).expect("restic prints JSON").len()
}

fn restic(visit: &Visit) -> Invocation {
    visit
        .call("restic")
        .env("RESTIC_REPOSITORY", format!("s3:{}/{}/backups", visit.access().endpoint, visit.bucket))
        .env("RESTIC_PASSWORD", "a stone on a pile")
        .env("RESTIC_CACHE_DIR", visit.work.join("cache"))
        .limit_seconds(240)
}
