//! Which nodes take a segment's pieces: a pure function of what is known of
//! the nodes and a seed.
//!
//! Knows failure domains, free space and recent success; not what the pieces
//! are or how they travel.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// What is known of a node that would take a piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The node, by its number.
    pub node: u32,
    /// What it would fail together with. Two nodes of one domain count once.
    pub domain: u64,
    /// Bytes that it can still take.
    pub free_bytes: u64,
    /// Share of its recent pieces that it took, from 0 to 1.
    pub success: f32,
}

/// Chooses `count` nodes, the best first: each of a domain of its own while
/// domains suffice, and only then further nodes of domains already chosen.
///
/// Within a domain and between domains the better of two drawn at random wins
/// (by free space and recent success), which spreads load without herding.
/// Answers fewer where there are fewer candidates. The same seed and
/// candidates give the same answer.
pub fn choose(candidates: &[Candidate], count: usize, seed: u64) -> Vec<u32> {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut rest: Vec<Candidate> = candidates.to_vec();
    rest.shuffle(&mut dice);
    let mut chosen: Vec<Candidate> = Vec::with_capacity(count.min(candidates.len()));
    while chosen.len() < count && !rest.is_empty() {
        let fresh = |candidate: &Candidate| chosen.iter().all(|taken| taken.domain != candidate.domain);
        let mut eligible: Vec<usize> = (0..rest.len()).filter(|&at| fresh(&rest[at])).collect();
        if eligible.is_empty() {
            eligible = (0..rest.len()).collect();
        }
        let one = eligible[dice.random_range(0..eligible.len())];
        let other = eligible[dice.random_range(0..eligible.len())];
        let best = if score(&rest[other]) > score(&rest[one]) { other } else { one };
        chosen.push(rest.swap_remove(best));
    }
    chosen.into_iter().map(|candidate| candidate.node).collect()
}

/// How many different domains there are.
pub fn domains(candidates: &[Candidate]) -> usize {
    let mut domains: Vec<u64> = candidates.iter().map(|candidate| candidate.domain).collect();
    domains.sort_unstable();
    domains.dedup();
    domains.len()
}

/// Success counts most: a node that fails often costs every upload its time.
/// Free space counts by magnitude, so that a disk twice as large is preferred
/// a little, not always.
fn score(candidate: &Candidate) -> f32 {
    let magnitude = (candidate.free_bytes.max(1) as f32).log2();
    candidate.success * candidate.success * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(node: u32, domain: u64) -> Candidate {
        Candidate { node, domain, free_bytes: 1 << 40, success: 1.0 }
    }

    proptest! {
        #[test]
        fn no_domain_twice_while_domains_suffice(domains_of in prop::collection::vec(0u64..12, 1..40), count in 1usize..20, seed: u64) {
            let candidates: Vec<_> = domains_of.iter().enumerate().map(|(n, &domain)| candidate(n as u32, domain)).collect();
            let chosen = choose(&candidates, count, seed);
            prop_assert_eq!(chosen.len(), count.min(candidates.len()));
            let mut nodes = chosen.clone();
            nodes.sort_unstable();
            nodes.dedup();
            prop_assert_eq!(nodes.len(), chosen.len());
            let available = domains(&candidates);
            let used: Vec<_> = chosen.iter().map(|&node| candidates[node as usize]).collect();
            prop_assert_eq!(domains(&used), available.min(count));
            prop_assert_eq!(chosen, choose(&candidates, count, seed));
        }
    }

    #[test]
    fn a_node_that_fails_is_chosen_less() {
        let mut candidates: Vec<_> = (0..10).map(|node| candidate(node, u64::from(node))).collect();
        candidates[3].success = 0.1;
        let often = |node| (0..1000).filter(|&seed| choose(&candidates, 3, seed).contains(&node)).count();
        assert!(often(3) * 2 < often(4), "{} {}", often(3), often(4));
    }
}
