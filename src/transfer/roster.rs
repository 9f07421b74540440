//! What the database says of the nodes, with what follows from it: failure
//! domains and trust. Never changed, only replaced.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::FULL_PIECE_BYTES;
use super::record::Record;
use crate::audit::Verdict;
use crate::metadata::{NodeRow, NodeState};
use crate::placement::{Candidate, DomainFacts, domains, failure_domains};
use crate::transport::NodeStatus;
use crate::types::NodeId;

/// Labels by which the operator's tokens say what a node fails together with.
const DOMAIN_LABEL: &str = "domain";
const OWNER_LABEL: &str = "owner";

const HOUR_MS: i64 = 60 * 60 * 1000;
/// A node is trusted in full after this long, or when it is as old as half of
/// the others.
const TRUSTED_AFTER_MS: i64 = 30 * 24 * HOUR_MS;
/// No node is trusted with less than this part of its share.
const TRUST_MIN: f32 = 0.05;

/// A node.
pub(super) struct Known {
    pub(super) row: NodeRow,
    pub(super) domain: u64,
    pub(super) trust: f32,
    pub(super) record: Arc<Record>,
}

/// The nodes that the database knows.
#[derive(Default)]
pub(super) struct Roster {
    by_number: HashMap<u32, Known>,
    by_id: HashMap<NodeId, u32>,
    /// Domains that ever were, of nodes that are gone or have left too.
    pub(super) joined_domains: usize,
    /// Domains of nodes that are to take pieces, offline or not.
    pub(super) registered_domains: usize,
    clock: TrustClock,
}

impl Roster {
    /// Takes over what was known of how the nodes did.
    pub(super) fn new(rows: Vec<NodeRow>, before: &Self) -> Self {
        let joined: HashSet<u64> = domains_of(rows.iter()).into_values().collect();
        let domains = domains_of(rows.iter().filter(|row| row.state.is_member()));
        let registered: HashSet<u64> = rows
            .iter()
            .filter(|row| matches!(row.state, NodeState::Active | NodeState::Suspended))
            .map(|row| domains[&row.number])
            .collect();
        let clock = TrustClock::new(&rows);
        let known = rows.into_iter().map(|row| {
            let record = before.get(row.number).map(|known| known.record.clone()).unwrap_or_default();
            let domain = domains.get(&row.number).copied().unwrap_or(row.number.into());
            (row.number, Known { domain, trust: clock.trust(&row), record, row })
        });
        let by_number: HashMap<u32, Known> = known.collect();
        let by_id = by_number.values().map(|known| (known.row.node, known.row.number)).collect();
        Self { by_number, by_id, joined_domains: joined.len(), registered_domains: registered.len(), clock }
    }

    /// Whether it was made of these rows.
    pub(super) fn has_rows(&self, rows: &[NodeRow]) -> bool {
        rows.len() == self.by_number.len()
            && rows.iter().all(|row| self.get(row.number).is_some_and(|known| known.row == *row))
    }

    pub(super) fn get(&self, number: u32) -> Option<&Known> {
        self.by_number.get(&number)
    }

    /// What a node fails together with; itself where nothing is known.
    pub(super) fn domain_of(&self, number: u32) -> u64 {
        self.get(number).map_or(number.into(), |known| known.domain)
    }

    /// What a node that joined now would be trusted with.
    pub(super) fn newcomers_trust(&self) -> f32 {
        self.clock.trust_by_age(0)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.by_number.values()
    }

    /// Those that have pieces.
    pub(super) fn members(&self) -> impl Iterator<Item = &Known> {
        self.all().filter(|known| known.row.state.is_member())
    }
}

fn domains_of<'r>(rows: impl Iterator<Item = &'r NodeRow>) -> HashMap<u32, u64> {
    let facts: Vec<DomainFacts<'_>> = rows
        .map(|row| DomainFacts {
            node: row.number,
            label: row.labels.get(DOMAIN_LABEL).map(String::as_str),
            owner: row.labels.get(OWNER_LABEL).map(String::as_str),
            address: row.address,
        })
        .collect();
    failure_domains(&facts).into_iter().collect()
}

