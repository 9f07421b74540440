//! Nodes that lie: one that acknowledged and kept nothing, one that kept the
//! first half of every piece, one that serves old data for new ids. What they
//! give has a checksum of their own making, so that nobody but the gateway
//! can tell. (A node that was set back to an older disk: tests/volunteers/health.rs.)

use std::collections::BTreeSet;
use std::time::Instant;

use cairn::types::PieceId;
use rustix::process::Signal;

use super::figures::{Figures, blamed, is_whole};
use super::logs::{Found, listed, pieces};
use crate::support::cairn::tell;
use crate::support::community::{Gateway, Node, Objects};

const NODES: usize = 8;
/// Objects of a segment each besides those of every size.
const MORE: usize = 12;
/// What lies may log.
const EXPECTED: [&str; 2] = ["a node gave wrong shares", "what audits conclude"];

#[test]
fn a_node_that_kept_nothing_is_seen_through() {
    lie("nothing", |found| {
        found.iter().for_each(|piece| piece.replace(&vec![0; piece.length() as usize]));
        found.iter().map(Found::id).collect()
    });
}

#[test]
fn a_node_that_kept_the_first_half_of_every_piece_is_seen_through() {
    lie("the first half", |found| {
        for piece in found {
            let mut body = piece.body();
            let half = body.len() / 2;
            body[half..].fill(0);
            piece.replace(&body);
        }
        found.iter().map(Found::id).collect()
    });
}

#[test]
fn a_node_that_serves_old_data_for_new_ids_is_seen_through() {
    lie("old data", |found| {
        let bodies: Vec<Vec<u8>> = found.iter().map(Found::body).collect();
        let mut lied = Vec::new();
        for (at, piece) in found.iter().enumerate() {
            let other = bodies.iter().enumerate().find(|(from, body)| *from != at && body.len() == bodies[at].len());
            if let Some((_, old)) = other {
                piece.replace(old);
                lied.push(piece.id());
            }
        }
        lied
    });
}

fn lie(what: &str, lie: impl Fn(&[Found]) -> Vec<PieceId>) {
    let gateway = Gateway::start(&["--scheme", "3/4/6/6"]);
    let mut nodes = gateway.nodes(NODES);
    let mut objects = Objects::put(&gateway, "lied", 3);
    // Reads ask for data pieces: with so many segments, nobody has none of them.
    objects.more_of(&gateway, 700_000, MORE);
    let most = (0..NODES).max_by_key(|node| pieces(nodes[*node].dir()).len()).expect("there are eight");
    let liar = nodes.remove(most);
    let (id, begun) = (liar.id(), Instant::now());
    let (mut liar, lied) = start_lying(&gateway, liar, &lie);
    gateway.wait_connected(NODES);
    objects.check(&gateway);
    objects.check(&gateway);
    let record = gateway.row(&id)["record"].clone();
    assert!(record["wrong_share_s"].as_u64().is_some(), "it was read from and not seen through: {record:#}");
    let (code, report) = gateway.audit_all();
    assert_eq!(code, Some(0), "{report:#}");
    assert!(report["by_node"].as_object().is_some_and(|nodes| nodes.keys().all(|node| *node == id)), "{report:#}");
    let (row, found) = (gateway.row(&id), blamed(&gateway, &id));
    let integrity = gateway.json(&["nodes", "show", &id])["audits"]["integrity"].clone();
    tell(&format!(
        "a node that kept {what}: {} of {} pieces seen through; then {}, integrity {integrity}",
        found.len(),
        lied.len(),
        row["verdict"]
    ));
    assert!(found.is_subset(&lied), "it is blamed for more than it has done: {:?}", found.difference(&lied));
    // What was merged meanwhile is nobody's any more; what an audit has missed is listed still.
    let list: BTreeSet<_> = listed(&gateway).into_values().collect();
    let left: Vec<_> = lied.difference(&found).filter(|piece| list.contains(piece)).collect();
    // A node that is disqualified meanwhile is not asked for the rest, which counts as lost.
    assert!(left.is_empty() || row["verdict"] == "disqualified", "not seen through: {left:?}, {row:#}");
    gateway.wait_status("its pieces are elsewhere", |status| is_whole(status, 0));
    liar.stop(Signal::KILL);
    objects.check(&gateway);
    let acknowledged = 15 + MORE;
    let mut figures = Figures { acknowledged, reads: 3 * acknowledged, ..Figures::default() };
    figures.healthy_after.push(begun.elapsed());
    figures.show(&format!("a node that kept {what}"), &gateway);
    assert_eq!(gateway.complaints(&EXPECTED), Vec::<String>::new());
}

/// Has it lie from now on, also to itself; about which pieces of which segments.
fn start_lying(
    gateway: &Gateway,
    mut liar: Node,
    lie: &impl Fn(&[Found]) -> Vec<PieceId>,
) -> (Node, BTreeSet<(String, u64)>) {
    liar.stop(Signal::TERM);
    let listed = listed(gateway);
    let found: Vec<Found> = pieces(liar.dir()).into_iter().filter(|piece| listed.contains_key(&piece.id())).collect();
    assert!(found.len() > 4, "it was given nothing to lie about");
    let lied = lie(&found).iter().map(|id| listed[id].clone()).collect();
    std::fs::remove_file(liar.dir().join("index.checkpoint")).expect("a store that was closed has one");
    liar.start_again();
    (liar, lied)
}
