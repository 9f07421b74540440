//! What is wrong at a gateway's start: one sentence and exit code 2, no
//! password in it, and nothing left behind that hinders the next try.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cluster::{PASSWORD, ROLE, fresh_database, write_private};
use crate::postgres::Server;
use crate::support::cairn::Access;
use crate::support::data::random;
use crate::support::process::Invocation;
use crate::support::workdir::WorkDir;
use crate::support::{free_port, poll};

/// A gateway that cannot start says so within this time.
const AT_ONCE: Duration = Duration::from_secs(30);
/// The same where a host does not answer, or is not there yet.
const AFTER_WAITING: Duration = Duration::from_secs(100);

/// A gateway's data directory and its cluster's secret.
struct Desk {
    work: WorkDir,
    key: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let work = WorkDir::new("refused");
        let key = work.join("its.key");
        write_private(&key, &random(rand::random(), 32));
        Self { work, key }
    }

    fn gateway(&self, arguments: &[&str]) -> Invocation {
        let door = format!("127.0.0.1:{}", free_port());
        Invocation::new(env!("CARGO_BIN_EXE_cairn"), self.work.path())
            .args(["gateway", "--listen", "127.0.0.1:0", "--node-door", &door, "--data"])
            .arg(self.work.join("data"))
            .args(arguments)
            .env("CAIRN_LOG", "debug")
            .env("CAIRN_START_WAIT", "0s")
    }

    /// With the cluster's secret.
    fn with_key(&self, arguments: &[&str]) -> Invocation {
        self.gateway(arguments).arg("--cluster-key-file").arg(&self.key)
    }

    /// A gateway that starts on this directory and is ended again.
    fn starts(&self, invocation: Invocation) {
        let log = self.work.join(format!("start-{}.log", rand::random::<u32>()));
        let mut daemon = invocation.start(&log);
        let ready = || Access::parse(&std::fs::read_to_string(&log).unwrap_or_default());
        daemon.wait_until("endpoint and keys", AFTER_WAITING, ready);
        assert!(!daemon.log().contains(PASSWORD), "{}", daemon.story());
        let ended = daemon.stop(rustix::process::Signal::TERM, AFTER_WAITING);
        assert!(ended.is_some_and(|status| status.success()), "{}", daemon.story());
    }
}

/// It ends with exit code 2 and a sentence that has these words.
fn refused(invocation: Invocation, within: Duration, words: &[&str]) -> String {
    let begun = Instant::now();
    let outcome = invocation.fails();
    let (story, took) = (outcome.story(), begun.elapsed());
    assert_eq!(outcome.status.code(), Some(2), "{story}");
    assert!(took < within, "it took {took:?}: {story}");
    assert!(outcome.stdout.is_empty(), "{story}");
    let said = |line: &&str| line.starts_with("cairn: ");
    let sentences: Vec<&str> = outcome.stderr.lines().filter(said).collect();
    assert_eq!(sentences.len(), 1, "one sentence: {story}");
    assert!(words.iter().all(|word| sentences[0].contains(word)), "{words:?}: {story}");
    assert!(!outcome.stderr.contains(PASSWORD), "the password is in {story}");
    assert!(!outcome.stderr.contains("recovery phrase"), "a secret was shown: {story}");
    sentences[0].to_owned()
}

