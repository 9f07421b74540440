//! What the store asks of the operating system when it writes: a narrow seam,
//! so that tests can make a disk fail at every single call.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Slices that one vectored write takes, at most (Linux' `IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// Writing to files. The defaults are the real thing.
pub(super) trait Disk: Send + Sync {
    /// Makes a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Writes some of the slices at an offset; returns how many bytes.
    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, &slices[..slices.len().min(SLICES_MAX)], offset)?)
    }

    /// Makes a file's contents and length durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes a folder's entries durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    /// Cuts a file.
    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    /// Gives a file the name of another, which is gone then.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Takes a file's name away.
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    /// Bytes that the file system could still take, and its size.
    fn space(&self, folder: &Path) -> io::Result<(u64, u64)> {
        let found = rustix::fs::statvfs(folder)?;
        Ok((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
    }
}

/// The operating system's files.
pub(super) struct RealDisk;

impl Disk for RealDisk {}

/// Writes all slices at an offset.
pub(super) fn write_all_at(
    disk: &dyn Disk,
    file: &File,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match disk.write_at(file, slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut slices, written);
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a path still names an open file, and the file is at least `length`
/// bytes long. A file that was unlinked, replaced or cut keeps nothing safe.
pub(super) fn still_names(path: &Path, file: &File, length: u64) -> io::Result<bool> {
    let (named, opened) = (std::fs::metadata(path)?, file.metadata()?);
    Ok(named.dev() == opened.dev() && named.ino() == opened.ino() && named.len() >= length)
}

/// Whether an error says that there is no room left.
pub(super) fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
