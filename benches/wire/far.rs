//! A node at the end of a long, lossy line: two network namespaces, joined by
//! the tests' own line (`tests/network/wire.py`). Takes root.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn::transport::{Identity, Tuning};

use crate::node::FakeNode;

const DELAY_MS: &str = "40";
const LOSS: &str = "0.02";
const PIECE_BYTES: usize = 256 << 10;

/// Runs both ends in namespaces of their own.
pub fn line() {
    let spaces = [Space::new("door"), Space::new("node")];
    let [door, node] = [&spaces[0].0, &spaces[1].0];
    let wire = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/wire.py");
    let mut line = Ended(
        Command::new("/usr/bin/python3")
            .args([wire, door, "far0", node, "far0", DELAY_MS, LOSS])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut ready = String::new();
    BufReader::new(line.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    for (space, address) in [(door, "10.99.0.1/24"), (node, "10.99.0.2/24")] {
        ip(&["-n", space, "addr", "add", address, "dev", "far0"]);
        ip(&["-n", space, "link", "set", "far0", "up"]);
    }
    println!("{} pieces of 256 KiB at once to a node {DELAY_MS} ms away, 2 % lost in each direction", crate::TOGETHER);
    println!("connections          MiB/s   slowest piece");
    for connections in ["1", "2", "4", "8", "16", "64"] {
        let _node = Ended(inside(node).args(["--far-node", "10.99.0.1:9100"]).spawn().unwrap());
        assert!(inside(door).args(["--far-door", "10.99.0.1:9100", connections]).status().unwrap().success());
    }
}

/// The end that asks.
pub async fn door(address: &str, connections: usize) {
    let tuning = Tuning { connections_per_node: connections, ..Tuning::default() };
    let door = crate::open_door_at(address, tuning).await;
    assert!(door.nodes().wait_connected(1, Duration::from_secs(30)).await);
    let node = door.nodes().connected()[0].node;
    crate::carry(&door, node, false, crate::TOGETHER, &Bytes::from(vec![7; PIECE_BYTES / 8])).await;
    let body = Bytes::from(vec![7; PIECE_BYTES]);
    for get in [false, true] {
        let begun = Instant::now();
        let slowest = crate::carry(&door, node, get, crate::TOGETHER, &body).await;
        let rate = (crate::TOGETHER * PIECE_BYTES) as f64 / (1 << 20) as f64 / begun.elapsed().as_secs_f64();
        let name = if get { "get" } else { "put" };
        println!("{connections:>11} {name} {rate:>12.2} {:>12.1} s", slowest.as_secs_f64());
    }
}

/// The end that answers, until it is killed.
pub async fn node(address: &str) {
    let identity = Identity::generate().unwrap();
    loop {
        let (node, wanted) = FakeNode::new(&identity, address);
        if let Err(error) = Arc::new(node).stay(wanted).await {
            println!("the node is not in yet: {error}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

struct Space(String);

impl Space {
    fn new(name: &str) -> Self {
        let space = Self(format!("cairn-bench-{}-{name}", std::process::id()));
        ip(&["netns", "add", &space.0]);
        space
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// A process that does not outlive its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inside(space: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{space}")).arg(std::env::current_exe().unwrap());
    command
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}
