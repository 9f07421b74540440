//! How nodes go: drained, given up, suspended.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::community::{Gateway, Objects, SOON};
use crate::support::poll;

#[test]
fn a_node_that_leaves_is_emptied_first() {
    let gateway = Gateway::start(&["--scheme", "2/2/3/4"]);
    let nodes = gateway.nodes(6);
    let mut objects = Objects::put(&gateway, "kept", 2);
    let id = nodes[2].id();
    let left = nodes[2].leave();
    assert_eq!(left.status.code(), Some(0), "{}\n{}\n{}", left.story(), nodes[2].log(), gateway.log());
    assert!(left.text().contains("wiped"), "{}", left.story());
    assert_eq!(gateway.row(&id)["state"], "left");
    objects.check(&gateway);
    // Nothing depends on it any more: neither it nor one more is needed.
    std::fs::remove_dir_all(nodes[2].dir().join("logs")).expect("its pieces are its own");
    objects.check(&gateway);
    objects.more(&gateway, 1);
    objects.check(&gateway);
}

#[test]
fn what_a_node_held_that_was_given_up_is_made_anew() {
    let gateway = Gateway::start(&["--scheme", "2/2/3/4"]);
    let mut nodes = gateway.nodes(6);
    let objects = Objects::put(&gateway, "kept", 2);
    for _ in 0..3 {
        let mut node = nodes.remove(0);
        let id = node.id();
        node.stop(Signal::KILL);
        poll(SOON, Duration::from_millis(200), || (gateway.row(&id)["connected"] == false).then_some(()))
            .expect("a dead node is noticed");
        let passes = gateway.json(&["status"])["segments"]["passes"].as_u64().expect("passes are counted");
        gateway.operator(&["nodes", "forget", &id, "--yes", "--force"]).run();
        // A pass that was under way knew nothing of it.
        gateway.full_pass();
        // One more each round: at the end more have gone than any segment survives at once.
        gateway.wait_status("repair", |status| {
            status["segments"]["degraded"] == 0
                && status["segments"]["queue"] == 0
                && status["segments"]["passes"].as_u64() > Some(passes)
        });
        objects.check(&gateway);
    }
}

#[test]
fn a_suspended_node_gives_and_takes_nothing_new() {
    // Writes wait for all pieces, so that none is on its way to a node afterwards.
    let gateway = Gateway::start(&["--scheme", "1/1/3/3"]);
    let nodes = gateway.nodes(4);
    let mut objects = Objects::put(&gateway, "before", 1);
    let id = nodes[0].id();
    gateway.operator(&["nodes", "suspend", &id]).run();
    let pieces = || nodes[0].status()["disk"]["pieces"].as_u64().expect("a number of pieces");
    let before = pieces();
    objects.more(&gateway, 2);
    assert!(pieces() <= before, "a suspended node was given pieces");
    let told = || (nodes[0].status()["standing"]["kind"] == "suspended").then_some(());
    poll(SOON, Duration::from_millis(200), told).expect("a suspended node is told so");
    objects.check(&gateway);
    gateway.operator(&["nodes", "resume", &id]).run();
    let taken = || {
        objects.more(&gateway, 1);
        (pieces() > before).then_some(())
    };
    poll(SOON, Duration::from_millis(100), taken).expect("a node that was resumed takes pieces again");
}