/// How old nodes are by the database's clock, and how old is old.
#[derive(Default)]
struct TrustClock {
    now_ms: i64,
    full_ms: i64,
}

impl TrustClock {
    /// The newest time in the rows is the present: the database's clock wrote
    /// them all, and some node was always seen a minute ago.
    fn new(rows: &[NodeRow]) -> Self {
        let now_ms = rows.iter().map(|row| row.seen.unwrap_or(row.joined).max(row.joined).0).max().unwrap_or(0);
        let mut ages: Vec<i64> = rows
            .iter()
            .filter(|row| row.state == NodeState::Active)
            .map(|row| now_ms.saturating_sub(row.joined.0))
            .collect();
        ages.sort_unstable();
        let median = ages.get(ages.len() / 2).copied().unwrap_or(0);
        Self { now_ms, full_ms: median.min(TRUSTED_AFTER_MS) }
    }

    /// Each wrong share that a node ever gave counts against it.
    fn trust(&self, row: &NodeRow) -> f32 {
        let by_age = self.trust_by_age(self.now_ms.saturating_sub(row.joined.0));
        (by_age / row.wrong_shares.saturating_add(1) as f32).max(TRUST_MIN)
    }

    fn trust_by_age(&self, age_ms: i64) -> f32 {
        // Where half have just come, all have.
        if self.full_ms < HOUR_MS {
            return 1.0;
        }
        (age_ms as f32 / self.full_ms as f32).clamp(TRUST_MIN, 1.0)
    }
}

/// Whether a node is given pieces. A gateway of the version before resumes one
/// without a word on what audits have concluded, and what a disqualified node
/// holds does not count: it would be made anew at once.
fn takes_pieces(row: &NodeRow) -> bool {
    row.state == NodeState::Active && row.verdict != Verdict::Disqualified
}

/// The nodes that were connected at some moment.
#[derive(Default)]
pub(super) struct Field {
    /// None before the first.
    pub(super) made: Option<Instant>,
    /// Those that take pieces.
    pub(super) candidates: Vec<Candidate>,
    /// Domains that are connected.
    pub(super) connected_domains: usize,
    /// Those of them that would take a full piece.
    pub(super) writable_domains: usize,
}

