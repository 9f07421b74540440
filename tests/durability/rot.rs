//! Bit rot: one share in a hundred on all nodes' disks has a flipped bit. Every
//! GET is right, and all of it is found, node by node, and made anew.

use std::collections::BTreeSet;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::figures::{Figures, is_whole};
use super::logs::pieces;
use crate::support::community::{Gateway, Node, Objects};
use crate::support::seed;

const NODES: usize = 8;
/// What rot may log: nodes find it, and gateways that read it.
const EXPECTED: [&str; 4] = ["a node gave wrong shares", "damaged", "store did not close cleanly", "has changed"];

#[test]
fn one_share_in_a_hundred_rots_and_every_read_is_right() {
    let mut dice = SmallRng::seed_from_u64(seed("rot"));
    // All pieces that are made are waited for, so that each on a disk counts.
    let gateway = Gateway::start(&["--scheme", "3/4/6/6"]);
    let mut nodes = gateway.nodes(NODES);
    let objects = Objects::put(&gateway, "rotten", 8);
    let begun = Instant::now();
    let rotten: Vec<BTreeSet<String>> = nodes.iter().map(|node| rot(node, &mut dice)).collect();
    let pieces: usize = rotten.iter().map(BTreeSet::len).sum();
    assert!(pieces > 0, "nothing was flipped");
    objects.check(&gateway);
    objects.check(&gateway);
    for node in &mut nodes {
        node.stop(Signal::TERM);
        // Without its checkpoint a node reads all records when it starts, and finds out.
        std::fs::remove_file(node.dir().join("index.checkpoint")).expect("a store that was closed has one");
        node.start_again();
    }
    gateway.wait_connected(NODES);
    let status = gateway.wait_status("all of it is made anew", |status| {
        is_whole(status, 0) && status["segments"]["pieces_repaired"].as_u64() >= Some(pieces as u64)
    });
    for (node, rotten) in nodes.iter().zip(&rotten) {
        let row = gateway.row(&node.id());
        assert_eq!(row["damaged"].as_u64().unwrap_or(0), rotten.len() as u64, "{row:#}");
    }
    objects.check(&gateway);
    let mut figures = Figures { acknowledged: 40, reads: 120, ..Figures::default() };
    figures.healthy_after.push(begun.elapsed());
    figures.show("rot", &gateway);
    println!("rot: {pieces} pieces with rotten shares, {} made anew", status["segments"]["pieces_repaired"]);
    assert_eq!(gateway.complaints(&EXPECTED), Vec::<String>::new());
}

/// Flips a bit in one share of a hundred; the pieces that have any.
fn rot(node: &Node, dice: &mut SmallRng) -> BTreeSet<String> {
    let mut rotten = BTreeSet::new();
    for piece in pieces(node.dir()) {
        for share in 0..piece.shares() {
            if dice.random_ratio(1, 100) {
                piece.flip(share);
                rotten.insert(piece.id());
            }
        }
    }
    rotten
}
