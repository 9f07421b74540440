//! What orchestrators and Prometheus see of a process: `cairn health` and the
//! observe address, from the real binary.
#![cfg(feature = "server")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::cairn::Access;
use support::client::Client;
use support::process::{Daemon, Invocation, Outcome, free_port};
use support::workdir::WorkDir;
use support::{http, poll};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");
const SOON: Duration = Duration::from_secs(60);

fn health(work: &WorkDir, data: &Path, words: &[&str]) -> Outcome {
    Invocation::new(CAIRN, work.path()).arg("health").args(words).arg("--data").arg(data).outcome()
}

fn start(work: &WorkDir, name: &str, arguments: &[&str]) -> Daemon {
    let log = work.join(format!("{name}.log"));
    Invocation::new(CAIRN, work.path()).args(arguments).arg("--data").arg(work.join(name)).start(&log)
}

fn ready(work: &WorkDir, daemon: &mut Daemon, data: &Path) {
    daemon.wait_until("a process that is ready", SOON, || health(work, data, &[]).status.success().then_some(()));
}

fn ends_well(daemon: &mut Daemon) {
    let ended = daemon.stop(Signal::TERM, SOON);
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", daemon.story());
}

#[track_caller]
fn says(outcome: &Outcome, code: i32, words: &str) {
    assert_eq!(outcome.status.code(), Some(code), "{}", outcome.story());
    let said = format!("{}{}", outcome.text(), outcome.stderr);
    assert!(said.contains(words) && said.lines().count() == 1, "{}", outcome.story());
}

/// It comes to say so: on a machine that stands still for a moment, a process may
/// not have answered in time.
#[track_caller]
fn comes_to_say(work: &WorkDir, data: &Path, arguments: &[&str], code: i32, words: &str) {
    let mut last = health(work, data, arguments);
    poll(SOON, Duration::from_millis(100), || {
        let said = format!("{}{}", last.text(), last.stderr);
        let is_said = last.status.code() == Some(code) && said.contains(words);
        is_said.then_some(()).or_else(|| {
            last = health(work, data, arguments);
            None
        })
    });
    says(&last, code, words);
}

/// It comes to answer with this status.
#[track_caller]
fn comes_to_answer(observe: &str, path: &str, status: u16) {
    let mut last = None;
    let answered = poll(SOON, Duration::from_millis(100), || {
        last = http::get(observe, path).map(|(status, _)| status);
        (last == Some(status)).then_some(())
    });
    assert!(answered.is_some(), "{path}: {last:?} and not {status}");
}

#[test]
fn gateway_and_node_are_ready_when_they_can_do_what_they_are_for() {
    let work = WorkDir::new("health");
    let (gateway, node) = (work.join("gateway"), work.join("node"));
    says(&health(&work, &gateway, &[]), 1, "not ready: no process of Cairn runs on");
    says(&health(&work, &gateway, &["--live"]), 1, "no process of Cairn runs on");

    let (door, observe, token) = (free_port(), free_port(), work.join("shared.token"));
    let (door, observe) = (format!("127.0.0.1:{door}"), format!("127.0.0.1:{observe}"));
    let token = token.to_str().expect("ASCII");
    let serve = ["gateway", "--listen", "127.0.0.1:0", "--node-door", &door, "--join-token-file", token];
    // A node waits for its token, and is alive meanwhile.
    let mut waiting = start(&work, "node", &["node", "--join-file", token, "--observe", &observe, "--capacity", "1GB"]);
    waiting.wait_until("a node that waits", SOON, || {
        waiting_for_token(&observe).filter(|_| health(&work, &node, &["--live"]).status.success())
    });
    comes_to_say(&work, &node, &[], 1, "not ready: the process is starting");

    let mut serving = start(&work, "gateway", &serve);
    ready(&work, &mut serving, &gateway);
    comes_to_say(&work, &gateway, &[], 0, "ready: S3 is served, and the database answers");
    let told: Value = serde_json::from_str(&health(&work, &gateway, &["--json"]).text()).expect("JSON");
    let right = (&told["ready"], &told["live"], &told["what"]) == (&true.into(), &true.into(), &"gateway".into());
    assert!(right, "{told:#}");

    ready(&work, &mut waiting, &node);
    comes_to_say(&work, &node, &[], 0, "ready: the node is connected to 1 of 1 doors");
    comes_to_answer(&observe, "/health/ready", 200);
    ends_well(&mut serving);
    says(&health(&work, &gateway, &[]), 1, "no process of Cairn runs on");
    comes_to_say(&work, &node, &[], 1, "not ready: the node is connected to no door");
    comes_to_say(&work, &node, &["--live"], 0, "running: the node is connected to no door");
    let told: Value = serde_json::from_str(&health(&work, &node, &["--json", "--live"]).text()).expect("JSON");
    assert!(told["ready"] == false && told["what"] == "node", "{told:#}");
    comes_to_answer(&observe, "/health/ready", 503);
    // It comes back by itself.
    let mut serving = start(&work, "gateway", &serve);
    ready(&work, &mut waiting, &node);
    ends_well(&mut waiting);
    ends_well(&mut serving);
}

/// The node runs, and says what it is waiting for.
fn waiting_for_token(observe: &str) -> Option<()> {
    let (live, _) = http::get(observe, "/health/live")?;
    let (ready, sentence) = http::get(observe, "/health/ready")?;
    (live == 200 && ready == 503 && sentence.contains("waits for a join token in")).then_some(())
}

