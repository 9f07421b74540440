//! A disk that fills up under a node. Mounts a small file system, as root.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::community::{Gateway, Node, Objects, SOON};
use crate::support::mount::{Mount, fill};
use crate::support::poll;

fn waits_for_room(node: &Node) -> bool {
    let waiting = node.status()["waiting_for"].to_string();
    waiting.contains("room on its disk: ") && waiting.contains("and the node promised 1")
}

fn wait(what: &str, ready: impl Fn() -> bool) {
    poll(SOON, Duration::from_millis(200), || ready().then_some(())).expect(what);
}

#[test]
fn a_node_on_a_full_disk_takes_no_pieces_gives_those_it_has_and_says_so() {
    let gateway = Gateway::start(&["--scheme", "2/2/3/4"]);
    let mount = Mount::new(gateway.work().join("small"), 300);
    let _others = gateway.nodes(3);
    let token = gateway.token(&[]);
    let mut node = gateway.node_of("small", &token, "200MB", &[]);
    gateway.wait_status("taking the node into account", |status| status["puts"]["domains_connected"] == 4);
    let mut objects = Objects::put(&gateway, "kept", 1);
    let id = node.id();
    let pieces = || gateway.row(&id)["space"]["pieces"].as_u64();
    let writable = || gateway.row(&id)["space"]["writable_bytes"].as_u64();
    assert!(writable() > Some(50_000_000) && !waits_for_room(&node), "{writable:?}", writable = writable());

    let ballast = mount.path.join("ballast");
    fill(&ballast);
    wait("the node says that its disk is full", || waits_for_room(&node));
    wait("the gateway knows", || writable() == Some(0));
    wait("the log says so", || node.log().contains("the disk is full: "));
    let before = pieces();
    objects.more(&gateway, 1);
    // Fewer, where one is deleted that came too late for an object.
    assert!(pieces() <= before, "it was given pieces");

    let refused = node.leave();
    assert_ne!(refused.status.code(), Some(0), "{}", refused.story());
    assert!(refused.stderr.contains("the node could not note that it leaves, and stays: "), "{}", refused.story());
    assert_eq!((node.status()["leaving"].clone(), gateway.row(&id)["state"].clone()), (false.into(), "active".into()));

    node.restart(Signal::KILL);
    wait("it starts on a full disk", || node.log().contains("this start is counted on it once there is room"));
    gateway.wait_connected(4);
    wait("it serves", || node.status()["state"] == "serving");
    objects.check(&gateway);

    fs::remove_file(&ballast).expect("it is ours");
    wait("the log says that there is room", || node.log().contains("has room for pieces again"));
    wait("the gateway knows", || writable() > Some(50_000_000));
    assert!(!waits_for_room(&node));
    let memory = || serde_json::from_slice::<Value>(&fs::read(node.dir().join("node.json")).unwrap()).unwrap();
    wait("the start is counted", || memory()["starts"] == 2);
    node.restart(Signal::KILL);
    wait("it starts anew", || node.status()["starts"] == 3);
    gateway.wait_connected(4);
    assert_eq!(gateway.row(&id)["rollbacks"], 0);
    objects.check(&gateway);
}
