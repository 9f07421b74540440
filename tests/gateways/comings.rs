//! Gateways come and go while others serve: nodes find them by themselves, and
//! forget those that are gone.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, NODES, Node, PATIENCE, SOON, fresh_database};
use crate::postgres::Server;
use crate::support::client::{Body, Call, between};
use crate::support::data::random;
use crate::support::load::{Entry, Load, Outcome, figures};
use crate::support::poll;

/// Longer than the database keeps a transaction that does nothing.
const STANDS_STILL: Duration = Duration::from_secs(13);
/// Nodes hang up on a gateway that is silent for 15 s.
const HUNG_UP_AFTER: Duration = Duration::from_secs(14);
/// Less than a lock is kept by a gateway that stands still.
const HELD_UP: Duration = Duration::from_secs(9);

/// Every node is connected to these doors and knows no others.
fn wait_for_doors(nodes: &[Node], doors: &[String]) {
    let mut expected: Vec<(String, bool)> = doors.iter().map(|door| (door.clone(), true)).collect();
    expected.sort();
    for node in nodes {
        let mut last = Vec::new();
        let found = poll(SOON, Duration::from_millis(100), || {
            last = node.doors();
            (last == expected).then_some(())
        });
        assert!(found.is_some(), "a node knows the doors {last:?} instead of {expected:?}");
    }
}

#[test]
fn nodes_find_a_gateway_that_comes_later_and_forget_one_that_goes() {
    let server = Server::start("");
    let (_, url) = fresh_database(&server);
    // All nodes join while there is one gateway: its door is all that they know.
    let mut cluster = Cluster::start(&url, 1);
    let first = cluster.gateways[0].door();
    wait_for_doors(&cluster.nodes, std::slice::from_ref(&first));
    let pids: Vec<u32> = cluster.nodes.iter().map(Node::pid).collect();
    let (client, bytes) = (cluster.gateways[0].client(), random(1, 3_000_000));
    client.put("/bucket", b"").expect("an answer").ok("make a bucket");
    client.put("/bucket/early", &bytes).expect("an answer").ok("store");

    cluster.add_gateway();
    // No node has found it yet: a read waits for them.
    let (client, begun) = (cluster.gateways[1].client(), Instant::now());
    let mut early = client.get("/bucket/early").expect("an answer");
    let waited = begun.elapsed();
    cluster.wait_whole();
    if early.status == 503 && waited > PATIENCE {
        // It has waited, and they took longer than it does.
        early = client.get("/bucket/early").expect("an answer");
    }
    assert!(early.ok("read").body == bytes);
    let second = cluster.gateways[1].door();
    wait_for_doors(&cluster.nodes, &[first.clone(), second.clone()]);
    let client = cluster.gateways[1].client();
    client.put("/bucket/key", &bytes).expect("an answer").ok("store");
    assert!(cluster.gateways[0].client().get("/bucket/key").expect("an answer").ok("read").body == bytes);

    // The first one ends well, and takes its door out of the database itself.
    // Its nodes were told of it by their token, so that they go on trying it.
    assert!(cluster.gateways[0].end());
    cluster.nodes[0].kill();
    cluster.nodes[0].start_again();
    cluster.gateways[1].wait_for_nodes(NODES);
    cluster.add_gateway();
    cluster.wait_whole();
    let third = cluster.gateways[2].door();
    assert!(cluster.gateways[2].client().get("/bucket/key").expect("an answer").ok("read").body == bytes);
    assert!(cluster.gateways[1].end());
    wait_for_doors_of_the_learned(&cluster.nodes, &second, &third);
    let still: Vec<u32> = cluster.nodes.iter().map(Node::pid).collect();
    assert_eq!(pids[1..], still[1..], "no node had to be started again");
}

/// Every node has forgotten one and is connected to the other.
fn wait_for_doors_of_the_learned(nodes: &[Node], gone: &str, there: &str) {
    for node in nodes {
        let mut last = Vec::new();
        let forgotten = poll(SOON, Duration::from_millis(100), || {
            last = node.doors();
            let good = last.iter().all(|(door, _)| door != gone) && last.contains(&(there.to_owned(), true));
            good.then_some(())
        });
        assert!(forgotten.is_some(), "a node knows the doors {last:?}; {gone} is gone");
    }
}

#[test]
fn a_gateway_that_is_killed_under_load_takes_nothing_with_it() {
    let server = Server::start("");
    let (database, url) = fresh_database(&server);
    let mut cluster = Cluster::start(&url, 2);
    let clients = cluster.clients();
    let load = Load::start(&clients, "killed", 4);
    load.wait_for(30, &[0, 1], SOON);

    let (upload, first) = begin_upload(&clients[1], "/killed/upload", 1);
    cluster.gateways[1].kill();
    load.wait_for(60, &[0], SOON);
    let survivor: Vec<_> = load.book().into_iter().filter(|entry| entry.gateway == 0).collect();
    assert!(survivor.iter().all(|entry| entry.outcome == Outcome::Good), "{}", figures(&survivor));

    // What was begun at the dead one is finished through the other.
    let second = send_part(&clients[0], "/killed/upload", &upload, 2);
    complete(&clients[0], "/killed/upload", &upload, &[first, second]);
    let body = clients[0].get("/killed/upload").expect("an answer").ok("read").body;
    assert!(body == [random(1, PART), random(2, PART)].concat());

    // Its door is forgotten when it was not heard of for ten minutes of the database's clock.
    let door = cluster.gateways[1].door();
    assert!(doors_of_tokens(&cluster).contains(&door), "it may come back");
    let address = format!("position('{door}'::bytea IN addresses) > 0");
    let aged = format!("UPDATE doors SET seen_ms = seen_ms - 600001 WHERE {address} RETURNING 1");
    assert_eq!(server.sql(&database, &aged), "1");
    cluster.add_nodes(1);
    cluster.wait_whole();
    wait_for_doors(&cluster.nodes[NODES..], &[cluster.gateways[0].door()]);

    // It comes back, and is found again.
    cluster.gateways[1].start_again();
    cluster.wait_whole();
    load.wait_for(30, &[0, 1], SOON);
    let book = load.finish(&clients);
    println!("killed: {}", figures(&book));
    assert!(clients[1].get("/killed/upload").expect("an answer").ok("read").body == body);
}

