//! Gateways and nodes, each a process with a folder. At its end every line
//! that any of them printed is searched for the database's password.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::postgres::Server;
use crate::support::cairn::{Access, reports_trouble, tell, without_colour};
use crate::support::client::Client;
use crate::support::data::random;
use crate::support::process::{Daemon, Invocation, Outcome};
use crate::support::workdir::WorkDir;
use crate::support::{free_port, poll};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");
/// Whom gateways log in as; it owns its databases and nothing else.
pub const ROLE: &str = "cairn";
/// Stands in no other text.
pub const PASSWORD: &str = "Gr4niteUnderMoss";
/// How long something may take that the cluster does by itself.
pub const SOON: Duration = Duration::from_secs(120);
/// A request that a gateway gives up without its database has waited for so
/// long, a little less than the ten seconds of its patience.
pub const PATIENCE: Duration = Duration::from_secs(9);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Nodes of a cluster: a scheme of 3/4/5/6.
pub const NODES: usize = 6;

/// A fresh database of the role's own, and its address.
pub fn fresh_database(server: &Server) -> (String, String) {
    server.sql(
        "postgres",
        &format!(
            "DO $$ BEGIN CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        ),
    );
    let name = server.database(None);
    server.sql("postgres", &format!("ALTER DATABASE {name} OWNER TO {ROLE}"));
    let url = server.url_of(ROLE, PASSWORD, &name);
    (name, url)
}

/// Gateways on one database, and nodes.
pub struct Cluster {
    pub gateways: Vec<Gateway>,
    pub nodes: Vec<Node>,
    url: String,
    /// What the gateways log.
    log: &'static str,
    /// Settings of the gateways besides.
    variables: &'static [(&'static str, &'static str)],
    /// What may be logged as a warning; none if anything may.
    expected: Option<Vec<&'static str>>,
    work: WorkDir,
}

impl Cluster {
    /// So many gateways, and nodes that all of them know.
    pub fn start(url: &str, gateways: usize) -> Self {
        Self::start_logging(url, gateways, "debug")
    }

    /// The same with a level of its log. The address may be `sqlite` for one gateway.
    pub fn start_logging(url: &str, gateways: usize, log: &'static str) -> Self {
        let mut cluster = Self::empty(url, log);
        (0..gateways).for_each(|_| cluster.add_gateway());
        cluster.add_nodes(NODES);
        cluster.wait_whole();
        cluster
    }

    /// The same with these variables in the gateways' environment.
    pub fn start_with(url: &str, gateways: usize, variables: &'static [(&'static str, &'static str)]) -> Self {
        let mut cluster = Self::empty(url, "debug");
        cluster.variables = variables;
        (0..gateways).for_each(|_| cluster.add_gateway());
        cluster.add_nodes(NODES);
        cluster.wait_whole();
        cluster
    }

    /// Nothing yet but a secret for its gateways.
    fn empty(url: &str, log: &'static str) -> Self {
        let work = WorkDir::new("gateways");
        write_private(&work.join("shared.key"), &random(rand::random(), 32));
        Self { gateways: Vec::new(), nodes: Vec::new(), url: url.to_owned(), log, variables: &[], expected: None, work }
    }

    /// From now on a warning or an error is a fault, unless it holds one of these.
    pub fn expect_in_logs(&mut self, texts: &[&'static str]) {
        self.expected = Some(texts.to_vec());
    }

    /// Starts one more.
    pub fn add_gateway(&mut self) {
        let key = self.work.join("shared.key");
        let place = Place {
            number: self.gateways.len(),
            folder: self.work.path().to_owned(),
            url: self.url.clone(),
            log: self.log,
            variables: self.variables,
            key,
            s3: free_port(),
            door: free_port(),
        };
        self.gateways.push(Gateway::start(place));
    }

    /// Starts so many more, which join with one token.
    pub fn add_nodes(&mut self, count: usize) {
        let token = self.gateways[0].token();
        for _ in 0..count {
            self.nodes.push(Node::start(self.work.path(), self.nodes.len(), &token));
        }
    }

    /// Waits until every gateway that runs is connected to all nodes.
    pub fn wait_whole(&self) {
        for gateway in self.gateways.iter().filter(|gateway| gateway.runs()) {
            gateway.wait_for_nodes(self.nodes.len());
        }
    }

    /// `cairn worker` on the same database and the same secret, not started yet.
    pub fn worker(&self) -> Invocation {
        self.worker_with(&["worker"])
    }

    /// The same, with these words of the command.
    pub fn worker_with(&self, words: &[&str]) -> Invocation {
        let door = format!("127.0.0.1:{}", free_port());
        Invocation::new(CAIRN, self.work.path())
            .args(words)
            .args(["--metadata", &self.url, "--node-door", &door, "--cluster-key-file"])
            .arg(self.work.join("shared.key"))
            .env("CAIRN_DATA", self.work.join("worker"))
    }

    /// Its folder.
    pub fn work(&self) -> &WorkDir {
        &self.work
    }

    /// A client of every gateway.
    pub fn clients(&self) -> Vec<Client> {
        self.gateways.iter().map(Gateway::client).collect()
    }

    /// Everything that any of its processes has printed, by file.
    fn logs(&self) -> Vec<(PathBuf, String)> {
        let entries = std::fs::read_dir(self.work.path()).expect("the cluster's folder");
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| (path.clone(), String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into()))
            .collect()
    }

    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (path, log) in self.logs() {
            let wrong = log.lines().map(without_colour).filter(|line| self.is_wrong(line));
            complaints.extend(wrong.take(5).map(|line| format!("{}: {line}", path.display())));
        }
        complaints
    }

    fn is_wrong(&self, line: &str) -> bool {
        // What a node says whose gateway is not there: gateways are stopped first.
        let away = line.contains("cairn::node::dial: not connected");
        let known = |texts: &Vec<&str>| away || texts.iter().any(|text| line.contains(text));
        let unexpected = |texts: &Vec<&str>| reports_trouble(line) && !known(texts);
        line.contains(PASSWORD) || line.contains("panicked at") || self.expected.as_ref().is_some_and(unexpected)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.gateways.iter().for_each(|gateway| tell(&gateway.daemon.story()));
            return;
        }
        let ended: Vec<_> = self.gateways.iter_mut().filter(|gateway| gateway.runs()).map(Gateway::end).collect();
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "unexpected in the logs:\n{}", complaints.join("\n"));
        assert!(ended.iter().all(|ended| *ended), "SIGTERM did not end a gateway well: {ended:?}");
    }
}