#[test]
fn what_postgresql_refuses() {
    let (server, desk) = (Server::shared(), Desk::new());
    let (database, good) = fresh_database(server);
    let port = server.port();
    let refused = |url: &str, words: &[&str]| refused(desk.with_key(&["--metadata", url]), AT_ONCE, words);

    let wrong = format!("{PASSWORD}x");
    refused(&server.url_of(ROLE, &wrong, &database), &["refuses this user or password"]);
    refused(&server.url_of("nobody", PASSWORD, &database), &["refuses this user or password"]);
    refused(&server.url_of(ROLE, PASSWORD, "nowhere"), &["no such database", "nowhere", "CREATE DATABASE"]);
    server.sql("postgres", &format!("CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'"));
    refused(&server.url_of("reader", PASSWORD, &database), &["does not permit", "grant"]);
    refused(
        &format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:{port}x/db"),
        &["cannot be read", "postgres://user:password@host"],
    );
    refused(&format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:{port}/db?sslmode=maybe"), &["sslmode"]);
    // Everything was looked at before anything was made: the directory is as good as new.
    desk.starts(desk.with_key(&["--metadata", &good]));

    server.sql(&database, "UPDATE schema_version SET version = 1000");
    refused(&good, &["schema version 1000", "newer program"]);
}

#[test]
fn a_replica_alone_is_refused() {
    let (server, desk) = (Server::start(""), Desk::new());
    let (database, good) = fresh_database(&server);
    desk.starts(desk.with_key(&["--metadata", &good]));
    let replica = server.replica("");
    let url = replica.url_of(ROLE, PASSWORD, &database);
    let words = ["read-only", "primary", "all hosts"];
    refused(desk.with_key(&["--metadata", &url]), AT_ONCE, &words);
    refused(Desk::new().with_key(&["--metadata", &url]), AT_ONCE, &words);
    let only_primary = format!("{url}&target_session_attrs=read-write");
    refused(desk.with_key(&["--metadata", &only_primary]), AFTER_WAITING, &["127.0.0.1"]);
    desk.starts(desk.with_key(&["--metadata", &good]));
}

#[test]
fn hosts_that_do_not_answer() {
    let desk = Desk::new();
    let nobody = format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:{}/db", free_port());
    let said = refused(desk.with_key(&["--metadata", &nobody]), AFTER_WAITING, &["127.0.0.1", "refused"]);
    println!("{said}");
    refused(
        desk.with_key(&["--metadata", &nobody.replace("127.0.0.1", "no.such.host.invalid")]),
        AFTER_WAITING,
        &["no.such.host.invalid"],
    );
    // One that takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = silent.local_addr().expect("it is bound").port();
    let silent_url = format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:{port}/db");
    refused(desk.with_key(&["--metadata", &silent_url]), AFTER_WAITING, &["did not answer in time"]);
    let (_, good) = fresh_database(Server::shared());
    desk.starts(desk.with_key(&["--metadata", &good]));
}

#[test]
fn addresses_in_files() {
    let desk = Desk::new();
    let file = desk.work.join("metadata.url");
    let arguments = ["--metadata-file", file.to_str().expect("ASCII")];
    refused(desk.with_key(&arguments), AT_ONCE, &["database's address", "metadata.url", "no such file"]);
    for unreadable in [format!("postgres://{PASSWORD}@host:x/db"), PASSWORD.to_owned()] {
        write_private(&file, unreadable.as_bytes());
        refused(desk.with_key(&arguments), AT_ONCE, &["cannot be read", "postgres://user:password@host"]);
    }
    write_private(&file, b"\n");
    refused(desk.with_key(&arguments), AT_ONCE, &["names no host"]);
    let (_, good) = fresh_database(Server::shared());
    write_private(&file, format!("{good}\n").as_bytes());
    desk.starts(desk.with_key(&arguments));
}

#[test]
fn another_clusters_database_secret_or_directory() {
    let (server, one, other) = (Server::shared(), Desk::new(), Desk::new());
    let (_, url) = fresh_database(server);
    let metadata = ["--metadata", &url];
    one.starts(one.with_key(&metadata));

    // A secret that is not that of the database's cluster.
    refused(other.with_key(&metadata), AT_ONCE, &["another cluster"]);
    // No secret at all: none may be made, for a cluster that has one.
    refused(other.gateway(&metadata), AT_ONCE, &["--cluster-key-file"]);
    assert!(!other.work.join("data/cluster.key").exists(), "a secret was kept for a cluster that has another");
    // The right one, on the directory that was refused twice.
    other.starts(other.gateway(&metadata).arg("--cluster-key-file").arg(&one.key));
    // A directory of a cluster with the secret of another one, on SQLite too.
    let stranger = Desk::new();
    for arguments in [&metadata[..], &[]] {
        let start = one.gateway(arguments).arg("--cluster-key-file").arg(&stranger.key);
        refused(start, AT_ONCE, &["another cluster"]);
    }
    refused(one.gateway(&metadata).args(["--cluster-key-file", "/no/such.key"]), AT_ONCE, &["/no/such.key"]);
    let short = stranger.work.join("short.key");
    write_private(&short, &[7; 31]);
    refused(stranger.gateway(&metadata).arg("--cluster-key-file").arg(&short), AT_ONCE, &["32 bytes"]);
    one.starts(one.with_key(&metadata));
}

/// A cluster that begins on PostgreSQL without a secret that was given makes
/// one, as a cluster on SQLite does, and further gateways are given it.
#[test]
fn the_first_gateway_makes_the_secret_that_others_are_given() {
    let (server, first, second) = (Server::shared(), Desk::new(), Desk::new());
    let (_, url) = fresh_database(server);
    first.starts(first.gateway(&["--metadata", &url]));
    let key = first.work.join("data/cluster.key");
    second.starts(second.gateway(&["--metadata", &url]).arg("--cluster-key-file").arg(&key));
    first.starts(first.gateway(&["--metadata", &url]));
    let kept = || key.exists().then_some(());
    poll(AT_ONCE, Duration::from_millis(10), kept).expect("the secret stays");
}
