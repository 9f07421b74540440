//! Redundancy schemes: how many pieces to make, wait for, keep and need.

use std::fmt;
use std::str::FromStr;

use crate::types::limits::PIECES_MAX;

/// A redundancy scheme, written `required/repair/optimal/total` (k/r/o/n).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scheme {
    required: u16,
    repair: u16,
    optimal: u16,
    total: u16,
}

/// Why four numbers are no redundancy scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// Not four whole numbers with slashes between them.
    #[error("'{0}' is not a redundancy scheme: write required/repair/optimal/total, for example 4/5/7/8")]
    Form(String),
    /// No piece would be needed.
    #[error("a redundancy scheme requires at least 1 piece")]
    NoneRequired,
    /// The numbers fall.
    #[error(
        "the redundancy scheme {0}/{1}/{2}/{3} is out of order: it must hold that required <= repair <= optimal <= total"
    )]
    Order(u16, u16, u16, u16),
    /// More pieces than a segment can have.
    #[error("the redundancy scheme asks for {0} pieces, and a segment has at most {PIECES_MAX}")]
    TooMany(u16),
}

impl Scheme {
    /// Checks and takes the four numbers: `1 <= required <= repair <=
    /// optimal <= total <= limits::PIECES_MAX`.
    pub fn new(required: u16, repair: u16, optimal: u16, total: u16) -> Result<Self, SchemeError> {
        if required == 0 {
            return Err(SchemeError::NoneRequired);
        }
        if !(required <= repair && repair <= optimal && optimal <= total) {
            return Err(SchemeError::Order(required, repair, optimal, total));
        }
        if usize::from(total) > PIECES_MAX {
            return Err(SchemeError::TooMany(total));
        }
        Ok(Self { required, repair, optimal, total })
    }

    /// The scheme for a network with so many registered failure domains
    /// (offline ones count: redundancy never falls because nodes are away).
    ///
    /// With n = min(domains, 80) pieces:
    ///
    /// - k is half of n, rounded down; above 8 it grows evenly to 29 at 80,
    ///   because a large network has more to lose at once.
    /// - o is such that all losses but one of the n - k are survived at
    ///   acknowledgement (with two domains that one too); one slow node is
    ///   not waited for. Above 8 the losses survived grow evenly to 36 at 80.
    /// - r is one above k, growing evenly to six at 80, but always below o,
    ///   or a segment would ask for repair as soon as it is written.
    pub fn default_for(domains: usize) -> Self {
        let total = domains.clamp(1, LARGE) as u16;
        let small = total.min(SMALL);
        let evenly = |growth: u16| (total - small) * growth / (LARGE as u16 - SMALL);
        let small_required = (small / 2).max(1);
        let slow = u16::from(small > 2);
        let required = small_required + evenly(25);
        let losses = small - small_required - slow + evenly(33);
        let margin = (1 + evenly(5)).min(losses.saturating_sub(1));
        Self { required, repair: required + margin, optimal: required + losses, total }
    }

    /// k: any so many pieces restore the segment.
    pub fn required(self) -> u16 {
        self.required
    }

    /// r: with no more than this many healthy pieces a segment is repaired.
    pub fn repair(self) -> u16 {
        self.repair
    }

    /// o: a write is acknowledged when so many pieces are durable.
    pub fn optimal(self) -> u16 {
        self.optimal
    }

    /// n: pieces that a write starts to upload.
    pub fn total(self) -> u16 {
        self.total
    }

    /// Losses that a segment survives at the moment of acknowledgement.
    pub fn survives_at_ack(self) -> u16 {
        self.optimal - self.required
    }

    /// Losses that a segment survives while repair keeps up: it keeps r + 1
    /// pieces healthy, or all n where there are no more.
    pub fn survives_steady(self) -> u16 {
        (self.repair + 1).min(self.total) - self.required
    }
}

