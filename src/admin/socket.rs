//! The admin socket's file. A path to a Unix socket has at most 107 bytes, and
//! a data directory may be deeper than that: it is reached through the
//! directory's open descriptor.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "admin.sock";
/// Under this name the socket is made, to be renamed when it is private.
const UNFINISHED: &str = "admin.sock.unfinished";

/// A directory that is open, so that short paths lead into it.
struct Dir(File);

impl Dir {
    fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    fn entry(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

/// A socket that is listened on; its file goes when this is dropped.
pub(super) struct AdminSocket {
    dir: Dir,
    listener: UnixListener,
}

impl AdminSocket {
    /// Takes the place of one that a killed process left behind. Whoever calls
    /// holds the directory's lock, so no living process listens there.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let dir = Dir::open(path)?;
        let unfinished = dir.entry(UNFINISHED);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
        fs::rename(&unfinished, dir.entry(NAME))?;
        Ok(Self { dir, listener })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // One that stays behind is replaced by the next start.
        let _ = fs::remove_file(self.dir.entry(NAME));
    }
}

/// Connects to the socket in this directory.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let dir = Dir::open(path)?;
    UnixStream::connect(dir.entry(NAME)).await
}
