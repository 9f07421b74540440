//! Bad input over the network: each gets a clear word on the side that can
//! act, and the cluster goes on.

use std::path::Path;
use std::time::Duration;

use cairn::wire::JoinToken;
use rustix::process::Signal;

use crate::cluster::{Cluster, turn};
use crate::load::{Load, Plan};
use crate::node::Node;
use crate::support::poll;

const CAPACITY: [&str; 2] = ["--capacity", "1GB"];
const SOON: Duration = Duration::from_secs(120);

/// Joining fails, says why, and makes no member.
fn refused(cluster: &Cluster, node: &Node, token: &str, why: &str) {
    let members = cluster.view().len();
    let outcome = node.join_in_vain(token);
    assert!(outcome.stderr.contains(why), "{why:?} is not said: {}", outcome.story());
    assert_eq!(cluster.view().len(), members, "nobody joined");
}

#[test]
fn bad_tokens_are_refused_with_a_sentence() {
    let turn = turn();
    let gateway = turn.gateway();
    let late = gateway.token(&["--expires", "1s"]);
    let good = gateway.token(&[]);
    let stranger = turn.guest("stranger", &CAPACITY);
    refused(&turn, &stranger, "hello", "not a join token");
    refused(&turn, &stranger, &good[..good.len() - 1], "mangled");
    refused(&turn, &stranger, &good.replace("cairn-join-1-", "cairn-join-9-"), "update cairn");
    refused(&turn, &stranger, &forged(&good), "not one of this cluster's");
    std::thread::sleep(Duration::from_millis(1200));
    refused(&turn, &stranger, &late, "expired");

    // What was refused did no harm: the good one still works, once.
    stranger.join(&good);
    turn.wait_seen([&stranger], true, SOON);
    let second = turn.guest("second", &CAPACITY);
    refused(&turn, &second, &good, "used up");
    // Redeemed again by the same node, it is no second use.
    stop(&turn, &stranger);
    stranger.join(&good);
    turn.wait_seen([&stranger], true, SOON);
    assert!(stranger.runs(), "{}", stranger.story());
}

/// Ends a node, and waits until the gateway has seen that: when it is seen the
/// next time, it has come again.
fn stop(cluster: &Cluster, node: &Node) {
    node.stop(Signal::TERM);
    cluster.wait_seen([node], false, SOON);
}

/// A token with the right id and a secret that somebody made up.
fn forged(token: &str) -> String {
    let mut token: JoinToken = token.parse().expect("a token of ours");
    token.credential.secret[0] ^= 1;
    token.to_string()
}

#[test]
fn a_token_for_another_cluster_leads_nowhere() {
    let turn = turn();
    let other = turn.other_gateway();
    let theirs: JoinToken = other.token(&[]).parse().expect("a token of theirs");
    let ours: JoinToken = turn.gateway().token(&[]).parse().expect("a token of ours");
    let stranger = turn.guest("crossed", &CAPACITY);
    // Their token shown at our door: the node finds another key than the token's.
    let at_our_door = JoinToken { doors: ours.doors.clone(), ..theirs.clone() };
    refused(&turn, &stranger, &at_our_door.to_string(), "not a door of the cluster");
    // Their token made out to our cluster: our door does not know it.
    let renamed = JoinToken { cluster: ours.cluster, ..at_our_door };
    refused(&turn, &stranger, &renamed.to_string(), "not one of this cluster's");
    // A member of ours is not taken over by another cluster's token.
    let member = turn.guest("member", &CAPACITY);
    member.join(&ours.to_string());
    turn.wait_seen([&member], true, SOON);
    stop(&turn, &member);
    refused(&turn, &member, &theirs.to_string(), "another cluster");
    member.start();
    turn.wait_seen([&member], true, SOON);
}

/// Two nodes with one identity: who was there first stays.
#[test]
fn a_copied_identity_is_noticed() {
    let turn = turn();
    let original = turn.guest("original", &CAPACITY);
    original.join(&turn.gateway().token(&[]));
    turn.wait_seen([&original], true, SOON);
    stop(&turn, &original);
    let copy = turn.guest("copy", &CAPACITY);
    copy_folder(original.data(), copy.data());
    original.start();
    turn.wait_seen([&original], true, SOON);
    copy.start();
    let said = |log: &dyn Fn() -> String, word: &str| {
        poll(SOON, Duration::from_millis(100), || log().contains(word).then_some(())).is_some()
    };
    assert!(
        said(&|| turn.gateway().log(), "its folder was copied"),
        "the operator is told: {}",
        turn.gateway().story()
    );
    assert!(said(&|| copy.log(), "identity"), "the copy's volunteer is told: {}", copy.story());
    let seen = &turn.view()[original.id()];
    assert!(seen.connected && seen.refused_duplicates() > 0, "the original stays: {seen:?}");
    // When the original is gone, the copy may take its place.
    original.stop(Signal::TERM);
    turn.wait_seen([&copy], true, SOON);
}

/// A disk that was put back from an old image has lost what it acknowledged
/// since.
#[test]
fn a_folder_from_an_old_image_is_noticed() {
    let turn = turn();
    let node = turn.guest("rolled-back", &CAPACITY);
    node.join(&turn.gateway().token(&[]));
    turn.wait_seen([&node], true, SOON);
    stop(&turn, &node);
    let image = turn.work().folder("image");
    copy_folder(node.data(), &image);
    node.start();
    turn.wait_seen([&node], true, SOON);
    let before = node.pieces();
    let mut load = Load::start(&turn, "rollback", &Plan::steady());
    load.wait_for("pieces on it", SOON, |_| {
        std::thread::sleep(Duration::from_millis(400));
        node.pieces() > before + 3
    });
    node.stop(Signal::TERM);
    std::fs::remove_dir_all(node.data()).expect("the folder is ours");
    copy_folder(&image, node.data());
    node.start();
    let told = || (turn.view()[node.id()].rollbacks == 1).then_some(());
    assert!(poll(SOON, Duration::from_millis(200), told).is_some(), "the operator is not told: {}", node.story());
    let logged = || turn.gateway().log().contains("older state").then_some(());
    assert!(poll(SOON, Duration::from_millis(200), logged).is_some(), "{}", turn.gateway().story());
    // Every object is read again at the end, also those with a piece there.
    load.finish().require_no_errors();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder of our own");
    let status = std::process::Command::new("cp").arg("-aT").arg(from).arg(to).status().expect("cp can be started");
    assert!(status.success(), "cp -aT {} {}", from.display(), to.display());
}