impl Field {
    pub(super) fn new(roster: &Roster, connected: &[NodeStatus], made: Instant) -> Self {
        let known = |status: &NodeStatus| roster.get(*roster.by_id.get(&status.node)?);
        let members: Vec<(&Known, u64)> = connected
            .iter()
            .filter_map(|status| Some((known(status)?, status.usage.writable_bytes)))
            .filter(|(known, _)| known.row.state.is_member())
            .collect();
        let candidates: Vec<Candidate> = members
            .iter()
            .filter(|(known, free_bytes)| takes_pieces(&known.row) && *free_bytes > 0)
            .map(|&(known, free_bytes)| Candidate {
                node: known.row.number,
                domain: known.domain,
                free_bytes,
                success: known.record.success(),
                trust: known.trust,
            })
            .collect();
        let roomy: Vec<Candidate> =
            candidates.iter().copied().filter(|one| one.free_bytes >= FULL_PIECE_BYTES as u64).collect();
        let connected: HashSet<u64> = members.iter().map(|(known, _)| known.domain).collect();
        let made = Some(made);
        Self { made, connected_domains: connected.len(), writable_domains: domains(&roomy), candidates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::UnixMillis;
    use std::collections::BTreeMap;

    const DAY_MS: i64 = 24 * HOUR_MS;

    fn row(number: u32, joined_ms: i64) -> NodeRow {
        NodeRow {
            number,
            node: NodeId::from_bytes([number as u8; 32]),
            state: NodeState::Active,
            reason: None,
            place: None,
            labels: BTreeMap::new(),
            said: BTreeMap::new(),
            joined: UnixMillis(joined_ms),
            seen: None,
            address: None,
            software: String::new(),
            space: None,
            wrong_shares: 0,
            rollbacks: 0,
            start_counter: 0,
            log_position: 0,
            instance: None,
            seen_by: None,
            failing: false,
            damage: 0,
            verdict: Verdict::Good,
        }
    }

    fn trusts(joined: &[i64]) -> Vec<f32> {
        let rows: Vec<NodeRow> = (0..).zip(joined).map(|(number, joined)| row(number, *joined)).collect();
        let clock = TrustClock::new(&rows);
        rows.iter().map(|row| clock.trust(row)).collect()
    }

    #[test]
    fn trust_grows_with_age_beside_the_others() {
        let now = 400 * DAY_MS;
        assert_eq!(trusts(&[0, 0, 0, now - 15 * DAY_MS, now]), [1.0, 1.0, 1.0, 0.5, TRUST_MIN]);
        assert_eq!(trusts(&[now - 40_000, now - 20_000, now]), [1.0, 1.0, 1.0], "all are new");
        assert_eq!(trusts(&[now - 4 * DAY_MS, now - 4 * DAY_MS, now - 2 * DAY_MS, now]), [1.0, 1.0, 0.5, TRUST_MIN]);
    }

    #[test]
    fn wrong_shares_lower_trust_and_never_below_the_least() {
        for joined_ms in [0, 400 * DAY_MS] {
            let mut rows: Vec<NodeRow> = (0..5).map(|number| row(number, joined_ms)).collect();
            rows[4].seen = Some(UnixMillis(400 * DAY_MS));
            for (row, wrong_shares) in rows.iter_mut().zip([0, 1, 3, 38, u64::MAX]) {
                row.wrong_shares = wrong_shares;
            }
            let clock = TrustClock::new(&rows);
            let trusts: Vec<f32> = rows.iter().map(|row| clock.trust(row)).collect();
            assert_eq!(trusts, [1.0, 0.5, 0.25, TRUST_MIN, TRUST_MIN]);
        }
    }

    #[test]
    fn who_has_just_come_is_trusted_like_a_newcomer() {
        let trust = |rows| Roster::new(rows, &Roster::default()).newcomers_trust();
        assert_eq!((trust(vec![]), Roster::default().newcomers_trust()), (1.0, 1.0));
        assert_eq!(trust(vec![row(1, 400 * DAY_MS)]), 1.0, "all are new");
        let old = NodeRow { seen: Some(UnixMillis(400 * DAY_MS)), ..row(1, 0) };
        assert_eq!(trust(vec![old]), TRUST_MIN);
    }

    #[test]
    fn whom_audits_have_disqualified_takes_nothing_whoever_resumed_it() {
        let stands = |state, verdict| takes_pieces(&NodeRow { state, verdict, ..row(1, 0) });
        assert!(stands(NodeState::Active, Verdict::Good));
        assert!(stands(NodeState::Active, Verdict::Suspended), "the operator's word");
        assert!(!stands(NodeState::Active, Verdict::Disqualified));
        assert!(!stands(NodeState::Suspended, Verdict::Good));
    }

    #[test]
    fn nodes_that_go_count_for_the_past_only() {
        let mut rows: Vec<NodeRow> = (0..5).map(|number| row(number, 0)).collect();
        rows[1].state = NodeState::Suspended;
        rows[2].state = NodeState::Draining;
        rows[3].state = NodeState::Left;
        rows[4].labels.insert(DOMAIN_LABEL.into(), "attic".into());
        rows.push(NodeRow { number: 5, node: NodeId::from_bytes([5; 32]), ..rows[4].clone() });
        let roster = Roster::new(rows.clone(), &Roster::default());
        assert_eq!((roster.joined_domains, roster.registered_domains), (5, 3));
        assert_eq!(roster.domain_of(5), 4);
        assert!(roster.has_rows(&rows));
        rows[0].wrong_shares = 1;
        assert!(!roster.has_rows(&rows));
    }
}
