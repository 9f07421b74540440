//! The state of the cluster on one page: what an operator looks at first, and
//! what a script decides on.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};

use super::AdminError;
use super::capacity::room_for_data;
use super::nodes::{NodeView, SpaceView, Survey};
use super::operator::{Command, Operator};
use crate::erasure::Scheme;
use crate::metadata::{NodeRow, NodeState};
use crate::workers::HealthReport;

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
    /// Failure domains that must be there.
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

    /// The scheme of new segments: the process's, or the one that fits.
    pub(super) fn scheme(&self, operator: &Operator) -> Scheme {
        let stays = |row: &&NodeRow| matches!(row.state, NodeState::Active | NodeState::Suspended);
        let registered = || self.domains.count(self.rows.iter().filter(stays));
        operator.live().map_or_else(|| Scheme::default_for(registered()), |live| live.scheme())
    }
}

impl Command for Status {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/v1/status";
    type Reply = StatusView;

    async fn run(&self, operator: &Operator) -> Result<StatusView, AdminError> {
        let survey = Survey::take(operator).await?;
        let (live, scheme) = (operator.live(), survey.scheme(operator));
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
            doors: operator.parts.doors.clone(),
            nodes: NodeCounts::of(&survey),
            space: SpaceTotals::of(&survey, scheme),
            scheme: SchemeView::of(scheme),
            puts: live.map(|live| live.puts()),
            segments: live.map(|live| live.segments()),
        };
        status.problems = problems(&status, operator.metadata().has_room());
        status.warnings = warnings(&status).into_iter().chain(suspicions(&survey.views)).collect();
        status.healthy = status.problems.is_empty();
        Ok(status)
    }
}

fn problems(status: &StatusView, has_room: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if !status.running {
        problems.push("not running: no process serves this data directory".to_owned());
    }
    if let Some(PutsView { possible: false, missing, .. }) = &status.puts {
        let why = missing.as_deref().unwrap_or("the reason is not known");
        problems.push(format!("objects cannot be written: {why}"));
    }
    if !has_room {
        problems.push("objects cannot be written: the metadata database's disk has no room left".to_owned());
    }
    let Some(segments) = &status.segments else { return problems };
    let bad = [
        (segments.lost, "are lost: fewer of their pieces are left than restore them"),
        (segments.unreadable, "cannot be read now: nodes that hold their pieces are away"),
        (segments.degraded, "have so few healthy pieces left that they are being repaired"),
    ];
    problems.extend(bad.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} segments {what}")));
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
        warnings.push(format!("{} of {} nodes are offline", status.nodes.offline, status.nodes.members));
    }
    match &status.segments {
        Some(segments) if segments.passes > 0 => warnings.extend(told_by(segments)),
        _ if status.running => warnings.push("the segments have not been counted yet since the start".to_owned()),
        _ => {}
    }
    warnings
}

type Has = fn(&NodeView) -> bool;

fn is_run_twice(view: &NodeView) -> bool {
    view.connection.as_ref().is_some_and(|connection| connection.refused_duplicates > 0)
}

/// What nodes have done that a person should look into.
fn suspicions(views: &[NodeView]) -> Vec<String> {
    let kinds: [(&str, Has); 5] = [
        ("gave wrong shares", |view| view.wrong_shares > 0),
        ("came back with an older state than it had shown", |view| view.rollbacks > 0),
        ("is run twice: its folder was copied", is_run_twice),
        ("has lost its piece store: its folder was taken away while it ran", |view| view.store_failed),
        ("says that its disk has lost or changed pieces", |view| view.damaged.is_some_and(|pieces| pieces > 0)),
    ];
    let members: Vec<&NodeView> =
        views.iter().filter(|view| !["gone", "left"].contains(&view.state.as_str())).collect();
    let named = kinds.iter().map(|(what, has)| (what, members.iter().filter(|view| has(view)).collect::<Vec<_>>()));
    named
        .filter_map(|(what, found)| Some((what, found.first()?.node.get(..8)?.to_owned(), found.len() - 1)))
        .map(|(what, first, more)| match more {
            0 => format!("node {first} {what}: see `cairn nodes show {first}`"),
            more => format!("node {first} {what}, and {more} more did: see `cairn nodes list`"),
        })
        .collect()
}

fn told_by(segments: &HealthReport) -> Vec<String> {
    let one_more = segments.if_one_more_domain_dies.segments_lost;
    let one_more =
        (one_more > 0).then(|| format!("if one more failure domain died, {one_more} segments would be lost"));
    let waiting = segments.waiting_for.as_ref().map(|what| format!("repair waits: {what}"));
    one_more.into_iter().chain(waiting).collect()
}
