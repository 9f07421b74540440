//! What disks and old copies do to pieces, and that it is made good.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::community::{Gateway, Objects, SOON};
use crate::support::poll;

/// Changes bytes in the middle of every log.
fn spoil(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("logs")).expect("a node has logs") {
        let path = entry.expect("a folder entry").path();
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("its own file");
        let length = file.metadata().expect("it is open").len();
        for at in (10_000..length).step_by(300_000) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("within the file");
            file.write_all_at(&[!byte[0]], at).expect("within the file");
        }
    }
}

fn logs_bytes(dir: &Path) -> u64 {
    let logs = std::fs::read_dir(dir.join("logs")).expect("a node has logs");
    logs.map(|log| log.and_then(|log| log.metadata()).expect("a file").len()).sum()
}

#[test]
fn damage_that_a_node_finds_is_repaired_without_being_asked() {
    let gateway = Gateway::start(&["--scheme", "2/2/3/4"]);
    let mut nodes = gateway.nodes(5);
    let objects = Objects::put(&gateway, "kept", 2);
    // An upload ends when three of five nodes have a piece, so one may have none.
    let node = nodes.iter_mut().max_by_key(|node| logs_bytes(node.dir())).expect("there are five");
    node.stop(Signal::TERM);
    spoil(node.dir());
    // Without its checkpoint the node reads all records when it starts, and finds out.
    std::fs::remove_file(node.dir().join("index.checkpoint")).expect("a store that was closed has one");
    node.restart(Signal::TERM);
    gateway.wait_connected(5);
    gateway.wait_status("repair of the damage", |status| {
        status["segments"]["pieces_repaired"].as_u64() > Some(0) && status["segments"]["queue"] == 0
    });
    objects.check(&gateway);
}

#[test]
fn logs_that_are_deleted_under_a_node_are_noticed_while_it_runs() {
    let gateway = Gateway::start(&["--scheme", "2/2/3/4"]);
    let mut nodes = gateway.nodes(4);
    let objects = Objects::put(&gateway, "kept", 2);
    let token = gateway.token(&["--uses", "unlimited"]);
    let _more: Vec<_> = ["a", "b", "c"].map(|name| gateway.node(name, &token, &[])).into();
    gateway.wait_connected(7);
    for node in &nodes[..3] {
        std::fs::remove_dir_all(node.dir().join("logs")).expect("its own folder");
    }
    let told = gateway.wait_status("the loss of three stores", |status| {
        status["warnings"].to_string().contains("has lost its piece store")
            && status["warnings"].to_string().contains("and so have 2 more")
    });
    assert_eq!(told["segments"]["lost"], 0, "{told:#}");
    assert_eq!(gateway.row(&nodes[0].id())["store_failed"], true);
    let listed = gateway.operator(&["nodes", "list"]).run().text();
    assert_eq!(listed.matches("active, store gone").count(), 3, "{listed}");
    gateway.wait_status("repair", |status| {
        let segments = &status["segments"];
        segments["pieces_repaired"].as_u64() > Some(0) && segments["degraded"] == 0 && segments["queue"] == 0
    });
    // What was counted may be from before the last of the three was known.
    gateway.full_pass();
    gateway
        .wait_status("repair of all", |status| status["segments"]["degraded"] == 0 && status["segments"]["queue"] == 0);
    nodes.drain(..3).for_each(|mut node| node.stop(Signal::KILL));
    objects.check(&gateway);
}

#[test]
fn a_node_that_was_set_back_is_noticed_and_made_whole() {
    let gateway = Gateway::start(&["--scheme", "2/2/3/4"]);
    let mut nodes = gateway.nodes(4);
    let mut objects = Objects::put(&gateway, "kept", 1);
    nodes[0].stop(Signal::TERM);
    let image = gateway.work().join("image");
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(copied.expect("cp runs").success());
    };
    copy(nodes[0].dir(), &image);
    nodes[0].restart(Signal::TERM);
    gateway.wait_connected(4);
    objects.more(&gateway, 1);
    nodes[0].stop(Signal::TERM);
    std::fs::remove_dir_all(nodes[0].dir()).expect("its own folder");
    copy(&image, nodes[0].dir());
    nodes[0].restart(Signal::TERM);
    gateway.wait_connected(4);
    let id = nodes[0].id();
    gateway.wait_row(&id, "the rollback", |row| row["rollbacks"] == 1);
    let said = || gateway.log().contains("older state").then_some(());
    poll(SOON, Duration::from_millis(100), said).unwrap_or_else(|| panic!("it is not told: {}", gateway.log()));
    gateway.wait_status("repair of what is missing", |status| {
        status["segments"]["pieces_repaired"].as_u64() > Some(0) && status["segments"]["queue"] == 0
    });
    objects.check(&gateway);
}