/// Domains up to which everything is counted by hand (eight nodes on one
/// machine are the default), and those from which the scheme stays the same.
const SMALL: u16 = 8;
const LARGE: usize = 80;

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.required, self.repair, self.optimal, self.total)
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let form = || SchemeError::Form(text.to_owned());
        let numbers: Vec<u16> =
            text.split('/').map(|number| number.parse().map_err(|_| form())).collect::<Result<_, _>>()?;
        match numbers[..] {
            [required, repair, optimal, total] => Self::new(required, repair, optimal, total),
            _ => Err(form()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_survives_its_text() {
        for text in ["1/1/1/1", "1/1/2/3", "4/5/7/8", "29/35/65/80", "256/256/256/256"] {
            assert_eq!(text.parse::<Scheme>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bad_scheme_is_refused_with_a_sentence() {
        for (text, sentence) in [
            ("", "'' is not a redundancy scheme: write required/repair/optimal/total, for example 4/5/7/8"),
            ("4/5/7", "'4/5/7' is not a redundancy scheme: write required/repair/optimal/total, for example 4/5/7/8"),
            (
                "4/5/7/x",
                "'4/5/7/x' is not a redundancy scheme: write required/repair/optimal/total, for example 4/5/7/8",
            ),
            ("0/1/1/1", "a redundancy scheme requires at least 1 piece"),
            (
                "4/3/7/8",
                "the redundancy scheme 4/3/7/8 is out of order: it must hold that required <= repair <= optimal <= total",
            ),
            ("1/1/1/257", "the redundancy scheme asks for 257 pieces, and a segment has at most 256"),
        ] {
            assert_eq!(text.parse::<Scheme>().unwrap_err().to_string(), sentence);
        }
        for text in ["4/5/8/7", "4/8/7/8", "1/1/1/1/1", "-1/1/1/1", "1/1/1/99999", "1 /1/1/1"] {
            assert!(text.parse::<Scheme>().is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_are_the_ones_that_were_decided() {
        for (domains, scheme) in [
            (0, "1/1/1/1"),
            (1, "1/1/1/1"),
            (2, "1/1/2/2"),
            (3, "1/1/2/3"),
            (6, "3/4/5/6"),
            (8, "4/5/7/8"),
            (80, "29/35/65/80"),
            (81, "29/35/65/80"),
            (usize::MAX, "29/35/65/80"),
        ] {
            assert_eq!(Scheme::default_for(domains).to_string(), scheme, "{domains} domains");
        }
    }

    #[test]
    fn every_default_is_a_valid_scheme_that_the_domains_can_hold() {
        for domains in 1..=100 {
            let scheme = Scheme::default_for(domains);
            assert_eq!(Scheme::new(scheme.required, scheme.repair, scheme.optimal, scheme.total), Ok(scheme));
            assert!(usize::from(scheme.total) <= domains);
            if domains > 1 {
                assert!(scheme.repair < scheme.optimal, "{scheme} repairs what was just written");
                assert!(scheme.survives_at_ack() >= 1 && scheme.survives_steady() >= 1, "{scheme}");
                assert!(scheme.survives_at_ack() >= scheme.survives_steady(), "{scheme}");
            }
            if domains > 3 {
                assert!(10 * scheme.total <= 29 * scheme.required, "{scheme} takes too much space");
            }
        }
    }

    #[test]
    fn one_more_domain_never_makes_it_worse() {
        for domains in 1..100 {
            let (fewer, more) = (Scheme::default_for(domains), Scheme::default_for(domains + 1));
            let numbers =
                |s: Scheme| [s.required, s.repair, s.optimal, s.total, s.survives_at_ack(), s.survives_steady()];
            for (before, after) in numbers(fewer).into_iter().zip(numbers(more)) {
                assert!((before..=before + 2).contains(&after), "{domains} domains: {fewer}, one more: {more}");
            }
        }
    }

    #[test]
    fn losses_survived() {
        for (text, at_ack, steady) in [("4/5/7/8", 3, 2), ("29/35/65/80", 36, 7), ("1/1/1/1", 0, 0), ("1/1/2/2", 1, 1)]
        {
            let scheme: Scheme = text.parse().unwrap();
            assert_eq!((scheme.survives_at_ack(), scheme.survives_steady()), (at_ack, steady), "{text}");
        }
    }
}
