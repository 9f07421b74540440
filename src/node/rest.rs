//! A node that does not run, as its folder tells: nothing in it is changed,
//! and no log is read.

use std::path::Path;

use super::membership::{Membership, MembershipError};
use super::report::{DiskReport, NodeReport, NodeState, TrafficReport, files_bytes, waiting_for};
use super::state::{NodeState as Memory, StateError};
use super::traffic::TrafficLog;
use crate::transport::Identity;
use crate::types::UnixMillis;

/// Why a stopped node could not be described.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// What it remembers cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its membership cannot be read.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// There was never a node.
    #[error("there is no node in {0}: start one with `cairn node --join TOKEN --data {0}`")]
    NoNode(String),
}

/// The report of the stopped node in this folder. Its disk's figures are those
/// of the moment in which it stopped, and absent if it was cut off.
pub fn at_rest(folder: &Path, now: UnixMillis) -> Result<NodeReport, RestError> {
    let no_node = || RestError::NoNode(folder.display().to_string());
    let membership = Membership::load(folder)?;
    let memory = Memory::read(folder)?;
    if membership.is_none() && memory.is_none() {
        return Err(no_node());
    }
    let identity = Identity::load(folder).ok().flatten();
    let memory = memory.unwrap_or_default();
    let traffic = TrafficLog::open(folder);
    let mut waiting_for = waiting_for(memory.standing.as_ref(), memory.leaving, memory.left, &[]);
    if !memory.left {
        waiting_for = vec!["somebody to start it".to_owned()];
    }
    Ok(NodeReport {
        node: identity.map_or_else(String::new, |identity| identity.node_id().to_string()),
        cluster: membership.map_or_else(String::new, |membership| membership.cluster.to_string()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: if memory.left { NodeState::Left } else { NodeState::Stopped },
        uptime_s: 0,
        starts: memory.starts,
        log_bytes: files_bytes(&folder.join("logs")),
        disk: memory.usage.map(|usage| DiskReport::new(usage, files_bytes(folder))),
        traffic: TrafficReport { today: traffic.today(now), month: traffic.month(now), ..TrafficReport::default() },
        standing: memory.standing,
        doors: Vec::new(),
        waiting_for,
        leaving: memory.leaving,
        left: memory.left,
    })
}
