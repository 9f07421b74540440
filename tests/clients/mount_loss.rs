//! What is lost when a pod ends with a mounted bucket, and what keeps it: the
//! table in docs/mounts.md, row by row. The mounter is called as the CSI drivers
//! call it, with the flags of our storage classes.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use crate::kubernetes;
use crate::mount::Mount;
use crate::support::process::{Daemon, Invocation};
use crate::support::{data, poll};
use crate::visit::{RCLONE_NEW, RCLONE_OLD, Visit, rclone};

/// Longer than rclone's five seconds, in which nobody may look.
const DRIVER_FLAGS: [&str; 2] = ["--s3-provider=Other", "--vfs-write-back=60s"];

#[test]
fn the_old_rclone_loses_what_it_has_not_uploaded() {
    loses_what_it_has_not_uploaded(&Visit::new("loss-old"), RCLONE_OLD);
}

#[test]
fn the_new_rclone_loses_what_it_has_not_uploaded() {
    loses_what_it_has_not_uploaded(&Visit::new("loss-new"), RCLONE_NEW);
}

fn loses_what_it_has_not_uploaded(visit: &Visit, program: &'static str) {
    visit.make_bucket();
    let mount = Mount::by_csi_driver(visit, program, &DRIVER_FLAGS);
    std::fs::write(mount.join("report.txt"), "all is well").expect("a write");
    mount.unmount_at_once();
    assert_eq!(visit.keys(""), [""; 0], "it was to be uploaded later");

    // The driver's pod goes, and with it the cache.
    std::fs::remove_dir_all(visit.work.join("cache")).expect("rclone made it");
    let mount = Mount::by_csi_driver(visit, program, &DRIVER_FLAGS);
    assert!(!mount.join("report.txt").exists(), "there is nothing that it could come from");
    mount.unmount_at_once();
}

#[test]
fn what_is_left_in_the_cache_is_uploaded_by_the_next_mount() {
    let visit = Visit::new("loss-cache");
    visit.make_bucket();
    let options = kubernetes::options_of("cairn-files");
    let mount = Mount::by_csi_driver(&visit, RCLONE_NEW, &DRIVER_FLAGS);
    std::fs::write(mount.join("report.txt"), "all is well").expect("a write");
    mount.unmount_at_once();
    let mount = Mount::by_csi_driver(&visit, RCLONE_NEW, &strs(&options));
    // Not the hook: whoever looks at such a file before it is uploaded may see it
    // empty in the mount (rclone 1.75), though it is whole in the bucket.
    let uploaded =
        poll(Duration::from_secs(60), Duration::from_millis(200), || (visit.keys("") == ["report.txt"]).then_some(()));
    assert!(uploaded.is_some(), "the next mount of the volume uploads what was left");
    mount.unmount_at_once();
    let stored = visit.aws(&["s3", "cp", &format!("s3://{}/report.txt", visit.bucket), "-"]);
    assert_eq!(stored, "all is well");
}

#[test]
fn the_hook_keeps_it_with_the_old_rclone() {
    hook_keeps_it(&Visit::new("hook-old"), RCLONE_OLD);
}

#[test]
fn the_hook_keeps_it_with_the_new_rclone() {
    hook_keeps_it(&Visit::new("hook-new"), RCLONE_NEW);
}

fn hook_keeps_it(visit: &Visit, program: &'static str) {
    visit.make_bucket();
    let options = kubernetes::options_of("cairn-files");
    let mount = Mount::by_csi_driver(visit, program, &strs(&options));
    let mirror = visit.work.folder("mirror");
    for root in [&mirror, &mount.path] {
        data::random_file(&root.join("large.bin"), 1700, 40 * data::MIB);
        data::plain_tree(&root.join("tree"), 1701, 12);
        std::fs::write(root.join("log.txt"), "first\n").expect("a write");
        let mut log = OpenOptions::new().append(true).open(root.join("log.txt")).expect("the file is there");
        log.write_all(b"second\n").expect("an append");
    }
    wait_for_upload(visit, &mount);
    // Worse than an end: nothing can be finished afterwards.
    mount.kill();
    std::fs::remove_dir_all(visit.work.join("cache")).expect("rclone made it");
    let kept = visit.work.folder("kept");
    rclone(visit, program).arg("copy").arg(format!("cairn:{}", visit.bucket)).arg(&kept).run();
    data::assert_same_tree(&mirror, &kept);
}

/// The preStop hook of csi/yandex/pod.yaml.
fn wait_for_upload(visit: &Visit, mount: &Mount<'_>) {
    let call = rclone(visit, "/bin/sh").arg(kubernetes::file("csi/yandex/wait-for-upload.sh"));
    call.arg(&mount.path).arg(format!("cairn:{}", visit.bucket)).run();
}

