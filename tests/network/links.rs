//! Lines as volunteers have them: behind routers, long, lossy.

use std::time::Duration;

use crate::cluster::{BACK_WITHIN, turn};
use crate::faults::{LongLine, Loss};
use crate::load::{Load, Plan};
use crate::node::Node;

/// They joined when the cluster was made. Here they are given pieces and asked
/// for them, on connections that they dialled.
#[test]
fn nodes_behind_routers_join_and_serve() {
    let turn = turn();
    let nodes = turn.nodes_behind_routers();
    let before: Vec<u64> = nodes.iter().map(Node::pieces).collect();
    let mut load = Load::start(&turn, "routers", &Plan::steady());
    load.go_on_for(Duration::from_secs(6));
    for (node, before) in nodes.iter().zip(before) {
        load.wait_for(&format!("new pieces on {} behind a router", node.name()), BACK_WITHIN, |_| {
            node.pieces() > before
        });
    }
    let ledger = load.finish();
    println!("routers:{}", ledger.require_no_errors().figures());
}

/// 80 ms there and back, 2 % lost in each direction, on three nodes of which
/// one is behind a router.
#[test]
fn long_and_lossy_lines_hold_nobody_up() {
    let turn = turn();
    let nodes = [&turn.nodes_behind_routers()[0], &turn.nodes_in_the_open()[0], &turn.nodes_in_the_open()[1]];
    let lines: Vec<_> =
        nodes.iter().map(|node| LongLine::new(node.host(), Duration::from_millis(40), turn.work().path())).collect();
    let gateway = turn.gateway().host();
    let down: Vec<_> = nodes.iter().map(|node| Loss::new(node.host(), None, 2.0)).collect();
    let up: Vec<_> = nodes.iter().map(|node| Loss::new(gateway, Some(turn.seen_address(node)), 2.0)).collect();
    let mut load = Load::start(&turn, "long-lines", &Plan::steady());
    load.go_on_for(Duration::from_secs(12));
    let ledger = load.finish();
    println!("long and lossy:{}", ledger.require_no_errors().figures());
    turn.wait_seen(nodes, true, BACK_WITHIN);
    drop((up, down, lines));
}
