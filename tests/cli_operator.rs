//! The operator's commands as a script meets them: against a real `cairn up`,
//! while it runs and after it has stopped, over its socket and over TCP.
#![cfg(feature = "server")]

#[path = "support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cairn::wire::JoinToken;
use rustix::process::Signal;
use serde_json::Value;
use support::cairn::{Access, Server};
use support::client::Client;
use support::poll;
use support::process::{Invocation, Outcome, free_port};
use support::workdir::WorkDir;

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");
const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// `cairn` with these words on a data directory.
fn cairn(folder: &Path, data: &Path, words: &[&str]) -> Invocation {
    Invocation::new(CAIRN, folder).args(words).arg("--data").arg(data)
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {}", outcome.story()))
}

#[track_caller]
fn says(outcome: &Outcome, code: i32, words: &str) {
    assert_eq!(outcome.status.code(), Some(code), "{}", outcome.story());
    assert!(outcome.stderr.contains(words), "'{words}' is not said: {}", outcome.story());
    assert_eq!(outcome.stderr.lines().count(), 1, "one sentence: {}", outcome.story());
    assert!(outcome.stdout.is_empty(), "{}", outcome.story());
}

struct Up(Server);

impl Up {
    fn start() -> Self {
        Self(Server::start(&[]))
    }

    fn run(&self, words: &[&str]) -> Outcome {
        cairn(self.0.work().path(), &self.0.data(), words).outcome()
    }

    fn json(&self, words: &[&str]) -> Value {
        json(&self.run(&[words, &["--json"]].concat()))
    }
}

#[test]
fn status_is_complete_and_its_exit_code_tells_whether_all_is_well() {
    let up = Up::start();
    let told = up.run(&["status"]);
    assert_eq!(told.status.code(), Some(0), "{}", told.story());
    for words in [
        "healthy",
        "8 of 8 connected",
        "4/5/7/8",
        "possible: 8 failure domains take pieces, 7 needed",
        &up.0.access().endpoint,
    ] {
        assert!(told.text().contains(words), "'{words}' is missing: {}", told.story());
    }
    let status = up.json(&["status"]);
    assert_eq!(
        (&status["running"], &status["healthy"], &status["puts"]["possible"]),
        (&true.into(), &true.into(), &true.into())
    );
    assert_eq!((&status["nodes"]["connected"], &status["nodes"]["domains"]), (&8.into(), &8.into()), "{status:#}");
    assert!(status["space"]["data_bytes"].as_u64() > Some(0), "{status:#}");

    // Two domains fewer than a write waits for.
    let nodes = up.json(&["nodes", "list"]);
    for (at, force) in [(0, &[][..]), (1, &["--force"])] {
        let id = nodes[at]["node"].as_str().expect("an id");
        assert_eq!(up.run(&[&["nodes", "suspend", id], force].concat()).status.code(), Some(0));
    }
    let told = up.run(&["status"]);
    assert_eq!(told.status.code(), Some(1), "{}", told.story());
    for words in ["NOT POSSIBLE: 6 failure domains take pieces, 7 needed", "2 suspended"] {
        assert!(told.text().contains(words), "'{words}' is missing: {}", told.story());
    }
    let client = Client::new(up.0.access());
    client.put("/bucket", &[]).expect("an answer").ok("a bucket needs no nodes");
    assert_eq!(client.put("/bucket/object", &[7; 100_000]).expect("an answer").status, 503);
    let id = nodes[1]["node"].as_str().expect("an id");
    assert_eq!(up.run(&["nodes", "resume", &id[..12]]).status.code(), Some(0));
    assert_eq!(up.run(&["status"]).status.code(), Some(0));
    client.put("/bucket/object", &[7; 100_000]).expect("an answer").ok("seven nodes are enough");
}

