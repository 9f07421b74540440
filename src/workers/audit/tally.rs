//! What audits by this process have found, counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What audits found at one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeTally {
    /// Shares that it gave, right or wrong.
    pub shares_checked: u64,
    /// Those of them that were wrong.
    pub shares_wrong: u64,
    /// Pieces with shares that were wrong.
    pub pieces_wrong: u64,
    /// Pieces that it says it has not got, or that its disk has damaged.
    pub pieces_missing: u64,
    /// Pieces for which it was connected and gave no answer.
    pub pieces_unanswered: u64,
    /// Pieces that could not be asked for, as it was not connected.
    pub pieces_unreachable: u64,
}

/// The same of all nodes, by number.
#[derive(Debug, Clone, Default)]
pub(in crate::workers) struct Tally {
    pub(in crate::workers) nodes: BTreeMap<u32, NodeTally>,
}

impl Tally {
    pub(in crate::workers) fn of(&mut self, node: u32) -> &mut NodeTally {
        self.nodes.entry(node).or_default()
    }

    /// All nodes together.
    pub(in crate::workers) fn total(&self) -> NodeTally {
        self.nodes.values().fold(NodeTally::default(), |sum, node| NodeTally {
            shares_checked: sum.shares_checked + node.shares_checked,
            shares_wrong: sum.shares_wrong + node.shares_wrong,
            pieces_wrong: sum.pieces_wrong + node.pieces_wrong,
            pieces_missing: sum.pieces_missing + node.pieces_missing,
            pieces_unanswered: sum.pieces_unanswered + node.pieces_unanswered,
            pieces_unreachable: sum.pieces_unreachable + node.pieces_unreachable,
        })
    }
}
