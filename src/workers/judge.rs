//! How a segment is: which of its pieces count, and which shall be made anew.
//! A pure function of what is known of the nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::steady_millionths;
use crate::erasure::{Coding, Scheme};
use crate::metadata::{NodeState, PiecePlace};
use crate::types::PieceNumber;

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) state: NodeState,
    /// Whether it was seen lately.
    pub(super) present: bool,
    /// Whether it is connected now, to this process or to another.
    pub(super) connected: bool,
    /// What it fails together with.
    pub(super) domain: u64,
    /// Whether what it holds does not count though it can be read: its store is
    /// gone from its disk, and only its process still gives what was there, or
    /// audits have disqualified it. Such pieces stay in the list, and are read
    /// where others do not suffice, until enough others are there.
    pub(super) failing: bool,
    /// Whether it is connected to this process, and nothing speaks against its
    /// having what it should: what is given up because of it is gone for good.
    pub(super) sure: bool,
}

/// How a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// On a node that is there.
    Healthy,
    /// On a node that is to be emptied.
    Draining,
    /// On a node that will have it no more once its process ends.
    Failing,
    /// On a node that was not seen for long; it may come back.
    Away,
    /// Its node has it no more, or has it changed.
    Changed,
    /// On a node that is gone.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    place: PiecePlace,
    condition: Condition,
    /// Whether its node is to be emptied.
    leaving: bool,
    present: bool,
    connected: bool,
    sure: bool,
    domain: u64,
}

impl Piece {
    /// Whether it counts as a piece that is there, also tomorrow, be its node away for a
    /// while.
    fn counts(&self) -> bool {
        matches!(self.condition, Condition::Healthy | Condition::Draining) && self.present
    }

    /// Whether it can be read from its node, when that is connected.
    fn is_there(&self) -> bool {
        self.counts() || (self.condition == Condition::Failing && self.present)
    }

    /// Whether it can be read at this moment.
    fn is_readable(&self) -> bool {
        self.is_there() && self.connected
    }

    fn stays(&self) -> bool {
        self.condition == Condition::Healthy
    }
}

/// How a segment is.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pieces: Vec<Piece>,
    scheme: Scheme,
    /// Healthy pieces in distinct domains.
    pub(super) healthy: u16,
    /// Whether a domain that it does not use would take pieces.
    spare_domain: bool,
    /// Whether good shares of changed pieces were looked for, and there were
    /// too few.
    beyond_salvage: bool,
}

/// Why a segment is to be repaired, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// No more than r pieces are healthy.
    Degraded,
    /// A node has lost or changed a piece, or is about to.
    Changed,
    /// A node is to be emptied.
    Draining,
    /// Pieces share a domain, and another one would take one of them.
    Clumped,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// Pieces to make anew, the most necessary first.
    pub(super) wanted: Vec<PieceNumber>,
    /// How many of them are instead of pieces that were there: those may go
    /// where another piece's domain is, if there is no other place.
    pub(super) instead: usize,
    /// Domains that are taken by pieces that stay.
    pub(super) taken: Vec<u64>,
    /// Nodes whose piece is not to be trusted.
    pub(super) avoid: Vec<u32>,
    /// Nodes that had a piece and have lost or changed it: they may take
    /// another one, if nobody else can.
    pub(super) again: Vec<u32>,
}

impl Verdict {
    /// Judges a segment of this coding. `condition` says what is known of the
    /// node of a place, and whether the piece itself is known to be lost;
    /// `domains` are those of all nodes that take pieces.
    pub(super) fn new(
        scheme: Scheme,
        places: &[PiecePlace],
        condition: impl Fn(&PiecePlace) -> (Option<Facts>, bool),
        domains: &BTreeSet<u64>,
    ) -> Self {
        let judge = |place: &PiecePlace| {
            let (facts, changed) = condition(place);
            let member = facts.filter(|facts| facts.state.is_member());
            let condition = match member {
                None => Condition::Lost,
                Some(_) if changed => Condition::Changed,
                Some(Facts { failing: true, .. }) => Condition::Failing,
                Some(Facts { state: NodeState::Draining, .. }) => Condition::Draining,
                Some(Facts { present: false, .. }) => Condition::Away,
                Some(_) => Condition::Healthy,
            };
            let domain = facts.map_or(u64::MAX, |facts| facts.domain);
            let leaving = facts.is_some_and(|facts| facts.state == NodeState::Draining);
            let flag = |flag: fn(&Facts) -> bool| facts.as_ref().is_some_and(flag);
            let (present, connected) = (flag(|facts| facts.present), flag(|facts| facts.connected));
            let sure = flag(|facts| facts.sure);
            Piece { place: *place, condition, leaving, present, connected, sure, domain }
        };
        let pieces: Vec<Piece> = places.iter().map(judge).collect();
        let used: BTreeSet<u64> = pieces.iter().filter(|piece| piece.counts()).map(|piece| piece.domain).collect();
        let spare_domain = domains.iter().any(|domain| !used.contains(domain));
        let mut verdict = Self { pieces, scheme, healthy: 0, spare_domain, beyond_salvage: false };
        verdict.healthy = verdict.count(|piece| piece.counts());
        verdict
    }

