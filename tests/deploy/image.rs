//! The image by itself: what is in it, that it is the same each time, and how
//! it behaves as the first process of a container.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::built;
use crate::engine::Engine;
use crate::support::cairn::{Access, Shared};
use crate::support::client::Client;
use crate::support::data::{random, sha256};
use crate::support::poll;
use crate::support::process::Outcome;
use crate::support::workdir::WorkDir;

const START_LIMIT: Duration = Duration::from_secs(180);
/// The largest image that is acceptable, in bytes.
const SIZE_LIMIT: u64 = 40_000_000;

fn engine() -> Arc<Engine> {
    static ENGINE: Shared<Engine> = Shared::new();
    ENGINE.get(|| {
        let engine = Engine::start();
        built::load(&engine);
        engine
    })
}

/// `cairn up` in a container, which is removed when this is dropped.
struct Container {
    engine: Arc<Engine>,
    name: String,
}

impl Container {
    /// `options` are of `docker run`.
    fn up(name: &str, options: &[&str]) -> Self {
        let engine = engine();
        let run = engine.docker(["run", "--detach", "--name", name, "--publish", "127.0.0.1::9000"]).args(options);
        run.args([built::NAME, "up", "--listen", "0.0.0.0:9000"]).run();
        Self { engine, name: name.to_owned() }
    }

    fn inspect(&self, format: &str) -> String {
        self.engine.docker(["inspect", "--format", format, &self.name]).run().text().trim().to_owned()
    }

    fn logs(&self) -> Outcome {
        self.engine.docker(["logs", &self.name]).run()
    }

    /// Keys and the address at which it is reached from the engine's network.
    fn access(&self) -> Access {
        let access = poll(START_LIMIT, Duration::from_millis(100), || Access::parse(&self.logs().text()));
        let access = access.unwrap_or_else(|| panic!("no keys: {}", self.logs().story()));
        let port = self.engine.docker(["port", &self.name, "9000/tcp"]).run().text();
        Access { endpoint: format!("http://{}", port.trim()), ..access }
    }

    fn wait_for_health(&self) {
        let healthy = || (self.inspect("{{.State.Health.Status}}") == "healthy").then_some(());
        let found = poll(START_LIMIT, Duration::from_millis(200), healthy);
        found.unwrap_or_else(|| panic!("{}\n{}", self.inspect("{{json .State.Health}}"), self.logs().story()));
    }

    /// The id of its process, as the machine counts.
    fn pid(&self) -> String {
        self.inspect("{{.State.Pid}}")
    }

    /// Stops it as an orchestrator does; how it ended and how long that took.
    fn stop(&self) -> (String, Duration) {
        let begun = Instant::now();
        self.engine.docker(["stop", "--time", "60", &self.name]).run();
        (self.inspect("{{.State.ExitCode}}"), begun.elapsed())
    }

    fn start(&self) {
        self.engine.docker(["start", &self.name]).run();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::support::cairn::tell(&self.logs().story());
        }
        self.engine.docker(["rm", "--force", "--volumes", &self.name]).outcome();
    }
}

/// `docker run --rm` of the image to the end.
fn run(options: &[&str], arguments: &[&str]) -> Outcome {
    let engine = engine();
    engine.docker(["run", "--rm"]).args(options).arg(built::NAME).args(arguments).outcome()
}

#[test]
fn it_runs_with_nothing_but_its_binary() {
    let said = run(&["--read-only", "--network", "none"], &["version"]);
    assert!(said.status.success() && said.text().starts_with("cairn "), "{}", said.story());
}

#[test]
fn it_serves_from_a_read_only_root_as_nobody_in_particular() {
    let container = Container::up("read-only", &["--read-only", "--tmpfs", "/tmp", "--volume", "objects:/data"]);
    let body = random(1, 3_000_000);
    let put = |access: &Access| {
        let client = Client::new(access);
        client.put("/files", b"").expect("an answer").ok("make a bucket");
        client.put("/files/one", &body).expect("an answer").ok("write");
    };
    let access = container.access();
    container.engine.inside(|| put(&access));
    container.wait_for_health();
    assert_eq!(container.inspect("{{.Config.User}}"), "65532:65532");
    assert_eq!(uids(&container), "65532 65532 65532 65532", "no right is kept");

    let (code, took) = container.stop();
    assert_eq!(code, "0", "{}", container.logs().story());
    assert!(took < Duration::from_secs(20), "it drains for ten seconds at most, and took {took:?}");
    container.start();
    container.wait_for_health();
    let access = container.access();
    let read = container.engine.inside(|| Client::new(&access).get("/files/one").expect("an answer").ok("read"));
    assert!(read.body == body, "the volume keeps what was written");
}

