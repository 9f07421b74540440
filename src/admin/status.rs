//! The state of the cluster on one page: what an operator looks at first, and
//! what a script decides on.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde::{Deserialize, Serialize};

use super::AdminError;
use super::audits::{AuditTotals, is_spared};
use super::capacity::room_for_data;
use super::nodes::{NodeView, SpaceView, Survey};
use super::operator::{Command, Operator};
use super::words::{counted, counted_are};
use crate::audit::{Record, Verdict};
use crate::erasure::Scheme;
use crate::metadata::{ListAudits, ListDoors, ListRolledBack, NodeRow, NodeState};
use crate::transfer::{DOOR_FORGOTTEN_AFTER_MS, Readiness};
use crate::workers::HealthReport;

const DATABASE_FULL: &str = "the metadata database's disk has no room left";
/// For how long it is said that a node was run twice, or gave a wrong share.
const TWICE_LATELY_S: u64 = 10 * 60;
const WRONG_LATELY_S: u64 = 24 * 60 * 60;

/// The state of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// The state of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// When this was answered, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whether all is well: nothing stands in `problems`.
    pub healthy: bool,
    /// What keeps data or writes from being safe, a sentence each.
    pub problems: Vec<String>,
    /// What to know besides, a sentence each.
    pub warnings: Vec<String>,
    /// Whether a process serves this cluster here.
    pub running: bool,
    /// The version of the program that answers.
    pub version: String,
    /// The cluster's id: its public key, 64 hexadecimal digits.
    pub cluster: String,
    /// For how many seconds the process serves.
    pub uptime_s: Option<u64>,
    /// Where it serves S3, as a URL.
    pub s3: Option<String>,
    /// Its doors as `host:port`, as volunteers reach them.
    pub doors: Vec<String>,
    /// The nodes, counted.
    pub nodes: NodeCounts,
    /// The space of all members.
    pub space: SpaceTotals,
    /// The redundancy scheme of new segments.
    pub scheme: SchemeView,
    /// Whether objects can be written; null where no process serves.
    pub puts: Option<PutsView>,
    /// How the segments are; null where no process serves. Nothing is counted
    /// before the first pass has ended.
    pub segments: Option<HealthReport>,
    /// What audits have found.
    #[serde(default)]
    pub audits: AuditTotals,
}

/// Nodes, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeCounts {
    /// Registered and neither gone nor left.
    pub members: usize,
    /// Members that are connected.
    pub connected: usize,
    /// Members that are not.
    pub offline: usize,
    /// Members that take and give pieces.
    pub active: usize,
    /// Members that give pieces and take none.
    pub suspended: usize,
    /// Members whose pieces are being moved elsewhere.
    pub draining: usize,
    /// Nodes that were given up.
    pub gone: usize,
    /// Nodes that have left as they wanted to.
    pub left: usize,
    /// Failure domains that the members are in.
    pub domains: usize,
}

/// The space of all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpaceTotals {
    /// Bytes that volunteers promised.
    pub capacity_bytes: u64,
    /// Bytes that are used.
    pub used_bytes: u64,
    /// Bytes of pieces that active nodes would still take.
    pub writable_bytes: u64,
    /// Bytes of data that would still fit under the scheme.
    pub data_bytes: u64,
    /// Pieces, live and in the trash.
    pub pieces: u64,
}

/// A redundancy scheme and what it survives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemeView {
    /// As people write it: required/repair/optimal/total.
    pub scheme: String,
    /// Pieces that restore a segment.
    pub required: u16,
    /// With no more healthy pieces than this a segment is repaired.
    pub repair: u16,
    /// A write is acknowledged with so many pieces.
    pub optimal: u16,
    /// A write starts so many.
    pub total: u16,
    /// Losses that a segment survives when it is acknowledged.
    pub survives_at_ack: u16,
    /// Losses that it survives while repair keeps up.
    pub survives_steady: u16,
}

/// Whether objects can be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutsView {
    /// Whether they can.
    pub possible: bool,
    /// What is missing, as a sentence; null if nothing is.
    pub missing: Option<String>,
    /// Failure domains that a write needs: each takes a piece of it.
    pub domains_needed: usize,
    /// Failure domains with nodes that are to take pieces, offline or not.
    pub domains_registered: usize,
    /// Failure domains that are connected.
    pub domains_connected: usize,
    /// Those of them that would take a full piece.
    pub domains_writable: usize,
}

