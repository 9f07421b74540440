//! Looks at the nodes every two seconds: takes note of who is there, of damage
//! and of the wish to leave, and tells each node how it stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::report::{HealthReport, HealthWatch};
use super::{Step, Worker};
use crate::audit::Answer;
use crate::env::Env;
use crate::metadata::{
    AuditRecord, Audited, AuditedPiece, ChangeNode, DamageOf, ListAudits, ListDamage, ListDoors, Metadata,
    MetadataError, NodeChange, NodeRow, NodeSpace, NodeState, RecordAudits, RecordDamage, RecordSeen, SeenNode,
};
use crate::transfer::{BadPiece, DOOR_FORGOTTEN_AFTER_MS, Transfer};
use crate::transport::{NodeError, NodeStatus, Nodes};
use crate::types::limits::INVENTORY_PAGE_MAX;
use crate::types::{InstanceId, NodeId, PieceId, UnixMillis};
use crate::wire::{Standing, StandingKind};

/// How often every node's space and log position are recorded.
const RECORD_EVERY: Duration = Duration::from_secs(60);
/// How long a node is believed to be connected to another process that has
/// recorded it: that one does so again before, if it still sees the node.
const ELSEWHERE_FOR: Duration = Duration::from_secs(150);
/// Nodes whose log has grown that are recorded at every look besides, so that
/// one which is set back to a minute ago is told from one that is not.
const GROWN_AT_ONCE: usize = 64;
/// How often a node is told its standing, when that has not changed.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long a node may take for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Nodes that are talked to at once.
const TALKS: usize = 64;
/// Damaged pieces of one node that are known at once.
const DAMAGE_MAX: usize = 100_000;
/// Why a node drains whose volunteer wants to leave.
const ASKED_TO_LEAVE: &str = "its volunteer asked to leave";

/// Looks at the nodes. One per process with a node door.
pub struct NodeWatch {
    metadata: Metadata,
    transfer: Transfer,
    watch: HealthWatch,
    env: Env,
    known: HashMap<u32, Known>,
    talks: JoinSet<(u32, Heard)>,
    turns: Arc<Semaphore>,
    begun: bool,
    /// When the nodes' records were read last.
    audits_read: Option<Duration>,
}

/// What was known of a node at the last look.
#[derive(Default)]
struct Known {
    state: Option<NodeState>,
    /// Which start of its process was seen last here, which one was let in last
    /// by any process, and because of which it was suspected last.
    instance: Option<InstanceId>,
    let_in: Option<InstanceId>,
    suspected: Option<InstanceId>,
    /// Whether it was connected to any process.
    there: bool,
    /// When a process was seen to record it, and when another one was.
    seen: Option<UnixMillis>,
    elsewhere: Option<Duration>,
    /// How much of the news of its damage was read.
    damage_read: u64,
    /// When it was recorded last, and how far its log was.
    recorded: Option<(Duration, u64)>,
    wrong_shares: u64,
    /// Of which start and version its damage is known.
    damage: Option<(InstanceId, u64)>,
    /// Where a list of damage that was too long for one time goes on.
    damage_after: Option<PieceId>,
    asking: bool,
    /// Audits that it has passed and failed.
    audits: (u64, u64),
    /// What it was told, and when.
    told: Option<(Duration, Standing)>,
    telling: bool,
}

/// What came of talking to a node.
enum Heard {
    Damage { of: (InstanceId, u64), pieces: Result<(Vec<PieceId>, bool), NodeError> },
    Told { standing: Standing, at: Duration, outcome: Result<(), NodeError> },
}

/// A node as the database has it, and its connection.
struct Look {
    row: NodeRow,
    status: Option<NodeStatus>,
}

impl NodeWatch {
    /// Looks at the nodes of this process's door, and wakes the health loop
    /// that `watch` shows.
    pub fn new(metadata: Metadata, transfer: Transfer, watch: HealthWatch, env: Env) -> Self {
        let (known, talks, turns) = (HashMap::new(), JoinSet::new(), Arc::new(Semaphore::new(TALKS)));
        Self { metadata, transfer, watch, env, known, talks, turns, begun: false, audits_read: None }
    }

