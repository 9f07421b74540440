//! `cairn metadata` as a script meets it: what is refused, in one sentence, and
//! what becomes of a move that is killed.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::postgres::{PASSWORD, Server};
use crate::support::community::{Gateway, Objects};
use crate::support::process::{Invocation, Outcome};
use crate::support::workdir::WorkDir;

fn metadata(work: &WorkDir, words: &[&str]) -> Invocation {
    Invocation::new(env!("CARGO_BIN_EXE_cairn"), work.path()).args(["metadata"]).args(words)
}

fn sqlite(directory: &Path) -> String {
    format!("sqlite:{}", directory.display())
}

#[track_caller]
fn refused(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.story());
    for word in words {
        assert!(outcome.stderr.contains(word), "'{word}' is not said: {}", outcome.story());
    }
    assert_eq!(outcome.stderr.lines().count(), 1, "one sentence: {}", outcome.story());
    assert!(outcome.stdout.is_empty(), "{}", outcome.story());
    assert!(!outcome.stderr.contains(PASSWORD) && !outcome.stderr.contains("hunter2"), "{}", outcome.story());
}

#[test]
fn a_gateway_moves_there_and_back() {
    let mut gateway = Gateway::start(&["--scheme", "1/1/2/3"]);
    let _nodes = gateway.nodes(3);
    let mut objects = Objects::put(&gateway, "kept", 1);
    let (here, server) = (sqlite(&gateway.work().join("data")), Server::shared());
    let there = server.url(&server.database(None));
    let work = WorkDir::new("moving");
    let copy = |from: &str, to: &str| metadata(&work, &["copy", "--from", from, "--to", to]);
    refused(&copy(&here, &there).outcome(), &["a process runs on the data directory", "stop it first"]);
    gateway.stop(Signal::TERM);
    let moved = copy(&here, &there).run();
    for words in ["at generation 2", "every row compared", "cairn gateway --data", "--metadata ADDRESS", "metadata.db"]
    {
        assert!(moved.text().contains(words), "'{words}' is not said: {}", moved.story());
    }
    assert!(!moved.text().contains("a%20password"), "{}", moved.story());
    let again = copy(&here, &there).run();
    assert!(again.text().contains("moved before"), "{}", again.story());
    refused(&gateway.operator(&["status"]).outcome(), &["was moved to the PostgreSQL at 127.0.0.1"]);

    gateway.restart(Signal::TERM, &["--scheme", "1/1/2/3", "--metadata", &there]);
    gateway.wait_connected(3);
    objects.check(&gateway);
    objects.more(&gateway, 1);
    // It hears of the next move, and serves nothing old.
    let moved = copy(&there, &here).arg("--json").outcome();
    refused(&moved, &["a process runs on the data directory"]);
    let elsewhere = sqlite(&work.join("elsewhere"));
    let moved = copy(&there, &elsewhere).arg("--json").run();
    let told: Value = serde_json::from_slice(&moved.stdout).expect("JSON");
    let rows = told["tables"].as_array().expect("tables").iter().find(|row| row["table"] == "objects");
    assert_eq!((&told["generation"], rows.map(|row| &row["rows"])), (&3.into(), Some(&Value::from(10))), "{told:#}");
    let reply = gateway.client().get("/kept/0-1000").expect("an answer");
    assert_eq!((reply.status, reply.header("retry-after").is_empty()), (503, false), "{}", reply.text());
    assert_eq!(gateway.client().put("/kept/late", b"late").expect("an answer").status, 503);
    gateway.stop(Signal::TERM);

    copy(&elsewhere, &there).run();
    copy(&there, &here).run();
    gateway.restart(Signal::TERM, &["--scheme", "1/1/2/3"]);
    gateway.wait_connected(3);
    objects.check(&gateway);
}