const PART: u64 = 5 << 20;
type Client = crate::support::client::Client;

fn begin_upload(client: &Client, path: &str, number: u64) -> (String, String) {
    let begun = client.send(Call::new("POST", path).query("uploads", "")).expect("an answer").ok("begin").text();
    let upload = between(&begun, "<UploadId>", "</UploadId>").to_owned();
    let etag = send_part(client, path, &upload, number);
    (upload, etag)
}

fn send_part(client: &Client, path: &str, upload: &str, number: u64) -> String {
    let bytes = random(number, PART);
    let call = Call::new("PUT", path).query("uploadId", upload).query("partNumber", number.to_string());
    client.send(call.body(Body::Bytes(&bytes))).expect("an answer").ok("a part").etag()
}

fn complete(client: &Client, path: &str, upload: &str, etags: &[String]) {
    let part =
        |(etag, number): (&String, usize)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    let parts: String = etags.iter().zip(1..).map(part).collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let call = Call::new("POST", path).query("uploadId", upload).body(Body::Bytes(document.as_bytes()));
    client.send(call).expect("an answer").ok("complete");
}

/// What a new token tells nodes to dial.
fn doors_of_tokens(cluster: &Cluster) -> String {
    let made = cluster.gateways[0].operator(&["token", "create", "--json"]).text();
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    made["doors"].to_string()
}

/// As one whose machine has no time for it: its locks and connections stay.
#[test]
fn a_gateway_that_stands_still_holds_up_nobody() {
    let server = Server::start("");
    let (_, url) = fresh_database(&server);
    let cluster = Cluster::start(&url, 2);
    let clients = cluster.clients();
    let load = Load::start(&clients, "still", 6);
    load.wait_for(30, &[0, 1], SOON);
    cluster.gateways[1].freeze();
    let (frozen, mut number) = (Instant::now(), 0);
    while frozen.elapsed() < STANDS_STILL {
        let (path, begun) = (format!("/still/beside-{number}"), Instant::now());
        clients[0].put(&path, &random(number, 20_000)).expect("an answer").ok("store beside it");
        assert!(begun.elapsed() < HELD_UP, "{path} took {:?}", begun.elapsed());
        number += 1;
    }
    cluster.gateways[1].thaw();
    let stood = frozen.elapsed();
    load.wait_for(30, &[0, 1], SOON);
    let book = load.finish(&clients);
    println!("still: {}", figures(&book));
    // What it had begun may have been given up by the database meanwhile.
    let beside: Vec<_> = book.iter().filter(|entry| entry.gateway == 0).copied().collect();
    assert!(beside.iter().all(|entry| entry.outcome == Outcome::Good), "{}", figures(&beside));
    // A read breaks off where its nodes have gone.
    let breaks_off = |entry: &Entry| !entry.writes && stood > HUNG_UP_AFTER;
    let known = |entry: &Entry| entry.outcome != Outcome::Unknown || breaks_off(entry);
    assert!(book.iter().all(known), "it stood for {stood:?}: {}", figures(&book));
}

#[test]
fn everything_starts_in_any_order() {
    let server = Server::start("");
    let (_, url) = fresh_database(&server);
    let mut cluster = Cluster::start(&url, 2);
    let client = cluster.gateways[0].client();
    client.put("/bucket", b"").expect("an answer").ok("make a bucket");
    let bytes = random(1, 200_000);
    client.put("/bucket/key", &bytes).expect("an answer").ok("store");

    // All of it is killed; then nodes come first, the second gateway before the first.
    cluster.gateways.iter_mut().for_each(crate::cluster::Gateway::kill);
    cluster.nodes.iter_mut().for_each(Node::kill);
    server.control(&["restart", "-m", "immediate"]);
    cluster.nodes.iter_mut().for_each(Node::start_again);
    cluster.gateways[1].start_again();
    cluster.gateways[1].wait_for_nodes(NODES);
    let client = cluster.gateways[1].client();
    assert!(client.get("/bucket/key").expect("an answer").ok("read").body == bytes);
    client.put("/bucket/second", &bytes).expect("an answer").ok("store");
    cluster.gateways[0].start_again();
    cluster.wait_whole();
    assert!(cluster.gateways[0].client().get("/bucket/second").expect("an answer").ok("read").body == bytes);

    // Both at once.
    cluster.gateways.iter_mut().for_each(crate::cluster::Gateway::kill);
    cluster.gateways.iter_mut().for_each(crate::cluster::Gateway::begin_again);
    cluster.gateways.iter_mut().for_each(crate::cluster::Gateway::wait_ready);
    cluster.wait_whole();
}
