//! The nodes, the segments on them, and the repairs.

use std::collections::{BTreeSet, HashSet};

use super::events::rate;
use super::{Event, Events, MONTH_HOURS, Setting, Simulated, YEAR_HOURS};
use crate::metadata::{NodeState, PiecePlace};
use crate::placement::{Candidate, Wish, choose};
use crate::types::{Incarnation, PieceNumber};
use crate::workers::judge::{Facts, Need, Plan, Verdict};

/// What a node lends, in pieces. Nobody's disk is ever full here.
const NODE_PIECES: u64 = 1 << 40;

/// A node, lost or not. A new one gets a new number.
struct Node {
    domain: u64,
    gone: bool,
    away: bool,
    /// As the health loop sees it.
    present: bool,
    /// How often it went away.
    absences: u32,
    /// The segments that have a piece on it, or had.
    segments: Vec<u32>,
}

struct Segment {
    places: Vec<PiecePlace>,
    state: State,
    /// Since when no more than r pieces are left.
    exposed: Option<f64>,
}

enum State {
    Fine,
    /// In the queue, under this rank.
    Waiting(Rank),
    /// Being repaired: what it looked like, and what is made; nothing, if it
    /// was lost meanwhile.
    Repairing(Option<Box<(Verdict, Vec<PiecePlace>)>>),
}

/// The order of the queue of repairs (`metadata/queue.rs`).
type Rank = (i64, Need, u32);

pub(super) struct World {
    setting: Setting,
    /// By number.
    nodes: Vec<Node>,
    /// The nodes that there are, by place; those that are away have no room.
    candidates: Vec<Candidate>,
    /// By number of a node: where it stands among the candidates.
    stands: Vec<usize>,
    domains: BTreeSet<u64>,
    segments: Vec<Segment>,
    queue: BTreeSet<Rank>,
    running: usize,
    exposures: (f64, u64),
    counted: Simulated,
}

impl World {
    pub(super) fn new(setting: &Setting, events: &mut Events) -> Self {
        let mut world = Self {
            setting: setting.clone(),
            nodes: Vec::new(),
            candidates: Vec::new(),
            stands: Vec::new(),
            domains: (0..u64::from(setting.domains)).collect(),
            segments: Vec::new(),
            queue: BTreeSet::new(),
            running: 0,
            exposures: (0.0, 0),
            counted: Simulated { least_margin: i64::MAX, ..Simulated::default() },
        };
        for at in 0..setting.nodes as usize {
            world.join(0.0, at, events);
        }
        for domain in 0..u64::from(setting.domains) {
            events.enter_at_rate(0.0, rate(setting.domain_loss_per_month), Event::DomainLost(domain));
        }
        for number in 0..setting.segments {
            let places = world.place_new(number, events);
            world.segments.push(Segment { places, state: State::Fine, exposed: None });
        }
        world
    }

    pub(super) fn pass(&mut self, now: f64, event: Event, events: &mut Events) {
        match event {
            Event::NodeLost(node) => self.lose(now, node, events),
            Event::DomainLost(domain) => self.lose_domain(now, domain, events),
            Event::Leaves(node) => self.leave(now, node, events),
            Event::Returns(node) => self.come_back(now, node, events),
            Event::Noticed(node, absences) => self.notice(now, node, absences, events),
            Event::Repaired(segment) => self.end_repair(now, segment, events),
        }
    }

    // ---- nodes --------------------------------------------------------------

    /// A fresh node takes place `at`.
    fn join(&mut self, now: f64, at: usize, events: &mut Events) {
        let (number, domain) = (self.nodes.len() as u32, at as u64 % u64::from(self.setting.domains));
        let fresh = Node { domain, gone: false, away: false, present: true, absences: 0, segments: Vec::new() };
        self.nodes.push(fresh);
        self.stands.push(at);
        let candidate = Candidate { node: number, domain, free_bytes: NODE_PIECES, success: 1.0, trust: 1.0 };
        match self.candidates.get_mut(at) {
            Some(there) => *there = candidate,
            None => self.candidates.push(candidate),
        }
        events.enter_at_rate(now, rate(self.setting.loss_per_month), Event::NodeLost(number));
        events.enter_at_rate(now, self.setting.absences_per_month / MONTH_HOURS, Event::Leaves(number));
    }

    fn lose(&mut self, now: f64, number: u32, events: &mut Events) {
        let node = &mut self.nodes[number as usize];
        // It may have gone with its domain.
        if std::mem::replace(&mut node.gone, true) {
            return;
        }
        self.counted.nodes_lost += 1;
        if !std::mem::replace(&mut node.away, true) {
            node.absences += 1;
            events.enter(now + self.setting.offline_after_hours, Event::Noticed(number, node.absences));
        }
        for segment in node.segments.clone() {
            self.count_loss(now, segment, events);
        }
        self.join(now, self.stands[number as usize], events);
    }

