//! The image, made by `docker/build` from the program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::engine::Engine;

/// What the image is called.
pub const NAME: &str = "cairn:latest";

/// Loads the image into an engine.
pub fn load(engine: &Engine) {
    engine.docker(["load", "--quiet", "--input"]).arg(archive()).run();
}

/// The image as an archive, made once for each run of the tests.
pub fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (own, shared) = (folder.join(format!("cairn-{}.tar", std::process::id())), folder.join("cairn.tar"));
        build(&own);
        // Another run may be at it too: a file is whole or it is not there.
        std::fs::rename(&own, &shared).expect("both are in one folder");
        shared
    })
}

/// Makes the image at `out`; what `docker/build` printed.
pub fn build(out: &Path) -> String {
    let output = script().arg("--out").arg(out).output().expect("docker/build can be started");
    assert!(output.status.success(), "docker/build: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `docker/build` of the program under test, in an environment of few words.
pub fn script() -> Command {
    let mut script = Command::new(repository().join("docker/build"));
    script.args(["--binary", env!("CARGO_BIN_EXE_cairn")]);
    script.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    script
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
