//! Wrong input to a container, as docs/deploy.md states what becomes of it:
//! one sentence and exit code 2, or a clear line in the log while it waits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::built;
use crate::engine::Engine;
use crate::support::cairn::Shared;
use crate::support::poll;
use crate::support::process::Outcome;

const SOON: Duration = Duration::from_secs(120);

/// The engine of all cases, as long as somebody holds it.
fn engine() -> Arc<Engine> {
    static ENGINE: Shared<Engine> = Shared::new();
    ENGINE.get(|| {
        let engine = Engine::start();
        built::load(&engine);
        engine
    })
}

/// Runs a container to its end: options of `docker run`, then arguments of `cairn`.
fn run(options: &[&str], arguments: &[&str]) -> Outcome {
    engine().docker(["run", "--rm"]).args(options).arg(built::NAME).args(arguments).outcome()
}

/// The sentence of a container that cannot start.
fn refusal(options: &[&str], arguments: &[&str]) -> String {
    let outcome = run(options, arguments);
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.story());
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.story());
    outcome.stderr
}

/// A container that goes on, removed when it is dropped.
struct Running {
    engine: Arc<Engine>,
    name: &'static str,
}

impl Running {
    fn start(name: &'static str, options: &[&str], arguments: &[&str]) -> Self {
        let engine = engine();
        let run = engine.docker(["run", "--detach", "--name", name]).args(options);
        run.arg(built::NAME).args(arguments).run();
        Self { engine, name }
    }

    fn wait_for_line(&self, words: &str) {
        let logs = || self.engine.docker(["logs", self.name]).run();
        let said = poll(SOON, Duration::from_millis(100), || {
            let logs = logs();
            (logs.stderr.contains(words) || logs.text().contains(words)).then_some(())
        });
        said.unwrap_or_else(|| panic!("it never said {words:?}: {}", logs().story()));
    }