    fn lose_domain(&mut self, now: f64, domain: u64, events: &mut Events) {
        self.counted.domains_lost += 1;
        let nodes: Vec<u32> = self.candidates.iter().filter(|one| one.domain == domain).map(|one| one.node).collect();
        for node in nodes {
            self.lose(now, node, events);
        }
        events.enter_at_rate(now, rate(self.setting.domain_loss_per_month), Event::DomainLost(domain));
    }

    fn leave(&mut self, now: f64, number: u32, events: &mut Events) {
        let node = &mut self.nodes[number as usize];
        if node.gone {
            return;
        }
        self.counted.absences += 1;
        (node.away, node.absences) = (true, node.absences + 1);
        self.candidates[self.stands[number as usize]].free_bytes = 0;
        events.enter(now + self.setting.offline_after_hours, Event::Noticed(number, node.absences));
        let back = events.exponential(self.setting.absence_hours);
        events.enter(now + back, Event::Returns(number));
    }

    fn come_back(&mut self, now: f64, number: u32, events: &mut Events) {
        let node = &mut self.nodes[number as usize];
        if node.gone {
            return;
        }
        (node.away, node.present) = (false, true);
        self.candidates[self.stands[number as usize]].free_bytes = NODE_PIECES - node.segments.len() as u64;
        events.enter_at_rate(now, self.setting.absences_per_month / MONTH_HOURS, Event::Leaves(number));
    }

    fn notice(&mut self, now: f64, number: u32, absences: u32, events: &mut Events) {
        let node = &mut self.nodes[number as usize];
        if !node.away || node.absences != absences {
            return;
        }
        node.present = false;
        for segment in node.segments.clone() {
            self.consider(now, segment, events);
        }
    }

    // ---- segments -----------------------------------------------------------

    /// Nodes for the pieces of a new segment. Of n that begin, o are done first.
    fn place_new(&mut self, segment: u32, events: &mut Events) -> Vec<PiecePlace> {
        let scheme = self.setting.scheme;
        let mut nodes = self.choose(scheme.total().into(), HashSet::new(), HashSet::new(), false, events);
        nodes.truncate(scheme.optimal().into());
        let places: Vec<_> = nodes.into_iter().zip(0..).map(|(node, piece)| place(piece, node)).collect();
        self.hold(segment, &places);
        places
    }

    fn choose(
        &self,
        count: usize,
        nodes: HashSet<u32>,
        domains: HashSet<u64>,
        strict: bool,
        events: &mut Events,
    ) -> Vec<u32> {
        let wish = Wish { count, piece_bytes: 1, nodes, domains, strict, avoid: &|_| false };
        choose(&self.candidates, wish, events.seed())
    }

    fn hold(&mut self, segment: u32, places: &[PiecePlace]) {
        for place in places {
            self.nodes[place.node as usize].segments.push(segment);
            let candidate = &mut self.candidates[self.stands[place.node as usize]];
            if candidate.node == place.node {
                candidate.free_bytes = candidate.free_bytes.saturating_sub(1);
            }
        }
    }

    fn let_go(&mut self, segment: u32, places: &[PiecePlace]) {
        for place in places {
            let held = &mut self.nodes[place.node as usize].segments;
            if let Some(at) = held.iter().position(|one| *one == segment) {
                held.swap_remove(at);
            }
        }
    }

    /// Pieces on nodes that are not gone for good.
    fn left(&self, segment: u32) -> usize {
        let places = &self.segments[segment as usize].places;
        places.iter().filter(|place| !self.nodes[place.node as usize].gone).count()
    }

    /// A segment has lost a piece, whether anybody knows it or not.
    fn count_loss(&mut self, now: f64, number: u32, events: &mut Events) {
        let (left, scheme) = (self.left(number), self.setting.scheme);
        let margin = left as i64 - i64::from(scheme.required());
        self.counted.least_margin = self.counted.least_margin.min(margin);
        if margin < 0 {
            return self.replace_lost(number, events);
        }
        if left <= usize::from(scheme.repair()) {
            self.segments[number as usize].exposed.get_or_insert(now);
        }
    }

    /// A new segment in place of one that is lost.
    fn replace_lost(&mut self, number: u32, events: &mut Events) {
        self.counted.segments_lost += 1;
        let segment = &mut self.segments[number as usize];
        let places = std::mem::take(&mut segment.places);
        segment.exposed = None;
        segment.state = match segment.state {
            State::Fine => State::Fine,
            State::Waiting(rank) => {
                self.queue.remove(&rank);
                State::Fine
            }
            // It takes its time all the same.
            State::Repairing(_) => State::Repairing(None),
        };
        self.let_go(number, &places);
        self.segments[number as usize].places = self.place_new(number, events);
    }

