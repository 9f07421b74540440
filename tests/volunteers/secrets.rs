//! A cluster from files alone: secrets that were made before anything ran, and
//! a token that gateways make for nodes which wait for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::postgres::Server;
use crate::support::cairn::Access;
use crate::support::client::Client;
use crate::support::community::SOON;
use crate::support::process::{Daemon, Invocation};
use crate::support::workdir::WorkDir;
use crate::support::{data, free_port, poll};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// A folder with processes, which get all that they have to know from files
/// and variables.
struct Site {
    work: WorkDir,
    running: Vec<Daemon>,
}

impl Site {
    fn new(name: &str) -> Self {
        Self { work: WorkDir::new(name), running: Vec::new() }
    }

    fn start(&mut self, command: &str, name: &str, variables: &[(&str, &str)]) -> usize {
        let invocation = Invocation::new(CAIRN, self.work.path()).arg(command).env("CAIRN_DATA", self.work.join(name));
        let invocation = variables.iter().fold(invocation, |invocation, (name, value)| invocation.env(name, value));
        self.running.push(invocation.start(&self.work.join(format!("{name}.log"))));
        self.running.len() - 1
    }

    fn path(&self, name: &str) -> String {
        self.work.join(name).display().to_string()
    }

    /// Waits for the keys of a gateway, which its data directory has.
    fn client(&mut self, gateway: usize, name: &str) -> (Client, Access) {
        let environment = self.work.join(name).join("s3.env");
        let access = self.running[gateway]
            .wait_until("the keys", SOON, || Access::parse(&std::fs::read_to_string(&environment).unwrap_or_default()));
        (Client::new(&access), access)
    }

    /// Waits until this gateway is connected to so many nodes and takes writes.
    fn wait_for_nodes(&self, name: &str, count: u64) {
        let status = || {
            let asked = Invocation::new(CAIRN, self.work.path()).args(["status", "--json", "--data"]);
            let asked = asked.arg(self.work.join(name)).outcome();
            serde_json::from_slice::<serde_json::Value>(&asked.stdout).unwrap_or_default()
        };
        let whole = || {
            let status = status();
            (status["nodes"]["connected"] == count && status["puts"]["possible"] == true).then_some(())
        };
        let reached = poll(SOON, Duration::from_millis(200), whole);
        assert!(reached.is_some(), "not {count} nodes: {:#}", status());
    }

    /// Everything that any process has printed.
    fn said(&self) -> String {
        self.running.iter().map(Daemon::log).collect()
    }

    fn end(mut self) {
        for daemon in &mut self.running {
            let ended = daemon.stop(Signal::TERM, Duration::from_secs(60));
            assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", daemon.story());
        }
    }
}

