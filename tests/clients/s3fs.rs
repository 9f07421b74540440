//! s3fs: a bucket as a folder with modes, times and links.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use crate::mount::Mount;
use crate::support::data;
use crate::visit::Visit;

const BIG_BYTES: u64 = 100 * data::MIB;

#[test]
fn keeps_files_modes_times_and_links() {
    let visit = Visit::new("s3fs");
    visit.make_bucket();
    let mirror = visit.work.folder("mirror");
    let mount = Mount::s3fs(&visit);
    for root in [&mirror, &mount.path] {
        work_in(root);
    }
    data::assert_same_tree(&mirror, &mount.path);
    mount.unmount();

    let mount = Mount::s3fs(&visit);
    data::assert_same_tree(&mirror, &mount.path);
    attributes_are_kept(&mount.path);
    for root in [&mirror, &mount.path] {
        overwrite_in(root);
    }
    mount.unmount();

    let mount = Mount::s3fs(&visit);
    data::assert_same_tree(&mirror, &mount.path);
    mount.unmount();
    let keys = visit.keys("");
    assert!(keys.contains(&"folder/renamed.bin".to_owned()) && !keys.contains(&"big.bin".to_owned()), "{keys:?}");
}

fn work_in(root: &Path) {
    data::random_file(&root.join("big.bin"), 1500, BIG_BYTES);
    std::fs::create_dir(root.join("folder")).expect("a new folder");
    std::fs::rename(root.join("big.bin"), root.join("folder/renamed.bin")).expect("the file is there");
    std::fs::write(root.join("script.sh"), "#!/bin/sh\necho hello\n").expect("a new file");
    std::fs::set_permissions(root.join("script.sh"), Permissions::from_mode(0o750)).expect("chmod");
    let touched = Command::new("touch").args(["-d", "@981173106"]).arg(root.join("script.sh")).status();
    assert!(touched.is_ok_and(|status| status.success()), "utime");
    symlink("folder/renamed.bin", root.join("link")).expect("a symbolic link");
    data::plain_tree(&root.join("tree"), 1600, 8);
    std::fs::remove_file(root.join("tree/d0/e0/file-0000.bin")).expect("the file is there");
}

fn attributes_are_kept(root: &Path) {
    let script = std::fs::metadata(root.join("script.sh")).expect("the file is there");
    assert_eq!(script.permissions().mode() & 0o777, 0o750);
    let modified = script.modified().expect("a time").duration_since(UNIX_EPOCH).expect("after 1970");
    assert_eq!(modified.as_secs(), 981_173_106);
    assert_eq!(std::fs::read_link(root.join("link")).expect("a link"), Path::new("folder/renamed.bin"));
    let mut first = [0; 128];
    File::open(root.join("link")).and_then(|mut file| file.read_exact(&mut first)).expect("the link leads to a file");
    assert!(first[..] == data::random(1500, 128)[..], "the link leads to other content");
}

/// A part in the middle of a large file, and an append.
fn overwrite_in(root: &Path) {
    let mut big = OpenOptions::new().write(true).open(root.join("folder/renamed.bin")).expect("the file is there");
    big.seek(SeekFrom::Start(50_000_003)).expect("inside the file");
    big.write_all(&data::random(1501, 2 * data::MIB)).expect("a partial overwrite");
    drop(big);
    let mut script = OpenOptions::new().append(true).open(root.join("script.sh")).expect("the file is there");
    script.write_all(b"echo again\n").expect("an append");
}