impl SchemeView {
    fn of(scheme: Scheme) -> Self {
        Self {
            scheme: scheme.to_string(),
            required: scheme.required(),
            repair: scheme.repair(),
            optimal: scheme.optimal(),
            total: scheme.total(),
            survives_at_ack: scheme.survives_at_ack(),
            survives_steady: scheme.survives_steady(),
        }
    }
}

impl PutsView {
    /// `has_room` says whether the metadata database's disk has room.
    pub(super) fn of(readiness: Readiness, has_room: bool) -> Self {
        let full = || (!has_room).then(|| DATABASE_FULL.to_owned());
        let missing = readiness.missing.or_else(full);
        Self {
            possible: missing.is_none(),
            missing,
            domains_registered: readiness.registered_domains,
            domains_connected: readiness.connected_domains,
            domains_writable: readiness.writable_domains,
            domains_needed: readiness.scheme.optimal().into(),
        }
    }
}

impl NodeCounts {
    fn of(survey: &Survey) -> Self {
        let state = |state: NodeState| survey.rows.iter().filter(|row| row.state == state).count();
        let members = |row: &&NodeRow| row.state.is_member();
        let connected = survey.members().filter(|view| view.connected).count();
        let count = survey.members().count();
        Self {
            members: count,
            connected,
            offline: count - connected,
            active: state(NodeState::Active),
            suspended: state(NodeState::Suspended),
            draining: state(NodeState::Draining),
            gone: state(NodeState::Gone),
            left: state(NodeState::Left),
            domains: survey.domains.count(survey.rows.iter().filter(members)),
        }
    }
}

impl SpaceTotals {
    fn of(survey: &Survey, scheme: Scheme) -> Self {
        let mut totals = Self::default();
        let mut rooms: BTreeMap<u64, u64> = BTreeMap::new();
        for (row, view) in survey.rows.iter().zip(&survey.views) {
            let Some(space) = view.space.filter(|_| row.state.is_member()) else { continue };
            totals.add(space);
            if row.state == NodeState::Active {
                // Volunteers say what they like: sums must not overflow.
                totals.writable_bytes = totals.writable_bytes.saturating_add(space.writable_bytes);
                let room = rooms.entry(view.domain).or_default();
                *room = room.saturating_add(space.writable_bytes);
            }
        }
        let rooms: Vec<u64> = rooms.into_values().collect();
        totals.data_bytes = room_for_data(&rooms, scheme);
        totals
    }

    fn add(&mut self, space: SpaceView) {
        self.capacity_bytes = self.capacity_bytes.saturating_add(space.capacity_bytes);
        self.used_bytes = self.used_bytes.saturating_add(space.used_bytes);
        self.pieces = self.pieces.saturating_add(space.pieces);
    }
}

impl Survey {
    fn members(&self) -> impl Iterator<Item = &NodeView> {
        self.rows.iter().zip(&self.views).filter(|(row, _)| row.state.is_member()).map(|(_, view)| view)
    }

    /// The scheme of new segments.
    pub(super) fn scheme(&self, operator: &Operator) -> Scheme {
        let stays = |row: &&NodeRow| matches!(row.state, NodeState::Active | NodeState::Suspended);
        operator.scheme(|| self.domains.count(self.rows.iter().filter(stays)))
    }
}

impl Command for Status {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/v1/status";
    type Reply = StatusView;

