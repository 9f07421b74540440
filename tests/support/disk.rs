//! A disk of a test's own, whose power can be cut: an ext4 on a loop device.
//! Mounting takes root.
//!
//! The cut is `EXT4_IOC_SHUTDOWN` without a flush of the journal (docs/decisions/0023):
//! from then on every operation fails with EIO, and what was not synced is
//! not there when the file system is mounted again.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::poll;
use super::workdir::WorkDir;

/// Cuts the file systems that its arguments are on, all in one go. In Python,
/// as Rust without `unsafe` has no ioctl of one's own.
const CUT: &str = "
import fcntl, os, struct, sys
EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587d, 2
folders = [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]
for folder in folders:
    fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack('I', NOLOGFLUSH))
";

/// How long a disk may be in use still by who was told to let go of it.
const LET_GO: Duration = Duration::from_secs(60);

/// Unmounts when the test is gone, however it ended: nothing but that closes
/// its standard input.
const GUARD: &str = "cat; while umount -l \"$1\"; do :; done";

/// A file system of its own on a file.
pub struct Disk {
    /// Where it is mounted.
    pub path: PathBuf,
    image: PathBuf,
    guard: Child,
}

impl Disk {
    /// Mounted on this folder of a test's own; its image is in that, too, and
    /// takes only the space that was written to.
    pub fn new(work: &WorkDir, name: &str, size_mib: u64) -> Self {
        let (path, image) = (work.folder(name), work.join(format!("{}.image", name.replace('/', "-"))));
        File::create(&image).and_then(|file| file.set_len(size_mib << 20)).expect("a file of our own");
        // Blocks of root's own would be room that programs do not see, and do get.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        let mut guard = Command::new("/bin/sh");
        guard.args(["-c", GUARD, "guard"]).arg(&path).current_dir("/").process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let disk = Self { guard: guard.spawn().expect("a shell starts"), path, image };
        disk.mount();
        // The programs want their folders to themselves.
        fs::remove_dir(disk.path.join("lost+found")).expect("a fresh ext4 has one");
        disk
    }

    /// The loop device is asked for again while another one takes it, or lets go of the image.
    fn mount(&self) {
        let mut said = String::new();
        let mounted = poll(LET_GO, Duration::from_millis(50), || self.try_mount().map_err(|error| said = error).ok());
        assert!(mounted.is_some(), "{} cannot be mounted: {said}", self.path.display());
    }

    fn try_mount(&self) -> Result<(), String> {
        let output = Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.path).output();
        let output = output.map_err(|error| error.to_string())?;
        output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Power is there again: mounted anew, with what was synced. Nobody may
    /// have a file open on it.
    pub fn mount_again(&self) {
        let unmounted = || Command::new("umount").arg(&self.path).output().is_ok_and(|done| done.status.success());
        // A process that was killed lets go of its files a moment later.
        let free = poll(LET_GO, Duration::from_millis(20), || unmounted().then_some(()));
        assert!(free.is_some(), "{} is still in use", self.path.display());
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        let _ = fs::remove_file(&self.image);
    }
}

/// Cuts the power of all of them.
pub fn cut<'a>(disks: impl IntoIterator<Item = &'a Disk>) {
    run(Command::new("/usr/bin/python3").args(["-c", CUT]).args(disks.into_iter().map(|disk| &disk.path)));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
