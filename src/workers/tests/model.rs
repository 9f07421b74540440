//! A model check of reclaim: gateways that upload, copy, stall and die, clocks
//! that jump, nodes that are set back, and a reclaim that is interrupted at any
//! place, in random order, on the real operations of the metadata and the real
//! comparison. After every step: nothing that a list names is condemned, and it
//! is on its node. In the end: nothing dead is left on any node.
//!
//! A rule that is broken on purpose must be found; so the model is known to look.

mod acts;
mod town;

use std::collections::BTreeSet;

use self::town::{Rule, Town};

/// Random lives, each of so many steps, after which everything is cleared away.
const LIVES: u64 = 150;
const STEPS: usize = 60;

/// Lives until a violation; what it was.
async fn live(rule: Rule, seeds: impl Iterator<Item = u64>) -> Option<String> {
    let mut town = Town::new(rule).await;
    for seed in seeds {
        if let Err(violation) = town.live(seed, STEPS).await {
            return Some(format!("seed {seed}: {violation}"));
        }
    }
    town.close().await;
    None
}

#[tokio::test]
async fn nothing_that_is_needed_is_condemned_and_nothing_dead_stays() {
    let first: u64 = rand::random::<u32>().into();
    println!("seeds from {first} on");
    assert_eq!(live(Rule::Kept, first..first + LIVES).await, None);
}

/// Seeds that once failed, or nearly so, and some more that are always the same.
#[tokio::test]
async fn the_same_lives_every_time() {
    assert_eq!(live(Rule::Kept, 0..LIVES / 2).await, None);
}

/// If all segments were looked at first and the epoch was taken afterwards, what
/// was committed in between would be condemned.
#[tokio::test]
async fn that_the_epoch_comes_first_is_needed() {
    let found = live(Rule::ScanFirst, 0..3000).await.expect("the model does not see it");
    assert!(found.contains("condemned"), "{found}");
}

/// If commits did not show their lease, who was stalled could commit what is
/// condemned by then.
#[tokio::test]
async fn that_commits_show_their_lease_is_needed() {
    let found = live(Rule::NoLease, 0..3000).await.expect("the model does not see it");
    assert!(found.contains("condemned"), "{found}");
}

/// What a comparison condemned by mistake is never purged, and the next whole
/// one restores it: a few in a row leave nothing that is named in the trash.
#[tokio::test]
async fn a_comparison_that_overlooks_segments_loses_nothing() {
    assert_eq!(live(Rule::Overlooks, 0..LIVES / 2).await, None);
}

/// That mistakes really happen in the lives above.
#[tokio::test]
async fn a_comparison_that_overlooks_segments_makes_mistakes() {
    let mut town = Town::new(Rule::Overlooks).await;
    let mut kinds = BTreeSet::new();
    for seed in 0..LIVES / 2 {
        assert_eq!(town.live(seed, STEPS).await, Ok(()));
        kinds.insert(town.restored > 0);
    }
    assert!(kinds.contains(&true), "nothing was ever restored");
}
