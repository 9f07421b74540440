//! What the wire costs: pieces over 4 to 64 connections of one node, and many
//! nodes that do nothing. Nodes here keep pieces in memory only, so that the
//! disk has no part in the figures.
//!
//! ```text
//! cargo bench --bench wire                 pieces: CPU of both ends together per GiB, MiB/s, the slowest piece
//! cargo bench --bench wire -- --far        a node at the end of a long, lossy line, over 1 to 64 connections (root)
//! cargo bench --bench wire -- --idle 10000 that many parked nodes: memory, CPU, and how long they take to come in
//! ```
#![allow(clippy::print_stdout, reason = "a benchmark is a program that prints")]
#![allow(clippy::unwrap_used, reason = "whatever goes wrong ends a benchmark")]

#[path = "wire/far.rs"]
mod far;
#[path = "wire/idle.rs"]
mod idle;
#[path = "piece_store/meter.rs"]
mod meter;
#[path = "wire/node.rs"]
mod node;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cairn::transport::{Admission, Admitted, ClusterIdentity, Door, DoorConfig, Identity, Tuning};
use cairn::types::{Epoch, Generation, NodeId, PieceId};
use cairn::wire::{Hello, Refusal};

use crate::meter::{MIB, Meter};
use crate::node::FakeNode;

/// Pieces on their way at once.
const TOGETHER: usize = 64;
const PIECE_BYTES: usize = 2 << 20;
/// Pieces of one measurement: 2 GiB.
const PIECES: usize = 1024;

struct Everybody;

#[async_trait]
impl Admission for Everybody {
    async fn admit(&self, _: NodeId, _: &Hello, _: SocketAddr) -> Result<Admitted, Refusal> {
        Ok(Admitted::default())
    }
}

fn cluster() -> ClusterIdentity {
    ClusterIdentity::from_seed(&[7; 32]).unwrap()
}

async fn open_door(tuning: Tuning) -> Door {
    open_door_at("127.0.0.1:0", tuning).await
}

async fn open_door_at(address: &str, tuning: Tuning) -> Door {
    let config = DoorConfig { cluster: cluster(), generation: Generation(1), admission: Arc::new(Everybody), tuning };
    Door::bind(address, config).await.unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match words[..] {
            [] => pieces().await,
            ["--idle", count] => idle::door(count.parse().unwrap()).await,
            // The other process of the pair.
            ["--idle-nodes", address, count] => idle::nodes(address, count.parse().unwrap()).await,
            ["--far"] => tokio::task::block_in_place(far::line),
            ["--far-door", address, connections] => far::door(address, connections.parse().unwrap()).await,
            ["--far-node", address] => far::node(address).await,
            _ => println!("usage: wire [--far | --idle NODES]"),
        }
    });
}

async fn pieces() {
    println!("{TOGETHER} pieces of 2 MiB at once, {} MiB in all, loopback; CPU of both ends", PIECES * 2);
    println!("connections        pieces/s     MiB/s  CPU s/GiB   slowest piece");
    let body: Bytes = (0..PIECE_BYTES).map(|at| ((at * 31) >> 3) as u8).collect();
    for connections in [4, 8, 16, 64] {
        let door = open_door(Tuning { connections_per_node: connections, ..Tuning::default() }).await;
        let identity = Identity::generate().unwrap();
        let node = identity.node_id();
        FakeNode::start(&identity, &door.local_addr().to_string());
        assert!(door.nodes().wait_connected(1, Duration::from_secs(10)).await);
        for get in [false, true] {
            // Once for the connections to come, once for the figures.
            carry(&door, node, get, TOGETHER * 2, &body).await;
            let meter = Meter::start();
            let slowest = carry(&door, node, get, PIECES, &body).await;
            let figure = meter.stop(PIECES, (PIECES * PIECE_BYTES) as u64);
            assert_eq!(figure.bytes, PIECES as u64 * 2 * MIB);
            let name = if get { "get" } else { "put" };
            println!("{connections:>11} {name} {figure} {:>12.0} ms", slowest.as_secs_f64() * 1e3);
        }
        door.shutdown().await;
    }
}

/// Carries so many pieces, always 64 of them at once; the slowest one's time.
async fn carry(door: &Door, node: NodeId, get: bool, count: usize, body: &Bytes) -> Duration {
    let workers = (0..TOGETHER).map(|worker| {
        let (nodes, body) = (door.nodes(), body.clone());
        tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for turn in 0..count / TOGETHER {
                let id = PieceId::from_bytes((((worker << 8) | (turn % 4)) as u128).to_be_bytes());
                let begun = Instant::now();
                match get {
                    true => assert_eq!(nodes.get_piece(node, id, 0..body.len() as u64).await.unwrap(), body),
                    false => nodes.put_piece(node, id, Epoch(1), body.clone()).await.unwrap(),
                }
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        })
    });
    let mut slowest = Duration::ZERO;
    for worker in workers.collect::<Vec<_>>() {
        slowest = slowest.max(worker.await.unwrap());
    }
    slowest
}
