//! What the manifests say, for tests that do the same without a cluster: flags
//! of storage classes, scripts, configuration files.

use std::path::{Path, PathBuf};

/// A file below docker/kubernetes.
pub fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/kubernetes").join(name);
    assert!(path.exists(), "{} is not there", path.display());
    path
}

/// Its text.
pub fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).expect("a manifest is text")
}

/// The flags that the storage class `class` adds to the mounter's.
pub fn options_of(class: &str) -> Vec<String> {
    let classes = text("csi/yandex/classes.yaml");
    let document = classes.split("\n---\n").find(|document| document.contains(&format!("\n  name: {class}\n")));
    let document = document.unwrap_or_else(|| panic!("no storage class is called {class}"));
    let options = document.lines().find_map(|line| line.trim().strip_prefix("options: "));
    options.unwrap_or_default().split(' ').map(str::to_owned).collect()
}
