//! Gateways that serve S3 and nothing else, and a worker that does the rest.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, PASSWORD, SOON, fresh_database};
use crate::postgres::Server;
use crate::support::data::random;
use crate::support::process::{Invocation, Outcome};
use crate::support::{free_port, http, poll};

/// How the segments are, as this gateway has heard.
fn segments(cluster: &Cluster, gateway: usize) -> Value {
    cluster.gateways[gateway].status()["segments"].clone()
}

fn health(cluster: &Cluster) -> Outcome {
    let data = cluster.work().join("worker");
    Invocation::new(env!("CARGO_BIN_EXE_cairn"), cluster.work().path()).args(["health", "--data"]).arg(data).outcome()
}

#[test]
fn a_worker_repairs_what_gateways_leave_to_it() {
    let server = Server::shared();
    let (_, url) = fresh_database(server);
    let mut cluster = Cluster::start_with(&url, 2, &[("CAIRN_WORKERS", "false")]);
    let clients = cluster.clients();
    assert_eq!(cluster.gateways[0].status()["scheme"]["scheme"], "3/4/5/6");
    let objects: Vec<(String, Vec<u8>)> =
        (0..8).map(|number| (format!("/bucket/{number}"), random(number, 500_000))).collect();
    clients[0].put("/bucket", b"").expect("an answer").ok("make a bucket");
    for (number, (path, bytes)) in objects.iter().enumerate() {
        clients[number % 2].put(path, bytes).expect("an answer").ok("store");
    }
    // Room for what two of the six nodes take with them; their pieces are then as few as are repaired.
    cluster.add_nodes(2);
    cluster.wait_whole();
    for lost in 0..2 {
        let id = cluster.nodes[lost].id();
        cluster.nodes[lost].kill();
        cluster.gateways[0].operator(&["nodes", "forget", &id, "--force", "--yes"]);
    }
    assert_eq!(segments(&cluster, 0)["passes"], 0, "no gateway looks after the segments");

    let observe = format!("127.0.0.1:{}", free_port());
    let mut worker = cluster.worker().args(["--observe", &observe]).start(&cluster.work().join("worker.log"));
    worker.wait_until("a worker that is ready", SOON, || health(&cluster).status.success().then_some(()));
    assert!(health(&cluster).text().contains("ready: the database answers"));
    let repaired = || {
        let report = segments(&cluster, 1);
        let whole = report["segments"].as_u64() > Some(0) && report["healthy"] == report["segments"];
        (whole && report["queue"] == 0 && report["pieces_repaired"].as_u64() > Some(0)).then_some(report)
    };
    let report = poll(5 * SOON, Duration::from_millis(300), repaired);
    assert!(report.is_some(), "not repaired: {:#}\n{}", segments(&cluster, 1), worker.story());
    let (_, page) = http::get(&observe, "/metrics").expect("metrics");
    assert!(page.contains("cairn_segments{health=\"healthy\"}") && !page.contains("cairn_s3_"), "{page}");

    // Without what was made anew, fewer pieces than are required would be left.
    (2..4).for_each(|number| cluster.nodes[number].kill());
    for (number, (path, bytes)) in objects.iter().enumerate() {
        assert!(clients[number % 2].get(path).expect("an answer").ok("read").body == *bytes, "{path} has changed");
    }
    let ended = worker.stop(Signal::TERM, SOON);
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", worker.story());
    assert!(!worker.log().contains(PASSWORD) && !health(&cluster).status.success(), "{}", worker.story());
}

/// Nobody works: a worker is started for one pass, and is gone afterwards.
#[test]
fn a_pass_brings_its_own_worker_where_none_runs() {
    let server = Server::shared();
    let (_, url) = fresh_database(server);
    let cluster = Cluster::start_with(&url, 1, &[("CAIRN_WORKERS", "false")]);
    let client = &cluster.clients()[0];
    client.put("/bucket", b"").expect("an answer").ok("make a bucket");
    client.put("/bucket/object", &random(1, 500_000)).expect("an answer").ok("store");
    cluster.wait_whole();
    let outcome =
        cluster.worker_with(&["worker", "run", "--once", "--audit-all", "--json"]).limit_seconds(400).outcome();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.story());
    let report: Value = serde_json::from_slice(&outcome.stdout).expect("JSON");
    assert!(report["shares_checked"].as_u64() > Some(0) && report["shares_wrong"] == 0, "{report:#}");
    assert!(!outcome.stderr.contains(PASSWORD) && !health(&cluster).status.success(), "{}", outcome.story());
}
