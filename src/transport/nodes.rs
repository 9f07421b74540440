//! The handle on connected nodes that services hold.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::registry::Registry;
use crate::types::{InstanceId, NodeId};
use crate::wire::Usage;

/// The nodes that are connected to this process's door. Cheap to clone.
#[derive(Clone)]
pub struct Nodes {
    pub(super) registry: Arc<Registry>,
}

/// What a door knows of a connected node.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Which node.
    pub node: NodeId,
    /// Which start of its process.
    pub instance: InstanceId,
    /// Its software and version.
    pub software: String,
    /// How often it was started on its folder.
    pub starts: u64,
    /// The highest log position that it has shown.
    pub position: u64,
    /// Since when this instance is connected.
    pub since: Instant,
    /// Its space, some seconds old.
    pub usage: Usage,
    /// Labels that the volunteer set.
    pub labels: BTreeMap<String, String>,
    /// Where its first connection came from.
    pub peer_addr: SocketAddr,
    /// Connections that are open.
    pub connections: usize,
    /// Those of them that are idle.
    pub idle_connections: usize,
    /// How often another instance with the same identity was refused.
    pub refused_duplicates: u64,
    /// When that happened last.
    pub last_duplicate: Option<Instant>,
}

impl Nodes {
    /// All connected nodes, in no order.
    pub fn connected(&self) -> Vec<NodeStatus> {
        self.registry.all().iter().map(|member| member.status()).collect()
    }

    /// One node's status, if it is connected.
    pub fn status(&self, node: NodeId) -> Option<NodeStatus> {
        self.registry.get(node).map(|member| member.status())
    }

    /// Whether the node is connected.
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.registry.get(node).is_some()
    }

    /// Closes the node's connections, so that it has to ask for admission
    /// again. Requests in flight end.
    pub fn disconnect(&self, node: NodeId) {
        self.registry.expel(node);
    }

    /// Waits until at least `count` nodes are connected; false if that did not
    /// happen within `limit`.
    pub async fn wait_connected(&self, count: usize, limit: Duration) -> bool {
        let mut connected = self.registry.count();
        let reached = connected.wait_for(|&connected| connected >= count);
        matches!(tokio::time::timeout(limit, reached).await, Ok(Ok(_)))
    }
}
