//! Why a command ended: one sentence for people and a code for scripts.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

/// A command's failure. Its text is one sentence: what happened, and what to
/// do about it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// The command could not start: exit code 2.
    pub fn start(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 2 }
    }

    /// The command failed while running: exit code 1.
    pub fn running(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 1 }
    }

    /// Data is lost: exit code 3.
    pub fn lost(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 3 }
    }

    /// A file or folder that is needed at the start failed. `what` says what
    /// could not be done, as the beginning of the sentence.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::start(format!("{what} ({}): {}", path.display(), reason(error)))
    }

    /// The code that the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// What an error of the operating system means to people, and what to do.
pub(super) fn reason(error: &io::Error) -> String {
    let known = match error.kind() {
        ErrorKind::StorageFull => "the disk is full; make room or choose another directory",
        ErrorKind::QuotaExceeded => "your quota on this disk is used up; make room or choose another directory",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only; mount it writable or choose another directory",
        ErrorKind::PermissionDenied => "permission denied; give this user access or choose another place",
        ErrorKind::NotADirectory => "a part of the path is a file, not a directory; choose another path",
        ErrorKind::NotFound => "there is no such file or directory; check the path",
        ErrorKind::IsADirectory => "it is a directory, and a file is expected; check the path",
        ErrorKind::InvalidData => "it is not UTF-8 text; check the file",
        ErrorKind::AddrInUse => "another program uses this port; stop it or choose another with --listen",
        ErrorKind::AddrNotAvailable => "this machine has no such address; choose another with --listen",
        _ => return operating_system(error),
    };
    known.to_owned()
}

/// The system's own words, without the number that Rust puts behind them.
fn operating_system(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_errors_become_sentences() {
        use rustix::io::Errno;
        for (errno, words) in [
            (Errno::NOSPC, "disk is full"),
            (Errno::DQUOT, "quota"),
            (Errno::ROFS, "read-only"),
            (Errno::ACCESS, "permission denied"),
            (Errno::PERM, "permission denied"),
            (Errno::NOTDIR, "not a directory"),
            (Errno::ADDRINUSE, "another program"),
            (Errno::ADDRNOTAVAIL, "no such address"),
            (Errno::IO, "nput/output error"),
        ] {
            let failure = Failure::io("it failed", Path::new("/x"), &errno.into()).to_string();
            assert!(failure.starts_with("it failed (/x): ") && failure.contains(words), "{failure}");
            assert!(!failure.contains("os error") && !failure.contains('\n'), "{failure}");
        }
    }
}