/// Writes a file that nobody else may read.
pub fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes).expect("a folder of our own");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file of our own");
}

/// Where a gateway runs, and on what. All of it stays the same.
struct Place {
    number: usize,
    folder: PathBuf,
    url: String,
    log: &'static str,
    variables: &'static [(&'static str, &'static str)],
    key: PathBuf,
    s3: u16,
    door: u16,
}

impl Place {
    fn data(&self) -> PathBuf {
        self.folder.join(format!("gateway-{}", self.number))
    }

    fn launch(&self, start: usize) -> Daemon {
        let [s3, door] = [self.s3, self.door].map(|port| format!("127.0.0.1:{port}"));
        let invocation = Invocation::new(CAIRN, &self.folder)
            .args(["gateway", "--listen", &s3, "--node-door", &door, "--cluster-key-file"])
            .arg(&self.key)
            .arg("--data")
            .arg(self.data())
            .env("CAIRN_LOG", self.log);
        let invocation =
            self.variables.iter().fold(invocation, |invocation, (name, value)| invocation.env(name, value));
        // Each of the ways in which people say where the database is.
        let invocation = match self.number {
            0 => invocation.env("CAIRN_METADATA", &self.url),
            1 => {
                let file = self.folder.join("metadata.url");
                write_private(&file, self.url.as_bytes());
                invocation.arg("--metadata-file").arg(file)
            }
            _ => invocation.args(["--metadata", &self.url]),
        };
        invocation.start(&self.folder.join(format!("gateway-{}.{start}.log", self.number)))
    }
}

/// A gateway, running or not.
pub struct Gateway {
    place: Place,
    starts: usize,
    running: bool,
    daemon: Daemon,
    access: Access,
}

impl Gateway {
    fn start(place: Place) -> Self {
        let mut daemon = place.launch(0);
        let access = ready(&mut daemon);
        Self { place, starts: 1, running: true, daemon, access }
    }

    /// Starts it again on its folder and its ports; it need not be ready.
    pub fn begin_again(&mut self) {
        assert!(!self.running, "it runs");
        self.daemon = self.place.launch(self.starts);
        (self.starts, self.running) = (self.starts + 1, true);
    }

    /// Starts it again, and waits until it serves.
    pub fn start_again(&mut self) {
        self.begin_again();
        self.wait_ready();
    }

    /// Waits until it serves; its keys are those that it had before.
    pub fn wait_ready(&mut self) {
        assert_eq!(ready(&mut self.daemon), self.access, "endpoint and keys outlive a restart");
    }