/// A page of metrics: every sample by its name and labels. Whatever is not in
/// Prometheus' text format fails the test.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a name and a kind");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is declared twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let bare = name.split('{').next().expect("a name");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| kinds.get_key_value(bare.strip_suffix(end)?));
        assert!(kinds.contains_key(bare) || family.is_some_and(|(_, kind)| kind == "histogram"), "{line}");
        assert!(bare.starts_with("cairn_") || bare.starts_with("process_"), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    samples
}

fn scrape(observe: &str) -> (String, BTreeMap<String, f64>) {
    let (status, page) = http::get(observe, "/metrics").expect("metrics");
    assert_eq!(status, 200, "{page}");
    let samples = samples(&page);
    (page, samples)
}

#[test]
fn metrics_count_requests_nodes_and_segments_and_name_nobody() {
    let work = WorkDir::new("metrics");
    let data = work.join("data");
    let observe = format!("127.0.0.1:{}", free_port());
    let mut up = start(&work, "data", &["up", "--listen", "127.0.0.1:0", "--observe", &observe]);
    ready(&work, &mut up, &data);
    let access = Access::parse(&std::fs::read_to_string(data.join("s3.env")).expect("s3.env")).expect("keys");
    let client = Client::new(&access);
    client.put("/secretbucket", b"").expect("an answer").ok("make a bucket");
    client.put("/secretbucket/secretkey", &[7; 300_000]).expect("an answer").ok("store");
    client.get("/secretbucket/secretkey").expect("an answer").ok("read");
    assert_eq!(client.get("/secretbucket/none").expect("an answer").status, 404);

    let counted = || {
        let (_, samples) = scrape(&observe);
        let at_least = |name: &str, least: f64| samples.get(name).is_some_and(|count| *count >= least);
        // A request is counted when its answer is on its way.
        let all = at_least("cairn_segments{health=\"healthy\"}", 1.0);
        (all && at_least("cairn_s3_request_duration_seconds_count", 4.0)).then_some(samples)
    };
    let samples = poll(SOON, Duration::from_millis(200), counted).expect("the segments are counted");
    let value = |name: &str| samples.get(name).copied().unwrap_or_else(|| panic!("{name} is missing: {samples:#?}"));
    assert_eq!(value("cairn_s3_requests_total{operation=\"PutObject\",status=\"2xx\"}"), 1.0);
    assert_eq!(value("cairn_s3_requests_total{operation=\"GetObject\",status=\"2xx\"}"), 1.0);
    assert_eq!(value("cairn_s3_requests_total{operation=\"GetObject\",status=\"4xx\"}"), 1.0);
    assert!(value("cairn_s3_received_bytes_total") >= 300_000.0 && value("cairn_s3_sent_bytes_total") >= 300_000.0);
    assert_eq!(value("cairn_s3_request_duration_seconds_count"), 4.0);
    assert_eq!(value("cairn_s3_request_duration_seconds_bucket{le=\"+Inf\"}"), 4.0);
    assert_eq!((value("cairn_nodes{state=\"active\"}"), value("cairn_nodes_connected")), (8.0, 8.0));
    assert_eq!((value("cairn_nodes_by_verdict{verdict=\"good\"}"), value("cairn_wrong_shares_total")), (8.0, 0.0));
    assert_eq!((value("cairn_repair_queue_segments"), value("cairn_writes_possible")), (0.0, 1.0));
    assert_eq!((value("cairn_ready"), value("cairn_segments{health=\"lost\"}")), (1.0, 0.0));
    assert!(value("cairn_memory_budget_bytes{purse=\"pieces\"}") > 1e6);
    assert!(value("process_start_time_seconds") > 1.7e9);
    let (page, _) = scrape(&observe);
    for secret in ["secretbucket", "secretkey", access.key.as_str(), access.secret.as_str()] {
        assert!(!page.contains(secret), "{page}");
    }
    assert_eq!(http::get(&observe, "/").map(|(status, _)| status), Some(404));
    ends_well(&mut up);
}

#[test]
fn a_nodes_metrics_say_how_its_disk_is() {
    let work = WorkDir::new("node-metrics");
    let (door, observe) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let token = work.join("token").display().to_string();
    let mut gateway = start(
        &work,
        "gateway",
        &["gateway", "--listen", "127.0.0.1:0", "--node-door", &door, "--join-token-file", &token],
    );
    let mut node = start(&work, "node", &["node", "--join-file", &token, "--capacity", "1GB", "--observe", &observe]);
    ready(&work, &mut node, &work.join("node"));
    let (_, samples) = scrape(&observe);
    assert_eq!(samples["cairn_node_capacity_bytes"], 1e9);
    assert_eq!((samples["cairn_node_doors{state=\"connected\"}"], samples["cairn_ready"]), (1.0, 1.0));
    assert!(samples["cairn_node_free_bytes"] > 0.0 && samples["cairn_node_sent_bytes_total"] > 0.0, "{samples:#?}");
    ends_well(&mut node);
    ends_well(&mut gateway);
}

#[test]
fn an_observe_address_that_cannot_be_had_is_refused() {
    let work = WorkDir::new("observe");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let data = work.join("data");
    let up = Invocation::new(CAIRN, work.path()).args(["up", "--listen", "127.0.0.1:0", "--observe", &address]);
    let refused = up.arg("--data").arg(&data).fails();
    says(&refused, 2, "cannot listen for observers on");
    assert!(!data.join("cluster.key").exists(), "nothing was made");
}
