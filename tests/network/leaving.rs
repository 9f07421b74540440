//! A volunteer who wants the disk back.

use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::turn;
use crate::load::{Load, Plan};
use crate::support::poll;

/// A few dozen pieces, a minute between two words of the gateway to its nodes,
/// and whatever other tests do to the cluster meanwhile.
const LEFT_WITHIN: Duration = Duration::from_secs(600);
/// What takes a few seconds on a machine that has time.
const SOON: Duration = Duration::from_secs(120);

/// Its pieces move elsewhere, also across a restart of the node, and then its
/// disk is not needed any more.
#[test]
fn a_node_that_leaves_takes_nothing_with_it() {
    let turn = turn();
    let guest = turn.guest("leaver", &["--capacity", "1GB"]);
    guest.join(&turn.gateway().token(&[]));
    turn.wait_seen([&guest], true, SOON);
    let mut load = Load::start(&turn, "leaving", &Plan::steady());
    load.wait_for("pieces on it", SOON, |_| {
        std::thread::sleep(Duration::from_millis(400));
        guest.pieces() > 10
    });
    guest.leave();
    std::thread::sleep(Duration::from_millis(500));
    guest.stop(Signal::TERM);
    guest.start();
    load.go_on_for(Duration::from_secs(2));
    let written = load.stop();

    let cluster = turn.let_others();
    let left = || (cluster.view()[guest.id()].state == "left").then_some(());
    assert!(poll(LEFT_WITHIN, Duration::from_secs(1), left).is_some(), "still there: {}", guest.story());
    let told = || guest.log().contains("wiped").then_some(());
    assert!(poll(SOON, Duration::from_millis(500), told).is_some(), "not told: {}", guest.story());

    let turn = crate::cluster::turn();
    guest.stop(Signal::TERM);
    std::fs::remove_dir_all(guest.data()).expect("the folder is ours");
    written.read_back(&turn).require_no_errors();
}
