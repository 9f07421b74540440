//! A node's folder: made for its owner alone, taken by one process, and never
//! somebody else's.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::Failure;
use crate::env::{UNFINISHED, sync_folder};

/// The lock of the process that runs on it.
pub(in crate::cli) const LOCK: &str = "node.lock";
/// How long a lock that somebody else holds is waited for: whoever asks whether
/// it is held has it for a moment.
const LOCK_WITHIN: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Held while the piece store is open.
const STORE_LOCK: &str = "lock";

/// What a folder may hold that a first start was cut off in, or that a local
/// node of `cairn up` was moved in.
const OURS: [&str; 9] = [
    LOCK,
    "identity.key",
    "cluster.json",
    "node.json",
    "node.sock",
    "traffic.json",
    STORE_LOCK,
    "logs",
    "index.checkpoint",
];

/// Takes the folder for this process until the lock is dropped; makes it if it
/// is not there.
///
/// # Errors
/// One sentence each: a path that cannot be a folder or be written, one that
/// another process uses, or that holds something else.
pub(super) fn take(path: &Path) -> Result<File, Failure> {
    make(path)?;
    refuse_foreign(path)?;
    let lock = lock(path)?;
    match is_run_by_up(path) {
        true => Err(run_by_up(path)),
        false => Ok(lock),
    }
}

/// Whether `cairn up` runs the node in this folder: it holds the lock of the
/// piece store, and not that of the folder.
pub(super) fn is_run_by_up(path: &Path) -> bool {
    is_locked(&path.join(STORE_LOCK))
}

/// Who has to be asked about such a node.
pub(super) fn run_by_up(path: &Path) -> Failure {
    Failure::start(format!(
        "the node in {} is run by `cairn up`, which answers for it: ask `cairn nodes list`, and stop that process before \
         you run the node by itself",
        path.display()
    ))
}

fn make(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("the node's folder could not be made", path, &error);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => {
            let path = path.display();
            return Err(Failure::start(format!("the node's folder {path} is a file: choose another path with --data")));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        Err(_) => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
    sync_folder(parent).map_err(failed)
}

fn refuse_foreign(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("the node's folder could not be read", path, &error);
    if path.join("cluster.key").exists() {
        return Err(Failure::start(format!(
            "{} is the data directory of a gateway: give the node a folder of its own with --data",
            path.display()
        )));
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let left_over = name.ends_with(UNFINISHED) || name == "lost+found";
        if !OURS.contains(&name.as_str()) && !left_over && !path.join("cluster.json").exists() {
            return Err(Failure::start(format!(
                "{} is not a node's folder and not empty (it holds '{name}'): choose another path with --data",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Whether a process runs on the folder.
pub(super) fn is_taken(path: &Path) -> bool {
    is_locked(&path.join(LOCK))
}

/// Whether a process holds the lock on this file.
pub(in crate::cli) fn is_locked(file: &Path) -> bool {
    File::open(file).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock(path: &Path) -> Result<File, Failure> {
    let name = path.join(LOCK);
    let failed = |error: io::Error| Failure::io("the node's folder could not be locked", &name, &error);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
    let mut file = opened.map_err(failed)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WITHIN => sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", process::id()));
    noted.map_err(failed)?;
    Ok(file)
}

fn in_use(path: &Path, lock: &mut File) -> Failure {
    let mut text = String::new();
    let holder = match lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    Failure::start(format!(
        "a node runs on {} already ({holder}): stop it, or choose another path with --data",
        path.display()
    ))
}