    async fn run(&self, operator: &Operator) -> Result<StatusView, AdminError> {
        let survey = Survey::take(operator).await?;
        let (live, scheme) = (operator.live(), survey.scheme(operator));
        let has_room = operator.metadata().has_room();
        let doors = doors(operator).await?;
        let mut status = StatusView {
            now_ms: operator.now_ms(),
            healthy: false,
            problems: Vec::new(),
            warnings: Vec::new(),
            running: live.is_some(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: operator.parts.cluster.to_string(),
            uptime_s: operator.uptime_s(),
            s3: live.and_then(|live| live.s3.clone()),
            doors,
            nodes: NodeCounts::of(&survey),
            space: SpaceTotals::of(&survey, scheme),
            scheme: SchemeView::of(scheme),
            puts: live.map(|live| live.puts(has_room)),
            segments: live.map(|live| live.segments()),
            audits: audits(operator, &survey).await?,
        };
        status.problems = problems(&status, has_room);
        let unsettled = Unsettled::of(operator, &status).await?;
        status.warnings = warnings(&status).into_iter().chain(unsettled.suspicions(&survey)).collect();
        status.healthy = status.problems.is_empty();
        Ok(status)
    }
}

async fn audits(operator: &Operator, survey: &Survey) -> Result<AuditTotals, AdminError> {
    let known = operator.metadata().read(ListAudits).await?;
    let (audits, failed) = known
        .iter()
        .fold((0, 0), |(audits, failed), known| (audits + known.record.audits, failed + known.record.failed));
    let judged = |verdict: Verdict| {
        let rows = survey.rows.iter().filter(|row| row.state.is_member() && row.verdict == verdict);
        rows.count() as u64
    };
    let (suspended, disqualified) = (judged(Verdict::Suspended), judged(Verdict::Disqualified));
    let records: BTreeMap<u32, Record> = known.iter().map(|known| (known.node, known.record)).collect();
    let spared = survey.rows.iter().filter(|row| records.get(&row.number).is_some_and(|record| is_spared(row, record)));
    let spared = spared.count() as u64;
    Ok(AuditTotals { audits, failed, suspended, disqualified, spared })
}

/// The doors of this process, or where it serves none, of those that do.
async fn doors(operator: &Operator) -> Result<Vec<String>, AdminError> {
    match operator.parts.is_shared && operator.live().is_none() {
        true => Ok(operator.metadata().read(ListDoors { within_ms: DOOR_FORGOTTEN_AFTER_MS }).await?),
        false => Ok(operator.parts.doors.clone()),
    }
}

fn problems(status: &StatusView, has_room: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if !status.running && status.doors.is_empty() {
        problems.push("not running: no process serves this cluster".to_owned());
    }
    let missing = status.puts.as_ref().and_then(|puts| puts.missing.as_deref());
    if let Some(why) = missing.or((!has_room).then_some(DATABASE_FULL)) {
        problems.push(format!("objects cannot be written: {why}"));
    }
    if status.audits.spared > 0 {
        problems.push(format!(
            "audits spare {} what the record asks for: so many fail at once that it may be the database that is wrong; \
             see whether it was set back",
            counted(status.audits.spared as usize, "node")
        ));
    }
    let Some(segments) = &status.segments else { return problems };
    let bad = [
        (segments.lost, "lost: fewer pieces are left than restore one"),
        (segments.unreadable, "not readable now: nodes that hold pieces are away"),
        (segments.degraded, "being repaired, with few healthy pieces left"),
    ];
    let told = bad.iter().filter(|(count, _)| *count > 0);
    problems.extend(told.map(|(count, what)| format!("{} {what}", counted_are(*count, "segment"))));
    problems
}

fn warnings(status: &StatusView) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.scheme.survives_steady == 0 {
        warnings.push(format!(
            "the scheme {} survives no loss: with the first node that is lost, data is lost; let more nodes join, \
             and start with --min-nodes where writes shall wait for them",
            status.scheme.scheme
        ));
    }
    if status.running && status.nodes.offline > 0 {
        let members = counted(status.nodes.members, "node");
        let are = if status.nodes.offline == 1 { "is" } else { "are" };
        warnings.push(format!("{} of {members} {are} offline", status.nodes.offline));
    }
    match &status.segments {
        Some(segments) if segments.passes > 0 => warnings.extend(told_by(segments)),
        _ if status.running => warnings.push("the segments have not been counted yet since the start".to_owned()),
        _ if status.doors.is_empty() => {}
        _ => warnings.push("only the database was asked: a gateway knows who is connected".to_owned()),
    }
    warnings
}

/// What is not settled yet of what nodes have done.
pub(super) struct Unsettled {
    /// Nodes that came back with an older state, and were not compared since.
    pub(super) rolled_back: BTreeSet<u32>,
    /// Whether repair may have damaged pieces to make anew.
    pub(super) repairs: bool,
}

