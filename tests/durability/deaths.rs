//! Nodes that die at once and for good, as many as a segment survives that was
//! just written; after repair as many again as it survives then; three times,
//! while clients write and read.

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rustix::process::Signal;

use super::figures::{Figures, is_whole};
use crate::support::community::{Gateway, Node, SOON};
use crate::support::load::{LARGER_SIZES, Load, Terms};
use crate::support::{poll, rounds, seed};

/// What the dying of nodes may log.
const EXPECTED: [&str; 1] = ["503"];

/// What a scheme survives.
struct Scheme {
    text: &'static str,
    /// Losses when a segment is acknowledged: o − k.
    at_ack: usize,
    /// Losses of a segment that lost some and was not repaired yet, as it has
    /// just enough left: r + 1 − k.
    steady: usize,
    total: usize,
}

/// With r = o − 1 a segment survives as many losses after a repair as when it was
/// acknowledged, so that o − k nodes may die at once in every round.
#[test]
fn as_many_nodes_as_the_scheme_survives_die_at_once_and_again_after_repair() {
    let scheme = Scheme { text: "3/4/5/6", at_ack: 2, steady: 2, total: 6 };
    let rounds = rounds("CAIRN_TEST_DEATHS", 3);
    run("deaths", &scheme, &vec![[scheme.at_ack, scheme.steady]; rounds as usize]);
}

/// Where r is less, segments that are left with r + 1 pieces survive fewer
/// losses than fresh ones: o − k nodes may die only before any other did.
#[test]
fn a_scheme_with_a_lower_threshold_survives_what_it_promises() {
    let scheme = Scheme { text: "4/5/7/8", at_ack: 3, steady: 2, total: 8 };
    run("deaths of the wider scheme", &scheme, &[[scheme.at_ack, scheme.steady]]);
}

fn run(drill: &str, scheme: &Scheme, rounds: &[[usize; 2]]) {
    let seed = seed(drill);
    let mut dice = SmallRng::seed_from_u64(seed);
    let gateway = Gateway::start(&["--scheme", scheme.text, "--offline-after", "3s"]);
    let mut nodes = gateway.nodes(2 * scheme.total);
    let token = gateway.token(&["--uses", "unlimited"]);
    let terms = Terms { sizes: &LARGER_SIZES, seed, rest: Duration::from_millis(150), may_fail: false };
    let load = Load::start_with(&[gateway.client()], "deaths", 3, &terms);
    load.wait_for(80, &[0], SOON);
    let (mut figures, mut dead) = (Figures::default(), 0);
    for (round, deaths) in rounds.iter().enumerate() {
        for deaths in *deaths {
            nodes.shuffle(&mut dice);
            let begun = Instant::now();
            die(nodes.drain(..deaths));
            dead += deaths as u64;
            wait_whole(&gateway, dead, &mut figures);
            figures.healthy_after.push(begun.elapsed());
            figures.add_reads(&load.book(), begun, Instant::now());
            load.wait_for(30, &[0], SOON);
        }
        while nodes.len() < 2 * scheme.total {
            nodes.push(gateway.node(&format!("fresh-{round}-{}", nodes.len()), &token, &[]));
        }
        gateway.wait_connected(nodes.len());
    }
    figures.count(&load.finish(&[gateway.client()]));
    figures.show(drill, &gateway);
    assert_eq!(figures.unreadable, 0, "what was acknowledged could not be read while nodes died");
    assert_eq!(gateway.complaints(&EXPECTED), Vec::<String>::new());
}

/// All of them in the same moment, and their disks with them.
fn die(nodes: impl Iterator<Item = Node>) {
    let mut nodes: Vec<Node> = nodes.collect();
    nodes.iter_mut().for_each(|node| node.daemon().send(Signal::KILL));
    for node in &mut nodes {
        node.stop(Signal::KILL);
        std::fs::remove_dir_all(node.dir()).expect("its own folder");
    }
}

fn wait_whole(gateway: &Gateway, dead: u64, figures: &mut Figures) {
    let mut status = gateway.json(&["status"]);
    let whole = poll(2 * SOON, Duration::from_millis(250), || {
        status = gateway.json(&["status"]);
        figures.lost = figures.lost.max(status["segments"]["lost"].as_u64().unwrap_or(0));
        is_whole(&status, dead).then_some(())
    });
    assert!(whole.is_some(), "repair has not made up for {dead} dead nodes: {status:#}\n{}", gateway.log());
}
