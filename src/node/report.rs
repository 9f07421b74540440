//! What a node shows of itself to the volunteer.

use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::doors::{DoorState, DoorStatus};
use super::folder_watch::ShortOfRoom;
use super::run::Inner;
use super::traffic::Bytes;
use crate::types::limits::PIECE_BYTES_MAX;
use crate::wire::{Standing, StandingKind, Usage};

/// Everything that is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node's public key, in hexadecimal digits.
    pub node: String,
    /// The cluster's public key.
    pub cluster: String,
    /// The software and its version.
    pub version: String,
    /// How it is, in a word.
    pub state: NodeState,
    /// Seconds since its process started, the one that has just begun included;
    /// 0 for one that is stopped.
    pub uptime_s: u64,
    /// How often it was started on its folder.
    pub starts: u64,
    /// Where the bytes are; none if the node is stopped and did not say.
    pub disk: Option<DiskReport>,
    /// Bytes of its logs as the file system has them.
    pub log_bytes: u64,
    /// Bytes on the network.
    pub traffic: TrafficReport,
    /// What the cluster said last of the node.
    pub standing: Option<Standing>,
    /// The doors that it dials.
    pub doors: Vec<DoorReport>,
    /// What it is waiting for, a sentence each.
    pub waiting_for: Vec<String>,
    /// Whether the volunteer wants to leave.
    pub leaving: bool,
    /// Whether it has left: its disk can be wiped.
    pub left: bool,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// No process runs on its folder.
    Stopped,
    /// One does, and opens its piece store.
    Starting,
    /// No door has let it in yet, or not any more.
    Connecting,
    /// At least one door has.
    Serving,
    /// It serves while its pieces are moved elsewhere.
    Leaving,
    /// It has left.
    Left,
}

/// Where a node's bytes are. Live, trash, dead and overhead are together the
/// bytes of its logs; with free they are the capacity, unless that was lowered.
/// The checkpoint of the index is one of the other files: the capacity pays for
/// it all the same, since what is kept back of the free bytes and given to no
/// piece has room for two of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// Bytes of pieces that the cluster wants.
    pub live_bytes: u64,
    /// Bytes of pieces that were deleted and can still be restored.
    pub trash_bytes: u64,
    /// Bytes that compaction gives back.
    pub dead_bytes: u64,
    /// Bytes of records that are not pieces.
    pub overhead_bytes: u64,
    /// Capacity less all of these.
    pub free_bytes: u64,
    /// Bytes that the node may use.
    pub capacity_bytes: u64,
    /// Bytes of the folder's other files: keys, checkpoint, memory.
    pub other_bytes: u64,
    /// Pieces, live and in the trash.
    pub pieces: u64,
    /// Pieces in the trash.
    pub trashed: u64,
    /// Pieces that the disk lost or changed.
    pub damaged: u64,
}

/// Bytes on the network, TLS included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// On this day, in UTC.
    pub today: Bytes,
    /// In this month.
    pub month: Bytes,
    /// Since the process started.
    pub since_start: Bytes,
    /// The limit of each direction in bytes per second, if there is one.
    pub limit_bytes_per_s: Option<u64>,
}

/// How a node stands with a door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorReport {
    /// The door as `host:port`.
    pub door: String,
    /// `dialling`, `connected` or `waiting`.
    pub state: String,
    /// For so many seconds.
    pub since_s: u64,
    /// Why it is not connected.
    pub reason: Option<String>,
    /// Connections that are open.
    pub connections: u64,
}

impl DiskReport {
    /// The bytes of the logs.
    pub fn used_bytes(&self) -> u64 {
        self.live_bytes + self.trash_bytes + self.dead_bytes + self.overhead_bytes
    }

    pub(super) fn new(usage: Usage, other_bytes: u64) -> Self {
        Self {
            live_bytes: usage.live_bytes,
            trash_bytes: usage.trash_bytes,
            dead_bytes: usage.dead_bytes,
            overhead_bytes: usage.overhead_bytes,
            free_bytes: usage.free_bytes,
            capacity_bytes: usage.capacity_bytes,
            other_bytes,
            pieces: usage.pieces,
            trashed: usage.trashed,
            damaged: usage.damaged,
        }
    }
}

impl From<DoorStatus> for DoorReport {
    fn from(status: DoorStatus) -> Self {
        let (state, reason) = match status.state {
            DoorState::Dialling => ("dialling", None),
            DoorState::Connected => ("connected", None),
            DoorState::Waiting { reason } => ("waiting", Some(reason)),
        };
        let control = u64::from(state == "connected");
        Self {
            door: status.door,
            state: state.to_owned(),
            since_s: status.since.elapsed().as_secs(),
            reason,
            connections: control + status.extra_connections as u64,
        }
    }
}

impl Inner {
    pub(super) fn report(&self) -> NodeReport {
        let (standing, leaving, left, starts) = {
            let state = self.state();
            (state.standing().cloned(), state.leaving(), state.left(), state.starts())
        };
        let doors: Vec<DoorReport> = self.doors.status().into_iter().map(DoorReport::from).collect();
        let connected = doors.iter().any(|door| door.state == "connected");
        let state = match (left, leaving, connected) {
            (true, ..) => NodeState::Left,
            (_, true, _) => NodeState::Leaving,
            (.., true) => NodeState::Serving,
            _ => NodeState::Connecting,
        };
        let mut waiting_for = waiting_for(standing.as_ref(), leaving, left, &doors);
        waiting_for.extend(self.store.failure().map(|reason| format!("its disk: the piece store fails: {reason}")));
        let short = self.short_of(PIECE_BYTES_MAX as u64);
        waiting_for.extend(short.map(|short| format!("room on its disk: {}", self.sentence(short))));
        if self.store_failed.load(Relaxed) && self.store.failure().is_none() {
            waiting_for.push("its disk: a piece could not be read or written; the log says more".to_owned());
        }
        NodeReport {
            node: self.node.to_string(),
            cluster: self.cluster.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state,
            uptime_s: self.started.elapsed().as_secs() + 1,
            starts,
            disk: Some(DiskReport::new(self.usage(), files_bytes(&self.dir))),
            log_bytes: files_bytes(&self.dir.join("logs")),
            traffic: self.traffic_report(),
            standing,
            doors,
            waiting_for,
            leaving,
            left,
        }
    }

