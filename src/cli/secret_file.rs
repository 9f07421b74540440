//! Files that hold a secret, as an operator names them: read whole, and refused
//! where every user of the machine could have read them too.
//!
//! Docker and Kubernetes mount secrets world-readable by default, into a
//! container that has no other users: there, on a read-only or memory file
//! system, a warning is enough. The group may always read: Kubernetes opens a
//! volume to the pod's group by itself.

use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, fstatfs, fstatvfs};
use zeroize::Zeroizing;

use super::Failure;
use super::settings::Secret;

/// More than any secret has, and less than hurts.
const BYTES_MAX: u64 = 1 << 20;
/// What `statfs` calls tmpfs and ramfs.
const MEMORY_FILE_SYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The text of the file, without white space around it. `what` begins the
/// sentence where it cannot be read: "the file with the join token".
///
/// # Errors
/// A file that is not there, is no text, or that every user may read.
pub(super) fn text(what: &str, path: &Path) -> Result<Secret, Failure> {
    let bytes = bytes(what, path)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| unreadable(what, path, &io::ErrorKind::InvalidData.into()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// The bytes of the file.
///
/// # Errors
/// As for `text`.
pub(super) fn bytes(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| unreadable(what, path, &error);
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if is_open_to_all(&found.permissions()) {
        match is_mounted_as_a_secret(&file) {
            true => tracing::warn!(
                "every user in here may read the secret in {}: mount it with mode 0400, or 0440 for a group",
                path.display()
            ),
            false => return Err(open_to_all(path)),
        }
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(found.len().min(BYTES_MAX) as usize + 1));
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Whether users who are neither the owner nor in the group can get at it.
pub(super) fn is_open_to_all(permissions: &Permissions) -> bool {
    permissions.mode() & 0o007 != 0
}

/// What is said of a secret that everybody can get at.
pub(super) fn open_to_all(path: &Path) -> Failure {
    let path = path.display();
    Failure::start(format!(
        "every user of this machine can get at the secret in {path}: run `chmod 600 {path}`, and think about who may have read it"
    ))
}

fn unreadable(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::io(&format!("{what} could not be read"), path, error)
}

/// Whether it lies where container engines put secrets: on a mount that is
/// read-only or in memory.
fn is_mounted_as_a_secret(file: &File) -> bool {
    let read_only = fstatvfs(file).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY));
    read_only || fstatfs(file).is_ok_and(|system| MEMORY_FILE_SYSTEMS.contains(&(system.f_type as u64 & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn file(dir: &Path, mode: u32) -> PathBuf {
        let path = dir.join("secret");
        fs::write(&path, "hunter2\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// On the disk that the program is built on, which is none in memory.
    fn on_disk() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap()
    }

    #[test]
    fn its_owner_and_its_group_may_read_it_and_nobody_else() {
        let dir = on_disk();
        for mode in [0o400, 0o600, 0o640] {
            assert_eq!(text("it", &file(dir.path(), mode)).unwrap().expose(), "hunter2");
        }
        for mode in [0o644, 0o602] {
            let refused = text("it", &file(dir.path(), mode)).unwrap_err().to_string();
            assert!(refused.contains("every user of this machine") && refused.contains("chmod 600"), "{refused}");
            assert!(!refused.contains("hunter2"));
        }
    }

    #[test]
    fn in_memory_a_container_engine_has_put_it() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        assert_eq!(text("it", &file(dir.path(), 0o644)).unwrap().expose(), "hunter2");
    }

    #[test]
    fn what_is_no_secret_file_is_refused_with_a_sentence() {
        let dir = on_disk();
        let refused = |path: &Path| text("the file with it", path).unwrap_err().to_string();
        assert!(refused(&dir.path().join("none")).starts_with("the file with it could not be read ("));
        assert!(refused(dir.path()).contains("it is a directory"));
        let noise = file(dir.path(), 0o600);
        fs::write(&noise, [0xff, 0xfe]).unwrap();
        assert!(refused(&noise).contains("not UTF-8"));
    }
}
