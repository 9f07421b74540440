//! Small files that are either there, whole and on disk, or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::Entropy;

/// What the name of a half-written file ends with.
pub const UNFINISHED: &str = ".unfinished";

/// Writes `dir/name`, readable by its owner alone: a file of another name is
/// made whole and durable first and then takes the place of the old one.
/// Durable on return; it waits for the disk.
pub fn write_private(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = dir.join(format!("{name}{UNFINISHED}"));
    // One that was left behind may have other permissions or be a link.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, dir.join(name))) {
        // The first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    sync_folder(dir)
}

/// Writes `dir/name`, readable by its owner alone, unless there is one: then it
/// is left as it is, and the answer is false. Of several who do so at once, also
/// on other machines, one does it. Durable on return; it waits for the disk.
pub fn write_private_once(dir: &Path, name: &str, bytes: &[u8], entropy: &Entropy) -> io::Result<bool> {
    let mut number = [0; 8];
    entropy.fill(&mut number);
    let unfinished = dir.join(format!("{name}.{:016x}{UNFINISHED}", u64::from_ne_bytes(number)));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        // Unlike a rename, a link takes nobody's place.
        fs::hard_link(&unfinished, dir.join(name))
    });
    let _ = fs::remove_file(&unfinished);
    match written {
        Ok(()) => sync_folder(dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_stays_private() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret.unfinished"), "left by a crash").unwrap();
        for content in ["a long first content", "second"] {
            write_private(dir.path(), "secret", content.as_bytes()).unwrap();
            let path = dir.path().join("secret");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_written_once_stays() {
        let dir = tempfile::tempdir().unwrap();
        let once = |bytes: &[u8]| write_private_once(dir.path(), "secret", bytes, &Entropy::system()).unwrap();
        assert!(once(b"first") && !once(b"second"));
        let path = dir.path().join("secret");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_could_not_take_its_place_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("taken")).unwrap();
        assert!(write_private(dir.path(), "taken", b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