fn store_and_read(clients: &[Client]) {
    let bytes = data::random(1, 3_000_000);
    clients[0].put("/bucket", b"").expect("an answer").ok("make a bucket");
    clients[0].put("/bucket/key", &bytes).expect("an answer").ok("store");
    for client in clients {
        assert!(client.get("/bucket/key").expect("an answer").ok("read").body == bytes);
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a secret")
}

#[test]
fn secrets_that_were_made_first_are_all_that_a_cluster_needs() {
    let mut site = Site::new("secrets");
    let [door, out] = [format!("127.0.0.1:{}", free_port()), site.path("secrets")];
    let files = |name: &str| format!("{out}/{name}");
    // The nodes are there first, and wait.
    let (token, key) = (files("join.token"), files("cluster.key"));
    let node = [("CAIRN_JOIN_FILE", token.as_str()), ("CAIRN_CAPACITY", "1GB")];
    for number in 0..5 {
        site.start("node", &format!("node-{number}"), &node);
    }
    // Each of them once at least: they say so every ten seconds.
    let waits = |node: &Daemon| node.log().contains("waiting for a join token in");
    let wait = || site.running.iter().all(waits).then_some(());
    poll(SOON, Duration::from_millis(50), wait).expect("five nodes wait");

    let create = || {
        let create = Invocation::new(CAIRN, site.work.path()).args(["secrets", "create", "--door", &door]);
        create.args(["--if-missing", "--out", &out]).run()
    };
    let made = create();
    assert!(made.text().contains("made in") && made.stderr.is_empty(), "no phrase in a log: {}", made.story());
    assert!(create().text().contains("already"));
    let (access_key, secret_key) = (files("access-key"), files("secret-key"));
    let gateway = site.start(
        "gateway",
        "gateway",
        &[
            ("CAIRN_LISTEN", "127.0.0.1:0"),
            ("CAIRN_NODE_DOOR", &door),
            ("CAIRN_CLUSTER_KEY_FILE", &key),
            ("CAIRN_JOIN_TOKEN_FILE", &token),
            ("CAIRN_ROOT_ACCESS_KEY_FILE", &access_key),
            ("CAIRN_ROOT_SECRET_KEY_FILE", &secret_key),
            ("CAIRN_LOG", "debug"),
        ],
    );
    let (client, access) = site.client(gateway, "gateway");
    assert_eq!((access.key, access.secret), (read(Path::new(&access_key)), read(Path::new(&secret_key))));
    site.wait_for_nodes("gateway", 5);
    store_and_read(&[client]);

    let said = site.said();
    let token = read(Path::new(&token));
    let key = std::fs::read(&key).expect("the cluster's secret");
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    for secret in [token.as_str(), &read(Path::new(&secret_key)), &hex] {
        assert!(!said.contains(secret), "a secret is in a log: {said}");
    }
    assert!(!said.contains("recovery phrase"), "{said}");
    // A node that has joined needs no token any more.
    std::fs::remove_file(files("join.token")).expect("it was just read");
    site.running.remove(0).stop(Signal::TERM, Duration::from_secs(60));
    site.start("node", "node-0", &node);
    site.wait_for_nodes("gateway", 5);
    site.end();
}

#[test]
fn gateways_that_start_at_once_make_one_token_for_nodes_that_wait() {
    let server = Server::shared();
    let url = server.url(&server.database(None));
    let mut site = Site::new("at-once");
    let key = site.path("cluster.key");
    crate::growing::private(&site.work.join("database"), &url);
    let secret: Vec<u8> = data::random(rand::random(), 32);
    std::fs::write(&key, secret).expect("room for a key");
    let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&key, private).expect("a file of our own");
    let (database, token) = (site.path("database"), site.work.folder("shared").join("join.token"));
    let token_path = token.display().to_string();
    let node = [("CAIRN_JOIN_FILE", token_path.as_str()), ("CAIRN_CAPACITY", "1GB")];
    for number in 0..5 {
        site.start("node", &format!("node-{number}"), &node);
    }
    let doors = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let gateways = [0, 1].map(|number: usize| {
        let variables = [
            ("CAIRN_LISTEN", "127.0.0.1:0"),
            ("CAIRN_NODE_DOOR", doors[number].as_str()),
            ("CAIRN_CLUSTER_KEY_FILE", &key),
            ("CAIRN_METADATA_FILE", &database),
            ("CAIRN_JOIN_TOKEN_FILE", &token_path),
        ];
        site.start("gateway", &format!("gateway-{number}"), &variables)
    });
    let clients = [0, 1].map(|number: usize| site.client(gateways[number], &format!("gateway-{number}")).0);
    (0..2).for_each(|number| site.wait_for_nodes(&format!("gateway-{number}"), 5));
    store_and_read(&clients);

    let listed = Invocation::new(CAIRN, site.work.path()).args(["token", "list", "--json", "--data"]);
    let listed: serde_json::Value =
        serde_json::from_str(&listed.arg(site.work.join("gateway-0")).run().text()).expect("JSON");
    let good = listed.as_array().expect("a list").iter().filter(|token| token["state"] == "good");
    assert_eq!(good.count(), 1, "one token was made, or the other one is worthless: {listed:#}");
    let left: Vec<PathBuf> = std::fs::read_dir(token.parent().expect("a folder"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(left, [token], "nothing else is left behind");
    site.end();
}
