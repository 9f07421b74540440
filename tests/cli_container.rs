//! How the program does where container engines put it: a root file system
//! that is read-only, any user, secrets and settings as mounted files. Needs
//! root, as it mounts in namespaces of its own.
#![cfg(feature = "server")]

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use support::cairn::Access;
use support::client::Client;
use support::process::{Daemon, Invocation, Outcome, free_port};
use support::workdir::WorkDir;
use support::{http, poll};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");
const SOON: Duration = Duration::from_secs(60);
/// A user whom no machine has.
const SOMEBODY: &str = "setpriv --reuid=23456 --regid=23456 --clear-groups";

/// A shell in a mount namespace of its own.
fn shell(work: &WorkDir, script: &str) -> Invocation {
    Invocation::new("unshare", work.path()).args(["--mount", "sh", "-euc", script])
}

#[track_caller]
fn refused(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.story());
    let said: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("cairn: ")).collect();
    assert_eq!(said.len(), 1, "one sentence: {}", outcome.story());
    assert!(words.iter().all(|word| said[0].contains(word)), "{words:?}: {}", outcome.story());
}

/// A copy of the program that every user can reach. Made by a process of its own:
/// what this one has open for writing, a child of a test beside this one may have
/// too, and then nobody can execute it.
fn program(work: &WorkDir) -> PathBuf {
    let copy = work.join("cairn");
    Invocation::new("cp", work.path()).arg(CAIRN).arg(&copy).run();
    copy
}

fn ready(daemon: &mut Daemon, data: &Path) -> Client {
    let access = daemon.wait_until("the keys", SOON, || {
        Access::parse(&std::fs::read_to_string(data.join("s3.env")).unwrap_or_default())
    });
    Client::new(&access)
}

#[test]
fn any_user_on_a_read_only_root_is_enough() {
    let work = WorkDir::new("container");
    let (cairn, data) = (program(&work), work.folder("data"));
    let [cairn, place] = [&cairn, &data].map(|path| path.display().to_string());
    let script = format!(
        "chown 23456:23456 {place}; mount --bind {place} {place}; mount -o remount,bind,ro /; ! touch /tmp/x 2>/dev/null; \
         exec {SOMEBODY} {cairn} up --listen 127.0.0.1:0 --data {place}"
    );
    for bytes in [b"first", b"again"] {
        let mut up = shell(&work, &script).start(&work.join("up.log"));
        let client = ready(&mut up, &data);
        let _ = client.put("/bucket", b"").expect("an answer");
        client.put("/bucket/key", bytes).expect("an answer").ok("store");
        assert_eq!(client.get("/bucket/key").expect("an answer").ok("read").body, bytes);
        let ended = up.stop(Signal::TERM, SOON);
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", up.story());
        assert!(!up.log().contains(" WARN "), "{}", up.story());
        std::fs::remove_file(data.join("s3.env")).expect("it was just read");
    }
}