    /// Nothing more is to be had from pieces that have changed.
    pub(super) fn beyond_salvage(self) -> Self {
        Self { beyond_salvage: true, ..self }
    }

    /// Pieces that clump in one domain count once, as long as they could be
    /// elsewhere.
    fn count(&self, counts: impl Fn(&Piece) -> bool) -> u16 {
        let counted = self.pieces.iter().filter(|piece| counts(piece));
        match self.spare_domain {
            true => counted.map(|piece| piece.domain).collect::<BTreeSet<_>>().len() as u16,
            false => counted.count() as u16,
        }
    }

    /// Pieces that can be lost before the segment cannot be read.
    pub(super) fn margin(&self) -> i64 {
        i64::from(self.healthy) - i64::from(self.scheme.required())
    }

    /// Whether so few pieces are healthy that it is repaired: at most r, and
    /// fewer than a write is acknowledged with.
    pub(super) fn is_degraded(&self) -> bool {
        self.healthy <= self.scheme.repair() && self.healthy < self.scheme.optimal()
    }

    fn readable(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.is_readable()).count()
    }

    /// Whether enough pieces can be read now.
    pub(super) fn is_readable(&self) -> bool {
        self.readable() >= usize::from(self.scheme.required())
    }

    /// Whether others may be made from what is there: from k whole pieces, or,
    /// stripe by stripe, with what is still good of those that have changed.
    fn is_repairable(&self) -> bool {
        let salvageable =
            |piece: &Piece| piece.condition == Condition::Changed && piece.connected && !self.beyond_salvage;
        let sources = self.pieces.iter().filter(|piece| piece.is_there() || salvageable(piece));
        sources.count() >= usize::from(self.scheme.required())
    }

    /// Whether too few pieces are left anywhere.
    pub(super) fn is_lost(&self) -> bool {
        let is_left = |piece: &&Piece| match piece.condition {
            Condition::Lost => false,
            Condition::Changed => piece.connected && !self.beyond_salvage,
            _ => true,
        };
        self.pieces.iter().filter(is_left).count() < usize::from(self.scheme.required())
    }

    /// The domains each of which would take the segment with it.
    pub(super) fn hangs_on(&self) -> Vec<u64> {
        let mut by_domain: BTreeMap<u64, usize> = BTreeMap::new();
        for piece in self.pieces.iter().filter(|piece| piece.is_readable()) {
            *by_domain.entry(piece.domain).or_default() += 1;
        }
        let (readable, required) = (self.readable(), usize::from(self.scheme.required()));
        if readable < required {
            return Vec::new();
        }
        by_domain.into_iter().filter(|(_, count)| readable - count < required).map(|(domain, _)| domain).collect()
    }

    /// The nodes that are to be emptied of a piece.
    pub(super) fn draining(&self) -> impl Iterator<Item = u32> {
        self.pieces.iter().filter(|piece| piece.leaving).map(|piece| piece.place.node)
    }

    fn on(&self, condition: Condition) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(move |piece| piece.condition == condition)
    }

    /// Why it is to be repaired, if it is. Pieces of nodes that are gone are
    /// made anew only when few are left: with many pieces that costs little,
    /// and each repair reads k of them.
    pub(super) fn need(&self) -> Option<Need> {
        if !self.is_repairable() {
            return None;
        }
        if self.is_degraded() {
            return Some(Need::Degraded);
        }
        let changed = self.on(Condition::Changed).chain(self.on(Condition::Failing)).next().map(|_| Need::Changed);
        let draining = || self.on(Condition::Draining).next().map(|_| Need::Draining);
        let clumped = || self.clumped().next().filter(|_| self.spare_domain).map(|_| Need::Clumped);
        changed.or_else(draining).or_else(clumped)
    }

    /// Pieces in a domain that has another one already.
    fn clumped(&self) -> impl Iterator<Item = &Piece> {
        let mut seen = BTreeSet::new();
        self.on(Condition::Healthy).filter(move |piece| !seen.insert(piece.domain))
    }

    /// How much of what its nodes hold is expected to be there a day later, in
    /// millionths. `loss` is a node's chance to be lost within that day.
    pub(super) fn steady(&self, loss: impl Fn(u32) -> f64) -> u64 {
        let counting = self.pieces.iter().filter(|piece| piece.counts());
        steady_millionths(counting.map(|piece| loss(piece.place.node)))
    }

    /// What to make anew: what its nodes have not any more or will not have,
    /// what is to be moved, and, where redundancy is short, as many others as bring it to o.
    pub(super) fn plan(&self) -> Plan {
        let away = self.on(Condition::Changed).chain(self.on(Condition::Failing)).chain(self.on(Condition::Draining));
        let mut wanted: Vec<PieceNumber> = away.map(|piece| piece.place.piece).collect();
        let instead = wanted.len();
        if self.is_degraded() || self.on(Condition::Changed).next().is_some() {
            let staying = usize::from(self.count(Piece::stays));
            let short = usize::from(self.scheme.optimal()).saturating_sub(staying + instead);
            wanted.extend(self.others().take(short));
        } else if self.spare_domain && instead == 0 {
            // They go to domains of their own or stay where they are.
            wanted.extend(self.clumped().map(|piece| piece.place.piece));
        }
        let taken: BTreeSet<u64> = self.on(Condition::Healthy).map(|piece| piece.domain).collect();
        let avoid = self.pieces.iter().filter(|piece| !piece.is_there()).map(|piece| piece.place.node).collect();
        let again = self.on(Condition::Changed).map(|piece| piece.place.node).collect();
        Plan { wanted, instead, taken: taken.into_iter().collect(), avoid, again }
    }

    /// Pieces that could be made to have more: those that are lost, those that
    /// nobody has, those that clump, those that are away.
    fn others(&self) -> impl Iterator<Item = PieceNumber> {
        let listed: BTreeSet<u16> = self.pieces.iter().map(|piece| piece.place.piece.0).collect();
        let free = (0..self.scheme.total()).filter(move |number| !listed.contains(number)).map(PieceNumber);
        let clumped = self.clumped();
        let number = |piece: &Piece| piece.place.piece;
        let spare = self.spare_domain;
        self.on(Condition::Lost)
            .map(number)
            .chain(free)
            .chain(clumped.filter(move |_| spare).map(number))
            .chain(self.on(Condition::Away).map(number))
    }

    /// What leaves the list when these pieces are placed, each in its domain:
    /// what they replace; and, if o others are connected, what is lost or about
    /// to be, and what is on nodes that are to be emptied.
    pub(super) fn removed_by(&self, placed: &[(PiecePlace, u64)]) -> Vec<PiecePlace> {
        let replaced = |piece: &Piece| placed.iter().any(|(new, _)| new.piece == piece.place.piece);
        let staying = self.pieces.iter().filter(|piece| piece.stays() && piece.sure && !replaced(piece));
        let domains: Vec<u64> = staying.map(|piece| piece.domain).chain(placed.iter().map(|(_, at)| *at)).collect();
        let staying = match self.spare_domain {
            true => domains.iter().collect::<BTreeSet<_>>().len(),
            false => domains.len(),
        };
        let enough = staying >= usize::from(self.scheme.optimal());
        let leaves = |piece: &&Piece| {
            let useless = piece.leaving || matches!(piece.condition, Condition::Lost | Condition::Failing);
            replaced(piece) || (enough && useless)
        };
        self.pieces.iter().filter(leaves).map(|piece| piece.place).collect()
    }

    /// The nodes that are to be emptied, of those that have these places.
    pub(super) fn moved(&self, removed: &[PiecePlace]) -> Vec<u32> {
        let moved = self.pieces.iter().filter(|piece| piece.leaving && removed.contains(&piece.place));
        moved.map(|piece| piece.place.node).collect()
    }
}

/// The scheme of segments that were written with this coding. That of new
/// segments if it fits, else one with r and o in the same proportion between k
/// and n.
pub(super) fn scheme_of(coding: Coding, current: Scheme) -> Scheme {
    let (required, total) = (coding.required(), coding.total());
    if (current.required(), current.total()) == (required, total) {
        return current;
    }
    let (own, spare) = (u32::from(total - required), u32::from(current.total() - current.required()));
    let part = |between: u16| match spare {
        0 => total,
        _ => required + (u32::from(between) * own).div_ceil(spare) as u16,
    };
    let optimal = part(current.optimal() - current.required());
    let repair = part(current.repair() - current.required()).min(optimal.saturating_sub(1)).max(required);
    Scheme::new(required, repair, optimal, total).expect("k <= r <= o <= n, and n is a coding's")
}

#[cfg(test)]
#[path = "tests/judge.rs"]
mod tests;
