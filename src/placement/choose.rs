//! Nodes for pieces, at random but not blindly.

use std::collections::HashSet;

use rand::rngs::SmallRng;
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
    /// Share of what falls to it that it is trusted with, above 0 up to 1.
    pub trust: f32,
}

/// What is asked for.
pub struct Wish<'w> {
    /// How many nodes.
    pub count: usize,
    /// Bytes that each has to take.
    pub piece_bytes: u64,
    /// Nodes that are out of the question.
    pub nodes: HashSet<u32>,
    /// Domains that are taken already.
    pub domains: HashSet<u64>,
    /// Whether there shall be fewer nodes rather than two in one domain.
    pub strict: bool,
    /// Whether a node shall only be taken where no other would do. Asked only
    /// for nodes that are drawn.
    pub avoid: &'w dyn Fn(u32) -> bool,
}

/// Draws in vain before all candidates are looked at.
const REJECTS_MAX: usize = 32;

/// Chooses nodes, the best first: each of a domain of its own while domains
/// suffice, and only then (unless `strict`) further nodes of domains that are
/// taken. Nodes to avoid come last within either.
///
/// The better of two drawn at random wins (by free space and recent success),
/// which spreads load without herding; a node that is trusted with half its
/// share is drawn half as often. Answers fewer where there are fewer. The same
/// candidates, wish and seed give the same answer. Costs a handful of draws
/// per node chosen, however many candidates there are.
pub fn choose(candidates: &[Candidate], wish: Wish<'_>, seed: u64) -> Vec<u32> {
    let Wish { count, strict, .. } = wish;
    let dice = SmallRng::seed_from_u64(seed);
    let mut draw = Draw { candidates, wish, dice, pool: None, pass: Pass { fresh: true, swift: true } };
    let mut chosen = Vec::with_capacity(count.min(candidates.len()));
    for (fresh, swift) in [(true, true), (true, false), (false, true), (false, false)] {
        if strict && !fresh {
            break;
        }
        draw.pass = Pass { fresh, swift };
        draw.pool = None;
        while chosen.len() < count
            && let Some(best) = draw.better_of_two()
        {
            draw.wish.nodes.insert(best.node);
            draw.wish.domains.insert(best.domain);
            chosen.push(best.node);
        }
    }
    chosen
}

/// How many different domains there are.
pub fn domains(candidates: &[Candidate]) -> usize {
    candidates.iter().map(|candidate| candidate.domain).collect::<HashSet<u64>>().len()
}

/// Who is drawn from at the moment.
#[derive(Clone, Copy)]
struct Pass {
    /// Nodes of domains that are not taken only.
    fresh: bool,
    /// No nodes to avoid.
    swift: bool,
}

struct Draw<'d> {
    candidates: &'d [Candidate],
    wish: Wish<'d>,
    dice: SmallRng,
    pass: Pass,
    /// All that could be drawn in this pass, once it was worth looking.
    pool: Option<Vec<u32>>,
}

