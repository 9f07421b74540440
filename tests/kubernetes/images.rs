//! The images that pods run, made here because none can be pulled: Cairn's own
//! as `docker/build` makes it, and for each of the others the same program from
//! Debian's or PyPI's package under the name that the manifests have.

use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::programs::{kubectl, package, rclone};

const BUSYBOX: &str = "/bin/busybox";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Loads all of them into the engine.
pub fn load(engine: &Engine) {
    load_cairn(engine);
    let busybox = "FROM scratch\nCOPY busybox /bin/\nRUN [\"/bin/busybox\", \"--install\", \"/bin\"]\n";
    build(engine, "busybox:1.37", busybox, &[BUSYBOX.as_ref()]);
    // What holds a pod's network: it has to do nothing and to end when told.
    let pause =
        "FROM busybox:1.37\nENTRYPOINT [\"sh\", \"-c\", \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]\n";
    build(engine, "pause:1", pause, &[]);
    let mounter =
        "FROM busybox:1.37\nCOPY rclone /usr/bin/\nCOPY ca-certificates.crt /etc/ssl/certs/\nENTRYPOINT [\"rclone\"]\n";
    build(engine, "rclone/rclone:1.75.2", mounter, &[&rclone(), CERTIFICATES.as_ref()]);
    let operator = "FROM busybox:1.37\nCOPY kubectl /usr/bin/\n";
    build(engine, "alpine/k8s:1.35.0", operator, &[&kubectl()]);
    load_from_packages(engine);
}

/// `cairn:latest` is what users get; `cairn:busybox` has a program besides that
/// sleeps, for the overlay's preStop hook.
fn load_cairn(engine: &Engine) {
    let archive = engine.work().join("cairn.tar");
    let build_it = crate::support::process::Invocation::new(package("docker/build"), engine.work().path());
    build_it.args(["--binary", env!("CARGO_BIN_EXE_cairn"), "--out"]).arg(&archive).run();
    load_archive(engine, &archive);
    build(engine, "cairn:busybox", "FROM cairn:latest\nCOPY busybox /\n", &[BUSYBOX.as_ref()]);
}

/// As `tests/deploy/images/build` has made them. The official image of
/// PostgreSQL calls its user 999, and so do the manifests.
fn load_from_packages(engine: &Engine) {
    for name in ["postgres", "registry"] {
        load_archive(engine, &package(&format!("target/deploy/images/{name}.tar")));
    }
    let renumbered = "FROM postgres:15\nRUN groupmod --gid 999 postgres && usermod --uid 999 postgres && \
                      chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql\n";
    build(engine, "postgres:17", renumbered, &[]);
    engine.docker(["tag", "registry:2", "registry:2.8.3"]).run();
}

fn load_archive(engine: &Engine, archive: &Path) {
    engine.docker(["load", "--quiet", "--input"]).arg(archive).run();
}

/// Builds an image of a Dockerfile and files that it copies, without a network.
fn build(engine: &Engine, tag: &str, dockerfile: &str, files: &[&Path]) {
    let context = engine.work().folder(PathBuf::from("context").join(tag.replace(['/', ':'], "-")));
    std::fs::write(context.join("Dockerfile"), dockerfile).expect("room for a file");
    for file in files {
        let name = file.file_name().expect("a file has a name");
        std::fs::copy(file, context.join(name)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let docker = engine.docker(["build", "--quiet", "--network=none", "--tag", tag, "."]);
    docker.env("DOCKER_BUILDKIT", "0").current_dir(&context).run();
}
