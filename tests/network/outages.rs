//! What breaks connections: partitions, restarts of the gateway, addresses
//! that change. Nodes are back by themselves within a minute.

use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::cluster::{BACK_WITHIN, turn};
use crate::faults::Cut;
use crate::load::{Load, Plan};
use crate::node::Node;
use crate::support::poll;

/// A node that sends nothing is noticed within so long: keep-alives find a
/// dead path in 15 s, the gateway's view may be a little older, and the machine
/// may have other things to do.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// For requests that are answered meanwhile.
const SOON: Duration = Duration::from_secs(120);

#[test]
fn a_partition_of_three_nodes_heals() {
    let turn = turn();
    let mut load = Load::start(&turn, "partition", &Plan::steady());
    load.go_on_for(Duration::from_secs(2));
    let lost = &turn.nodes()[4..7];
    let (cut, begun): (Vec<Cut>, _) = (lost.iter().map(|node| Cut::new(node.host())).collect(), SystemTime::now());
    let noticed = turn.wait_seen(lost, false, NOTICED_WITHIN);
    load.wait_for("requests during the partition", SOON, |ledger| ledger.good_between(begun, SystemTime::now()) > 20);
    let (healed, _) = (SystemTime::now(), drop(cut));
    let back = turn.wait_seen(lost, true, BACK_WITHIN);
    load.go_on_for(Duration::from_secs(2));
    let ledger = load.finish();
    println!("partition: noticed after {noticed:?}, back after {back:?};{}", ledger.figures());
    let meanwhile = ledger.require_no_errors().good_between(begun, healed);
    assert!(meanwhile > 20, "only {meanwhile} requests were answered during the partition");
}

/// Once by SIGTERM and once by SIGKILL. While it is down, requests may fail.
#[test]
fn a_gateway_that_restarts_under_load_gets_its_nodes_back() {
    let turn = turn();
    for signal in [Signal::TERM, Signal::KILL] {
        let bucket = format!("restart-{}", signal.as_raw());
        let mut load = Load::start(&turn, &bucket, &Plan::steady());
        load.go_on_for(Duration::from_secs(3));
        turn.gateway().restart(signal);
        let back = turn.wait_whole(BACK_WITHIN);
        let then = SystemTime::now();
        load.wait_for("requests after the restart", SOON, |ledger| ledger.good_since(then) > 20);
        let ledger = load.finish();
        println!("restart by {signal:?}: back after {back:?};{}", ledger.figures());
    }
}

/// As when a provider renumbers a line: connections die without a word.
#[test]
fn an_address_that_changes_in_mid_transfer() {
    let turn = turn();
    let nodes = &turn.nodes_in_the_open()[3..5];
    let mut load = Load::start(&turn, "renumbered", &Plan::steady());
    load.go_on_for(Duration::from_secs(2));
    nodes.iter().for_each(|node| node.host().renumber(turn.free_address()));
    let then = SystemTime::now();
    let before: Vec<u64> = nodes.iter().map(Node::pieces).collect();
    // Their old connections look alive at first: new pieces show that they are
    // back, more of them than were on their way. What was slow for so long is
    // left alone for up to a minute.
    let back = poll(2 * BACK_WITHIN, Duration::from_millis(250), || {
        let serves = |(node, before): (&Node, &u64)| node.pieces() > before + 3;
        nodes.iter().zip(&before).all(serves).then(|| then.elapsed().unwrap_or_default())
    });
    let back = back.unwrap_or_else(|| panic!("not back from a new address: {}", nodes[0].story()));
    load.go_on_for(Duration::from_secs(3));
    let ledger = load.finish();
    println!("renumbered: back after {back:?};{}", ledger.require_no_errors().figures());
}
