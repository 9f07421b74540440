//! `docker/compose.yml` on an engine of its own, for somebody who reads
//! docs/deploy.md in a clone.
//!
//! docker-compose 1.29 is what Debian has; a plug-in of one line lets it be
//! called as the document does, `docker compose`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::built;
use crate::document;
use crate::engine::Engine;
use crate::support::cairn::Access;
use crate::support::client::Client;
use crate::support::poll;
use crate::support::process::Invocation;

/// docker-compose 1.29 as a plug-in of Docker's client.
const PLUG_IN: &str = "#!/bin/sh
case $1 in
  docker-cli-plugin-metadata) echo '{\"SchemaVersion\":\"0.1.0\",\"Vendor\":\"Cairn\",\"Version\":\"1.29\"}' ;;
  *) shift; exec /usr/bin/docker-compose \"$@\" ;;
esac
";
/// What the document's first section leaves in the reader's shell.
const GO_ON: &str = "cd docker\nexport AWS_SHARED_CREDENTIALS_FILE=$PWD/credentials AWS_DEFAULT_REGION=us-east-1\n";
const LIMIT_SECONDS: u64 = 400;

/// An engine with all images, and a clone of what the document speaks of.
pub struct Stack {
    pub engine: Engine,
    clone: PathBuf,
}

impl Stack {
    /// Nothing runs yet.
    pub fn new() -> Self {
        let stack = Self::of_cairn_alone();
        for image in other_images() {
            stack.engine.docker(["load", "--quiet", "--input"]).arg(image).limit_seconds(300).run();
        }
        stack
    }

    /// The same without the images that only `compose.yml` needs.
    pub fn of_cairn_alone() -> Self {
        let engine = Engine::start();
        built::load(&engine);
        let clone = engine.work().folder("clone");
        copy(&built::repository().join("docker"), &clone);
        // The home folder of programs that the engine's clients are.
        let plug_ins = engine.work().folder(".docker/cli-plugins");
        let plug_in = plug_ins.join("docker-compose");
        std::fs::write(&plug_in, PLUG_IN).expect("room for a file");
        std::fs::set_permissions(&plug_in, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
        Self { engine, clone }
    }

    /// Runs the document's section as the first; what it prints.
    pub fn begin_with(&self, heading: &str) -> String {
        self.run(&document::blocks_below(heading))
    }

    /// Runs a section after that one.
    pub fn go_on_with(&self, heading: &str) -> String {
        self.shell(&document::blocks_below(heading))
    }

    /// Runs commands where the document's reader is.
    pub fn shell(&self, commands: &str) -> String {
        self.run(&format!("{GO_ON}{commands}"))
    }

    fn run(&self, script: &str) -> String {
        let shell = self.program("bash").args(["-euo", "pipefail", "-c", script]);
        let shell = shell.env("DOCKER_HOST", self.engine.address()).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        shell.current_dir(&self.clone).limit_seconds(LIMIT_SECONDS).run().text()
    }

    /// Writes a file into the folder of the compose files.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.clone.join("docker").join(name), text).expect("room for a file");
    }

    /// A client for each gateway, to be used inside the engine's network.
    pub fn clients(&self) -> Vec<Client> {
        [9000, 9001].map(|port| Client::new(&self.access(port))).into()
    }

    fn access(&self, port: u16) -> Access {
        let credentials = std::fs::read_to_string(self.clone.join("docker/credentials")).expect("it was begun");
        let value = |name: &str| {
            let line = credentials.lines().find_map(|line| line.strip_prefix(name)).expect("a credentials file");
            line.trim_start_matches([' ', '=']).to_owned()
        };
        Access {
            endpoint: format!("http://127.0.0.1:{port}"),
            key: value("aws_access_key_id"),
            secret: value("aws_secret_access_key"),
            region: "us-east-1".to_owned(),
        }
    }

    /// The containers of a service, by their ids.
    pub fn containers(&self, service: &str) -> Vec<String> {
        self.shell(&format!("docker compose ps -q {service}")).lines().map(str::to_owned).collect()
    }

    /// Waits until every container of a service is healthy.
    pub fn wait_for_health(&self, service: &str) {
        for container in self.containers(service) {
            let status = || self.inspect(&container, "{{.State.Health.Status}}");
            let healthy =
                poll(Duration::from_secs(240), Duration::from_millis(250), || (status() == "healthy").then_some(()));
            let story = || self.inspect(&container, "{{json .State.Health}}");
            healthy.unwrap_or_else(|| panic!("a container of {service} is not healthy: {}", story()));
        }
    }

    /// What `docker inspect` says of a container.
    pub fn inspect(&self, container: &str, format: &str) -> String {
        self.engine.docker(["inspect", "--format", format, container]).run().text().trim().to_owned()
    }

    /// A program in the engine's network.
    pub fn program(&self, name: &str) -> Invocation {
        self.engine.space().invoke(Path::new("/usr/bin").join(name), self.engine.work().path())
    }
}

/// Archives of the images that the compose file needs beside Cairn's own.
fn other_images() -> Vec<PathBuf> {
    let built = Command::new(built::repository().join("tests/deploy/images/build")).output();
    let built = built.expect("the script can be started");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let folder = built::repository().join("target/deploy/images");
    ["postgres", "registry", "cairn-backup"].map(|name| folder.join(format!("{name}.tar"))).into()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp can be started");
    assert!(copied.success(), "{} could not be copied", from.display());
}
