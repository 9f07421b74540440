//! What a long-running command asks of the operating system for itself.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Files that this process makes are its owner's alone: the metadata holds
/// names and wrapped keys, and the data directory may have been made by
/// somebody who let others in.
pub(super) fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Every node, door and client is a descriptor, and the usual soft limit of
/// 1,024 is there for programs that use `select`: take what is allowed.
pub(super) fn take_all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // Less than all is still enough for a small cluster.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
