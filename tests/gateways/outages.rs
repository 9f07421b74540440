//! The database is started again, or is not there for a while: requests wait
//! or are told to come again, nothing that was acknowledged is lost, and all
//! of it recovers by itself.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Node, SOON, fresh_database};
use crate::load::{Entry, Load, Outcome, figures};
use crate::postgres::Server;

const BOTH: [usize; 2] = [0, 1];
/// An outage that is longer than any request waits.
const OUTAGE: Duration = Duration::from_secs(30);
/// No request waits for longer without a database.
const BUDGET: Duration = Duration::from_secs(20);
/// So soon after the database's return every gateway answers well again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

fn pids(cluster: &Cluster) -> Vec<u32> {
    let gateways = cluster.gateways.iter().map(crate::cluster::Gateway::pid);
    gateways.chain(cluster.nodes.iter().map(Node::pid)).collect()
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
    assert!(book.iter().all(|entry| entry.outcome == Outcome::Good), "all could wait: {}", figures(&book));
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
    let lost_before = losses();
    server.control(&["stop", "-m", "immediate"]);
    let begun = Instant::now();
    let refused = |entries: &[Entry], gateway| {
        let refused = |entry: &&Entry| entry.gateway == gateway && entry.outcome == Outcome::Refused;
        entries.iter().filter(refused).count()
    };
    while begun.elapsed() < OUTAGE {
        std::thread::sleep(OUTAGE.saturating_sub(begun.elapsed()));
    }
    assert_eq!(losses(), lost_before, "nodes stay connected without a database");
    server.control(&["start"]);
    let recovered = load.wait_for(1, &BOTH, RECOVERED_WITHIN);
    load.wait_for(30, &BOTH, SOON);
    let book = load.finish(&clients);
    println!("outage: {}; good again {recovered:.1?} after the database's return", figures(&book));
    assert!(BOTH.iter().all(|gateway| refused(&book, *gateway) > 0), "nobody was told to come again");
    let slowest = book.iter().map(|entry| entry.took).max().unwrap_or_default();
    assert!(slowest < BUDGET, "a request waited for {slowest:?}");
    assert_eq!(pids(&cluster), pids_before);
    cluster.wait_whole();
}
