//! A folder that one test works in and that goes when the test does.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A fresh folder under the system's temporary folder. Dropping it takes away
/// mounts that were left below it and then the folder itself.
pub struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    /// A folder whose name holds `name`. It can be entered by every user,
    /// because PostgreSQL refuses to run as root.
    pub fn new(name: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let made = tempfile::Builder::new().prefix(&format!("cairn-{name}-")).tempdir().expect("a temporary folder");
        let path = made.keep();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` inside; nothing is created.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The path of the folder `name` inside, created with its parents.
    pub fn folder(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).expect("a folder inside the test's own");
        path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        for mount in mounts_below(&self.path) {
            // Lazily: a mount whose server is gone cannot be asked politely.
            let _ = Command::new("fusermount3").arg("-uz").arg(&mount).output();
        }
        if mounts_below(&self.path).is_empty() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Mount points below `path`, deepest first.
pub fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(path))
        .collect();
    found.sort();
    found.reverse();
    found
}