#[test]
fn what_cannot_be_moved_is_told_in_a_sentence() {
    let mut gateway = Gateway::start(&[]);
    gateway.client().put("/bucket", &[]).expect("an answer").ok("make a bucket");
    gateway.stop(Signal::TERM);
    let (work, server) = (WorkDir::new("moving"), Server::shared());
    let data = gateway.work().join("data");
    let (here, there) = (sqlite(&data), server.url(&server.database(None)));
    let copy = |from: &str, to: &str| metadata(&work, &["copy", "--from", from, "--to", to]).outcome();
    refused(&copy(&here, &here), &["the same database"]);
    refused(&copy(&there, &there), &["the same database"]);
    refused(&copy(&here, "mysql://me:hunter2@a/b"), &["--to is neither sqlite:DIR"]);
    refused(&copy(&here, "postgres://me:hunter2@127.0.0.1:1/b"), &["127.0.0.1:1/b", "refused"]);
    refused(&copy(&here, &there.replace("a%20password", "hunter2")), &["refuses this user or password"]);
    refused(&copy("sqlite:nowhere", &there), &["nowhere is no data directory"]);
    refused(&copy(&there, &here), &["holds no metadata of a cluster"]);
    let file = metadata(&work, &["copy", "--from", &here, "--to-file", "no-file"]).outcome();
    refused(&file, &["no-file", "check the path"]);
    let newer = server.database(None);
    server.sql(
        &newer,
        "CREATE TABLE schema_version (one BIGINT, version BIGINT); INSERT INTO schema_version VALUES (1, 99)",
    );
    refused(&copy(&here, &server.url(&newer)), &["schema version 99", "newer program"]);

    // Another cluster's, from either side.
    let mut other = Gateway::start(&["--metadata", &there]);
    other.client().put("/others", &[]).expect("an answer").ok("make a bucket");
    other.stop(Signal::TERM);
    refused(&copy(&here, &there), &["belongs to another cluster", "choose an empty database"]);
    refused(&copy(&there, &here), &["belongs to another cluster"]);
    refused(&copy(&there, &sqlite(work.path())), &["is not a data directory of Cairn and not empty"]);
    gateway.restart(Signal::TERM, &[]);
    gateway.client().get("/bucket").expect("an answer").ok("nothing has changed");
}

/// Killed at any moment, it goes on when it is run again, or is given up.
#[test]
fn a_move_that_is_killed_has_a_way_out() {
    let mut gateway = Gateway::start(&["--scheme", "1/1/2/3"]);
    let _nodes = gateway.nodes(3);
    gateway.client().put("/bucket", &[]).expect("an answer").ok("make a bucket");
    for number in 0..300 {
        let path = format!("/bucket/{number}");
        gateway.client().put(&path, path.as_bytes()).expect("an answer").ok(&path);
    }
    gateway.stop(Signal::TERM);
    let (work, server) = (WorkDir::new("moving"), Server::shared());
    let (here, database) = (sqlite(&gateway.work().join("data")), server.database(None));
    let there = server.url(&database);
    crate::growing::private(&work.join("database"), &there);
    let words = ["copy", "--from", &here, "--to-file", "database"];
    let cancel = ["cancel", "--from", &here, "--to-file", "database"];
    for round in 0..8 {
        let mut daemon = metadata(&work, &words).start(&work.join("copy.log"));
        // Not to wait for anything: to be somewhere else each time.
        std::thread::sleep(Duration::from_millis(40 * round));
        daemon.stop(Signal::KILL, Duration::from_secs(5));
        if round == 4 {
            let said = metadata(&work, &cancel).outcome();
            let complete = said.stderr.contains("is complete");
            assert!(said.status.success() || complete, "{}", said.story());
            let status = gateway.operator(&["token", "list"]).outcome();
            assert_eq!(status.status.success(), !complete, "{}", status.story());
        }
    }
    let copied = metadata(&work, &words).run();
    assert!(copied.text().contains("--metadata-file database"), "{}", copied.story());
    let elsewhere = metadata(&work, &["copy", "--from", &here, "--to", "sqlite:elsewhere"]).outcome();
    refused(&elsewhere, &["was moved to the PostgreSQL", "go on with that"]);
    refused(&metadata(&work, &cancel).outcome(), &["is complete"]);
    gateway.restart(
        Signal::TERM,
        &["--scheme", "1/1/2/3", "--metadata-file", &work.join("database").display().to_string()],
    );
    for number in [0, 150, 299] {
        let path = format!("/bucket/{number}");
        assert_eq!(gateway.client().get(&path).expect("an answer").ok(&path).body, path.as_bytes());
    }
}
