//! How durable a redundancy scheme is on a network whose nodes come and go.
//!
//! A segment is a Markov chain over its healthy pieces. It begins with `o`.
//! Each piece is lost with its node at the rate λ; a failure domain is lost
//! whole at the rate δ, with all pieces in it; and from `r` pieces on downwards
//! a repair brings it back to `o` at the rate μ, one over the time that repairs
//! take. With fewer than `k` pieces it is lost. That repairs take an
//! exponential time and that segments near to loss are not hurried makes the
//! result worse than it will be.
//!
//! The chain is the one of disk arrays and of replica maintenance (Chun et
//! al., "Efficient Replica Maintenance for Distributed Storage Systems", NSDI
//! 2006, section 3). What is told is the chance of a loss within a year and not
//! a mean time, which means little where it is longer than the system lives
//! (Greenan, Plank and Wylie, "Mean Time to Meaningless", HotStorage 2010).

use super::Scheme;

/// Hours in a month and in a year, on average.
const MONTH_HOURS: f64 = 730.5;
const YEAR_HOURS: f64 = 12.0 * MONTH_HOURS;

/// A network of nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// Failure domains. Pieces of a segment share one only where there are
    /// more pieces than domains.
    pub domains: usize,
    /// Which part of all nodes is lost for good in a month, from 0 to 1.
    pub loss_per_month: f64,
    /// Which part of all failure domains is lost whole in a month, from 0 to 1.
    pub domain_loss_per_month: f64,
    /// How long it takes on average from the loss that makes a segment need
    /// repair until it is repaired.
    pub repair_hours: f64,
}

/// What a scheme gives on a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Durability {
    /// The chance that a segment is lost within a year.
    pub loss_per_year: f64,
    /// Repairs of a segment in a month.
    pub repairs_per_month: f64,
    /// Bytes that repairs read and write in a month, for each byte of data.
    pub repair_bytes_per_month: f64,
}

impl Durability {
    /// Of this scheme on that network.
    pub fn of(scheme: Scheme, network: &Network) -> Self {
        let cycle = Cycle::from_full(scheme, network);
        let repairs_per_hour = (1.0 - cycle.lost) / cycle.hours;
        // A repair reads k pieces, which are the data, and writes what is missing.
        let bytes = 1.0 + cycle.rebuilt / f64::from(scheme.required());
        Self {
            loss_per_year: -(-YEAR_HOURS * cycle.lost / cycle.hours).exp_m1(),
            repairs_per_month: repairs_per_hour * MONTH_HOURS,
            repair_bytes_per_month: repairs_per_hour * MONTH_HOURS * bytes,
        }
    }

    /// Nines of durability in a year: 11 is 99.999999999 %.
    pub fn nines(&self) -> f64 {
        -self.loss_per_year.log10()
    }
}

/// From a number of healthy pieces until the segment is repaired or lost.
/// Computed from the bottom up in sums of positive terms, so that chances of
/// 1e-30 keep their digits.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    /// How long that takes on average.
    hours: f64,
    /// The chance that it ends with a loss.
    lost: f64,
    /// Pieces that the repair makes anew, on average.
    rebuilt: f64,
}

const LOST: Cycle = Cycle { hours: 0.0, lost: 1.0, rebuilt: 0.0 };

impl Cycle {
    fn from_full(scheme: Scheme, network: &Network) -> Self {
        let (required, full) = (usize::from(scheme.required()), usize::from(scheme.optimal()));
        // Pieces in one domain, where there are too few.
        let together = full.div_ceil(network.domains.max(1));
        let (node, domain) = (rate(network.loss_per_month), rate(network.domain_loss_per_month));
        let mut cycles = vec![LOST; required];
        for healthy in required..=full {
            let pieces = healthy as f64;
            let after = |lost: usize| healthy.checked_sub(lost).map_or(LOST, |left| cycles[left]);
            let repair = if healthy <= usize::from(scheme.repair()) && healthy < full {
                1.0 / network.repair_hours
            } else {
                0.0
            };
            let repaired = Self { hours: 0.0, lost: 0.0, rebuilt: (full - healthy) as f64 };
            let next =
                [(pieces * node, after(1)), (pieces / together as f64 * domain, after(together)), (repair, repaired)];
            cycles.push(Self::before(&next));
        }
        cycles[full]
    }

