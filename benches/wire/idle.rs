//! Thousands of nodes that are parked: the door in one process, they in another.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn::transport::{Identity, Tuning};
use cairn::wire::Purpose;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::meter::{Meter, resident_bytes};
use crate::node::FakeNode;

/// How long they are watched once all are there.
const WATCHED: Duration = Duration::from_secs(30);

/// Takes every descriptor that is allowed.
fn take_descriptors(count: usize) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    assert!(limit.maximum.is_none_or(|maximum| maximum > count as u64 + 100), "too few descriptors: {limit:?}");
}

pub async fn door(count: usize) {
    take_descriptors(count);
    let door = crate::open_door(Tuning::default()).await;
    let (before, _) = resident_bytes();
    let (meter, begun) = (Meter::start(), Instant::now());
    let mut nodes = Command::new(std::env::current_exe().unwrap())
        .args(["--idle-nodes", &door.local_addr().to_string(), &count.to_string()])
        .spawn()
        .unwrap();
    let all = door.nodes().wait_connected(count, Duration::from_secs(300)).await;
    let (coming, seconds) = (meter.stop(count, 0), begun.elapsed().as_secs_f64());
    println!(
        "{} of {count} nodes came in within {seconds:.1} s, all dialling at once; door: {:.2} CPU ms each",
        door.nodes().connected().len(),
        coming.cpu_seconds * 1e3 / count as f64
    );
    assert!(all, "not all nodes came in");
    let meter = Meter::start();
    tokio::time::sleep(WATCHED).await;
    let idle = meter.stop(count, 0);
    let (after, _) = resident_bytes();
    println!(
        "parked: door {:.1} KiB of memory per node, {:.1} % of a core for pings; {} still there after {} s",
        (after - before) as f64 / 1024.0 / count as f64,
        idle.cpu_seconds * 100.0 / idle.seconds,
        door.nodes().connected().len(),
        WATCHED.as_secs()
    );
    nodes.kill().unwrap();
    nodes.wait().unwrap();
}

pub async fn nodes(address: &str, count: usize) {
    take_descriptors(count);
    let running: Vec<_> = (0..count)
        .map(|_| Arc::new(FakeNode::new(&Identity::generate().unwrap(), address).0))
        .map(|node| tokio::spawn(keep(node)))
        .collect();
    for running in running {
        running.await.unwrap();
    }
}

/// Dials until it is in; the door's own queue is what is measured.
async fn keep(node: Arc<FakeNode>) {
    while let Err(error) = node.clone().serve(Purpose::Control).await {
        println!("a node did not get in: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
