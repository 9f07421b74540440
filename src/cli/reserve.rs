//! Space that a start can use when the disk is full: a file in the data
//! directory that is given up then, so that what is stored can still be read.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The file's name.
pub(super) const RESERVE: &str = "reserve";
/// What a start writes: the lock, the environment's file, the database's log.
const RESERVE_BYTES: u64 = 8 << 20;
/// The reserve is made where that leaves so much.
const LEFT_BYTES: u64 = 8 * RESERVE_BYTES;

/// Gives the reserve up if there is not enough room for a start without it.
pub(super) fn give_up_if_short(dir: &Path) {
    let is_short = free_bytes(dir).is_some_and(|free| free < RESERVE_BYTES);
    if is_short && fs::remove_file(dir.join(RESERVE)).is_ok() {
        tracing::warn!(
            "the disk of {} is full: objects can be read, and written only when there is room",
            dir.display()
        );
    }
}

/// Makes the reserve if it is not there and there is room for it.
pub(super) fn keep(dir: &Path) {
    let path = dir.join(RESERVE);
    if path.exists() || free_bytes(dir).is_none_or(|free| free < RESERVE_BYTES + LEFT_BYTES) {
        return;
    }
    if let Err(error) = make(&path) {
        // Not every file system can set space aside.
        tracing::debug!(%error, "no space could be set aside for a start on a full disk");
        let _ = fs::remove_file(&path);
    }
}

fn make(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?)
}

fn free_bytes(dir: &Path) -> Option<u64> {
    statvfs(dir).ok().map(|disk| disk.f_bavail * disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_where_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path());
        assert_eq!(fs::metadata(dir.path().join(RESERVE)).unwrap().len(), RESERVE_BYTES);
        give_up_if_short(dir.path());
        keep(dir.path());
        assert!(dir.path().join(RESERVE).exists(), "there is room without it");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
