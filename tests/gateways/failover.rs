//! A primary and its replica: the primary is killed under load, the replica is
//! promoted, and the gateways go over to it by themselves.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, PASSWORD, PATIENCE, ROLE, SOON, fresh_database};
use crate::postgres::Server;
use crate::support::client::Client;
use crate::support::load::{Load, Outcome, figures};
use crate::support::poll;

/// So soon after the promotion every gateway answers well again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);

/// Longer than a gateway waits for the answer to a commit.
const AWAY: Duration = Duration::from_secs(16);

/// Commits wait from now on until the replica has them on its disk.
fn replicate_in_step(primary: &Server) {
    primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.sql("postgres", "SELECT pg_reload_conf()");
    let in_step = || {
        let state = primary.sql("postgres", "SELECT sync_state FROM pg_stat_replication");
        (state == "sync").then_some(())
    };
    poll(SOON, Duration::from_millis(50), in_step).expect("the replica streams");
}

/// Two addresses of one database, the replica's first, which is not what is wanted.
fn both(primary: &Server, replica: &Server, database: &str) -> String {
    format!(
        "postgres://{ROLE}:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/{database}?sslmode=disable&target_session_attrs=read-write",
        replica.port(),
        primary.port()
    )
}

#[test]
fn a_replica_takes_over_under_load() {
    let primary = Server::start("synchronous_commit = on\n");
    let (database, _) = fresh_database(&primary);
    let replica = primary.replica("");
    replicate_in_step(&primary);
    let url = both(&primary, &replica, &database);
    let cluster = Cluster::start(&url, 2);
    let clients = cluster.clients();
    let load = Load::start(&clients, "failover", 4);
    load.wait_for(40, &[0, 1], SOON);

    primary.kill();
    let killed = Instant::now();
    replica.control(&["promote"]);
    let promoted = killed.elapsed();
    let recovered = load.wait_for(1, &[0, 1], RECOVERED_WITHIN);
    println!("failover: promoted {promoted:.1?} after the end of the primary, good again {recovered:.1?} later");
    load.wait_for(40, &[0, 1], SOON);
    let book = load.finish(&clients);
    println!("failover: {}", figures(&book));
    assert!(book.iter().all(|entry| entry.outcome != Outcome::Unknown), "{}", figures(&book));
    cluster.wait_whole();
}

/// A server that is started again shows commits that no replica has: they are
/// not acknowledged for all that.
#[test]
fn what_no_replica_has_is_not_acknowledged() {
    let primary = Server::start("");
    let (database, _) = fresh_database(&primary);
    let replica = primary.replica("");
    replicate_in_step(&primary);
    let cluster = Cluster::start(&both(&primary, &replica, &database), 1);
    let client = cluster.gateways[0].client();
    client.put("/bucket", b"").expect("an answer").ok("make a bucket");

    replica.control(&["stop", "-m", "immediate"]);
    let writer = client.clone();
    let begun = Instant::now();
    let put = std::thread::spawn(move || (writer.put("/bucket/key", b"bytes").expect("an answer"), begun.elapsed()));
    let waiting = |what: &str| {
        let count =
            format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '{what}'");
        primary.sql("postgres", &count) != "0"
    };
    let wait = |what: &str| {
        let waits = || (put.is_finished() || waiting(what)).then_some(());
        poll(SOON, Duration::from_millis(20), waits).unwrap_or_else(|| panic!("nobody waits for the replica: {what}"));
        assert!(!put.is_finished(), "acknowledged, and on no replica");
    };
    wait("COMMIT");
    primary.control(&["restart", "-m", "fast"]);
    // The gateway asks how its commit ended.
    wait("%INTO commits%");
    primary.kill();
    replica.control(&["start"]);
    replica.control(&["promote"]);
    let (mut reply, took) = put.join().expect("no panic");
    if reply.status == 503 && took > PATIENCE {
        // All of that took longer than a write is tried: the client is told that nothing was done.
        reply = client.put("/bucket/key", b"bytes").expect("an answer");
    }
    assert_eq!((reply.status, reply.text()), (200, String::new()), "done again where it was not stored");
    assert_eq!(client.get("/bucket/key").expect("an answer").ok("read").body, b"bytes");
    cluster.wait_whole();
}

/// Commits wait for it for longer than a gateway waits for an answer.
#[test]
fn a_replica_that_is_away_holds_writes_up_and_loses_none() {
    let primary = Server::start("");
    let (database, _) = fresh_database(&primary);
    let replica = primary.replica("");
    replicate_in_step(&primary);
    let cluster = Cluster::start(&both(&primary, &replica, &database), 2);
    let clients = cluster.clients();
    let load = Load::start(&clients, "away", 4);
    load.wait_for(20, &[0, 1], SOON);
    replica.control(&["stop", "-m", "immediate"]);
    let gone = Instant::now();
    let read = |client: &Client| client.list("/away", "w0/").expect("an answer");
    while gone.elapsed() < AWAY {
        // A write that the replica still got may come between the two.
        let same = || (read(&clients[0]) == read(&clients[1])).then_some(());
        poll(SOON, Duration::from_millis(50), same).expect("reads go on");
        std::thread::sleep(Duration::from_millis(500));
    }
    replica.control(&["start"]);
    let recovered = load.wait_for(1, &[0, 1], RECOVERED_WITHIN);
    load.wait_for(20, &[0, 1], SOON);
    let book = load.finish(&clients);
    assert!(book.iter().all(|entry| entry.outcome != Outcome::Unknown), "{}", figures(&book));
    println!("away: good again {recovered:.1?} after the replica's return; {}", figures(&book));
    cluster.wait_whole();
}