    fn exit_code(&self) -> String {
        let ended = poll(SOON, Duration::from_millis(100), || {
            let state = self.engine.docker(["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.name]);
            state.run().text().trim().strip_prefix("exited ").map(str::to_owned)
        });
        ended.unwrap_or_else(|| panic!("{} goes on", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.docker(["rm", "--force", self.name]).outcome();
    }
}

/// The secrets of a new cluster in a volume of this name.
fn make_secrets(volume: &str) {
    let mount = format!("{volume}:/data");
    let create = ["secrets", "create", "--out", "/data", "--door", "cairn-door:9100"];
    let made = run(&["--volume", &mount], &create);
    assert!(made.status.success(), "{}", made.story());
}

/// A file on the engine's disk, for user 65532.
fn file(name: &str, text: &str, mode: u32) -> String {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let path = engine().work().join(name);
    std::fs::write(&path, text).expect("room for a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("the file is ours");
    chown(&path, Some(65532), Some(65532)).expect("the tests run as root");
    path.display().to_string()
}

/// One test, so that the cases share an engine: files and volumes go with it.
#[test]
fn what_cannot_work_is_said_in_a_sentence() {
    let _kept = engine();
    let cases: [fn(); 9] = [
        a_node_without_a_token_is_told_where_to_get_one,
        a_node_waits_for_a_token_that_is_to_come,
        a_text_that_is_no_token_is_refused,
        a_node_stays_with_its_cluster,
        one_volume_is_for_one_container_unless_each_takes_a_folder,
        an_unknown_key_of_a_mounted_file_is_named,
        a_secret_file_that_is_missing_is_named,
        a_secret_that_everybody_may_read_is_refused_where_it_is_not_mounted_for_reading,
        a_database_whose_name_is_not_known_yet_is_waited_for,
    ];
    for case in cases {
        case();
    }
}

fn a_node_without_a_token_is_told_where_to_get_one() {
    let sentence = refusal(&[], &["node"]);
    assert!(sentence.contains("ask an operator for a join token"), "{sentence}");
}

fn a_node_waits_for_a_token_that_is_to_come() {
    let folder = engine().work().folder("to-come");
    let mount = format!("{}:/join:ro", folder.display());
    let options = ["--volume", &mount, "--env", "CAIRN_JOIN_FILE=/join/join.token"];
    let node = Running::start("waits", &options, &["node", "--capacity", "1GB"]);
    node.wait_for_line("waiting for a join token in /join/join.token");
    let text = std::fs::read_to_string(file("wrong.token", "this is no token", 0o600)).expect("it was just written");
    std::fs::write(folder.join("join.token"), text).expect("room for a file");
    std::os::unix::fs::chown(folder.join("join.token"), Some(65532), None).expect("the tests run as root");
    assert_eq!(node.exit_code(), "2", "what came is no token");
}

fn a_text_that_is_no_token_is_refused() {
    let sentence = refusal(&["--env", "CAIRN_JOIN=this is no token"], &["node"]);
    assert!(sentence.contains("token"), "{sentence}");
}

fn a_node_stays_with_its_cluster() {
    make_secrets("ours");
    make_secrets("theirs");
    engine().docker(["network", "create", "lan"]).run();
    let secrets = "CAIRN_CLUSTER_KEY_FILE=/secrets/cluster.key";
    let token = "CAIRN_JOIN_TOKEN_FILE=/secrets/join.token";
    let options =
        ["--network=lan", "--network-alias=cairn-door", "--volume=ours:/secrets:ro", "--env", secrets, "--env", token];
    let gateway = Running::start("door", &options, &["gateway", "--door-name", "cairn-door:9100"]);
    gateway.wait_for_line("serves S3");
    let node = ["node", "--capacity", "1GB"];
    let options = |data, secrets| ["--network=lan", data, secrets, "--env=CAIRN_JOIN_FILE=/secrets/join.token"];
    let (data, ours, theirs) = ("--volume=a-node:/data", "--volume=ours:/secrets:ro", "--volume=theirs:/secrets:ro");

    Running::start("member", &options(data, ours), &node).wait_for_line("joined cluster");
    let sentence = refusal(&options(data, theirs), &node);
    assert!(sentence.contains("the token is for another cluster"), "{sentence}");
    Running::start("member", &options(data, ours), &node).wait_for_line("dial: connected");

    // A fresh one with a token of others, at a door that is none of theirs.
    let stranger = Running::start("stranger", &options("--volume=fresh:/data", theirs), &node);
    assert_eq!(stranger.exit_code(), "1");
    stranger.wait_for_line("the node could not join: this is not a door of the cluster that this node belongs to");
}

fn one_volume_is_for_one_container_unless_each_takes_a_folder() {
    make_secrets("shared-secrets");
    let options = |data: &'static str| {
        let volumes = ["--volume", "shared:/data", "--volume", "shared-secrets:/secrets:ro"];
        [&volumes[..], &["--env", "CAIRN_JOIN_FILE=/secrets/join.token", "--env", data]].concat()
    };
    let node = ["node", "--capacity", "1GB"];
    let one = Running::start("one", &options("CAIRN_DATA=/data/1"), &node);
    one.wait_for_line("dials cluster");
    let sentence = refusal(&options("CAIRN_DATA=/data/1"), &node);
    assert!(sentence.contains("a node runs on /data/1 already"), "{sentence}");
    let [third, fourth] = ["third", "fourth"].map(|name| {
        let node = Running::start(name, &options("CAIRN_DATA=/data/slot-{slot}"), &node);
        node.wait_for_line("dials cluster");
        node
    });
    third.wait_for_line("takes /data/slot-1");
    fourth.wait_for_line("takes /data/slot-2");
}

fn an_unknown_key_of_a_mounted_file_is_named() {
    let path = file("cairn.toml", "lisen = \"0.0.0.0:9000\"\n", 0o644);
    let sentence = refusal(&["--volume", &format!("{path}:/etc/cairn/cairn.toml:ro")], &["up"]);
    assert!(
        sentence.contains("/etc/cairn/cairn.toml has the unknown key 'lisen': did you mean 'listen'?"),
        "{sentence}"
    );
}

fn a_secret_file_that_is_missing_is_named() {
    let keys = [
        "--env=CAIRN_ROOT_ACCESS_KEY_FILE=/run/secrets/access-key",
        "--env=CAIRN_ROOT_SECRET_KEY_FILE=/run/secrets/secret-key",
    ];
    let sentence = refusal(&keys, &["up"]);
    assert!(sentence.contains("/run/secrets/access-key"), "{sentence}");
    let sentence = refusal(&["--env=CAIRN_METADATA_FILE=/run/secrets/database"], &["gateway"]);
    assert!(sentence.contains("/run/secrets/database"), "{sentence}");
}

fn a_secret_that_everybody_may_read_is_refused_where_it_is_not_mounted_for_reading() {
    let folder = engine().work().folder("open");
    std::fs::copy(file("access-key", "AKIDEXAMPLE", 0o644), folder.join("access-key")).expect("room for a file");
    std::fs::copy(file("secret-key", "a-secret-for-everybody", 0o644), folder.join("secret-key")).expect("room");
    let (read_only, writable) = (mount(&folder, ":ro"), mount(&folder, ""));
    let keys = [
        "--env=CAIRN_ROOT_ACCESS_KEY_FILE=/run/secrets/access-key",
        "--env=CAIRN_ROOT_SECRET_KEY_FILE=/run/secrets/secret-key",
    ];
    let sentence = refusal(&[keys[0], keys[1], "--volume", &writable], &["up"]);
    assert!(sentence.contains("every user of this machine can get at the secret in /run/secrets/"), "{sentence}");
    assert!(!sentence.contains("a-secret-for-everybody"), "{sentence}");
    let options = [keys[0], keys[1], "--volume", &read_only, "--env=CAIRN_NODE_CAPACITY=1GB"];
    let up = Running::start("warned", &options, &["up"]);
    up.wait_for_line("every user in here may read the secret in /run/secrets/secret-key");
    up.wait_for_line("9000");
}

fn mount(folder: &Path, mode: &str) -> String {
    format!("{}:/run/secrets{mode}", folder.display())
}

fn a_database_whose_name_is_not_known_yet_is_waited_for() {
    let options = ["--env=CAIRN_METADATA=postgres://cairn:secret@metadata/cairn", "--env=CAIRN_START_WAIT=15s"];
    let gateway = Running::start("no-dns", &options, &["gateway"]);
    gateway.wait_for_line("metadata");
    assert_eq!(gateway.exit_code(), "2", "it has waited for long enough");
    let logs = engine().docker(["logs", "no-dns"]).run();
    assert!(logs.stderr.contains("waiting") && !logs.stderr.contains("secret@"), "{}", logs.story());
}
