//! The nodes as transfers see them: numbers and ids, who is there, how each
//! has done lately.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::metadata::{ListNodes, Metadata, MetadataError, NodeRow, NodeState};
use crate::placement::{Candidate, choose, domains};
use crate::transport::Nodes;
use crate::types::NodeId;

/// Weight of the newest outcome in a node's recent success.
const LEARNING: f32 = 0.1;

/// The cluster's nodes. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    nodes: Nodes,
    known: Arc<RwLock<HashMap<u32, Known>>>,
}

struct Known {
    row: NodeRow,
    success: f32,
    wrong_shares: u64,
}

impl Fleet {
    /// Knows the nodes that the database has now.
    pub async fn load(nodes: Nodes, metadata: &Metadata) -> Result<Self, MetadataError> {
        let fleet = Self { nodes, known: Arc::default() };
        fleet.refresh(metadata).await?;
        Ok(fleet)
    }

    /// Takes the database's word on which nodes there are and how they stand.
    pub async fn refresh(&self, metadata: &Metadata) -> Result<(), MetadataError> {
        let rows = metadata.read(ListNodes).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            let (success, wrong_shares) =
                known.get(&row.number).map_or((1.0, 0), |known| (known.success, known.wrong_shares));
            known.insert(row.number, Known { row, success, wrong_shares });
        }
        Ok(())
    }

    /// Connections to the nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// All nodes that are not gone.
    pub fn registered(&self) -> Vec<NodeRow> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> = known.values().map(|known| known.row.clone()).collect();
        rows.retain(|row| row.state != NodeState::Gone);
        rows.sort_by_key(|row| row.number);
        rows
    }

    /// The id of the node of that number.
    pub fn node_id(&self, number: u32) -> Option<NodeId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&number).map(|known| known.row.node)
    }

    /// What the database has of the node of that number.
    pub fn row(&self, number: u32) -> Option<NodeRow> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&number).map(|known| known.row.clone())
    }

    /// Whether the node of that number is connected to this process's door.
    pub fn is_connected(&self, number: u32) -> bool {
        self.node_id(number).is_some_and(|node| self.nodes.is_connected(node))
    }

    /// How far the node of that number is trusted with new pieces, from 0 to 1:
    /// it grows with the time since it joined.
    pub fn trust(&self, number: u32) -> f32 {
        f32::from(u8::from(self.row(number).is_some()))
    }

    /// Counts a share that was not what its node had been given.
    pub(super) fn count_wrong_share(&self, number: u32) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&number) {
            known.wrong_shares += 1;
        }
    }

    /// Wrong shares by node since this was called last; none of zero.
    pub fn take_wrong_shares(&self) -> Vec<(u32, u64)> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let counted = known.iter_mut().filter(|(_, known)| known.wrong_shares > 0);
        counted.map(|(number, known)| (*number, std::mem::take(&mut known.wrong_shares))).collect()
    }

    /// What the node of that number fails together with.
    pub fn domain_of(&self, number: u32) -> u64 {
        number.into()
    }

    /// Whether the node of that number is there and in good standing.
    pub fn is_readable(&self, number: u32) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&number)
            .is_some_and(|known| known.row.state != NodeState::Gone && self.nodes.is_connected(known.row.node))
    }

    /// How many different failure domains would take a piece of that size.
    pub fn writable_domains(&self, piece_bytes: u64) -> usize {
        domains(&self.candidates(piece_bytes))
    }

    /// Chooses nodes for pieces of that size, the best first.
    pub fn choose(&self, count: usize, piece_bytes: u64, seed: u64) -> Vec<u32> {
        choose(&self.candidates(piece_bytes), count, seed)
    }

    fn candidates(&self, piece_bytes: u64) -> Vec<Candidate> {
        let connected = self.nodes.connected();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let by_id: HashMap<NodeId, &Known> = known.values().map(|known| (known.row.node, known)).collect();
        let mut candidates = Vec::with_capacity(connected.len());
        for status in connected {
            let Some(known) = by_id.get(&status.node) else { continue };
            let free_bytes = status.usage.writable_bytes;
            if known.row.state == NodeState::Active && free_bytes >= piece_bytes {
                let (node, success) = (known.row.number, known.success);
                // Until labels and addresses say more, each node is a domain of its own.
                candidates.push(Candidate { node, domain: node.into(), free_bytes, success });
            }
        }
        candidates
    }

    /// Learns from how a piece fared.
    pub fn observe(&self, number: u32, succeeded: bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&number) {
            let outcome = if succeeded { 1.0 } else { 0.0 };
            known.success += LEARNING * (outcome - known.success);
        }
    }
}
