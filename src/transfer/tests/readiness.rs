//! When writing begins, by which scheme, and on which nodes.

use super::*;
use crate::metadata::{ChangeNode, NodeChange};
use crate::transfer::SchemePolicy;

impl World {
    async fn change(&self, at: usize, change: NodeChange) {
        let node = self.puppets[at].node;
        self.metadata.write(ChangeNode { node, change, reason: None }).await.unwrap().unwrap();
        self.transfer.fleet().refresh(&self.metadata).await.unwrap();
    }

    fn missing(&self) -> Option<String> {
        self.transfer.readiness().missing
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_waits_for_what_the_scheme_is_made_for() {
    let mut world = World::new(0, "4/5/7/8").await;
    assert_eq!(world.missing().unwrap(), "no storage node has joined yet, so nothing can be written");
    world.grow(7).await;
    let sentence = "7 of the 8 failure domains that the redundancy scheme 4/5/7/8 is made for have joined: writes wait \
                    for the others";
    assert_eq!(world.missing().unwrap(), sentence);
    assert_eq!(world.transfer.check_joined().unwrap_err().to_string(), sentence);
    world.grow(1).await;
    assert_eq!(world.missing(), None);
    // One that leaves for good later does not close the door again.
    world.change(0, NodeChange::Drain).await;
    assert_eq!(world.missing(), None);
    world.change(1, NodeChange::Suspend).await;
    let sentence = world.missing().unwrap();
    assert!(sentence.starts_with("7 storage nodes in different failure domains must take"), "{sentence}");
    assert!(sentence.contains("and 6 can"), "{sentence}");
    world.transfer.check_joined().unwrap();
    let readiness = world.transfer.readiness();
    assert_eq!((readiness.registered_domains, readiness.connected_domains, readiness.needed), (7, 8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_scheme_grows_and_a_segment_keeps_its_own() {
    let mut world = World::with_policy(0, SchemePolicy::default()).await;
    assert!(world.missing().is_some());
    world.grow(1).await;
    assert_eq!((world.transfer.scheme().to_string().as_str(), world.missing()), ("1/1/1/1", None));
    world.change(0, NodeChange::Suspend).await;
    assert!(world.missing().unwrap().starts_with("1 storage node must take what is written, and 0 can"));
    world.change(0, NodeChange::Resume).await;
    let plan = world.transfer.plan();
    let bytes = ciphertext(plan.segment_bytes(), 3);
    world.grow(7).await;
    assert_eq!(world.transfer.scheme().to_string(), "4/5/7/8");
    let row = world.transfer.store(plan, bytes.clone(), Epoch(1)).await.unwrap();
    assert_eq!(row.pieces.len(), 1);
    assert_eq!(world.read(&row).await.unwrap(), bytes);
    assert!(world.store(&bytes).await.unwrap().pieces.len() >= 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_ask_for_more_nodes_first() {
    let policy = SchemePolicy { configured: None, min_nodes: Some(3) };
    let mut world = World::with_policy(2, policy).await;
    let sentence = "2 of the 3 failure domains that writing begins with have joined: writes wait for the others";
    assert_eq!(world.missing().unwrap(), sentence);
    world.grow(1).await;
    assert_eq!(world.missing(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_and_draining_nodes_give_and_do_not_take() {
    let world = World::new(10, "4/5/8/8").await;
    let bytes = ciphertext(600_000, 1);
    let row = world.store(&bytes).await.unwrap();
    let at = |number| world.puppets.iter().position(|puppet| puppet.number == number).unwrap();
    let (suspended, draining) = (row.pieces[0].node, row.pieces[1].node);
    world.change(at(suspended), NodeChange::Suspend).await;
    world.change(at(draining), NodeChange::Drain).await;
    let before = world.gets();
    assert_eq!(world.read(&row).await.unwrap(), bytes);
    assert!(world.gets() - before <= 6, "they are read like others");
    for seed in 0..5 {
        let row = world.store(&ciphertext(5000, seed)).await.unwrap();
        assert!(row.pieces.iter().all(|place| ![suspended, draining].contains(&place.node)));
    }
    // Pieces on a node that was given up are not asked for.
    world.change(at(draining), NodeChange::Forget).await;
    assert!(!world.transfer.fleet().is_readable(draining));
    assert_eq!(world.read(&row).await.unwrap(), bytes);
}
