//! How nodes come in, and who stays out.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::community::{Gateway, Node, Objects, SOON};
use crate::support::poll;

/// A node that is told to go away ends with a sentence.
fn refused(gateway: &Gateway, name: &str, token: &str, code: i32, words: &str) {
    let dir = gateway.work().join(name);
    let arguments = ["--join", token, "--capacity", "100MB"];
    let outcome = Node::invocation(gateway.work().path(), &dir, &arguments).limit_seconds(60).outcome();
    assert_eq!(outcome.status.code(), Some(code), "{}", outcome.story());
    assert!(outcome.stderr.contains(words), "'{words}' is not said: {}", outcome.story());
}

/// The same token with another letter in its middle.
fn mangled(token: &str) -> String {
    let (before, rest) = token.split_at(token.len() / 2);
    let other = if rest.starts_with('e') { 'f' } else { 'e' };
    format!("{before}{other}{}", &rest[1..])
}

#[test]
fn nodes_join_once_and_come_back_without_a_token() {
    let mut gateway = Gateway::start(&[]);
    let mut nodes = gateway.nodes(5);
    let mut objects = Objects::put(&gateway, "first", 1);
    nodes[0].restart(Signal::TERM);
    nodes[1].restart(Signal::KILL);
    gateway.restart(Signal::TERM, &[]);
    gateway.wait_connected(5);
    objects.check(&gateway);
    gateway.restart(Signal::KILL, &[]);
    gateway.wait_connected(5);
    objects.check(&gateway);
    objects.more(&gateway, 1);
    objects.check(&gateway);
    assert_eq!(gateway.rows().len(), 5, "a node that comes back is no new node");
}

#[test]
fn tokens_that_are_no_good_are_refused_with_a_sentence() {
    let (gateway, other) = (Gateway::start(&[]), Gateway::start(&[]));
    let once = gateway.token(&[]);
    let _node = gateway.node("first", &once, &[]);
    gateway.wait_connected(1);
    refused(&gateway, "second", &once, 1, "used up");

    let short = gateway.token(&["--expires", "1s"]);
    std::thread::sleep(Duration::from_millis(1500));
    refused(&gateway, "late", &short, 1, "expired");

    let revoked = gateway.token(&["--uses", "unlimited"]);
    let tokens = gateway.json(&["token", "list"]);
    let id = tokens[0]["id"].as_str().expect("the newest token's id").to_owned();
    gateway.operator(&["token", "revoke", &id]).run();
    refused(&gateway, "revoked", &revoked, 1, "revoked");

    refused(&gateway, "mangled", &mangled(&once), 2, "join token");
    refused(&gateway, "cut", &once[..once.len() - 5], 2, "mangled");
    refused(&gateway, "nothing", "hello", 2, "not a join token");

    // A folder belongs to one cluster.
    let mut node = gateway.node("settled", &gateway.token(&[]), &[]);
    gateway.wait_connected(2);
    node.stop(Signal::TERM);
    refused(&gateway, "settled", &other.token(&[]), 2, "another cluster");
    node.restart(Signal::TERM);
    gateway.wait_connected(2);
}

#[test]
fn writes_wait_until_enough_nodes_have_joined() {
    let gateway = Gateway::start(&["--scheme", "2/2/3/4"]);
    gateway.client().put("/early", &[]).expect("an answer").ok("a bucket needs no nodes");
    let refusal = gateway.client().put("/early/object", &[7; 50_000]).expect("an answer");
    assert_eq!(refusal.status, 503);
    assert!(refusal.text().contains("SlowDown") && refusal.text().contains("joined"), "{}", refusal.text());
    let status = gateway.operator(&["status"]).outcome();
    assert_eq!(status.status.code(), Some(1), "{}", status.story());
    let _nodes = gateway.nodes(4);
    let stored = || (gateway.client().put("/early/object", &[7; 50_000]).ok()?.status == 200).then_some(());
    poll(SOON, Duration::from_millis(200), stored).expect("four nodes are enough");
    gateway.wait_status("all is well", |status| status["healthy"] == true);
    let status = gateway.operator(&["status"]).outcome();
    assert_eq!(status.status.code(), Some(0), "{}", status.story());
}

#[test]
fn an_identity_that_was_copied_stays_out_while_the_first_lives() {
    let gateway = Gateway::start(&[]);
    let mut nodes = gateway.nodes(3);
    nodes[0].stop(Signal::TERM);
    let copy = gateway.work().join("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(nodes[0].dir()).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    nodes[0].restart(Signal::TERM);
    // Not before it is in again: of two, the door keeps the first.
    nodes[0].wait_serving();
    gateway.wait_connected(3);
    let log = gateway.work().join("copy.log");
    let mut second = Node::invocation(gateway.work().path(), &copy, &[]).start(&log);
    let said = || second.log().contains("same identity").then_some(());
    poll(SOON, Duration::from_millis(200), said).expect("the copy is told why it stays out");
    assert!(gateway.log().contains("its folder was copied"), "{}", gateway.log());
    second.stop(Signal::TERM, Duration::from_secs(60));
}
