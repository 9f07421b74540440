//! The data directory: its layout, its format, and that one process has it.
//!
//! | name | holds |
//! |---|---|
//! | `format` | TOML: the format number of this layout and the cluster's id; written last, so that a directory without it is an unfinished one |
//! | `lock` | the process id of whoever holds the lock on it |
//! | `cluster.key` | the cluster's secret, 32 bytes; not where it was given by `--cluster-key-file` |
//! | `metadata.db` | the metadata, where SQLite keeps it |
//! | `root.key` | TOML: the root key pair, where a former version made one |
//! | `s3.env` | the lines that S3 clients want in their environment |
//! | `admin.sock` | where the operator's commands reach the process that serves; gone when none does |
//! | `admin.token` | what those commands show at an admin address, where there is one |
//! | `reserve` | nothing: space that is given up when a start finds the disk full |
//! | `scheme` | the redundancy scheme that the last process was told to use; not there if it was told none |
//! | `nodes/<i>/` | a local node each |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Failure, secret_file};
use crate::env::{UNFINISHED, sync_folder, write_private};
use crate::erasure::Scheme;
use crate::types::ClusterId;

/// The format number of this layout.
pub(super) const FORMAT: u32 = 1;

const MARKER: &str = "format";
/// The lock of the process that serves it.
pub(super) const LOCK: &str = "lock";
/// How long a lock that another process holds is waited for: an operator's
/// command may have it for a moment.
const LOCK_WITHIN: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The cluster's secret.
pub(super) const CLUSTER_KEY: &str = "cluster.key";
/// The metadata, where SQLite keeps it.
pub(super) const DATABASE: &str = "metadata.db";
/// The root key pair that a former version made.
pub(super) const ROOT_KEY_PAIR: &str = "root.key";
/// What the operator's commands show at the admin address.
pub(super) const ADMIN_TOKEN: &str = "admin.token";
const SCHEME: &str = "scheme";
/// What S3 clients want in their environment.
pub(super) const S3_ENVIRONMENT: &str = "s3.env";

/// A data directory that this process alone uses until the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    _lock: Arc<File>,
}

/// What the marker says.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    /// Absent in formats that say it elsewhere.
    cluster: Option<String>,
}

impl DataDir {
    /// Takes the directory for this process; makes it, for its owner alone, if
    /// it is not there.
    ///
    /// # Errors
    /// One sentence each: a path that cannot be a directory or be written, one
    /// that another process uses, that holds something else, or that another
    /// version wrote.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        make(path)?;
        Self::open_unused(path)?.ok_or_else(|| in_use(path))
    }

    /// Takes a directory that is there already; none if another process has it
    /// and does not let go within two seconds.
    ///
    /// # Errors
    /// As `open`, but for a directory in use.
    pub(super) fn open_unused(path: &Path) -> Result<Option<Self>, Failure> {
        refuse_foreign(path)?;
        let Some(lock) = lock(path)? else { return Ok(None) };
        let directory = Self { path: path.to_owned(), _lock: Arc::new(lock) };
        directory.marker()?;
        Ok(Some(directory))
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of local node `index`, which may not exist yet.
    pub fn node_dir(&self, index: u16) -> PathBuf {
        self.path.join("nodes").join(index.to_string())
    }

    /// The cluster that this directory belongs to; none until `finish`.
    pub(super) fn cluster(&self) -> Result<Option<ClusterId>, Failure> {
        let Some(marker) = self.marker()? else { return Ok(None) };
        let id = marker.cluster.and_then(|text| text.parse().ok());
        id.map(Some).ok_or_else(|| damaged(&self.path.join(MARKER)))
    }

    /// Marks the directory as complete, and as this cluster's.
    pub(super) fn finish(&self, cluster: ClusterId) -> Result<(), Failure> {
        let text = format!("# A data directory of Cairn. Do not edit.\nformat = {FORMAT}\ncluster = \"{cluster}\"\n");
        self.write_secret(MARKER, text.as_bytes())
    }

    /// A file that its owner alone should read; none if it is not there.
    pub(super) fn read_secret(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.path.join(name);
        let unreadable = |error: io::Error| Failure::io("a secret file could not be read", &path, &error);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unreadable)?,
        };
        if secret_file::is_open_to_all(&file.metadata().map_err(unreadable)?.permissions()) {
            return Err(secret_file::open_to_all(&path));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(Some(bytes))
    }

    /// Writes a file that its owner alone can read; durable on return.
    pub(super) fn write_secret(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        write_private(&self.path, name, bytes)
            .map_err(|error| Failure::io("a file could not be written", &self.path.join(name), &error))
    }

    /// The redundancy scheme that the last process was told to use, if any:
    /// what the operator's commands go by while none runs.
    pub(super) fn last_scheme(&self) -> Result<Option<Scheme>, Failure> {
        let path = self.path.join(SCHEME);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| Failure::io("the last redundancy scheme could not be read", &path, &error))?,
        };
        let damaged = |_| {
            let path = path.display();
            Failure::start(format!(
                "the file {path} holds no redundancy scheme: remove it; the next start makes it anew"
            ))
        };
        text.trim().parse().map(Some).map_err(damaged)
    }

    /// Keeps the redundancy scheme that this process is told to use.
    pub(super) fn keep_scheme(&self, scheme: Option<Scheme>) -> Result<(), Failure> {
        if self.last_scheme().is_ok_and(|last| last == scheme) {
            return Ok(());
        }
        if let Some(scheme) = scheme {
            return self.write_secret(SCHEME, format!("{scheme}\n").as_bytes());
        }
        let path = self.path.join(SCHEME);
        let removed = fs::remove_file(&path).and_then(|()| sync_folder(&self.path));
        removed.map_err(|error| Failure::io("a file could not be removed", &path, &error))
    }

    fn marker(&self) -> Result<Option<Marker>, Failure> {
        let path = self.path.join(MARKER);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| Failure::io("the data directory could not be read", &path, &error))?,
        };
        let marker: Marker = toml::from_str(&text).map_err(|_| damaged(&path))?;
        if marker.format != FORMAT {
            return Err(Failure::start(format!(
                "the data directory {} has format {}, and this version of Cairn ({}) reads format {FORMAT}: use the version that wrote it, or another directory",
                self.path.display(),
                marker.format,
                env!("CARGO_PKG_VERSION")
            )));
        }
        Ok(Some(marker))
    }
}

