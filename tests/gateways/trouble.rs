//! What PostgreSQL refuses while gateways run: clients are told to come again,
//! and do so well once the operator has put it right.

use std::path::Path;
use std::time::Duration;

use crate::cluster::{Cluster, PASSWORD, ROLE, SOON, fresh_database};
use crate::postgres::Server;
use crate::support::client::{Client, between};
use crate::support::data::random;
use crate::support::load::{Load, Outcome, figures};
use crate::support::mount::{Mount, fill};
use crate::support::poll;
use crate::support::workdir::WorkDir;

/// Writes are told to come again, in words that are the client's business.
fn refuses_writes(client: &Client, path: &str) {
    let reply = client.put(path, b"bytes").expect("an answer");
    let text = reply.text();
    assert_eq!((reply.status, between(&text, "<Code>", "</Code>")), (503, "SlowDown"), "{text}");
    assert!(!reply.header("retry-after").is_empty(), "no Retry-After with {text}");
    for inside in [PASSWORD, ROLE, "objects", "INSERT", "42501", "28000"] {
        let message = between(&text, "<Message>", "</Message>");
        assert!(!message.contains(inside), "a client reads {inside}: {text}");
    }
}

fn writes_again(client: &Client, path: &str) {
    let written = || client.put(path, b"bytes").is_ok_and(|reply| reply.status == 200).then_some(());
    poll(SOON, Duration::from_millis(100), written).expect("the operator has put it right");
}

#[test]
fn rights_that_are_taken_away() {
    let server = Server::start("");
    let (database, url) = fresh_database(&server);
    let cluster = Cluster::start(&url, 2);
    let clients = cluster.clients();
    clients[0].put("/rights", b"").expect("an answer").ok("make a bucket");
    clients[0].put("/rights/before", b"before").expect("an answer").ok("store");

    server.sql(&database, &format!("REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM {ROLE}"));
    for client in &clients {
        refuses_writes(client, "/rights/key");
        assert_eq!(client.get("/rights/before").expect("an answer").ok("reads go on").body, b"before");
        assert_eq!(client.get("/rights/key").expect("an answer").status, 404);
    }
    server.sql(&database, &format!("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}"));
    clients.iter().for_each(|client| writes_again(client, "/rights/key"));

    // The role may not even log in any more.
    server.sql("postgres", &format!("ALTER ROLE {ROLE} NOLOGIN"));
    // Only now: a gateway whose connection ends before that is stored makes another one.
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'");
    let none = || server.sql("postgres", &end).is_empty().then_some(());
    poll(SOON, Duration::from_millis(100), none).expect("their connections end");
    for client in &clients {
        refuses_writes(client, "/rights/late");
        assert_eq!(client.get("/rights/before").expect("an answer").status, 503);
    }
    server.sql("postgres", &format!("ALTER ROLE {ROLE} LOGIN"));
    clients.iter().for_each(|client| writes_again(client, "/rights/late"));
    cluster.wait_whole();
}

/// Both gateways want more connections than there are.
#[test]
fn a_server_with_few_connections() {
    let server = Server::start("max_connections = 14\nsuperuser_reserved_connections = 3\n");
    let (_, url) = fresh_database(&server);
    let cluster = Cluster::start(&url, 2);
    let clients = cluster.clients();
    let load = Load::start(&clients, "few", 24);
    load.wait_for(200, &[0, 1], SOON);
    let book = load.finish(&clients);
    println!("few connections: {}", figures(&book));
    assert!(book.iter().all(|entry| entry.outcome == Outcome::Good), "{}", figures(&book));
}

/// A database whose tables are on a small disk. Mounts, as root.
#[test]
fn the_servers_disk_is_full() {
    let server = Server::start("");
    let (database, url) = fresh_database(&server);
    let work = WorkDir::new("small");
    let mount = Mount::new(work.join("mount"), 60);
    let space = mount.path.join("space");
    std::fs::create_dir(&space).expect("an empty disk");
    server.give(&space);
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", space.display()));
    server.sql("postgres", &format!("ALTER DATABASE {database} SET TABLESPACE small"));
    let cluster = Cluster::start(&url, 2);
    let clients = cluster.clients();
    let load = Load::start(&clients, "full", 2);
    load.wait_for(20, &[0, 1], SOON);

    let ballast = mount.path.join("ballast");
    fill(&ballast);
    let refused = || load.book().iter().filter(|entry| entry.outcome == Outcome::Refused).count();
    // What the tables have left over inside their files is used up first.
    let full = poll(SOON, Duration::from_millis(50), || {
        clients[1]
            .put("/full/ballast", &random(refused() as u64, 3_000))
            .is_ok_and(|reply| reply.status == 503)
            .then_some(())
    });
    full.expect("a full disk is told");
    poll(SOON, Duration::from_millis(50), || (refused() > 3).then_some(())).expect("writers are told as well");
    make_room(&ballast);
    load.wait_for(30, &[0, 1], SOON);
    writes_again(&clients[1], "/full/ballast");
    let book = load.finish(&clients);
    println!("full: {}", figures(&book));
    assert!(book.iter().all(|entry| entry.writes || entry.outcome == Outcome::Good), "reads go on: {}", figures(&book));
    drop(cluster);
    drop(server);
}

fn make_room(ballast: &Path) {
    std::fs::remove_file(ballast).expect("it is there");
}
