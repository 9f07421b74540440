//! The database is started again, or is not there for a while: requests wait
//! or are told to come again, nothing that was acknowledged is lost, and all
//! of it recovers by itself.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Node, PATIENCE, SOON, fresh_database};
use crate::postgres::Server;
use crate::support::client::{Call, Client, between};
use crate::support::load::{Entry, Load, Outcome, figures};

const BOTH: [usize; 2] = [0, 1];
/// An outage that is longer than any request waits.
const OUTAGE: Duration = Duration::from_secs(30);
/// No request waits for longer without a database,
const BUDGET: Duration = Duration::from_secs(20);
/// but a write whose commit the database did not answer before it went: only
/// the database can tell how that ended.
const BUDGET_IN_DOUBT: Duration = Duration::from_secs(55);
/// So soon after the database's return every gateway answers well again: it is
/// tried twice a second, and the rest is for the machine.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);

fn pids(cluster: &Cluster) -> Vec<u32> {
    let gateways = cluster.gateways.iter().map(crate::cluster::Gateway::pid);
    gateways.chain(cluster.nodes.iter().map(Node::pid)).collect()
}

fn told_to_come_again(client: &Client) {
    let reply = client.send(Call::new("GET", "/outage")).expect("an answer");
    let text = reply.text();
    assert_eq!((reply.status, between(&text, "<Code>", "</Code>")), (503, "SlowDown"), "{text}");
    assert!(!reply.header("retry-after").is_empty(), "no Retry-After with {text}");
}

#[test]
fn a_database_that_restarts_under_load() {
    let server = Server::start("");
    let (_, url) = fresh_database(&server);
    let cluster = Cluster::start(&url, 2);
    let (clients, pids_before) = (cluster.clients(), pids(&cluster));
    let load = Load::start(&clients, "restarts", 4);
    load.wait_for(20, &BOTH, SOON);
    for mode in ["fast", "immediate", "fast", "immediate"] {
        let begun = Instant::now();
        server.control(&["restart", "-m", mode]);
        let away = begun.elapsed();
        let recovered = load.wait_for(1, &BOTH, RECOVERED_WITHIN);
        println!("restart -m {mode}: away for {away:.1?}, good again {recovered:.1?} after");
        load.wait_for(20, &BOTH, SOON);
    }
    let book = load.finish(&clients);
    println!("restarts: {}", figures(&book));
    let served = |entry: &Entry| entry.outcome == Outcome::Good || entry.took >= PATIENCE;
    assert!(book.iter().all(served), "not all have waited: {}", figures(&book));
    assert_eq!(pids(&cluster), pids_before);
    cluster.wait_whole();
}

#[test]
fn half_a_minute_without_a_database() {
    let server = Server::start("");
    let (_, url) = fresh_database(&server);
    let cluster = Cluster::start(&url, 2);
    let (clients, pids_before) = (cluster.clients(), pids(&cluster));
    let load = Load::start(&clients, "outage", 4);
    load.wait_for(20, &BOTH, SOON);

    let losses = || -> Vec<usize> { cluster.nodes.iter().map(|node| node.losses("127.0.0.1")).collect() };
    server.control(&["stop", "-m", "immediate"]);
    let stopped = Instant::now();
    told_to_come_again(&clients[0]);
    // Requests that were under way have ended; of those, one that needs its last piece no more ends a connection.
    let lost_before = losses();
    told_to_come_again(&clients[1]);
    std::thread::sleep(OUTAGE.saturating_sub(stopped.elapsed()));
    assert_eq!(losses(), lost_before, "nodes stay connected without a database");
    server.control(&["start"]);
    let recovered = load.wait_for(1, &BOTH, RECOVERED_WITHIN);
    load.wait_for(30, &BOTH, SOON);
    let book = load.finish(&clients);
    println!("outage: {}; good again {recovered:.1?} after the database's return", figures(&book));
    let budget = |entry: &Entry| match entry.writes && entry.begun < stopped {
        true => BUDGET_IN_DOUBT,
        false => BUDGET,
    };
    let late: Vec<&Entry> = book.iter().filter(|entry| entry.took > budget(entry)).collect();
    assert!(late.is_empty(), "these waited for too long: {late:?}");
    assert_eq!(pids(&cluster), pids_before);
    cluster.wait_whole();
}
