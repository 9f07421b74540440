//! Which shares are audited: drawn in one pass over all pieces, weighted by the
//! bytes that they take, with little memory however many there are.
//!
//! Each node has one draw of its own, so that nobody is left out; as many again
//! are drawn from all pieces together, so that who holds more is asked more
//! often. Both are reservoirs after Efraimidis and Spirakis: of keys
//! `ln(u) / weight`, with u random, the largest win.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A share that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw<P> {
    /// The node, by its number.
    pub node: u32,
    /// The piece.
    pub piece: P,
    /// Which of its shares, by its stripe.
    pub stripe: u16,
}

/// Draws shares of the pieces that it is offered.
pub struct Sampler<P> {
    dice: SmallRng,
    own: BTreeMap<u32, Keyed<P>>,
    shared: BinaryHeap<Keyed<P>>,
    shared_max: usize,
}

struct Keyed<P> {
    key: f64,
    draw: Draw<P>,
}

impl<P: Copy> Sampler<P> {
    /// Draws one share of each node and `shared` of all together. The same
    /// seed and pieces give the same draws.
    pub fn new(seed: u64, shared: usize) -> Self {
        let (dice, own, shared_max) = (SmallRng::seed_from_u64(seed), BTreeMap::new(), shared);
        Self { dice, own, shared: BinaryHeap::with_capacity(shared + 1), shared_max }
    }

    /// A piece of so many bytes and stripes on that node.
    pub fn offer(&mut self, node: u32, bytes: u64, stripes: u16, piece: P) {
        let stripe = self.dice.random_range(0..stripes.max(1));
        let (own, shared) = (self.key(bytes), self.key(bytes));
        let draw = Draw { node, piece, stripe };
        if self.own.get(&node).is_none_or(|best| own > best.key) {
            self.own.insert(node, Keyed { key: own, draw });
        }
        self.shared.push(Keyed { key: shared, draw });
        if self.shared.len() > self.shared_max {
            self.shared.pop();
        }
    }

    /// What was drawn, in no order.
    pub fn draws(self) -> Vec<Draw<P>> {
        self.own.into_values().chain(self.shared).map(|keyed| keyed.draw).collect()
    }

    fn key(&mut self, bytes: u64) -> f64 {
        // Never the logarithm of nothing.
        (1.0 - self.dice.random::<f64>()).ln() / bytes.max(1) as f64
    }
}

/// The heap's first is the one that goes: the least key.
impl<P> Ord for Keyed<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.total_cmp(&self.key)
    }
}

impl<P> PartialOrd for Keyed<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> PartialEq for Keyed<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<P> Eq for Keyed<P> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of draws over the same pieces: how often each was drawn.
    fn drawn(rounds: u64, shared: usize, pieces: &[(u32, u64)]) -> Vec<u64> {
        let mut counts = vec![0; pieces.len()];
        for round in 0..rounds {
            let mut sampler = Sampler::new(round, shared);
            pieces.iter().enumerate().for_each(|(at, (node, bytes))| sampler.offer(*node, *bytes, 32, at));
            sampler.draws().into_iter().for_each(|draw| counts[draw.piece] += 1);
        }
        counts
    }

    #[test]
    fn pieces_are_drawn_by_their_bytes() {
        let counts = drawn(20_000, 0, &[(1, 1000), (1, 3000), (1, 4000)]);
        assert_eq!(counts.iter().sum::<u64>(), 20_000);
        for (count, part) in counts.iter().zip([1.0, 3.0, 4.0]) {
            let expected = 20_000.0 * part / 8.0;
            assert!((*count as f64 - expected).abs() < 0.05 * expected + 50.0, "{counts:?}");
        }
    }

    #[test]
    fn nobody_is_left_out_and_who_holds_more_is_asked_more() {
        let mut pieces = vec![(1, 1000)];
        pieces.extend([(2, 1000); 99]);
        let counts = drawn(2_000, 10, &pieces);
        let (small, large) = (counts[0], counts[1..].iter().sum::<u64>());
        assert!((2_000..2_600).contains(&small), "once a round, and a hundredth of what is shared: {small}");
        assert!(large > 8 * small, "{large}");
    }

    #[test]
    fn every_share_of_a_piece_is_drawn() {
        let stripes: std::collections::BTreeSet<u16> = (0..2_000)
            .flat_map(|seed| {
                let mut sampler = Sampler::new(seed, 0);
                sampler.offer(1, 5, 32, ());
                sampler.draws()
            })
            .map(|draw| draw.stripe)
            .collect();
        assert_eq!(stripes, (0..32).collect());
    }
}
