//! Disks that fail or fill up under one part while the others go on: the
//! gateway's database, a node, a node's logs alone. What was acknowledged
//! stays, nothing is acknowledged that is not there, and afterwards work goes on.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::figures::{Figures, is_whole};
use crate::support::community::{Gateway, Node, SOON};
use crate::support::disk::{Disk, cut};
use crate::support::load::{Entry, Load, Outcome, Terms};
use crate::support::mount::fill;
use crate::support::poll;
use crate::support::workdir::WorkDir;

const NODES: usize = 7;
const SCHEME: [&str; 4] = ["--scheme", "3/4/5/6", "--offline-after", "120s"];
/// What a failing disk may log, of the gateway's and of a node's.
const DATABASE: [&str; 7] =
    ["is malformed", "a commit failed", "disk I/O error", "a worker failed", "500", "503", "no room left"];
const NODE: [&str; 7] = [
    "the piece store fails",
    "the piece store is gone",
    "a log cannot be written",
    "has lost",
    "could not",
    "the disk is full",
    "503",
];

/// A gateway on a disk of its own; its nodes are on the machine's.
fn on_a_disk(size_mib: u64) -> (Disk, Gateway, Vec<Node>) {
    let work = WorkDir::new("faults");
    let disk = Disk::new(&work, "data", size_mib);
    let gateway = Gateway::start_on(work, &SCHEME);
    let nodes = gateway.nodes(NODES);
    (disk, gateway, nodes)
}

fn wait(what: &str, limit: Duration, ready: impl Fn() -> bool) {
    poll(limit, Duration::from_millis(100), || ready().then_some(())).expect(what);
}

#[test]
fn a_database_whose_disk_fails_acknowledges_nothing_and_keeps_what_it_had() {
    let (disk, mut gateway, nodes) = on_a_disk(300);
    let terms = Terms { may_fail: true, ..Terms::of("failing") };
    let load = Load::start_with(&[gateway.client()], "failing", 4, &terms);
    load.wait_for(60, &[0], SOON);
    let begun = Instant::now();
    // No fsync is under way meanwhile: one that ext4 has let in before it is shut down
    // may find its transaction dropped, and is told that all is well.
    gateway.daemon().freeze();
    cut([&disk]);
    gateway.daemon().send(Signal::CONT);
    let failed = || load.book().iter().filter(|entry| entry.writes && entry.outcome != Outcome::Good).count();
    let before = failed();
    wait("writes are refused", SOON, || failed() > before + 20);
    let late = Instant::now();
    wait("more are refused", SOON, || failed() > before + 40);
    let acknowledged = |entry: &&Entry| entry.begun > late && entry.writes;
    let book = load.book();
    assert!(book.iter().filter(acknowledged).all(|entry| entry.outcome != Outcome::Good), "no disk took it");
    gateway.stop(Signal::KILL);
    disk.mount_again();
    gateway.start_again();
    gateway.wait_connected(NODES);
    load.wait_for(20, &[0], SOON);
    let mut figures = Figures::default();
    figures.healthy_after.push(begun.elapsed());
    figures.add_reads(&load.book(), begun, Instant::now());
    figures.count(&load.finish(&[gateway.client()]));
    figures.show("EIO on the database", &gateway);
    assert_eq!(gateway.complaints(&DATABASE), Vec::<String>::new());
    drop((nodes, gateway, disk));
}

#[test]
fn a_database_whose_disk_is_full_refuses_and_reads_on() {
    let (disk, gateway, nodes) = on_a_disk(200);
    let load = Load::start(&[gateway.client()], "full", 4);
    load.wait_for(60, &[0], SOON);
    let begun = Instant::now();
    let ballast = disk.path.join("ballast");
    fill(&ballast);
    let since = |reads: bool, outcome: Outcome| {
        let fits = |entry: &&Entry| entry.begun > begun && entry.writes != reads && entry.outcome == outcome;
        load.book().iter().filter(fits).count()
    };
    wait("writes are refused", SOON, || since(false, Outcome::Refused) > 20);
    wait("reads go on", SOON, || since(true, Outcome::Good) > 20);
    gateway.wait_status("the problem", |status| status["problems"].to_string().contains("no room left"));
    std::fs::remove_file(&ballast).expect("it is ours");
    load.wait_for(40, &[0], SOON);
    wait("writes go on", SOON, || since(false, Outcome::Good) > 20);
    let mut figures = Figures::default();
    figures.healthy_after.push(begun.elapsed());
    figures.add_reads(&load.book(), begun, Instant::now());
    figures.count(&load.finish(&[gateway.client()]));
    figures.show("a full database", &gateway);
    assert_eq!(figures.unreadable, 0, "a full disk keeps nobody from reading");
    assert_eq!(gateway.complaints(&DATABASE), Vec::<String>::new());
    drop((nodes, gateway, disk));
}

#[test]
fn a_node_whose_disk_fails_or_fills_up_costs_nothing() {
    one_node("EIO on a node", "node-0", |disk| cut([disk]), |_| true);
    one_node("a full node", "node-0", |disk| fill(&disk.path.join("ballast")), takes_none);
}

#[test]
fn a_node_whose_logs_alone_fail_or_fill_up_costs_nothing() {
    one_node("EIO on a node's logs", "node-0/logs", |disk| cut([disk]), |_| true);
    one_node("full logs of a node", "node-0/logs", |disk| fill(&disk.path.join("ballast")), takes_none);
}

/// A disk that is full is seen before a piece fails.
fn takes_none(row: &Value) -> bool {
    row["space"]["writable_bytes"] == 0
}

/// Something is done to a disk on which one node has all, or its logs.
fn one_node(drill: &str, place: &str, fault: impl Fn(&Disk), known: impl Fn(&Value) -> bool) {
    let work = WorkDir::new("faults");
    let disk = Disk::new(&work, place, 400);
    let gateway = Gateway::start_on(work, &SCHEME);
    let mut nodes = gateway.nodes_of(NODES, "300MB");
    let id = nodes[0].id();
    let load = Load::start(&[gateway.client()], "node", 4);
    load.wait_for(80, &[0], SOON);
    let begun = Instant::now();
    fault(&disk);
    load.wait_for(100, &[0], SOON);
    wait(&format!("{drill}: the gateway knows of it"), SOON, || known(&gateway.row(&id)));
    load.wait_for(50, &[0], SOON);
    nodes[0].stop(Signal::KILL);
    let _ = std::fs::remove_file(disk.path.join("ballast"));
    disk.mount_again();
    nodes[0].start_again();
    gateway.wait_connected(NODES);
    gateway.wait_status("all is well", |status| is_whole(status, 0));
    let mut figures = Figures::default();
    figures.healthy_after.push(begun.elapsed());
    figures.add_reads(&load.book(), begun, Instant::now());
    figures.count(&load.finish(&[gateway.client()]));
    figures.show(drill, &gateway);
    assert_eq!(figures.unreadable, 0, "{drill}: one node of seven is missing");
    let row = gateway.row(&id);
    assert_eq!(row["rollbacks"], 0, "{drill}: {row:#}");
    assert_eq!(gateway.complaints(&NODE), Vec::<String>::new(), "{drill}");
    for node in &mut nodes {
        node.stop(Signal::KILL);
    }
    drop((gateway, disk));
}