#[test]
fn nodes_are_shown_and_what_would_do_harm_is_refused() {
    let up = Up::start();
    let nodes = up.json(&["nodes", "list"]);
    assert_eq!(nodes.as_array().map(Vec::len), Some(8));
    let ids: Vec<&str> = (0..8).map(|at| nodes[at]["node"].as_str().expect("an id")).collect();
    let suspended = up.json(&["nodes", "suspend", &ids[2][..8], "--reason", "its disk is slow"]);
    assert_eq!((&suspended["state"], &suspended["reason"]), (&"suspended".into(), &"its disk is slow".into()));
    let shown = up.json(&["nodes", "show", ids[2]]);
    assert_eq!((&shown["connected"], &shown["damaged"], &shown["place"]), (&true.into(), &0.into(), &"2".into()));
    assert_eq!(up.json(&["nodes", "suspend", ids[2], "--reason", "slow again"])["reason"], "slow again");
    for words in ["suspended", "slow again", "nodes/2", "seen            now"] {
        let told = up.run(&["nodes", "show", ids[2]]);
        assert!(told.text().contains(words), "'{words}' is missing: {}", told.story());
    }
    says(&up.run(&["nodes", "suspend", ids[3]]), 1, "6 failure domains");
    says(&up.run(&["nodes", "drain", ids[3]]), 1, "belongs to `cairn up`");
    says(&up.run(&["nodes", "forget", ids[3], "--yes"]), 1, "belongs to `cairn up`");
    says(&up.run(&["nodes", "forget", ids[3], "--force"]), 2, "--yes");
    says(&up.run(&["nodes", "show", "ffffffffff"]), 1, "there is no node");
    says(&up.run(&["nodes", "show", "abc"]), 2, "at least its first 4");
    says(&up.run(&["nodes", "suspend", ids[4], "--reason", "two\nlines"]), 2, "control characters");
    let told = up.run(&["nodes", "list"]);
    assert_eq!(told.text().lines().count(), 9, "{}", told.story());
    // One that is given up is sent away at once, and may not come back.
    assert_eq!(up.run(&["nodes", "forget", ids[7], "--yes", "--force"]).status.code(), Some(0));
    let shown = up.json(&["nodes", "show", ids[7]]);
    assert_eq!((&shown["state"], &shown["connected"]), (&"gone".into(), &false.into()), "{shown:#}");
    assert!(up.run(&["nodes", "list"]).text().contains("1 more has gone or left: --all shows it"));
}