    /// What comes before these, each at its rate.
    fn before(next: &[(f64, Self)]) -> Self {
        let all: f64 = next.iter().map(|(rate, _)| rate).sum();
        let mean = |part: fn(&Self) -> f64| next.iter().map(|(rate, cycle)| rate / all * part(cycle)).sum::<f64>();
        Self {
            hours: 1.0 / all + mean(|cycle| cycle.hours),
            lost: mean(|cycle| cycle.lost),
            rebuilt: mean(|cycle| cycle.rebuilt),
        }
    }
}

/// Per hour, where this part is lost in a month.
fn rate(per_month: f64) -> f64 {
    -(-per_month).ln_1p() / MONTH_HOURS
}

/// What a scheme of this network's size must give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    /// The chance that a segment is lost within a year, at most.
    pub loss_per_year: f64,
    /// Pieces at most, whatever the number of domains.
    pub total: u16,
}

/// The scheme that reaches the aim for the least: what is stored, and what
/// repairs move in a month, a byte for a byte. None where no scheme reaches it.
pub fn cheapest(network: &Network, aim: Aim) -> Option<(Scheme, Durability)> {
    let total = network.domains.min(usize::from(aim.total)) as u16;
    // One slow node is not waited for.
    let optimal = if total > 2 { total - 1 } else { total };
    let mut best: Option<(f64, Scheme, Durability)> = None;
    for required in 1..=optimal {
        for repair in required..optimal.max(required + 1) {
            let Ok(scheme) = Scheme::new(required, repair, optimal, total) else { continue };
            let durability = Durability::of(scheme, network);
            let cost = f64::from(optimal) / f64::from(required) + durability.repair_bytes_per_month;
            if durability.loss_per_year <= aim.loss_per_year && best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, scheme, durability));
            }
        }
    }
    best.map(|(_, scheme, durability)| (scheme, durability))
}