impl<'d> Draw<'d> {
    fn better_of_two(&mut self) -> Option<&'d Candidate> {
        let one = self.one()?;
        let other = self.one()?;
        Some(if score(other) > score(one) { other } else { one })
    }

    /// One at random. Where most draws are in vain the pool shrinks to those
    /// that are not, so looking at all of it is rarely worth it again.
    fn one(&mut self) -> Option<&'d Candidate> {
        for _ in 0..REJECTS_MAX {
            let candidate = self.any()?;
            if self.is_eligible(candidate) && self.dice.random::<f32>() < candidate.trust {
                return Some(candidate);
            }
        }
        let pool: Vec<u32> = match self.pool.take() {
            Some(pool) => pool.into_iter().filter(|at| self.is_eligible(&self.candidates[*at as usize])).collect(),
            None => (0..).zip(self.candidates).filter(|(_, one)| self.is_eligible(one)).map(|(at, _)| at).collect(),
        };
        self.pool = Some(pool);
        // Where all that is left is hardly trusted, that does not count.
        self.any()
    }

    fn any(&mut self) -> Option<&'d Candidate> {
        let length = self.pool.as_ref().map_or(self.candidates.len(), Vec::len);
        if length == 0 {
            return None;
        }
        let at = self.dice.random_range(0..length);
        Some(&self.candidates[self.pool.as_ref().map_or(at, |pool| pool[at] as usize)])
    }

    fn is_eligible(&self, candidate: &Candidate) -> bool {
        let (wish, pass) = (&self.wish, self.pass);
        let possible = candidate.free_bytes >= wish.piece_bytes && !wish.nodes.contains(&candidate.node);
        let fresh = !pass.fresh || !wish.domains.contains(&candidate.domain);
        possible && fresh && (!pass.swift || !(wish.avoid)(candidate.node))
    }
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
    use std::cell::Cell;

    fn candidate(node: u32, domain: u64) -> Candidate {
        Candidate { node, domain, free_bytes: 1 << 40, success: 1.0, trust: 1.0 }
    }

    fn alone(count: u32) -> Vec<Candidate> {
        (0..count).map(|node| candidate(node, node.into())).collect()
    }

    fn wish(count: usize) -> Wish<'static> {
        let (nodes, domains) = (HashSet::new(), HashSet::new());
        Wish { count, piece_bytes: 1, nodes, domains, strict: false, avoid: &|_| false }
    }

    fn a_candidate() -> impl Strategy<Value = Candidate> {
        (0u64..12, 1u64..1 << 40, 0.0..=1f32, 0.01..=1f32).prop_map(|(domain, free_bytes, success, trust)| Candidate {
            node: 0,
            domain,
            free_bytes,
            success,
            trust,
        })
    }

    proptest! {
        #[test]
        fn no_domain_twice_while_domains_suffice(
            candidates in prop::collection::vec(a_candidate(), 1..40),
            count in 1usize..20,
            piece_bytes in 0u64..1 << 40,
            slow in prop::collection::hash_set(0u32..40, 0..40),
            excluded in prop::collection::hash_set(0u32..40, 0..10),
            taken in prop::collection::hash_set(0u64..12, 0..5),
            strict: bool,
            seed: u64,
        ) {
            let candidates: Vec<_> = candidates.into_iter().zip(0..).map(|(one, node)| Candidate { node, ..one }).collect();
            let avoid = |node| slow.contains(&node);
            let asked = || Wish {
                count, piece_bytes, nodes: excluded.clone(), domains: taken.clone(), strict, avoid: &avoid,
            };
            let chosen = choose(&candidates, asked(), seed);
            let possible: Vec<_> = candidates
                .iter()
                .copied()
                .filter(|one| one.free_bytes >= piece_bytes && !excluded.contains(&one.node))
                .collect();
            let fresh: Vec<_> = possible.iter().copied().filter(|one| !taken.contains(&one.domain)).collect();
            let used: Vec<_> = chosen.iter().map(|&node| candidates[node as usize]).collect();
            // Only who may be, and nobody twice.
            prop_assert!(used.iter().all(|one| possible.contains(one)));
            prop_assert_eq!(chosen.iter().collect::<HashSet<_>>().len(), chosen.len());
            // As many as there are, distinct domains first.
            let distinct = domains(&fresh).min(count);
            prop_assert_eq!(chosen.len(), if strict { distinct } else { possible.len().min(count) });
            prop_assert_eq!(domains(&used[..distinct]), distinct);
            prop_assert!(used[..distinct].iter().all(|one| !taken.contains(&one.domain)));
            // Nobody is avoided in vain.
            let swift: Vec<_> = fresh.iter().copied().filter(|one| !avoid(one.node)).collect();
            let first = domains(&swift).min(count);
            prop_assert!(used[..first].iter().all(|one| !avoid(one.node)));
            prop_assert_eq!(chosen, choose(&candidates, asked(), seed));
        }
    }

    fn share(candidates: &[Candidate], node: u32, count: usize) -> usize {
        (0..2000).filter(|&seed| choose(candidates, wish(count), seed).contains(&node)).count()
    }

    #[test]
    fn a_node_that_fails_is_chosen_less() {
        let mut candidates = alone(10);
        candidates[3].success = 0.1;
        assert!(share(&candidates, 3, 3) * 2 < share(&candidates, 4, 3));
    }

    #[test]
    fn a_new_node_gets_part_of_its_share_and_never_nothing() {
        let mut candidates = alone(40);
        candidates[3].trust = 0.25;
        let (new, old) = (share(&candidates, 3, 4), share(&candidates, 4, 4));
        assert!(new * 2 < old && new * 10 > old, "{new} {old}");
        // Where all are new nobody is.
        candidates.iter_mut().for_each(|one| one.trust = 0.05);
        let (one, other) = (share(&candidates, 3, 4), share(&candidates, 4, 4));
        assert!(one * 3 > other * 2 && other * 3 > one * 2, "{one} {other}");
    }

    /// Counted, since time depends on the machine.
    #[test]
    fn many_candidates_cost_no_more_than_few() {
        let looked = Cell::new(0usize);
        let avoid = |_| {
            looked.set(looked.get() + 1);
            false
        };
        let chosen = choose(&alone(10_000), Wish { avoid: &avoid, ..wish(80) }, 7);
        assert_eq!((chosen.len(), looked.get() < 400), (80, true), "{looked:?}");
        // The worst: few domains, so that nearly all draws are in vain.
        let few: Vec<_> = (0..10_000).map(|node| candidate(node, u64::from(node % 81))).collect();
        looked.set(0);
        assert_eq!(choose(&few, Wish { avoid: &avoid, ..wish(80) }, 7).len(), 80);
        assert!(looked.get() < 40_000, "{looked:?}");
    }
}
