//! rclone: the version in Debian and the current one from PyPI.

use crate::support::data;
use crate::visit::{RCLONE_NEW, RCLONE_OLD, Visit, rclone};

const BIG_BYTES: u64 = 300 * data::MIB;

#[test]
fn old_version_copies_syncs_and_checks() {
    copies_syncs_and_checks(&Visit::new("rclone-old"), RCLONE_OLD);
}

#[test]
fn new_version_copies_syncs_and_checks() {
    copies_syncs_and_checks(&Visit::new("rclone-new"), RCLONE_NEW);
}

#[test]
fn old_version_moves_a_big_file() {
    moves_a_big_file(&Visit::new("rclone-big-old"), RCLONE_OLD);
}

#[test]
fn new_version_moves_a_big_file() {
    moves_a_big_file(&Visit::new("rclone-big-new"), RCLONE_NEW);
}

fn copies_syncs_and_checks(visit: &Visit, program: &str) {
    let run = |arguments: &[&str]| rclone(visit, program).args(arguments).run().text();
    let remote = format!("cairn:{}", visit.bucket);
    let (from, to) = (visit.work.folder("from"), visit.work.join("to"));
    data::odd_tree(&from, 200);
    data::plain_tree(&from.join("plain"), 300, 40);
    let (from_text, to_text) = (from.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
    run(&["mkdir", &remote]);
    run(&["copy", from_text, &format!("{remote}/tree")]);
    run(&["check", from_text, &format!("{remote}/tree")]);
    run(&["check", "--download", from_text, &format!("{remote}/tree")]);
    run(&["copy", &format!("{remote}/tree"), to_text]);
    data::assert_same_tree(&from, &to);

    std::fs::remove_file(from.join("plain.txt")).expect("the tree has it");
    std::fs::write(from.join("plus+plus.txt"), "changed").expect("the tree has it");
    rclone(visit, program).args(["check", from_text, &format!("{remote}/tree")]).fails();
    run(&["sync", from_text, &format!("{remote}/tree")]);
    run(&["sync", &format!("{remote}/tree"), to_text]);
    data::assert_same_tree(&from, &to);

    run(&["moveto", &format!("{remote}/tree/plus+plus.txt"), &format!("{remote}/moved/100% new name.txt")]);
    assert_eq!(run(&["cat", &format!("{remote}/moved/100% new name.txt")]), "changed");
    assert_eq!(run(&["lsf", &format!("{remote}/moved")]), "100% new name.txt\n");
    let streamed = visit.work.join("streamed.bin");
    let sum = data::random_file(&streamed, 400, 23 * data::MIB);
    rclone(visit, program).args(["rcat", &format!("{remote}/streamed")]).stdin_file(&streamed).run();
    let back = rclone(visit, program).args(["cat", &format!("{remote}/streamed")]).run();
    assert_eq!(data::sha256(&back.stdout), sum);
    run(&["purge", &remote]);
    rclone(visit, program).args(["lsf", &remote]).fails();
}

/// Multipart both ways, and a server-side move of what multipart made.
fn moves_a_big_file(visit: &Visit, program: &str) {
    let run = |arguments: &[&str]| rclone(visit, program).args(arguments).limit_seconds(300).run().text();
    let remote = format!("cairn:{}", visit.bucket);
    let folder = visit.work.folder("big");
    let sum = data::random_file(&folder.join("big.bin"), 500, BIG_BYTES);
    run(&["mkdir", &remote]);
    run(&["copy", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", folder.to_str().expect("UTF-8"), &remote]);
    std::fs::remove_file(folder.join("big.bin")).expect("it was just written");
    run(&["moveto", "--s3-copy-cutoff", "50M", &format!("{remote}/big.bin"), &format!("{remote}/sub/other.bin")]);
    run(&["copyto", &format!("{remote}/sub/other.bin"), folder.join("back.bin").to_str().expect("UTF-8")]);
    assert_eq!(data::sha256_file(&folder.join("back.bin")), sum);
    assert_eq!(visit.keys(""), ["sub/other.bin"]);
}
