//! A gateway and its volunteers' nodes, each a process with a folder.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::cairn::{Access, reports_trouble, without_colour};
use super::client::Client;
use super::data;
use super::process::{Daemon, Invocation, Outcome};
use super::workdir::WorkDir;
use super::{free_port, poll};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");
const READY_LIMIT: Duration = Duration::from_secs(120);
/// What is in flight gets ten seconds; the rest is for a disk that is slow.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long something may take that the cluster does by itself.
pub const SOON: Duration = Duration::from_secs(120);

/// A gateway with the worker in it, running or not.
pub struct Gateway {
    work: WorkDir,
    arguments: Vec<String>,
    s3: u16,
    door: u16,
    starts: usize,
    daemon: Daemon,
    access: Access,
}

impl Gateway {
    /// Starts one on a fresh folder.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_on(WorkDir::new("gateway"), arguments)
    }

    /// The same in this folder, in which its data directory may be a disk.
    pub fn start_on(work: WorkDir, arguments: &[&str]) -> Self {
        let (s3, door) = (free_port(), free_port());
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut daemon = launch(&work, [s3, door], &arguments, 0);
        let access = ready(&mut daemon);
        Self { work, arguments, s3, door, starts: 1, daemon, access }
    }

    /// Stops it, kindly or not, and starts it again on the same folder.
    pub fn restart(&mut self, signal: Signal, arguments: &[&str]) {
        self.stop(signal);
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.start_again();
    }

    /// Starts it again on its folder and its ports; it need not be ready.
    pub fn begin_again(&mut self) {
        self.daemon = launch(&self.work, [self.s3, self.door], &self.arguments, self.starts);
        self.starts += 1;
    }

    /// Waits until it serves.
    pub fn wait_ready(&mut self) {
        assert_eq!(ready(&mut self.daemon), self.access, "endpoint and keys outlive a restart");
    }

    /// Starts it again, and waits until it serves.
    pub fn start_again(&mut self) {
        self.begin_again();
        self.wait_ready();
    }

    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.work.join("data")
    }

    /// Ends it; how that went, unless it had to be killed.
    pub fn stop(&mut self, signal: Signal) -> Option<ExitStatus> {
        self.daemon.stop(signal, STOP_LIMIT)
    }

    pub fn work(&self) -> &WorkDir {
        &self.work
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    pub fn client(&self) -> Client {
        Client::new(&self.access)
    }

    /// `cairn` with these words, on the gateway's data directory.
    pub fn operator(&self, words: &[&str]) -> Invocation {
        Invocation::new(CAIRN, self.work.path()).args(words).arg("--data").arg(self.work.join("data"))
    }

    /// What a command of the operator's says as JSON.
    pub fn json(&self, words: &[&str]) -> Value {
        parsed(&self.operator(words).arg("--json").outcome())
    }

    /// A token, made with these words.
    pub fn token(&self, words: &[&str]) -> String {
        let made = self.operator(&["token", "create"]).args(words).run();
        let token = made.text().trim().to_owned();
        assert!(token.starts_with("cairn-join-1-") && !token.contains(char::is_whitespace), "{}", made.story());
        token
    }

    /// A node that joins with this token.
    pub fn node(&self, name: &str, token: &str, arguments: &[&str]) -> Node {
        self.node_of(name, token, "1GB", arguments)
    }

    /// The same with a capacity.
    pub fn node_of(&self, name: &str, token: &str, capacity: &str, arguments: &[&str]) -> Node {
        Node::start(&self.work, name, &[&["--join", token, "--capacity", capacity], arguments].concat())
    }

    /// So many nodes that join with one token, all of them connected.
    pub fn nodes(&self, count: usize) -> Vec<Node> {
        self.nodes_of(count, "1GB")
    }

    /// The same with a capacity.
    pub fn nodes_of(&self, count: usize, capacity: &str) -> Vec<Node> {
        let token = self.token(&["--uses", "unlimited"]);
        let join = |number| self.node_of(&format!("node-{number}"), &token, capacity, &[]);
        let nodes: Vec<Node> = (0..count).map(join).collect();
        self.wait_status("taking the nodes into account", |status| {
            status["puts"]["domains_connected"].as_u64() >= Some(count as u64)
        });
        nodes
    }

    /// `cairn worker run --once --audit-all`: its exit code and its report.
    pub fn audit_all(&self) -> (Option<i32>, Value) {
        let words = ["worker", "run", "--once", "--audit-all"];
        let ended = self.operator(&words).arg("--json").limit_seconds(180).outcome();
        (ended.status.code(), parsed(&ended))
    }

    /// One full pass that begins from now on, to its end: what is counted afterwards knows of all that was
    /// before. What it finds is asked for elsewhere.
    pub fn full_pass(&self) {
        self.operator(&["worker", "run", "--once", "--json"]).limit_seconds(180).outcome();
    }

    /// Warnings and errors in any log of its folder that hold none of these.
    pub fn complaints(&self, expected: &[&str]) -> Vec<String> {
        let entries = std::fs::read_dir(self.work.path()).expect("the gateway's folder").flatten();
        let logs = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "log"));
        logs.flat_map(|path| complaints(&path, expected)).collect()
    }

    /// The rows of `cairn nodes list`.
    pub fn rows(&self) -> Vec<Value> {
        self.json(&["nodes", "list"]).as_array().expect("a list of nodes").clone()
    }

    /// The row of this node.
    pub fn row(&self, node: &str) -> Value {
        let row = self.rows().into_iter().find(|row| row["node"] == node);
        row.unwrap_or_else(|| panic!("node {node} is not listed"))
    }

    pub fn wait_connected(&self, count: usize) {
        let connected = || self.rows().iter().filter(|row| row["connected"] == true).count();
        let reached = poll(SOON, Duration::from_millis(200), || (connected() >= count).then_some(()));
        assert!(reached.is_some(), "{} of {count} nodes are connected: {}", connected(), self.log());
    }

    /// Waits until `ready` likes the row of this node.
    pub fn wait_row(&self, node: &str, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = poll(SOON, Duration::from_millis(200), || {
            last = self.row(node);
            ready(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("{what} did not come: {last:#}\n{}", self.log()))
    }

    /// Waits until `ready` likes what `cairn status` says.
    pub fn wait_status(&self, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = poll(SOON, Duration::from_millis(250), || {
            last = self.json(&["status"]);
            ready(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("{what} did not come: {last:#}\n{}", self.log()))
    }
}

/// `cairn`; where a file `NAME.clock` says so, with a wall clock that is so many
/// seconds wrong as stands there at any moment.
fn cairn(folder: &Path, name: &str) -> Invocation {
    let clock = folder.join(format!("{name}.clock"));
    if !clock.exists() {
        return Invocation::new(CAIRN, folder);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/wrong_clock.py");
    Invocation::new("/usr/bin/python3", folder).arg(script).arg(clock).arg(CAIRN)
}

fn launch(work: &WorkDir, ports: [u16; 2], arguments: &[String], start: usize) -> Daemon {
    let [s3, door] = ports.map(|port| format!("127.0.0.1:{port}"));
    cairn(work.path(), "gateway")
        .args(["gateway", "--listen", &s3, "--node-door", &door, "--data"])
        .arg(work.join("data"))
        .args(arguments)
        .start(&work.join(format!("gateway.{start}.log")))
}

fn ready(daemon: &mut Daemon) -> Access {
    let log = daemon.log_path().to_owned();
    let read = || Access::parse(&std::fs::read_to_string(&log).unwrap_or_default());
    daemon.wait_until("endpoint and keys", READY_LIMIT, read)
}

/// What a node says whose gateway is not there: it is stopped while nodes run.
const AWAY: &str = "cairn::node::dial: not connected";

fn complaints(path: &Path, expected: &[&str]) -> Vec<String> {
    let log = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let known = |line: &str| expected.iter().chain([&AWAY]).any(|text| line.contains(text));
    let wrong = |line: &String| reports_trouble(line) && !known(line);
    let name = path.file_name().unwrap_or_default().display();
    log.lines().map(without_colour).filter(wrong).take(5).map(|line| format!("{name}: {line}")).collect()
}

fn parsed(outcome: &Outcome) -> Value {
    serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {}", outcome.story()))
}

/// A volunteer's node, running or not.
pub struct Node {
    dir: PathBuf,
    folder: PathBuf,
    name: String,
    starts: usize,
    daemon: Daemon,
}

impl Node {
    fn start(work: &WorkDir, name: &str, arguments: &[&str]) -> Self {
        let (dir, folder) = (work.join(name), work.path().to_owned());
        let daemon = Self::launch(&folder, name, 0, arguments);
        Self { dir, folder, name: name.to_owned(), starts: 1, daemon }
    }

    fn launch(folder: &Path, name: &str, start: usize, arguments: &[&str]) -> Daemon {
        Self::invocation(folder, &folder.join(name), arguments).start(&folder.join(format!("{name}.{start}.log")))
    }

    /// `cairn node` on a folder, not started yet.
    pub fn invocation(folder: &Path, dir: &Path, arguments: &[&str]) -> Invocation {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        cairn(folder, &name).args(["node", "--data"]).arg(dir).args(arguments)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Ends it and starts it again without a token.
    pub fn restart(&mut self, signal: Signal) {
        self.stop(signal);
        self.start_again();
    }

    /// Starts it again without a token.
    pub fn start_again(&mut self) {
        self.daemon = Self::launch(&self.folder, &self.name, self.starts, &[]);
        self.starts += 1;
    }

    pub fn stop(&mut self, signal: Signal) {
        self.daemon.stop(signal, STOP_LIMIT);
    }

    /// `cairn node status --json`, as soon as it is answered: one that starts or ends may hang up.
    pub fn status(&self) -> Value {
        let words = ["node", "status", "--json", "--data"];
        let ask = || Invocation::new(CAIRN, &self.folder).args(words).arg(&self.dir).outcome();
        let said = poll(SOON, Duration::from_millis(100), || Some(ask()).filter(|said| said.status.success()));
        parsed(&said.unwrap_or_else(|| panic!("the node does not say how it is: {}", ask().story())))
    }

    /// Waits until it serves, as it says itself: the gateway may take the connection of the one before for it.
    pub fn wait_serving(&self) {
        let serves = || (self.status()["state"] == "serving").then_some(());
        assert!(poll(SOON, Duration::from_millis(100), serves).is_some(), "the node does not serve: {}", self.log());
    }

    /// Its id, as soon as it says so.
    pub fn id(&self) -> String {
        let id = || self.status()["node"].as_str().map(str::to_owned);
        poll(SOON, Duration::from_millis(100), id).expect("a node has an id")
    }

    /// `cairn node leave`, to its end.
    pub fn leave(&self) -> Outcome {
        Invocation::new(CAIRN, &self.folder)
            .args(["node", "leave", "--data"])
            .arg(&self.dir)
            .limit_seconds(120)
            .outcome()
    }
}

/// Sizes of every kind: inline, shared, one segment, several.
pub const SIZES: [u64; 5] = [1000, 40_000, 700_000, 9_000_000, 20_000_000];

/// Objects of all sizes, and what they hold.
pub struct Objects {
    bucket: String,
    digests: Vec<(String, String)>,
}

impl Objects {
    /// Puts `rounds` objects of every size into a bucket of their own.
    pub fn put(gateway: &Gateway, bucket: &str, rounds: u64) -> Self {
        Self::put_by(gateway.client(), bucket, rounds)
    }

    /// The same by a client.
    pub fn put_by(client: Client, bucket: &str, rounds: u64) -> Self {
        client.put(&format!("/{bucket}"), &[]).expect("an answer").ok("make a bucket");
        let mut objects = Self { bucket: bucket.to_owned(), digests: Vec::new() };
        objects.more_by(&client, rounds);
        objects
    }

    /// Puts `rounds` more of every size.
    pub fn more(&mut self, gateway: &Gateway, rounds: u64) {
        self.more_by(&gateway.client(), rounds);
    }

    /// The same by a client.
    pub fn more_by(&mut self, client: &Client, rounds: u64) {
        for _ in 0..rounds {
            SIZES.iter().for_each(|size| self.put_one(client, *size));
        }
    }

    /// Puts `count` more of one size.
    pub fn more_of(&mut self, gateway: &Gateway, size: u64, count: usize) {
        let client = gateway.client();
        (0..count).for_each(|_| self.put_one(&client, size));
    }

    fn put_one(&mut self, client: &Client, size: u64) {
        let path = format!("/{}/{}", self.bucket, Self::name(self.digests.len(), size));
        let bytes = data::random(self.digests.len() as u64, size);
        client.put(&path, &bytes).expect("an answer").ok(&path);
        self.digests.push((path, data::sha256(&bytes)));
    }

    fn name(number: usize, size: u64) -> String {
        format!("{number}-{size}")
    }

    /// The key of the object of a size, by its place among them, in a round.
    pub fn key(round: usize, size: usize) -> String {
        Self::name(round * SIZES.len() + size, SIZES[size])
    }

    /// Whether these bytes are those of the object with this number.
    pub fn is(number: u64, bytes: &[u8]) -> bool {
        bytes == data::random(number, bytes.len() as u64)
    }

    /// Reads all of them and compares.
    pub fn check(&self, gateway: &Gateway) {
        self.check_by(&gateway.client());
    }

    /// The same by a client.
    pub fn check_by(&self, client: &Client) {
        for (path, digest) in &self.digests {
            let reply = client.get(path).expect("an answer").ok(path);
            assert_eq!(data::sha256(&reply.body), *digest, "{path} has changed");
        }
    }
}