fn damaged(marker: &Path) -> Failure {
    Failure::start(format!(
        "the file {} is damaged, so that this may be the directory of another version or cluster: restore it from a copy",
        marker.display()
    ))
}

fn make(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("the data directory could not be made", path, &error);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => {
            let path = path.display();
            return Err(Failure::start(format!(
                "the data directory {path} is a file: choose another path with --data"
            )));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        Err(_) => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
    sync_folder(parent).map_err(failed)
}

/// A directory without a marker may hold only what a first start that was cut
/// off leaves behind: nobody wants a cluster in their home directory.
fn refuse_foreign(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("the data directory could not be read", path, &error);
    let mut stranger = None;
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        match name.to_string_lossy().as_ref() {
            MARKER => return Ok(()),
            LOCK | CLUSTER_KEY | DATABASE | "metadata.db-wal" | "metadata.db-shm" | "lost+found" => {}
            name if name.ends_with(UNFINISHED) => {}
            name => stranger = Some(name.to_owned()),
        }
    }
    let Some(name) = stranger else { return Ok(()) };
    Err(Failure::start(format!(
        "{} is not a data directory of Cairn and not empty (it holds '{name}'): choose another path with --data",
        path.display()
    )))
}

/// None if another process holds it for longer than an operator's command does.
fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let name = path.join(LOCK);
    let failed = |error: io::Error| Failure::io("the data directory could not be locked", &name, &error);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
    let mut file = opened.map_err(failed)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WITHIN => sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", process::id()));
    noted.map_err(failed)?;
    Ok(Some(file))
}

fn in_use(path: &Path) -> Failure {
    let holder = match fs::read_to_string(path.join(LOCK)).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    let path = path.display();
    Failure::start(format!(
        "the data directory {path} is in use by {holder}: stop it, or choose another path with --data"
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refusal(path: &Path) -> String {
        DataDir::open(path).unwrap_err().to_string()
    }

    #[test]
    fn a_new_directory_is_private_and_taken_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(first.node_dir(3), path.join("nodes/3"));
        let sentence = refusal(&path);
        assert!(sentence.contains(&format!("in use by process {}", process::id())), "{sentence}");
        let clone = first.clone();
        drop(first);
        assert!(DataDir::open(&path).is_err(), "a clone still holds it");
        drop(clone);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn the_last_scheme_is_kept_and_forgotten() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        for scheme in [None, Some("4/5/7/8"), Some("4/5/7/8"), Some("1/1/2/3"), None] {
            let scheme = scheme.map(|text| text.parse::<Scheme>().unwrap());
            directory.keep_scheme(scheme).unwrap();
            assert_eq!(directory.last_scheme().unwrap(), scheme);
        }
        fs::write(parent.path().join(SCHEME), "4/5").unwrap();
        assert!(directory.last_scheme().unwrap_err().to_string().contains("remove it"));
        directory.keep_scheme(None).unwrap();
        assert_eq!(directory.last_scheme().unwrap(), None);
    }

    #[test]
    fn a_directory_of_something_else_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("thesis.tex"), "").unwrap();
        assert!(refusal(parent.path()).contains("'thesis.tex'"));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        assert!(refusal(&parent.path().join("thesis.tex")).contains("is a file"));
        assert!(refusal(&parent.path().join("thesis.tex/below")).contains("a file, not a directory"));
    }

    #[test]
    fn other_formats_and_damaged_markers_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        for (marker, words) in [
            ("format = 7\n", "has format 7"),
            ("format = 7\nmore = true\n", "has format 7"),
            ("", "is damaged"),
            ("\u{0}\u{0}", "is damaged"),
        ] {
            fs::write(parent.path().join(MARKER), marker).unwrap();
            let sentence = refusal(parent.path());
            assert!(sentence.contains(words), "{sentence}");
        }
    }
}