    fn judge(&self, number: u32) -> Verdict {
        let facts = |place: &PiecePlace| {
            let Node { domain, present, away, .. } = self.nodes[place.node as usize];
            let state = NodeState::Active;
            (Some(Facts { state, present, connected: !away, domain, failing: false, sure: !away }), false)
        };
        Verdict::new(self.setting.scheme, &self.segments[number as usize].places, facts, &self.domains)
    }

    /// What the walk does with a segment.
    fn consider(&mut self, now: f64, number: u32, events: &mut Events) {
        let verdict = self.judge(number);
        let segment = &mut self.segments[number as usize];
        let waiting = match segment.state {
            State::Repairing(_) => return,
            State::Waiting(rank) => Some(rank),
            State::Fine => None,
        };
        if let Some(rank) = waiting {
            self.queue.remove(&rank);
        }
        segment.state = match verdict.need() {
            None => State::Fine,
            Some(need) => {
                let rank = (verdict.margin(), need, number);
                self.queue.insert(rank);
                State::Waiting(rank)
            }
        };
        self.counted.queue_max = self.counted.queue_max.max(self.queue.len() as u64);
        self.begin_repairs(now, events);
    }

    // ---- repairs ------------------------------------------------------------

    /// Repairs that can run at once, so that so many are done in a day.
    fn lanes(&self) -> usize {
        let Setting { segments, repaired_per_day, repair_hours, .. } = self.setting;
        (f64::from(segments) * repaired_per_day / 24.0 * repair_hours).ceil().max(1.0) as usize
    }

    fn begin_repairs(&mut self, now: f64, events: &mut Events) {
        while self.running < self.lanes()
            && let Some((.., number)) = self.queue.pop_first()
        {
            let verdict = self.judge(number);
            let made = match verdict.need() {
                Some(_) => self.make(number, &verdict.plan(), events),
                None => Vec::new(),
            };
            if made.is_empty() {
                self.segments[number as usize].state = State::Fine;
                continue;
            }
            self.running += 1;
            self.segments[number as usize].state = State::Repairing(Some(Box::new((verdict, made))));
            let took = events.exponential(self.setting.repair_hours);
            events.enter(now + took, Event::Repaired(number));
        }
    }

    /// The pieces that are wanted, each on a node in a domain that is free.
    fn make(&self, number: u32, plan: &Plan, events: &mut Events) -> Vec<PiecePlace> {
        let held = self.segments[number as usize].places.iter().map(|place| place.node).collect();
        let taken = plan.taken.iter().copied().collect();
        let nodes = self.choose(plan.wanted.len(), held, taken, true, events);
        plan.wanted.iter().zip(nodes).map(|(piece, node)| place(piece.0, node)).collect()
    }

    fn end_repair(&mut self, now: f64, number: u32, events: &mut Events) {
        self.running -= 1;
        let state = std::mem::replace(&mut self.segments[number as usize].state, State::Fine);
        match state {
            State::Repairing(Some(repair)) => self.finish(now, number, &repair.0, repair.1),
            _ => self.counted.repairs_failed += 1,
        }
        self.consider(now, number, events);
        self.begin_repairs(now, events);
    }

    fn finish(&mut self, now: f64, number: u32, verdict: &Verdict, made: Vec<PiecePlace>) {
        let domains: Vec<_> = made.iter().map(|place| (*place, self.nodes[place.node as usize].domain)).collect();
        let removed = verdict.removed_by(&domains);
        self.let_go(number, &removed);
        self.hold(number, &made);
        let required = f64::from(self.setting.scheme.required());
        self.counted.repairs += 1;
        self.counted.pieces_repaired += made.len() as u64;
        self.counted.repair_bytes_per_month += 1.0 + made.len() as f64 / required;
        let segment = &mut self.segments[number as usize];
        segment.places.retain(|place| !removed.contains(place));
        segment.places.extend(made);
        if self.left(number) > usize::from(self.setting.scheme.repair())
            && let Some(since) = self.segments[number as usize].exposed.take()
        {
            self.exposures = (self.exposures.0 + now - since, self.exposures.1 + 1);
        }
    }

    pub(super) fn outcome(self, setting: &Setting) -> Simulated {
        let lived = f64::from(setting.segments) * setting.years;
        let (hours, exposures) = self.exposures;
        let Simulated { segments_lost, repair_bytes_per_month: moved, least_margin, .. } = self.counted;
        Simulated {
            loss_per_year: -(-(segments_lost as f64) / lived).exp_m1(),
            repair_bytes_per_month: moved / lived / (YEAR_HOURS / MONTH_HOURS),
            exposed_hours: if exposures == 0 { 0.0 } else { hours / exposures as f64 },
            least_margin: if least_margin == i64::MAX {
                i64::from(setting.scheme.survives_at_ack())
            } else {
                least_margin
            },
            ..self.counted
        }
    }
}

fn place(piece: u16, node: u32) -> PiecePlace {
    PiecePlace { piece: PieceNumber(piece), node, incarnation: Incarnation(1) }
}
