//! What `cairn nodes list --json` says, as far as these tests ask.

use std::collections::BTreeMap;

use serde_json::Value;

/// A node as the gateway sees it.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// It has a connection that answers.
    pub online: bool,
    /// Pieces that it holds.
    pub pieces: u64,
    /// Shares that were not what it had been given.
    pub wrong: u64,
    /// How it stands: active, suspended, draining, left, gone.
    pub state: String,
}

/// All nodes by id.
pub fn nodes_of(list: &Value) -> BTreeMap<String, NodeView> {
    let nodes = list["nodes"].as_array().unwrap_or_else(|| panic!("no list of nodes in {list}"));
    nodes.iter().map(|node| (text(node, "node"), view(node))).collect()
}

fn view(node: &Value) -> NodeView {
    NodeView {
        online: node["connected"].as_bool().unwrap_or_else(|| panic!("no connected in {node}")),
        pieces: number(node, "pieces"),
        wrong: number(node, "wrong_shares"),
        state: text(node, "state"),
    }
}

fn text(node: &Value, name: &str) -> String {
    node[name].as_str().unwrap_or_else(|| panic!("no {name} in {node}")).to_owned()
}

fn number(node: &Value, name: &str) -> u64 {
    node[name].as_u64().unwrap_or_else(|| panic!("no {name} in {node}"))
}
