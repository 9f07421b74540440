//! Small disks that can be filled. Mounting takes root.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own, in memory.
pub struct Mount {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Mount {
    /// Mounted on a folder, which is made if it is not there.
    pub fn new(path: PathBuf, size_mib: u64) -> Self {
        fs::create_dir_all(&path).expect("a folder of our own");
        let options = format!("size={size_mib}m,mode=0755");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path));
        Self { path }
    }

    /// Lets nobody write to it any more.
    pub fn read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.path));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("mount can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes all the space that is left.
pub fn fill(path: &Path) {
    let mut file = File::create(path).expect("an empty file fits");
    for size in [1 << 20, 4096, 1] {
        let block = vec![7; size];
        while file.write_all(&block).is_ok() {}
    }
}
