//! `{slot}` in the data directory: where several processes share a volume, each takes the first folder that no other
//! one has, and whoever asks about a process finds the folder of the one on this machine.
//!
//! Compose gives all replicas of a service one volume, and an anonymous volume is forgotten by `down`. A folder's
//! process may change at every start: what a node is lies in its folder. Beside the folder `N` is its claim,
//! `N.lock`: locked as long as the process runs, it holds the name of the process's machine, which in a container is
//! the container's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Failure, machine};

/// What stands for the number of the folder.
const PLACEHOLDER: &str = "{slot}";
/// More processes than this have no business on one volume.
const SLOTS_MAX: u32 = 10_000;

/// A folder that is kept for this process until the slot is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _claim: File,
}

/// Puts the first free number where the placeholder is; none where it is not.
///
/// # Errors
/// One sentence if the volume cannot be written, or if every slot is taken.
pub(super) fn take(data: &mut PathBuf) -> Result<Option<Slot>, Failure> {
    let Some(template) = template(data) else { return Ok(None) };
    for number in 1..=SLOTS_MAX {
        let folder = numbered(&template, number);
        if let Some(claim) = claim(&claim_of(&folder))? {
            tracing::info!("this process takes {}: no other one has it", folder.display());
            *data = folder;
            return Ok(Some(Slot { _claim: claim }));
        }
    }
    Err(Failure::start(format!("all {SLOTS_MAX} folders of {template} are in use: choose another one with --data")))
}

/// Puts the number that the process on this machine has where the placeholder is.
///
/// # Errors
/// One sentence if no process or more than one of this machine has a folder there.
pub(super) fn find(data: &mut PathBuf) -> Result<(), Failure> {
    let Some(template) = template(data) else { return Ok(()) };
    let name = machine::hostname();
    let folders = (1..=SLOTS_MAX).map(|number| numbered(&template, number));
    let known = folders.take_while(|folder| claim_of(folder).exists());
    let mut ours: Vec<PathBuf> = known.filter(|folder| holder(&claim_of(folder)) == name).collect();
    if ours.len() > 1 {
        // One that this machine had before says nothing.
        ours.retain(|folder| is_locked(&claim_of(folder)));
    }
    match ours.as_slice() {
        [folder] => *data = folder.clone(),
        [] => return Err(Failure::running(format!("no process of this machine has a folder in {template}"))),
        _ => {
            return Err(Failure::start(format!(
                "several processes of this machine have a folder in {template}: name the one that you mean with --data"
            )));
        }
    }
    Ok(())
}

fn template(data: &Path) -> Option<String> {
    data.to_str().filter(|path| path.contains(PLACEHOLDER)).map(str::to_owned)
}

fn numbered(template: &str, number: u32) -> PathBuf {
    PathBuf::from(template.replace(PLACEHOLDER, &number.to_string()))
}

fn claim_of(folder: &Path) -> PathBuf {
    folder.with_added_extension("lock")
}

/// The claim, locked and with this machine's name in it; none if another process has it.
fn claim(path: &Path) -> Result<Option<File>, Failure> {
    let failed = |error: io::Error| Failure::io("a folder could not be claimed for this process", path, &error);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", machine::hostname()));
    noted.map_err(failed)?;
    Ok(Some(file))
}

/// The machine whose process had the folder last.
fn holder(claim: &Path) -> String {
    std::fs::read_to_string(claim).unwrap_or_default().trim().to_owned()
}

fn is_locked(claim: &Path) -> bool {
    File::open(claim).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(template: &Path) -> (PathBuf, Slot) {
        let mut data = template.to_owned();
        let slot = take(&mut data).unwrap().expect("there is a placeholder");
        (data, slot)
    }

    #[test]
    fn each_process_gets_the_first_folder_that_is_free() {
        let volume = tempfile::tempdir().unwrap();
        let template = volume.path().join("{slot}");
        let (first, slot) = taken(&template);
        let (second, _kept) = taken(&template);
        assert_eq!((first, second), (volume.path().join("1"), volume.path().join("2")));
        drop(slot);
        assert_eq!(taken(&template).0, volume.path().join("1"), "given back, it is taken first");
    }

    #[test]
    fn whoever_asks_finds_the_one_on_this_machine() {
        let volume = tempfile::tempdir().unwrap();
        let template = volume.path().join("node-{slot}");
        let found = || {
            let mut data = template.clone();
            find(&mut data).map(|()| data).map_err(|failure| failure.to_string())
        };
        assert!(found().unwrap_err().contains("no process of this machine"));
        let (_, elsewhere) = taken(&template);
        std::fs::write(volume.path().join("node-1.lock"), "another-machine\n").unwrap();
        let (_, here) = taken(&template);
        assert_eq!(found().unwrap(), volume.path().join("node-2"));
        let (_, _also_here) = taken(&template);
        assert!(found().unwrap_err().contains("several processes"));
        drop((elsewhere, here));
        assert_eq!(found().unwrap(), volume.path().join("node-3"), "one that nobody has any more says nothing");
    }

    #[test]
    fn a_path_without_the_placeholder_stays_as_it_is() {
        let mut data = PathBuf::from("/srv/node");
        assert!(take(&mut data).unwrap().is_none());
        find(&mut data).unwrap();
        assert_eq!(data, Path::new("/srv/node"));
    }
}
