//! What requests cost in processor time: two gateways on PostgreSQL beside one
//! on SQLite, in one run, and how many connections they hold meanwhile.
//! `CAIRN_COST_ROUNDS` makes it longer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Gateway, Node, fresh_database};
use crate::postgres::Server;
use crate::support::cairn::tell;
use crate::support::client::{Call, Client};
use crate::support::data::random;

const CLIENTS: usize = 8;
/// Keys of a list's page.
const PAGE: usize = 1000;
/// Connections of a gateway, at most.
const CONNECTIONS_MAX: usize = 16;

/// CPU seconds that processes have taken.
fn cpu_seconds(pids: impl Iterator<Item = u32>) -> f64 {
    let ticks = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let fields: Vec<f64> = stat
            .rsplit_once(") ")
            .map_or("", |(_, rest)| rest)
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        fields.iter().sum::<f64>()
    };
    pids.map(ticks).sum::<f64>() / 100.0
}

/// CPU seconds of the gateways, the nodes and the database.
fn spent(cluster: &Cluster, server: Option<&Server>) -> [f64; 3] {
    let gateways = cpu_seconds(cluster.gateways.iter().map(Gateway::pid));
    [gateways, cpu_seconds(cluster.nodes.iter().map(Node::pid)), server.map_or(0.0, Server::cpu_seconds)]
}

/// Runs a kind of request `count` times over all gateways, and prints its cost.
fn measure(
    what: &str,
    cluster: &Cluster,
    server: Option<&Server>,
    count: usize,
    request: impl Fn(&Client, usize) + Sync,
) {
    let (clients, next) = (cluster.clients(), AtomicUsize::new(0));
    let (before, begun) = (spent(cluster, server), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count) {
                    request(&clients[number % clients.len()], number);
                }
            });
        }
    });
    let (after, took) = (spent(cluster, server), begun.elapsed().as_secs_f64());
    let [gateways, nodes, database] = [0, 1, 2].map(|part| (after[part] - before[part]) * 1000.0 / count as f64);
    let sum = gateways + nodes + database;
    let rate = count as f64 / took;
    tell(&format!(
        "{what}: {sum:.2} ms CPU (gateways {gateways:.2}, nodes {nodes:.2}, database {database:.2}), {rate:.0} a second"
    ));
}

fn measure_all(engine: &str, cluster: &Cluster, server: Option<&Server>, rounds: usize) {
    let bytes = random(1, 4096);
    cluster.clients()[0].put("/cost", b"").expect("an answer").ok("make a bucket");
    let puts = rounds * PAGE;
    measure(&format!("{engine}, PUT 4 KiB"), cluster, server, puts, |client, number| {
        client.put(&format!("/cost/key-{number:07}"), &bytes).expect("an answer").ok("PUT");
    });
    measure(&format!("{engine}, GET 4 KiB"), cluster, server, puts, |client, number| {
        client.get(&format!("/cost/key-{number:07}")).expect("an answer").ok("GET");
    });
    measure(&format!("{engine}, LIST {PAGE}"), cluster, server, 40 * rounds, |client, _| {
        let page = client.send(Call::new("GET", "/cost").query("list-type", "2")).expect("an answer").ok("LIST");
        assert_eq!(page.text().matches("<Key>").count(), PAGE);
    });
}

#[test]
fn requests_cost_little_more_and_connections_are_bounded() {
    let rounds = std::env::var("CAIRN_COST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let sqlite = Cluster::start_logging("sqlite", 1, "warn");
    measure_all("one gateway on SQLite", &sqlite, None, rounds);
    drop(sqlite);

    let server = Server::start("");
    let (database, url) = fresh_database(&server);
    let cluster = Cluster::start_logging(&url, 2, "warn");
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
    let most = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| measure_all("two gateways on PostgreSQL", &cluster, Some(&server), rounds));
        let mut most = 0;
        while !measuring.is_finished() {
            most = most.max(server.sql("postgres", &count).parse().expect("a number"));
            std::thread::sleep(Duration::from_millis(500));
        }
        measuring.join().expect("all requests were answered");
        most
    });
    println!("connections to the database: {most} at most");
    assert!((1..=2 * CONNECTIONS_MAX).contains(&most), "{most} connections");
}