    /// What is on the disk and what was promised, in words.
    pub(super) fn sentence(&self, short: ShortOfRoom) -> String {
        let (free, promised) = (size(short.free_bytes), size(short.promised_bytes));
        format!("{} has {free} free, and the node promised {promised} more", self.dir.display())
    }

    fn traffic_report(&self) -> TrafficReport {
        let since_start = self.traffic_total();
        let now = self.clock.now();
        let mut log = self.traffic();
        log.add(now, since_start);
        let limit_bytes_per_s = self.bandwidth;
        TrafficReport { today: log.today(now), month: log.month(now), since_start, limit_bytes_per_s }
    }

    pub(super) fn traffic_total(&self) -> Bytes {
        let traffic = self.dialler.traffic();
        Bytes { received_bytes: traffic.received_bytes(), sent_bytes: traffic.sent_bytes() }
    }
}

impl NodeReport {
    /// What the node does for its cluster, or why it does nothing.
    pub fn readiness(&self) -> Result<String, String> {
        let connected = self.doors.iter().filter(|door| door.state == "connected").count();
        match (self.left, connected) {
            (true, _) => Ok("the node has left its cluster".to_owned()),
            (false, 0) => Err(format!("the node is connected to no door: {}", self.waiting_for.join("; "))),
            (false, connected) => Ok(format!("the node is connected to {connected} of {} doors", self.doors.len())),
        }
    }
}

/// A size as people write it.
pub(super) fn size(bytes: u64) -> String {
    let (unit, name) =
        [(1e12, "TB"), (1e9, "GB")].into_iter().find(|(unit, _)| bytes as f64 >= *unit).unwrap_or((1e6, "MB"));
    format!("{:.1} {name}", bytes as f64 / unit)
}

/// What has to happen, and by whom, sentence by sentence.
pub(super) fn waiting_for(standing: Option<&Standing>, leaving: bool, left: bool, doors: &[DoorReport]) -> Vec<String> {
    if left {
        return vec!["nothing: the node has left the cluster, and its disk can be wiped".to_owned()];
    }
    let mut waiting = Vec::new();
    let draining = standing.filter(|standing| standing.kind == StandingKind::Draining);
    match (draining.map(|standing| standing.pieces_to_move), leaving) {
        (Some(Some(0)), _) => waiting.push("the cluster to make sure that no piece is left on it".to_owned()),
        (Some(Some(pieces)), _) => waiting.push(format!("{pieces} pieces to be moved to other nodes")),
        (Some(None), _) => waiting.push("its pieces to be counted and moved to other nodes".to_owned()),
        (None, true) => waiting.push("the cluster to hear that it wants to leave".to_owned()),
        (None, false) => {}
    }
    if let Some(standing) = standing.filter(|standing| standing.kind == StandingKind::Suspended) {
        let reason = if standing.sentence.is_empty() { "no reason was given" } else { &standing.sentence };
        waiting.push(format!("the operator: the node is suspended and is given no new pieces: {reason}"));
    }
    let not_in = doors.iter().filter_map(|door| Some((door, door.reason.as_ref()?)));
    waiting.extend(not_in.map(|(door, reason)| format!("{}: {reason}", door.door)));
    if doors.is_empty() {
        waiting.push("a door to dial: none is known".to_owned());
    }
    waiting
}

/// Bytes of the files in a folder, without those in folders below.
pub(super) fn files_bytes(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let files = entries.flatten().filter_map(|entry| entry.metadata().ok()).filter(|found| found.is_file());
    files.map(|found| found.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(kind: StandingKind, pieces_to_move: Option<u64>) -> Standing {
        Standing {
            kind,
            sentence: "wrong shares".into(),
            joined_ms: 0,
            trust_permille: 0,
            audits_passed: 0,
            audits_failed: 0,
            pieces_to_move,
            doors: Vec::new(),
        }
    }

    fn door(reason: Option<&str>) -> DoorReport {
        let state = if reason.is_some() { "waiting" } else { "connected" };
        DoorReport {
            door: "a.example:1".into(),
            state: state.into(),
            since_s: 1,
            reason: reason.map(str::to_owned),
            connections: 1,
        }
    }

    #[test]
    fn a_node_says_what_it_waits_for() {
        let say = |standing: Option<Standing>, leaving, left, door: DoorReport| {
            waiting_for(standing.as_ref(), leaving, left, &[door]).join("; ")
        };
        assert_eq!(say(Some(standing(StandingKind::Active, None)), false, false, door(None)), "");
        assert_eq!(say(None, false, false, door(Some("it is closed"))), "a.example:1: it is closed");
        assert!(say(None, true, false, door(None)).contains("hear that it wants to leave"));
        let draining = say(Some(standing(StandingKind::Draining, Some(12))), true, false, door(None));
        assert_eq!(draining, "12 pieces to be moved to other nodes");
        assert!(say(Some(standing(StandingKind::Suspended, None)), false, false, door(None)).contains("wrong shares"));
        assert!(say(None, true, true, door(Some("x"))).contains("disk can be wiped"));
    }
}