#[test]
fn a_token_is_printed_alone_and_listed_without_its_secret() {
    let up = Up::start();
    says(&up.run(&["token", "create"]), 1, "`cairn up` keeps to itself");
    let made =
        up.run(&["token", "create", "--door", "door.example.org:9100", "--label", "owner=alice", "--expires", "7d"]);
    assert_eq!((made.status.code(), made.stderr.as_str()), (Some(0), ""), "{}", made.story());
    let token: JoinToken = made.text().trim_end().parse().expect("a token alone");
    assert_eq!((token.uses, token.labels["owner"].as_str()), (Some(1), "alice"));
    assert_eq!(token.doors, ["door.example.org:9100"]);
    let listed = up.json(&["token", "list"]);
    assert_eq!((&listed[0]["state"], &listed[0]["used"]), (&"good".into(), &0.into()), "{listed:#}");
    assert!(!listed.to_string().contains(&token.credential.to_string()[33..]));
    assert!(!up.0.log().contains(&token.credential.to_string()[33..]));
    let id = token.credential.id.to_string();
    assert_eq!(up.run(&["token", "revoke", &id[..8]]).status.code(), Some(0));
    let told = up.run(&["token", "list"]);
    assert!(told.text().contains("revoked") && told.text().contains("owner=alice"), "{}", told.story());
    says(&up.run(&["token", "revoke", "ffff"]), 1, "there is no token");
    says(&up.run(&["token", "revoke", "zz"]), 2, "is no token id");
    for door in ["nonsense", "0.0.0.0:9100", "[::]:9100"] {
        says(&up.run(&["token", "create", "--door", door]), 2, "is no door");
    }
    says(&up.run(&["token", "create", "--label", "a=1", "--label", "a=2"]), 2, "given twice");
    for words in [["--uses", "0"], ["--expires", "soon"], ["--label", "alice"]] {
        assert_eq!(up.run(&[&["token", "create"][..], &words].concat()).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn the_commands_work_while_nothing_runs_and_what_they_change_holds() {
    let work = WorkDir::new("up");
    let data = work.join("data");
    let folder = work.path().to_owned();
    let up = Up(Server::start_on(work, &["--scheme".as_ref(), "3/4/6/8".as_ref()]));
    let id = up.json(&["nodes", "list"])[5]["node"].as_str().expect("an id").to_owned();
    let socket = data.join("admin.sock");
    assert!(socket.exists());
    up.0.end();
    assert!(!socket.exists(), "the socket goes with the process");
    let told = cairn(&folder, &data, &["status"]).outcome();
    assert_eq!(told.status.code(), Some(1), "{}", told.story());
    assert!(told.text().contains("not running") && told.text().contains("8 offline"), "{}", told.story());
    let status = json(&cairn(&folder, &data, &["status", "--json"]).outcome());
    assert_eq!((&status["running"], &status["puts"]), (&false.into(), &Value::Null), "{status:#}");
    assert_eq!(status["scheme"]["scheme"], "3/4/6/8", "as the last process was told: {status:#}");
    cairn(&folder, &data, &["nodes", "suspend", &id]).run();
    says(&cairn(&folder, &data, &["token", "create"]).outcome(), 1, "--door HOST:PORT");
    cairn(&folder, &data, &["token", "create", "--door", "door:9100"]).run();
    // Started again on the same directory, what was changed holds.
    let log = folder.join("again.log");
    let mut again =
        Invocation::new(CAIRN, &folder).args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data).start(&log);
    let state = || {
        let shown = cairn(&folder, &data, &["nodes", "show", &id, "--json"]).outcome();
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        (shown["connected"] == true).then(|| shown["state"].clone())
    };
    let state = poll(SOON, std::time::Duration::from_millis(100), state);
    assert_eq!(state.expect("the node comes back"), "suspended");
    assert!(again.stop(Signal::TERM, SOON).is_some_and(|status| status.success()));
}

#[test]
fn a_directory_that_is_none_of_cairns_is_left_as_it_is() {
    let work = WorkDir::new("none");
    let (nowhere, foreign) = (work.join("nowhere"), work.folder("foreign"));
    std::fs::write(foreign.join("thesis.tex"), "").expect("a file");
    for words in [&["status"][..], &["nodes", "list"], &["token", "create"], &["token", "revoke", "abcd"]] {
        says(&cairn(work.path(), &nowhere, words).outcome(), 2, "there is no data directory");
        says(&cairn(work.path(), &foreign, words).outcome(), 2, "no metadata.db");
        says(&cairn(work.path(), &foreign.join("thesis.tex"), words).outcome(), 2, "is a file");
    }
    assert!(!nowhere.exists());
    assert_eq!(std::fs::read_dir(&foreign).expect("a folder").count(), 1);
}

#[test]
fn a_gateway_answers_operators_at_its_admin_address() {
    let work = WorkDir::new("remote");
    let (data, away) = (work.join("data"), work.folder("away"));
    let admin = format!("127.0.0.1:{}", free_port());
    let mut gateway = Invocation::new(CAIRN, work.path())
        .args(["gateway", "--listen", "127.0.0.1:0", "--node-door", "127.0.0.1:0", "--admin", &admin, "--data"])
        .arg(&data)
        .start(&work.join("gateway.log"));
    let ready = || Access::parse(&std::fs::read_to_string(data.join("s3.env")).ok()?);
    gateway.wait_until("s3.env", SOON, ready);
    let token = std::fs::read_to_string(data.join("admin.token")).expect("an admin token");
    let remote = |words: &[&str]| Invocation::new(CAIRN, &away).args(words).args(["--admin", &admin]);
    let copy = away.join("copy");
    std::fs::write(&copy, &token).expect("a copy");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).expect("a file of our own");
    let listed = remote(&["nodes", "list", "--json"]).arg("--admin-token-file").arg(&copy).run();
    assert_eq!(json(&listed), serde_json::json!([]));
    let made = remote(&["token", "create", "--uses", "3"]).env("CAIRN_ADMIN_TOKEN", token.trim()).run();
    assert!(made.text().parse::<JoinToken>().is_ok(), "{}", made.story());
    says(
        &remote(&["status"]).env("CAIRN_ADMIN_TOKEN", "another").outcome(),
        2,
        "the admin token is missing or another one",
    );
    says(&remote(&["status"]).outcome(), 2, "the admin token could not be read");
    let local: [&OsStr; 3] = ["status".as_ref(), "--data".as_ref(), data.as_ref()];
    let told = Invocation::new(CAIRN, &away).args(local).outcome();
    assert!(told.text().contains("NOT POSSIBLE") && told.status.code() == Some(1), "{}", told.story());
    assert!(gateway.stop(Signal::TERM, SOON).is_some_and(|status| status.success()));
    says(&remote(&["status"]).env("CAIRN_ADMIN_TOKEN", token.trim()).outcome(), 2, "no gateway answers operators");
}

#[test]
fn the_nodes_of_a_running_up_are_nobody_elses() {
    let up = Up::start();
    let folder = up.0.data().join("nodes/1");
    let told = "is run by `cairn up`";
    let here = |words: &[&str]| cairn(up.0.work().path(), &folder, words).outcome();
    for command in [["node", "status"], ["node", "leave"]] {
        says(&here(&command), 2, told);
    }
    let token = up.run(&["token", "create", "--door", "door.example:9100"]).text().trim().to_owned();
    says(&here(&["node", "--join", &token]), 2, told);
    assert!(!folder.join("cluster.json").exists(), "it has not changed sides");
}

#[test]
fn a_gateway_without_a_name_of_its_door_says_that_tokens_need_one() {
    let work = WorkDir::new("nameless");
    let (data, log) = (work.join("data"), work.join("gateway.log"));
    let gateway = ["gateway", "--listen", "127.0.0.1:0", "--node-door", "0.0.0.0:0", "--data"];
    for name in ["0.0.0.0:9100", "[::]:9100"] {
        let outcome =
            Invocation::new(CAIRN, work.path()).args(gateway).arg(&data).args(["--door-name", name]).outcome();
        says(&outcome, 2, "as others reach them");
    }
    let mut gateway = Invocation::new(CAIRN, work.path()).args(gateway).arg(&data).start(&log);
    let ready = || Access::parse(&std::fs::read_to_string(data.join("s3.env")).ok()?);
    gateway.wait_until("s3.env", SOON, ready);
    let said = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(said.lines().filter(|line| line.contains("--door-name HOST:PORT")).count(), 1, "{said}");
    assert!(gateway.stop(Signal::TERM, SOON).is_some_and(|status| status.success()));
}