    fn nodes(&self) -> &Nodes {
        self.transfer.fleet().nodes()
    }

    fn known(&mut self, number: u32) -> &mut Known {
        self.known.entry(number).or_default()
    }

    /// What nodes have said to another process, or to this one before. News
    /// that come later than these rows are read later.
    async fn begin(&mut self, looks: &[Look]) -> Result<(), MetadataError> {
        let mut damage: BTreeMap<u32, Vec<PieceId>> = BTreeMap::new();
        for (node, piece) in self.metadata.read(ListDamage).await? {
            damage.entry(node).or_default().push(piece);
        }
        for (node, pieces) in damage {
            self.watch.add_damaged(node, pieces);
        }
        for Look { row, .. } in looks {
            self.known(row.number).damage_read = row.damage;
            self.watch.set_failing(row.number, row.failing);
        }
        self.watch.set_ready();
        self.begun = true;
        Ok(())
    }

    async fn look(&self) -> Result<Vec<Look>, MetadataError> {
        let rows = self.transfer.fleet().refresh(&self.metadata).await?;
        let connected = self.nodes().connected().into_iter();
        let mut connected: HashMap<NodeId, NodeStatus> = connected.map(|status| (status.node, status)).collect();
        Ok(rows.into_iter().map(|row| Look { status: connected.remove(&row.node), row }).collect())
    }

    /// Reads what nodes have said to other processes since.
    async fn read_damage(&mut self, looks: &[Look]) -> Result<(), MetadataError> {
        for Look { row, .. } in looks {
            if self.known(row.number).damage_read == row.damage {
                continue;
            }
            let pieces = self.metadata.read(DamageOf { node: row.number }).await?;
            if !self.watch.add_damaged(row.number, pieces).is_empty() {
                self.watch.wake();
            }
            self.known(row.number).damage_read = row.damage;
        }
        Ok(())
    }

    /// Takes note of what has changed since the last look.
    fn compare(&mut self, looks: &[Look]) {
        let elsewhere = self.elsewhere(looks);
        let there = |look: &Look| look.status.is_some() || elsewhere.contains(&look.row.number);
        let members = looks.iter().filter(|look| look.row.state.is_member());
        let members: Vec<(u32, bool)> = members.map(|look| (look.row.number, there(look))).collect();
        if self.watch.presence().look(self.env.uptime(), &members) {
            self.watch.wake();
        }
        let waiting = self.watch.report().queue > 0;
        for look in looks {
            let (row, there) = (&look.row, there(look));
            let known = self.known(row.number);
            let goes = known.state.replace(row.state).is_some_and(|state| state != row.state);
            let comes = there && !std::mem::replace(&mut known.there, there);
            self.notice_start(look);
            let turns = self.notice_failing(look, elsewhere.contains(&look.row.number));
            if goes || turns || (comes && waiting) {
                self.watch.wake();
            }
        }
        *self.watch.elsewhere() = elsewhere;
    }

    /// The nodes that another process has recorded lately.
    fn elsewhere(&mut self, looks: &[Look]) -> BTreeSet<u32> {
        let (now, own) = (self.env.uptime(), self.watch.holder());
        let mut elsewhere = BTreeSet::new();
        for Look { row, .. } in looks {
            let known = self.known(row.number);
            let before = std::mem::replace(&mut known.seen, row.seen);
            // At the first look, nobody knows how long ago that was.
            let is_news = before.is_some() && row.seen > before;
            if is_news && row.seen_by.is_some_and(|by| by != own) {
                known.elsewhere = Some(now);
            }
            if known.elsewhere.is_some_and(|at| now.saturating_sub(at) < ELSEWHERE_FOR) {
                elsewhere.insert(row.number);
            }
        }
        elsewhere
    }