#[test]
fn the_recovery_phrase_stays_out_of_a_log() {
    let work = WorkDir::new("phrase");
    let (data, log) = (work.folder("data"), work.join("up.log"));
    let call = |arguments: &[&str]| Invocation::new(CAIRN, work.path()).args(arguments).arg("--data").arg(&data);
    let mut up = call(&["up", "--listen", "127.0.0.1:0"]).start(&log);
    ready(&mut up, &data);
    let phrase = call(&["secrets", "phrase"]).run().text();
    assert_eq!(phrase.split_whitespace().count(), 24, "{phrase}");
    let key = ["secrets", "phrase", "--cluster-key-file"];
    let named = Invocation::new(CAIRN, work.path()).args(key).arg(data.join("cluster.key")).run().text();
    assert_eq!(named, phrase, "a file of it says the same");
    let said = up.log();
    assert!(said.contains("cairn secrets phrase --data"), "it says how to see it: {said}");
    let pairs = phrase.split_whitespace().zip(phrase.split_whitespace().skip(1));
    assert!(!pairs.map(|(one, next)| format!("{one} {next}")).any(|pair| said.contains(&pair)), "it is in the log");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_refused_in_a_sentence() {
    let work = WorkDir::new("unwritable");
    let (cairn, data) = (program(&work), work.folder("data"));
    let [cairn, place] = [&cairn, &data].map(|path| path.display().to_string());
    let foreign = |command: &str| shell(&work, &format!("exec {SOMEBODY} {cairn} {command} --data {place}")).outcome();
    refused(&foreign("up --listen 127.0.0.1:0"), &[&place, "permission denied"]);
    let token = "CAIRN_JOIN_FILE=/no/such/token";
    let node = shell(&work, &format!("exec env {token} {SOMEBODY} {cairn} node --data {place}")).outcome();
    refused(&node, &[&place, "permission denied"]);
    let read_only = format!("mount --bind {place} {place}; mount -o remount,bind,ro {place}; exec {cairn}");
    let up = shell(&work, &format!("{read_only} up --listen 127.0.0.1:0 --data {place}")).outcome();
    refused(&up, &[&place, "read-only"]);
}

#[test]
fn the_second_process_on_a_directory_is_refused() {
    let work = WorkDir::new("second");
    let data = work.join("data");
    let up = || {
        let up = Invocation::new(CAIRN, work.path()).args(["up", "--listen", "127.0.0.1:0", "--data"]);
        up.arg(&data)
    };
    let mut first = up().start(&work.join("up.log"));
    let client = ready(&mut first, &data);
    refused(&up().outcome(), &[&format!("in use by process {}", first.pid()), "--data"]);
    client.put("/bucket", b"").expect("an answer").ok("the first one goes on");

    let door = format!("127.0.0.1:{}", free_port());
    let token = work.join("token").display().to_string();
    let gateway = Invocation::new(CAIRN, work.path())
        .args(["gateway", "--listen", "127.0.0.1:0", "--node-door", &door, "--join-token-file", &token, "--data"])
        .arg(work.join("gateway"));
    let mut gateway = gateway.start(&work.join("gateway.log"));
    let _ = ready(&mut gateway, &work.join("gateway"));
    let observe = format!("127.0.0.1:{}", free_port());
    let node = || {
        let node = Invocation::new(CAIRN, work.path()).args(["node", "--capacity", "100MB", "--join-file", &token]);
        node.arg("--data").arg(work.join("node"))
    };
    let mut first = node().args(["--observe", &observe]).start(&work.join("node.log"));
    let is_ready = || http::get(&observe, "/health/ready").filter(|(status, _)| *status == 200).map(drop);
    first.wait_until("a node that serves", SOON, is_ready);
    refused(&node().outcome(), &[&format!("(process {})", first.pid()), "--data"]);
    assert!(is_ready().is_some(), "the first one goes on");
    drop(first);

    // A volume of another cluster: the token pins the one that it is for.
    let foreign = work.join("foreign");
    let made = Invocation::new(CAIRN, work.path()).args(["secrets", "create", "--door", &door, "--out"]).arg(&foreign);
    assert!(made.run().text().contains("cluster.key, join.token, access-key, secret-key"));
    let node = Invocation::new(CAIRN, work.path()).args(["node", "--data"]).arg(work.join("node"));
    refused(&node.arg("--join-file").arg(foreign.join("join.token")).outcome(), &["another cluster", "another folder"]);
}

#[test]
fn settings_are_read_from_etc_where_nobody_names_a_file() {
    let work = WorkDir::new("etc");
    let config = |text: &str, arguments: &str| {
        let file = work.join("cairn.toml");
        std::fs::write(&file, text).expect("room for a line");
        let place = "mount -t tmpfs none /etc; mkdir /etc/cairn; cp";
        shell(&work, &format!("{place} {} /etc/cairn/; exec {CAIRN} config {arguments}", file.display())).outcome()
    };
    let shown = config("region = \"from-etc\"\nworkers = false\n", "");
    assert!(shown.text().contains("region = \"from-etc\""), "{}", shown.story());
    assert!(shown.text().contains("# file /etc/cairn/cairn.toml"), "{}", shown.story());
    assert!(shown.text().contains("workers = false"), "{}", shown.story());
    refused(&config("listne = \"x\"\n", ""), &["/etc/cairn/cairn.toml", "did you mean 'listen'?"]);
    let other = work.join("other.toml");
    std::fs::write(&other, "region = \"from-flag\"\n").expect("room for a line");
    let shown = config("region = \"from-etc\"\n", &format!("--config {}", other.display()));
    assert!(shown.text().contains("region = \"from-flag\""), "{}", shown.story());
}

/// Secrets as engines mount them: world-readable on a mount that is read-only
/// or in memory is warned about, anywhere else it is refused.
#[test]
fn secrets_that_everybody_may_read_are_refused_where_nobody_mounted_them() {
    let work = WorkDir::new("readable");
    let (secrets, data) = (work.join("secrets"), work.join("data"));
    let create = Invocation::new(CAIRN, work.path()).args(["secrets", "create", "--door", "cairn-door:9100", "--out"]);
    create.arg(&secrets).run();
    let folder = secrets.display();
    let serve = format!(
        "exec {CAIRN} gateway --listen 127.0.0.1:0 --node-door 127.0.0.1:0 --data {} --cluster-key-file {folder}/cluster.key \
         --join-token-file {folder}/join.token --root-access-key-file {folder}/access-key \
         --root-secret-key-file {folder}/secret-key",
        data.display()
    );
    for name in ["cluster.key", "join.token", "secret-key"] {
        let open = format!("chmod 644 {folder}/{name}; {serve}");
        refused(&shell(&work, &open).outcome(), &["every user of this machine", name, "chmod 600"]);
        shell(&work, &format!("chmod 600 {folder}/{name}")).run();
    }
    let missing = serve.replace("/secret-key", "/no-key");
    refused(&shell(&work, &missing).outcome(), &["no-key", "no such file"]);

    let in_memory =
        "cp -r SECRETS keep; mount -t tmpfs none SECRETS; cp keep/* SECRETS; rm -r keep; chmod 644 SECRETS/*";
    let read_only = "chmod 644 SECRETS/*; mount --bind SECRETS SECRETS; mount -o remount,bind,ro SECRETS";
    for mount in [in_memory, read_only] {
        let script = format!("{}; {serve}", mount.replace("SECRETS", &folder.to_string()));
        let mut gateway = shell(&work, &script).start(&work.join("gateway.log"));
        let _ = ready(&mut gateway, &data);
        let warned =
            gateway.log().lines().filter(|line| line.contains("every user in here may read the secret")).count();
        assert_eq!(warned, 4, "{}", gateway.story());
        let ended = gateway.stop(Signal::TERM, SOON);
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", gateway.story());
        let gone = || (!data.join("admin.sock").exists()).then_some(());
        poll(SOON, Duration::from_millis(20), gone).expect("its socket is gone with it");
        std::fs::remove_file(data.join("s3.env")).expect("it was just read");
    }
}
