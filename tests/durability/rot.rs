//! Bit rot: one share in a hundred on all nodes' disks has a flipped bit. Every
//! GET is right, and all of it is found, node by node, and made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use cairn::types::PieceId;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::figures::{Figures, blamed, is_whole};
use super::logs::{listed, pieces};
use crate::support::community::{Gateway, Node, Objects};
use crate::support::seed;

const NODES: usize = 8;
/// Shares of a stripe that may be wrong: n - k.
const SPARE: usize = 3;
/// What rot may log: nodes find it, and gateways that read it.
const EXPECTED: [&str; 4] = ["a node gave wrong shares", "damaged", "store did not close cleanly", "has changed"];

#[test]
fn one_share_in_a_hundred_rots_and_every_read_is_right() {
    let mut dice = SmallRng::seed_from_u64(seed("rot"));
    // All pieces that are made are waited for, so that each on a disk counts.
    let gateway = Gateway::start(&["--scheme", "3/4/6/6"]);
    let nodes = gateway.nodes(NODES);
    let objects = Objects::put(&gateway, "rotten", 8);
    let begun = Instant::now();
    let mut spoilt = Spoilt::new();
    let list = listed(&gateway);
    let rotten: Vec<Rot> = nodes.iter().map(|node| rot(node, &list, &mut dice, &mut spoilt)).collect();
    let shares: u64 = rotten.iter().map(|rot| rot.shares).sum();
    let pieces: usize = rotten.iter().map(|rot| rot.pieces.len()).sum();
    assert!(shares > 0, "nothing was flipped");
    objects.check(&gateway);
    let (code, report) = gateway.audit_all();
    assert_eq!(code, Some(0), "{report:#}");
    println!(
        "rot: {shares} shares flipped in {pieces} pieces; a full audit of {} shares finds {} wrong in {} pieces, repair \
         and reads the others before it",
        report["shares_checked"], report["shares_wrong"], report["pieces_wrong"],
    );
    // What was made anew or merged meanwhile is nobody's any more; what an audit has missed is listed still.
    let list: BTreeSet<_> = listed(&gateway).into_values().collect();
    for (node, rot) in nodes.iter().zip(&rotten) {
        let (id, blamed) = (node.id(), blamed(&gateway, &node.id()));
        assert!(blamed.is_subset(&rot.pieces), "node {id} is blamed for {:?}", blamed.difference(&rot.pieces));
        let left: Vec<_> = rot.pieces.difference(&blamed).filter(|piece| list.contains(piece)).collect();
        assert!(left.is_empty(), "of node {id} {left:?} were not found");
    }
    // All of them, not most: nothing that is wrong is left anywhere.
    let (code, report) = gateway.audit_all();
    let nothing = ["shares_wrong", "pieces_missing"].map(|name| report[name].as_u64());
    assert_eq!((code, nothing), (Some(0), [Some(0); 2]), "{report:#}");
    let status = gateway.json(&["status"]);
    let (segments, margins) = (&status["segments"]["segments"], &status["segments"]["by_margin"]);
    assert_eq!(&margins["3"], segments, "every segment has all of its six pieces: {margins:#}");
    objects.check(&gateway);
    gateway.wait_status("all is well", |status| is_whole(status, 0));
    let mut figures = Figures { acknowledged: 40, reads: 80, ..Figures::default() };
    figures.healthy_after.push(begun.elapsed());
    figures.show("rot", &gateway);
    assert_eq!(gateway.complaints(&EXPECTED), Vec::<String>::new());
}

/// What has rotted on a node.
#[derive(Default)]
struct Rot {
    shares: u64,
    pieces: BTreeSet<(String, u64)>,
}

/// Shares that were flipped, by the length of their piece and their place in it.
type Spoilt = BTreeMap<(u64, u64), usize>;

/// Flips a bit in one share of a hundred; but of those at one place of pieces of one length, among which all of a
/// stripe are, no more than a stripe can spare. Otherwise one run in some thousands would lose a stripe.
fn rot(node: &Node, list: &BTreeMap<PieceId, (String, u64)>, dice: &mut SmallRng, spoilt: &mut Spoilt) -> Rot {
    let mut rot = Rot::default();
    for piece in pieces(node.dir()) {
        let Some(named) = list.get(&piece.id()) else { continue };
        let rots = |share: &u64| {
            let others = spoilt.entry((piece.length(), *share)).or_default();
            let rots = dice.random_ratio(1, 100) && *others < SPARE;
            *others += usize::from(rots);
            rots
        };
        let shares: Vec<u64> = (0..piece.shares()).filter(rots).collect();
        shares.iter().for_each(|share| piece.flip(*share));
        rot.shares += shares.len() as u64;
        rot.pieces.extend((!shares.is_empty()).then(|| named.clone()));
    }
    rot
}