#[test]
fn without_a_cache_closing_a_file_means_that_it_is_stored() {
    for (name, program) in [("stream-old", RCLONE_OLD), ("stream-new", RCLONE_NEW)] {
        let visit = Visit::new(name);
        visit.make_bucket();
        let options = kubernetes::options_of("cairn-streams");
        let mount = Mount::by_csi_driver(&visit, program, &strs(&options));
        let source = visit.work.join("source");
        let digest = data::random_file(&source, 1800, 20 * data::MIB);
        shell(&visit, "exec cat source >mount/whole.dump").run();
        std::fs::rename(mount.join("whole.dump"), mount.join("named.dump")).expect("a rename");
        let appended = OpenOptions::new()
            .append(true)
            .open(mount.join("named.dump"))
            .and_then(|mut file| file.write_all(b"more").and_then(|()| file.sync_all()));
        assert!(appended.is_err(), "an append should be refused");
        let writer = Writer::start(&visit, "mount/half.dump", 5 * data::MIB);
        mount.kill();
        drop(writer);
        assert_eq!(visit.keys(""), ["named.dump"], "a file that was not closed is not there, half or whole");
        visit.aws(&["s3", "cp", &format!("s3://{}/named.dump", visit.bucket), "back"]);
        assert_eq!(data::sha256_file(&visit.work.join("back")), digest, "it came back changed");
    }
}

#[test]
fn without_a_cache_the_end_of_a_child_ends_the_file() {
    for (name, program) in [("child-old", RCLONE_OLD), ("child-new", RCLONE_NEW)] {
        let visit = Visit::new(name);
        visit.make_bucket();
        let options = kubernetes::options_of("cairn-streams");
        let mount = Mount::by_csi_driver(&visit, program, &strs(&options));
        let two = shell(&visit, "set -e; { /bin/echo first; /bin/echo second; } >mount/both.txt").fails();
        assert!(two.stderr.contains("Bad file descriptor"), "the second is told: {}", two.stderr);
        shell(&visit, "{ /bin/echo first; /bin/echo second; } | cat >mount/piped.txt").run();
        mount.unmount_at_once();
        assert_eq!(visit.aws(&["s3", "cp", &format!("s3://{}/piped.txt", visit.bucket), "-"]), "first\nsecond\n");
    }
}

fn shell(visit: &Visit, script: &str) -> Invocation {
    visit.call("/bin/sh").args(["-c", script])
}

/// A process that has written to a file and keeps it open. Not this one: a test
/// beside it that starts a program would close its copy of the file there, which
/// to the mounter is the end of the file.
struct Writer {
    _daemon: Daemon,
}

impl Writer {
    const PROGRAM: &str = "import os, signal, sys\n\
        file = open(sys.argv[1], 'wb', 0)\n\
        assert file.write(os.urandom(int(sys.argv[2]))) == int(sys.argv[2])\n\
        print('written', flush=True)\n\
        signal.pause()";

    /// Returns when `bytes` are written to `path`.
    fn start(visit: &Visit, path: &str, bytes: u64) -> Self {
        let call = visit.call("python3").args(["-c", Self::PROGRAM, path, &bytes.to_string()]);
        let mut daemon = call.start_piped(&visit.work.join("writer.log"));
        let mut line = String::new();
        BufReader::new(daemon.take_stdout()).read_line(&mut line).expect("text");
        assert_eq!(line, "written\n", "{}", daemon.story());
        Self { _daemon: daemon }
    }
}

#[test]
fn s3fs_has_stored_what_was_closed() {
    let visit = Visit::new("s3fs-loss");
    visit.make_bucket();
    let mount = Mount::s3fs_by_csi_driver(&visit);
    let bytes = data::random(1900, 30 * data::MIB);
    std::fs::write(mount.join("closed.bin"), &bytes).expect("a write");
    let writer = Writer::start(&visit, "mount/open.bin", data::MIB);
    mount.kill();
    drop(writer);
    visit.aws(&["s3", "cp", &format!("s3://{}/closed.bin", visit.bucket), "back"]);
    assert!(std::fs::read(visit.work.join("back")).expect("the AWS CLI wrote it") == bytes, "it came back changed");
    let sizes = "Contents[?Key=='open.bin' && Size>`0`].Key";
    let listed =
        visit.aws(&["s3api", "list-objects-v2", "--bucket", &visit.bucket, "--query", sizes, "--output", "text"]);
    assert_eq!(listed.trim(), "", "what was not closed has no contents in the bucket");
}

/// Why the classes name the provider once more: with the drivers' own flag, older
/// rclones ask for the bucket as a host.
#[test]
fn the_old_rclone_needs_the_provider_named_again() {
    let visit = Visit::new("provider");
    visit.make_bucket();
    let list = |options: &[&str]| {
        let access = visit.access();
        visit
            .call(RCLONE_OLD)
            .args(["lsf", &format!(":s3:{}", visit.bucket), "--s3-provider=AWS", "--s3-env-auth=true"])
            .args([format!("--s3-region={}", access.region), format!("--s3-endpoint={}", access.endpoint)])
            .args(["--retries=1", "--low-level-retries=1"])
            .args(options)
            .env("RCLONE_CONFIG", "/dev/null")
    };
    let said = list(&[]).fails().stderr;
    assert!(said.contains(&format!("//{}.127.0.0.1", visit.bucket)), "it asked for another host: {said}");
    list(&["--s3-provider=Other"]).run();
    for class in ["cairn-streams", "cairn-files"] {
        assert!(kubernetes::options_of(class).contains(&"--s3-provider=Other".to_owned()), "{class}");
    }
}

fn strs(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}