impl Unsettled {
    async fn of(operator: &Operator, status: &StatusView) -> Result<Self, AdminError> {
        let rolled_back = operator.metadata().read(ListRolledBack).await?.into_iter().map(|(node, _)| node).collect();
        let settled = |segments: &HealthReport| segments.passes > 0 && segments.queue == 0;
        Ok(Self { rolled_back, repairs: !status.segments.as_ref().is_some_and(settled) })
    }

    /// What nodes have done that a person should look into. What is settled is
    /// left to `cairn nodes show`.
    pub(super) fn suspicions(&self, survey: &Survey) -> Vec<String> {
        let lied = |view: &NodeView| {
            let ago_s = view.record.and_then(|record| record.wrong_share_s);
            ago_s.is_some_and(|ago_s| ago_s < WRONG_LATELY_S)
        };
        let twice = |view: &NodeView| {
            let ago_s = view.connection.as_ref().and_then(|connection| connection.last_duplicate_s);
            ago_s.is_some_and(|ago_s| ago_s < TWICE_LATELY_S)
        };
        let older = |view: &NodeView| self.rolled_back.contains(&view.number);
        let gone = |view: &NodeView| view.store_failed;
        let damaged = |view: &NodeView| self.repairs && view.damaged.is_some_and(|pieces| pieces > 0);
        let said = |what: &str, verbs: [&str; 2], has: &dyn Fn(&NodeView) -> bool| {
            let mut found =
                survey.members().filter(|view| has(view)).map(|view| view.node.get(..8).unwrap_or_default());
            Some(suspicion(found.next()?, what, verbs, found.count()))
        };
        let all = [
            said("was disqualified by audits, and its pieces are made anew elsewhere", ["was", "were"], &|view| {
                view.verdict == "disqualified"
            }),
            said("was suspended by audits", ["was", "were"], &|view| view.verdict == "suspended"),
            said("gave wrong shares lately", ["did", "did"], &lied),
            said("came back with an older state than it had shown", ["did", "did"], &older),
            said("is run twice, as its folder was copied", ["is", "are"], &twice),
            said("has lost its piece store, as its folder was taken away while it ran", ["has", "have"], &gone),
            said("says that its disk has lost or changed pieces", ["does", "do"], &damaged),
        ];
        all.into_iter().flatten().collect()
    }
}

/// A sentence on one node, and on how many more the same is said.
fn suspicion(node: &str, what: &str, verbs: [&str; 2], more: usize) -> String {
    match more {
        0 => format!("node {node} {what}: see `cairn nodes show {node}`"),
        more => {
            let verb = verbs[usize::from(more > 1)];
            format!("node {node} {what}; and so {verb} {more} more: see `cairn nodes list`")
        }
    }
}

fn told_by(segments: &HealthReport) -> Vec<String> {
    let one_more = segments.if_one_more_domain_dies.segments_lost;
    let one_more = (one_more > 0)
        .then(|| format!("if one more failure domain died, {} would be lost", counted(one_more as usize, "segment")));
    let waiting = segments.waiting_for.as_ref().map(|what| format!("repair waits: {what}"));
    one_more.into_iter().chain(waiting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_need_what_a_write_waits_for_and_room_for_its_metadata() {
        let scheme: Scheme = "2/2/4/5".parse().unwrap();
        let ready = |writable_domains, missing: Option<&str>| Readiness {
            scheme,
            registered_domains: 6,
            connected_domains: 5,
            writable_domains,
            needed: 6,
            missing: missing.map(str::to_owned),
        };
        let puts = PutsView::of(ready(4, None), true);
        assert_eq!((puts.possible, puts.domains_writable, puts.domains_needed), (true, 4, 4));
        let full = PutsView::of(ready(4, None), false);
        assert_eq!((full.possible, full.missing.as_deref()), (false, Some(DATABASE_FULL)));
        let offline = PutsView::of(ready(3, Some("nodes")), false);
        assert_eq!((offline.possible, offline.missing.as_deref()), (false, Some("nodes")));
    }

    #[test]
    fn what_is_said_of_nodes_is_said_of_one_and_of_many() {
        let said = |more| suspicion("01234567", "is run twice", ["is", "are"], more);
        assert_eq!(said(0), "node 01234567 is run twice: see `cairn nodes show 01234567`");
        assert_eq!(said(1), "node 01234567 is run twice; and so is 1 more: see `cairn nodes list`");
        assert!(said(2).contains("; and so are 2 more: "));
    }
}
