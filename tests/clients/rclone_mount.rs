//! `rclone mount` over FUSE with a write cache: a bucket as a folder.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use crate::mount::Mount;
use crate::support::data;
use crate::visit::{RCLONE_NEW, RCLONE_OLD, Visit};

#[test]
fn old_version_mounts_a_bucket() {
    mounts_a_bucket(&Visit::new("mount-old"), RCLONE_OLD);
}

#[test]
fn new_version_mounts_a_bucket() {
    mounts_a_bucket(&Visit::new("mount-new"), RCLONE_NEW);
}

fn mounts_a_bucket(visit: &Visit, program: &'static str) {
    visit.make_bucket();
    let mirror = visit.work.folder("mirror");
    let mount = Mount::rclone(visit, program);
    for root in [&mirror, &mount.path] {
        // The same steps on an ordinary folder show what must come out.
        work_in(root);
    }
    data::assert_same_tree(&mirror, &mount.path);
    mount.unmount();

    let mount = Mount::rclone(visit, program);
    data::assert_same_tree(&mirror, &mount.path);
    for root in [&mirror, &mount.path] {
        work_more_in(root);
    }
    mount.unmount();

    let mount = Mount::rclone(visit, program);
    data::assert_same_tree(&mirror, &mount.path);
    read_pieces(&mount);
    mount.unmount();
    let names: Vec<String> =
        data::digests_of_tree(&mirror).keys().map(|name| name.to_string_lossy().into_owned()).collect();
    let mut stored = visit.keys("");
    stored.retain(|key| !key.ends_with('/'));
    assert_eq!(stored.len(), names.len(), "in the bucket {stored:?}, in the folder {names:?}");
}

/// Write, append, overwrite in place, rename, delete, copy a tree.
fn work_in(root: &std::path::Path) {
    data::random_file(&root.join("big.bin"), 600, 100 * data::MIB);
    let mut log = File::create(root.join("log.txt")).expect("a new file");
    log.write_all(b"first line\n").expect("a write");
    drop(log);
    let mut log = OpenOptions::new().append(true).open(root.join("log.txt")).expect("the file is there");
    log.write_all(b"second line\n").expect("an append");
    drop(log);
    data::plain_tree(&root.join("tree"), 700, 30);
    std::fs::write(root.join("gone.txt"), "to be deleted").expect("a new file");
    std::fs::remove_file(root.join("gone.txt")).expect("the file is there");
    // At once: rclone begins to upload it a second after it was closed, and one that is
    // renamed while its upload is being answered stays in the bucket under both names.
    data::random_file(&root.join("middle.bin"), 601, 12 * data::MIB);
    std::fs::rename(root.join("middle.bin"), root.join("tree/moved.bin")).expect("the file is there");
}

/// The same on files that are only in the bucket.
fn work_more_in(root: &std::path::Path) {
    let mut big = OpenOptions::new().write(true).open(root.join("big.bin")).expect("the file is there");
    big.seek(SeekFrom::Start(70_000_001)).expect("inside the file");
    big.write_all(&data::random(602, 3 * data::MIB)).expect("an overwrite in place");
    drop(big);
    let mut log = OpenOptions::new().append(true).open(root.join("log.txt")).expect("the file is there");
    log.write_all(b"third line, after a remount\n").expect("an append");
    drop(log);
    std::fs::rename(root.join("tree/moved.bin"), root.join("renamed with space.bin")).expect("the file is there");
    std::fs::rename(root.join("tree/d0"), root.join("tree/renamed")).expect("the folder is there");
    std::fs::remove_file(root.join("tree/d1/e0/file-0006.bin")).expect("the file is there");
}

/// Reads that start in the middle.
fn read_pieces(mount: &Mount<'_>) {
    let mut whole = data::random(600, 100 * data::MIB);
    whole[70_000_001..][..3 << 20].copy_from_slice(&data::random(602, 3 * data::MIB));
    let mut file = File::open(mount.join("big.bin")).expect("the file is there");
    for (start, length) in [(0, 10), (65_530, 100_000), (69_999_000, 5_000_000), (104_857_500, 100)] {
        let mut piece = vec![0; length];
        file.seek(SeekFrom::Start(start)).expect("inside the file");
        file.read_exact(&mut piece).expect("inside the file");
        let at = usize::try_from(start).expect("64 bits");
        assert!(piece == whole[at..at + length], "{length} bytes at {start} differ");
    }
}