    /// A start that this process has not seen before may be that of an older
    /// copy, whichever process has let it in.
    fn notice_start(&mut self, look: &Look) {
        let watch = self.watch.clone();
        let known = self.known(look.row.number);
        let changes = |before: &mut Option<InstanceId>, now: Option<InstanceId>| {
            now.filter(|now| before.replace(*now).is_some_and(|before| before != *now))
        };
        let here = changes(&mut known.instance, look.status.as_ref().map(|status| status.instance));
        if here.is_some() {
            (known.told, known.recorded) = (None, None);
        }
        let anywhere = changes(&mut known.let_in, look.row.instance);
        for start in here.into_iter().chain(anywhere) {
            // It is compared once, be it heard of here and there.
            if known.suspected.replace(start) != Some(start) {
                watch.suspect(look.row.number, start);
                watch.wake();
            }
        }
    }

    /// Whether a node's store is gone from its disk, as it said last, here or
    /// to another process. Answers whether that is news.
    fn notice_failing(&mut self, look: &Look, elsewhere: bool) -> bool {
        let (row, said) = (&look.row, look.status.as_ref().map(|status| status.usage.failed));
        let Some(fails) = said.or(elsewhere.then_some(row.failing)) else { return false };
        let turns = self.watch.set_failing(row.number, fails);
        if turns && fails && row.state.is_member() {
            tracing::warn!(node = %row.node, "a node says that the piece store is gone; its pieces are made anew elsewhere");
        }
        if turns && said.is_some() {
            // The other processes shall know at once.
            self.known(row.number).recorded = None;
        }
        turns
    }

    /// A node whose volunteer wants to leave is drained.
    async fn drain(&self, looks: &[Look]) -> Result<(), MetadataError> {
        for Look { row, status } in looks {
            let asks = status.as_ref().is_some_and(|status| status.usage.leaving);
            if asks && matches!(row.state, NodeState::Active | NodeState::Suspended) {
                let reason = Some(ASKED_TO_LEAVE.to_owned());
                let changed =
                    self.metadata.write(ChangeNode { node: row.node, change: NodeChange::Drain, reason }).await?;
                if changed.is_ok() {
                    tracing::info!(node = %row.node, "a node is drained: {ASKED_TO_LEAVE}");
                    self.transfer.fleet().refresh(&self.metadata).await?;
                }
            }
        }
        Ok(())
    }

    async fn record(&mut self, looks: &[Look]) -> Result<(), MetadataError> {
        for (node, count) in self.transfer.fleet().take_wrong_shares() {
            self.known(node).wrong_shares += count;
        }
        for (node, pieces) in self.transfer.fleet().take_bad_pieces() {
            let news = self.damaged(node, pieces.iter().map(|bad| bad.piece).collect()).await?;
            self.blame(pieces.iter().filter(|bad| news.contains(&bad.piece))).await?;
        }
        let now = self.env.uptime();
        let (mut nodes, mut grown) = (Vec::new(), Vec::new());
        for Look { row, status } in looks {
            let Some(status) = status else { continue };
            let known = self.known(row.number);
            let seen = seen(row.number, status, known.wrong_shares);
            match known.recorded {
                Some((at, position)) if now.saturating_sub(at) < RECORD_EVERY => {
                    let is_news = position < status.position || seen.wrong_shares > 0;
                    grown.extend(is_news.then_some((at, seen)));
                }
                _ => nodes.push(seen),
            }
        }
        grown.sort_by_key(|(at, _)| *at);
        nodes.extend(grown.into_iter().take(GROWN_AT_ONCE).map(|(_, seen)| seen));
        if nodes.is_empty() {
            return Ok(());
        }
        let holder = self.watch.holder();
        self.metadata.write(RecordSeen { holder, nodes: nodes.clone() }).await?;
        for node in nodes {
            let known = self.known(node.number);
            known.wrong_shares -= node.wrong_shares;
            known.recorded = Some((now, node.log_position));
        }
        Ok(())
    }

