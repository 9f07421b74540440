//! A Unix socket in a folder. Its path may have 107 bytes at most, and a folder
//! may be deeper than that: it is reached through the folder's open descriptor.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::files::UNFINISHED;

/// A folder that is open, so that short paths lead into it.
struct Folder(File);

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    fn entry(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

/// A socket that is listened on; its file goes when this is dropped.
pub struct LocalSocket {
    folder: Folder,
    name: String,
    listener: UnixListener,
}

impl LocalSocket {
    /// Listens on `folder/name`, for the folder's owner alone, and takes the
    /// place of a socket that a killed process left behind. Whoever calls holds
    /// the folder's lock, so no living process listens there.
    pub fn bind(folder: &Path, name: &str) -> io::Result<Self> {
        let folder = Folder::open(folder)?;
        // It gets its name when it is private.
        let unfinished = folder.entry(&format!("{name}{UNFINISHED}"));
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
        fs::rename(&unfinished, folder.entry(name))?;
        Ok(Self { folder, name: name.to_owned(), listener })
    }

    /// The next one who connects.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Connects to the socket `folder/name`.
    pub async fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
        let folder = Folder::open(folder)?;
        UnixStream::connect(folder.entry(name)).await
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // One that stays behind is replaced by the next start.
        let _ = fs::remove_file(self.folder.entry(&self.name));
    }
}