/// The four user ids of the container's first process.
fn uids(container: &Container) -> String {
    let status = format!("/proc/{}/status", container.pid());
    let status = container.engine.invoke("cat").arg(status).run().text();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("every process has a user");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn its_health_checks_leave_no_zombies() {
    let container = Container::up("zombies", &["--health-interval", "1s"]);
    container.wait_for_health();
    let checks = || container.inspect("{{len .State.Health.Log}}").parse::<u32>().ok().filter(|count| *count >= 3);
    poll(START_LIMIT, Duration::from_millis(200), checks).expect("it goes on being asked");
    let pid = container.pid();
    let listed = container.engine.invoke("ps").args(["-o", "stat=,args=", "--ppid", &pid]).outcome().text();
    assert_eq!(listed, "", "the first process has no children, dead or alive");
}

#[test]
fn any_user_may_run_it_on_a_volume_that_it_may_write() {
    let work = WorkDir::new("uid");
    let data = work.folder("data");
    chown(&data, Some(12345), Some(0)).expect("root may give a folder away");
    let volume = format!("{}:/data", data.display());
    let container = Container::up("uid", &["--user", "12345", "--read-only", "--volume", &volume]);
    container.wait_for_health();
    assert_eq!(uids(&container), "12345 12345 12345 12345");
    assert_eq!(container.stop().0, "0");
}

#[test]
fn a_volume_that_it_may_not_write_ends_it_with_a_sentence() {
    let work = WorkDir::new("uid");
    let data = work.folder("data");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    let said = run(&["--user", "12345", "--volume", &format!("{}:/data", data.display())], &["up"]);
    assert_eq!(said.status.code(), Some(2), "{}", said.story());
    assert_eq!(said.stderr.trim().lines().count(), 1, "one sentence: {}", said.story());
    assert!(said.stderr.contains("/data"), "it says where: {}", said.story());
}

#[test]
fn settings_come_from_the_environment_and_a_mounted_file() {
    let work = WorkDir::new("settings");
    std::fs::write(work.join("cairn.toml"), "region = \"moon-1\"\nnodes = 3\nscheme = \"1/1/2/3\"\n")
        .expect("room for a file");
    let mount = format!("{}:/etc/cairn/cairn.toml:ro", work.join("cairn.toml").display());
    let container = Container::up("settings", &["--volume", &mount, "--env", "CAIRN_LOG_FORMAT=json"]);
    assert_eq!(container.access().region, "moon-1");
    let said = || Some(container.logs().stderr).filter(|log| log.contains("\"ready\""));
    let log = poll(START_LIMIT, Duration::from_millis(200), said).expect("it says on standard error that it is ready");
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(entry["level"].is_string(), "{line}");
    }
}