    /// Asks nodes for their damage where there is news of it.
    fn ask(&mut self, looks: &[Look]) {
        for Look { row, status } in looks {
            let Some(status) = status.as_ref().filter(|_| row.state.is_member()) else { continue };
            let of = (status.instance, status.usage.damage_version);
            let was_damaged = self.watch.is_damaged(row.number);
            let known = self.known(row.number);
            if known.asking || known.damage == Some(of) {
                continue;
            }
            if status.usage.damaged == 0 && !was_damaged {
                known.damage = Some(of);
                continue;
            }
            known.asking = true;
            let after = known.damage_after;
            let (nodes, node, number, turns) = (self.nodes().clone(), row.node, row.number, self.turns.clone());
            self.talks.spawn(async move {
                let _turn = turns.acquire().await;
                let asked = timeout(ANSWER_TIME, damage(&nodes, node, after)).await;
                (number, Heard::Damage { of, pieces: asked.unwrap_or(Err(NodeError::Timeout)) })
            });
        }
    }

    /// Reads how nodes did in audits, as often as they are told.
    async fn read_audits(&mut self) -> Result<(), MetadataError> {
        let now = self.env.uptime();
        if self.audits_read.is_some_and(|at| now.saturating_sub(at) < TELL_EVERY) {
            return Ok(());
        }
        for AuditRecord { node, record, .. } in self.metadata.read(ListAudits).await? {
            self.known(node).audits = (record.audits - record.failed, record.failed);
        }
        self.audits_read = Some(now);
        Ok(())
    }

    /// Tells nodes how they stand.
    fn tell(&mut self, looks: &[Look], doors: &[String]) {
        let (now, report) = (self.env.uptime(), self.watch.latest());
        for Look { row, .. } in looks.iter().filter(|look| look.status.is_some()) {
            if row.state == NodeState::Gone {
                // The door tells it, when it asks to be let in again.
                self.nodes().disconnect(row.node);
                continue;
            }
            let trust = self.transfer.fleet().trust(row.number);
            let known = self.known(row.number);
            let standing = standing(row, trust, known.audits, &report, doors);
            let told = known.told.as_ref().filter(|(at, _)| now.saturating_sub(*at) < TELL_EVERY);
            let fresh = told.is_some_and(|(_, told)| *told == standing);
            if known.telling || fresh {
                continue;
            }
            known.telling = true;
            let (nodes, node, number, turns) = (self.nodes().clone(), row.node, row.number, self.turns.clone());
            self.talks.spawn(async move {
                let _turn = turns.acquire().await;
                let told = timeout(ANSWER_TIME, nodes.tell_standing(node, &standing)).await;
                if standing.kind == StandingKind::Left {
                    nodes.disconnect(node);
                }
                (number, Heard::Told { standing, at: now, outcome: told.unwrap_or(Err(NodeError::Timeout)) })
            });
        }
    }