    /// Kills it where it stands.
    pub fn kill(&mut self) {
        self.daemon.stop(Signal::KILL, STOP_LIMIT);
        self.running = false;
    }

    /// Lets it do nothing at all until it thaws.
    pub fn freeze(&self) {
        self.daemon.send(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.daemon.send(Signal::CONT);
    }

    /// Asks it to end; true if it did so well.
    pub fn end(&mut self) -> bool {
        self.running = false;
        self.daemon.stop(Signal::TERM, STOP_LIMIT).is_some_and(|status| status.success())
    }

    pub fn runs(&self) -> bool {
        self.running
    }

    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    pub fn client(&self) -> Client {
        Client::new(&self.access)
    }

    /// Where nodes dial it.
    pub fn door(&self) -> String {
        format!("127.0.0.1:{}", self.place.door)
    }

    /// `cairn` with these words, on its data directory.
    pub fn operator(&self, words: &[&str]) -> Outcome {
        self.command(words).run()
    }

    fn command(&self, words: &[&str]) -> Invocation {
        Invocation::new(CAIRN, &self.place.folder).args(words).arg("--data").arg(self.place.data())
    }

    /// A token that any number of nodes may join with.
    pub fn token(&self) -> String {
        self.operator(&["token", "create", "--uses", "unlimited"]).text().trim().to_owned()
    }

    /// What `cairn status` says; null while it cannot say anything.
    pub fn status(&self) -> Value {
        let asked = self.command(&["status", "--json"]).outcome();
        serde_json::from_slice(&asked.stdout).unwrap_or_default()
    }

    /// Waits until it is connected to so many nodes and takes writes.
    pub fn wait_for_nodes(&self, count: usize) {
        let whole = || {
            let status = self.status();
            let all = status["puts"]["domains_connected"].as_u64() >= Some(count as u64);
            (all && status["puts"]["possible"] == true).then_some(())
        };
        let reached = poll(SOON, Duration::from_millis(100), whole);
        assert!(reached.is_some(), "not {count} nodes: {:#}\n{}", self.status(), self.daemon.story());
    }
}

fn ready(daemon: &mut Daemon) -> Access {
    let log = daemon.log_path().to_owned();
    let read = || Access::parse(&std::fs::read_to_string(&log).unwrap_or_default());
    daemon.wait_until("endpoint and keys", SOON, read)
}

/// A volunteer's node.
pub struct Node {
    number: usize,
    folder: PathBuf,
    starts: usize,
    daemon: Daemon,
}

impl Node {
    fn start(folder: &Path, number: usize, token: &str) -> Self {
        let daemon = Self::launch(folder, number, 0, &["--join", token, "--capacity", "1GB"]);
        Self { number, folder: folder.to_owned(), starts: 1, daemon }
    }

    fn launch(folder: &Path, number: usize, start: usize, arguments: &[&str]) -> Daemon {
        Invocation::new(CAIRN, folder)
            .args(["node", "--data"])
            .arg(folder.join(format!("node-{number}")))
            .args(arguments)
            .start(&folder.join(format!("node-{number}.{start}.log")))
    }

    pub fn kill(&mut self) {
        self.daemon.stop(Signal::KILL, STOP_LIMIT);
    }

    /// Starts it again, without a token.
    pub fn start_again(&mut self) {
        self.daemon = Self::launch(&self.folder, self.number, self.starts, &[]);
        self.starts += 1;
    }

    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Its name.
    pub fn id(&self) -> String {
        let name = || self.status()["node"].as_str().map(str::to_owned);
        poll(SOON, Duration::from_millis(100), name).expect("a node has a name")
    }

    fn status(&self) -> Value {
        let data = self.folder.join(format!("node-{}", self.number));
        let asked =
            Invocation::new(CAIRN, &self.folder).args(["node", "status", "--json", "--data"]).arg(data).outcome();
        serde_json::from_slice(&asked.stdout).unwrap_or_default()
    }

    /// How it stands with each door that it knows.
    pub fn doors(&self) -> Vec<(String, bool)> {
        let doors = self.status()["doors"].as_array().cloned().unwrap_or_default();
        doors
            .iter()
            .map(|door| (door["door"].as_str().unwrap_or_default().to_owned(), door["state"] == "connected"))
            .collect()
    }

    /// How often it has lost a connection to this door.
    pub fn losses(&self, door: &str) -> usize {
        self.daemon.log().lines().filter(|line| line.contains("disconnected") && line.contains(door)).count()
    }
}
