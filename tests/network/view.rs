//! What `cairn nodes list --json` says, as far as these tests ask.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A node as the gateway sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeView {
    node: String,
    /// It has a connection that answers.
    pub connected: bool,
    /// Shares that were not what it had been given.
    pub wrong_shares: u64,
    /// How often it came back with an older state than it had shown.
    pub rollbacks: u64,
    /// How it stands: active, suspended, draining, left, gone.
    pub state: String,
    connection: Option<Connection>,
}

#[derive(Debug, Clone, Deserialize)]
struct Connection {
    refused_duplicates: u64,
}

impl NodeView {
    /// How often another instance with its identity was refused.
    pub fn refused_duplicates(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.refused_duplicates)
    }
}

/// All nodes by id.
pub fn nodes_of(list: Value) -> BTreeMap<String, NodeView> {
    let nodes: Vec<NodeView> = serde_json::from_value(list).expect("a list of nodes as the operator sees them");
    nodes.into_iter().map(|node| (node.node.clone(), node)).collect()
}