    /// Takes in what came of talks that have ended.
    async fn hear(&mut self) -> Result<(), MetadataError> {
        while let Some(ended) = self.talks.try_join_next() {
            let Ok((number, heard)) = ended else { continue };
            match heard {
                Heard::Told { standing, at, outcome } => {
                    let known = self.known(number);
                    known.telling = false;
                    known.told = outcome.is_ok().then_some((at, standing));
                }
                Heard::Damage { of, pieces } => {
                    self.known(number).asking = false;
                    match pieces {
                        Ok((pieces, more)) => {
                            let last = pieces.last().copied();
                            self.damaged(number, pieces).await?;
                            let known = self.known(number);
                            // The rest of a long list is asked for at the next look.
                            known.damage_after = last.filter(|_| more);
                            known.damage = Some(of).filter(|_| !more);
                        }
                        Err(error) => {
                            tracing::debug!(node = number, %error, "a node could not be asked for its damage")
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps what reads have found wrong or missing, for the operator to see. It does
    /// not change a node's record: what users read is no fair sample of what it holds.
    async fn blame(&self, pieces: impl Iterator<Item = &BadPiece>) -> Result<(), MetadataError> {
        let found = |bad: &BadPiece| {
            let fault = if bad.wrong.is_empty() { Answer::Missing } else { Answer::Wrong };
            let (stripe, wrong) = (bad.wrong.first().copied().unwrap_or(0), bad.wrong.clone());
            AuditedPiece { segment: bad.segment, place: bad.place, stripe, audited: Audited::Known(fault), wrong }
        };
        let pieces: Vec<AuditedPiece> = pieces.map(found).collect();
        if !pieces.is_empty() {
            self.metadata.write(RecordAudits { pieces }).await?;
        }
        Ok(())
    }

    /// Notes pieces that a node has lost or changed. Answers which were not known.
    async fn damaged(&mut self, node: u32, pieces: Vec<PieceId>) -> Result<Vec<PieceId>, MetadataError> {
        let news = self.watch.add_damaged(node, pieces);
        if !news.is_empty() {
            // After a crash these may be pieces that were never acknowledged.
            tracing::info!(node, pieces = news.len(), "a node has lost or changed pieces; they are made anew");
            self.watch.wake();
            self.metadata.write(RecordDamage { node, pieces: news.clone() }).await?;
        }
        Ok(news)
    }
}

fn seen(number: u32, status: &NodeStatus, wrong_shares: u64) -> SeenNode {
    let usage = &status.usage;
    let space = NodeSpace {
        capacity_bytes: usage.capacity_bytes,
        used_bytes: usage.used_bytes(),
        writable_bytes: usage.writable_bytes,
        pieces: usage.pieces,
    };
    let (instance, failing) = (status.instance, usage.failed);
    let (start_counter, log_position) = (status.starts, status.position);
    SeenNode { number, instance, start_counter, space, log_position, wrong_shares, failing }
}

fn standing(row: &NodeRow, trust: f32, audits: (u64, u64), report: &HealthReport, doors: &[String]) -> Standing {
    let kind = match row.state {
        NodeState::Active => StandingKind::Active,
        NodeState::Suspended => StandingKind::Suspended,
        NodeState::Draining => StandingKind::Draining,
        NodeState::Left => StandingKind::Left,
        NodeState::Gone => StandingKind::Other,
    };
    let drains = row.state == NodeState::Draining;
    let waiting = report.waiting_for.as_deref().filter(|_| drains);
    let sentences: Vec<&str> = row.reason.as_deref().into_iter().chain(waiting).collect();
    Standing {
        kind,
        sentence: sentences.join("; ").replace(char::is_control, " "),
        joined_ms: row.joined.0,
        trust_permille: (trust.clamp(0.0, 1.0) * 1000.0) as u16,
        audits_passed: audits.0,
        audits_failed: audits.1,
        pieces_to_move: report.pieces_to_move.get(&row.number).copied().filter(|_| drains),
        doors: doors.to_vec(),
    }
}

/// Pieces that a node calls damaged, those after this one, up to a limit; and
/// whether there are more.
async fn damage(nodes: &Nodes, node: NodeId, after: Option<PieceId>) -> Result<(Vec<PieceId>, bool), NodeError> {
    let mut pieces: Vec<PieceId> = Vec::new();
    loop {
        let page = nodes.damaged(node, pieces.last().copied().or(after), INVENTORY_PAGE_MAX).await?;
        let more = page.len() == INVENTORY_PAGE_MAX;
        pieces.extend(page);
        if !more || pieces.len() >= DAMAGE_MAX {
            return Ok((pieces, more));
        }
    }
}

#[async_trait]
impl Worker for NodeWatch {
    fn name(&self) -> &'static str {
        "node-watch"
    }

    async fn step(&mut self) -> Result<Step, MetadataError> {
        let looks = self.look().await?;
        if !self.begun {
            self.begin(&looks).await?;
        }
        self.read_damage(&looks).await?;
        self.compare(&looks);
        self.drain(&looks).await?;
        self.ask(&looks);
        let doors = self.metadata.read(ListDoors { within_ms: DOOR_FORGOTTEN_AFTER_MS }).await?;
        self.read_audits().await?;
        self.tell(&looks, &doors);
        self.hear().await?;
        self.record(&looks).await?;
        Ok(Step::Idle)
    }
}