#[test]
fn two_builds_are_one_image_of_a_decent_size() {
    let work = WorkDir::new("build");
    let builds = ["first", "second"].map(|name| {
        let (folder, out) = (work.folder(name), work.join(format!("{name}.tar")));
        // Another place, another time of the binary's file, another umask, another zone.
        let binary = folder.join("program");
        std::fs::copy(env!("CARGO_BIN_EXE_cairn"), &binary).expect("room for the program");
        let mask = if name == "first" { "022" } else { "077" };
        let line = format!("umask {mask} && exec \"$0\" --binary \"$1\" --out \"$2\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).arg(built::repository().join("docker/build")).arg(&binary).arg(&out);
        let status = shell.current_dir(&folder).env("TZ", if name == "first" { "UTC" } else { "Asia/Tokyo" }).status();
        assert!(status.is_ok_and(|status| status.success()));
        out
    });
    let [first, second] = builds.map(|path| digest(&path));
    assert_eq!(first, second, "the archives are the same, byte by byte");

    let engine = engine();
    let size = engine.docker(["inspect", "--format", "{{.Size}}", built::NAME]).run().text();
    let size: u64 = size.trim().parse().expect("a number of bytes");
    assert!(size < SIZE_LIMIT, "the image takes {size} bytes");
}

fn digest(path: &Path) -> String {
    sha256(&std::fs::read(path).expect("it was made"))
}

#[test]
fn a_build_that_cannot_work_says_so() {
    for (arguments, sentence) in [
        (["--binary", "/bin/ls"], "linked dynamically"),
        (["--binary", "/no/program"], "/no/program is not there"),
        (["--certificates", "/no/file"], "/no/file cannot be read"),
        (["--size", "3"], "'--size' is no option"),
    ] {
        let output = built::script().args(arguments).output().expect("docker/build can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(sentence), "{arguments:?}: {said}");
    }
}

/// The Dockerfile's own final stage, run by a real engine, gives what
/// `docker/build` gives.
///
/// Its first stage starts from an image of a public registry, which these tests do
/// without: here that image is busybox, with a `cargo` that hands out the binary
/// under test. So `COPY . .`, `docker/rootfs` and the final stage are run as they are
/// written, and only the compilation is not.
#[test]
fn the_dockerfile_gives_the_same_image() {
    let engine = engine();
    load_stand_in_for_rust(&engine);
    let context = engine.work().folder("context");
    for folder in ["docker", "src"] {
        Command::new("cp").arg("-r").arg(built::repository().join(folder)).arg(&context).status().expect("cp is there");
    }
    let dockerfile = ["build", "--quiet", "--file", "docker/Dockerfile", "--tag", "from-dockerfile", "."];
    engine.docker(dockerfile).env("DOCKER_BUILDKIT", "0").current_dir(&context).run();

    let [ours, theirs] = [built::NAME, "from-dockerfile"].map(|image| (config(&engine, image), files(&engine, image)));
    assert_eq!(ours.0, theirs.0, "the configurations differ");
    assert_eq!(ours.1, theirs.1, "the files differ");
}

/// What the engine knows of an image, but the labels that depend on the commit.
fn config(engine: &Engine, image: &str) -> Value {
    let printed = engine.docker(["inspect", "--format", "{{json .Config}}", image]).run().text();
    let mut config: Value = serde_json::from_str(&printed).expect("it was asked for JSON");
    for label in ["version", "revision", "created"] {
        let name = format!("org.opencontainers.image.{label}");
        let label = config["Labels"].as_object_mut().expect("labels are an object").remove(&name);
        assert!(label.is_some(), "{image} has no label {name}");
    }
    // The image that a build came from, which is not part of the image.
    for builders in ["Image", "OnBuild", "WorkingDir", "Hostname", "Domainname"] {
        config.as_object_mut().expect("a configuration is an object").remove(builders);
    }
    config
}

/// Names, owners, modes and digests of all files.
fn files(engine: &Engine, image: &str) -> Vec<String> {
    let work = WorkDir::new("files");
    let (container, root) = (format!("files-{}", image.replace(':', "-")), work.folder("root"));
    engine.docker(["create", "--name", &container, image]).run();
    engine.docker(["export", "--output"]).arg(work.join("files.tar")).arg(&container).run();
    engine.docker(["rm", &container]).run();
    let unpacked = Command::new("tar").arg("-xpf").arg(work.join("files.tar")).arg("-C").arg(&root).status();
    assert!(unpacked.is_ok_and(|status| status.success()), "the files of {image}");
    // Docker adds what it mounts over.
    let script = "rm -rf .dockerenv dev proc sys etc/hostname etc/hosts etc/mtab etc/resolv.conf
                  find . -printf '%P %U:%G %m\\n' | sort; find . -type f -exec sha256sum {} + | sort";
    let listed = Command::new("sh").args(["-c", script]).current_dir(&root).output().expect("a shell");
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

/// busybox under the name of the Dockerfile's base image.
fn load_stand_in_for_rust(engine: &Engine) {
    let context = engine.work().folder("rust");
    let strip = Command::new("strip").arg("-o").arg(context.join("program")).arg(env!("CARGO_BIN_EXE_cairn")).status();
    assert!(strip.is_ok_and(|status| status.success()), "a stripped copy");
    std::fs::copy("/bin/busybox", context.join("busybox")).expect("busybox-static is installed");
    std::fs::copy("/etc/ssl/certs/ca-certificates.crt", context.join("certificates")).expect("certificates are there");
    let cargo = "#!/bin/sh\nset -e\nmkdir -p target/x86_64-unknown-linux-gnu/dist\n\
                 cp /program target/x86_64-unknown-linux-gnu/dist/cairn\n";
    std::fs::write(context.join("cargo"), cargo).expect("room for a file");
    let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                      COPY cargo /bin/cargo\nRUN chmod 0755 /bin/cargo\n\
                      COPY program /program\nCOPY certificates /etc/ssl/certs/ca-certificates.crt\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).expect("room for a file");
    let build = engine.docker(["build", "--quiet", "--tag", "rust:1.95-bookworm", "."]).current_dir(&context);
    build.env("DOCKER_BUILDKIT", "0").run();
}