/// Audits of random shares after which a node that keeps only this part of its
/// data has been caught with this certainty: `1 - kept^audits >= certainty`.
pub fn audits_to_catch(kept: f64, certainty: f64) -> u64 {
    ((1.0 - certainty).ln() / kept.ln()).ceil() as u64
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn network(domains: usize, loss_per_month: f64, repair_hours: f64) -> Network {
        Network { domains, loss_per_month, domain_loss_per_month: 0.0, repair_hours }
    }

    fn scheme(text: &str) -> Scheme {
        text.parse().unwrap()
    }

    fn close(one: f64, other: f64, within: f64) {
        assert!((one - other).abs() <= within * other.abs(), "{one} is not {other}");
    }

    /// Mean hours until a loss, from the chance of one.
    fn mean_hours(durability: Durability) -> f64 {
        -YEAR_HOURS / (-durability.loss_per_year).ln_1p()
    }

    #[test]
    fn two_copies_are_lost_as_textbooks_say() {
        let network = network(10, 0.03, 24.0);
        let (loss, repair) = (rate(0.03), 1.0 / 24.0);
        let mirror = Durability::of(scheme("1/1/2/2"), &network);
        close(mean_hours(mirror), (3.0 * loss + repair) / (2.0 * loss * loss), 1e-9);
        let one = Durability::of(scheme("1/1/1/1"), &network);
        close(one.loss_per_year, 1.0 - 0.97_f64.powi(12), 1e-9);
        assert_eq!(one.repairs_per_month, 0.0);
    }

    /// Three copies of which two are left while a repair runs: the chain's
    /// three equations, solved by hand.
    #[test]
    fn three_copies_are_lost_as_their_equations_say() {
        let (l, m) = (rate(0.2), 1.0 / 50.0);
        let durability = Durability::of(scheme("1/2/3/3"), &network(3, 0.2, 50.0));
        // t3 = 1/3l + t2, t2 = (1 + 2l t1 + m t3) / (2l + m), t1 = (1 + m t3) / (l + m)
        let returns = m / (2.0 * l + m) + 2.0 * l / (2.0 * l + m) * m / (l + m);
        let once = 1.0 / (3.0 * l) + 1.0 / (2.0 * l + m) + 2.0 * l / (2.0 * l + m) / (l + m);
        close(mean_hours(durability), once / (1.0 - returns), 1e-9);
    }

    #[test]
    fn what_is_too_rare_to_see_has_digits_all_the_same() {
        let network = network(80, 0.01, 12.0);
        let large = Durability::of(scheme("29/35/65/80"), &network);
        // Seven more losses in a row, each before the repair: 35·34·…·29 · (λ/μ)⁷ of all repairs.
        let ratio = rate(0.01) * 12.0;
        let unlikely: f64 = (29..=35).map(|pieces| f64::from(pieces) * ratio).product();
        close(large.loss_per_year, 12.0 * large.repairs_per_month * unlikely, 0.05);
        assert!(large.nines() > 12.0, "{}", large.nines());
    }

    #[test]
    fn more_of_what_helps_never_hurts() {
        let nines = |text: &str, loss, hours| Durability::of(scheme(text), &network(80, loss, hours)).nines();
        assert!(nines("4/5/7/8", 0.03, 24.0) > nines("4/5/7/8", 0.06, 24.0));
        assert!(nines("4/5/7/8", 0.03, 12.0) > nines("4/5/7/8", 0.03, 24.0));
        assert!(nines("4/6/7/8", 0.03, 24.0) > nines("4/5/7/8", 0.03, 24.0));
        assert!(nines("3/5/7/8", 0.03, 24.0) > nines("4/5/7/8", 0.03, 24.0));
        let lost_together = |domains| {
            let network = Network { domain_loss_per_month: 0.01, ..network(domains, 0.03, 24.0) };
            Durability::of(scheme("4/5/7/8"), &network).nines()
        };
        assert!(lost_together(8) > lost_together(4) && lost_together(4) > lost_together(2));
        assert!(lost_together(1) < 1.0, "all pieces lie in one domain");
    }

    /// The chain, run by dice.
    #[test]
    fn dice_agree() {
        for (text, domains, domain_loss) in [("2/3/5/6", 6, 0.0), ("2/3/5/6", 6, 0.05), ("3/4/6/6", 3, 0.05)] {
            let (scheme, network) =
                (scheme(text), Network { domain_loss_per_month: domain_loss, ..network(domains, 0.4, 120.0) });
            let expected = Durability::of(scheme, &network);
            let mut dice = SmallRng::seed_from_u64(7);
            let (mut lost, mut repairs, segments) = (0, 0, 20_000);
            for _ in 0..segments {
                let (is_lost, repaired) = live_a_year(scheme, &network, &mut dice);
                lost += u32::from(is_lost);
                repairs += repaired;
            }
            close(f64::from(lost) / f64::from(segments), expected.loss_per_year, 0.05);
            assert!(repairs > segments, "{text} was repaired {repairs} times");
        }
    }

    fn live_a_year(scheme: Scheme, network: &Network, dice: &mut SmallRng) -> (bool, u32) {
        let full = scheme.optimal();
        let together = usize::from(full).div_ceil(network.domains) as u16;
        let (mut healthy, mut hours, mut repairs) = (full, 0.0, 0);
        loop {
            let node = f64::from(healthy) * rate(network.loss_per_month);
            let domain = f64::from(healthy) / f64::from(together) * rate(network.domain_loss_per_month);
            let repair = if healthy <= scheme.repair() { 1.0 / network.repair_hours } else { 0.0 };
            let all = node + domain + repair;
            hours -= dice.random::<f64>().ln() / all;
            if hours > YEAR_HOURS {
                return (false, repairs);
            }
            let what = dice.random::<f64>() * all;
            if what < repair {
                (healthy, repairs) = (full, repairs + 1);
                continue;
            }
            healthy = healthy.saturating_sub(if what < repair + node { 1 } else { together });
            if healthy < scheme.required() {
                return (true, repairs);
            }
        }
    }

    #[test]
    fn the_cheapest_scheme_reaches_the_aim() {
        let aim = Aim { loss_per_year: 1e-11, total: 80 };
        let large = network(200, 0.03, 24.0);
        let (scheme, durability) = cheapest(&large, aim).unwrap();
        assert!(durability.loss_per_year <= 1e-11);
        assert!(scheme.optimal() < 2 * scheme.required(), "{scheme} takes more than it must");
        assert_eq!(cheapest(&network(2, 0.03, 24.0), aim), None, "two nodes cannot");
        let (easy, _) = cheapest(&large, Aim { loss_per_year: 1e-3, total: 80 }).unwrap();
        assert!(easy.required() > scheme.required());
    }

    #[test]
    fn audits_that_catch_a_node() {
        assert_eq!(audits_to_catch(0.9, 0.95), 29);
        assert_eq!(audits_to_catch(0.5, 0.95), 5);
    }
}
