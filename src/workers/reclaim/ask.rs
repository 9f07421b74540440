//! The nodes' side of a comparison: each is asked for what is not as the lists
//! say; what follows is written down, and what is to be restored is ordered.
//! A node that knows no filters is asked for all that it has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Duration, timeout};

use super::round::{Found, Round};
use crate::metadata::{Metadata, MetadataError};
use crate::transport::{NodeError, Nodes};
use crate::types::limits::INVENTORY_PAGE_MAX;
use crate::types::{NodeId, PieceId};
use crate::wire::InventoryEntry;

/// How long a node may take for a page of its answer, and for all of them.
const PAGE_TIME: Duration = Duration::from_secs(60);
const NODE_TIME: Duration = Duration::from_secs(120);
/// Nodes that are asked at once: what they are told takes up to 16 MiB each.
const NODES_AT_ONCE: usize = 4;
/// How much is asked for.
const PAGES: Pages = Pages { most: 100, limit: INVENTORY_PAGE_MAX };

/// Pages of a node's answer in one comparison, and pieces on each, at most. The
/// next comparison goes on where the last one has ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::workers) struct Pages {
    pub(in crate::workers) most: usize,
    pub(in crate::workers) limit: usize,
}

/// How far nodes were compared that have more than one comparison asks for, or
/// were too slow: up to which piece. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::workers) struct Bookmarks(Arc<Mutex<BTreeMap<u32, PieceId>>>);

impl Bookmarks {
    fn get(&self, node: u32) -> Option<PieceId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }

    fn set(&self, node: u32, after: Option<PieceId>) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match after {
            Some(after) => marks.insert(node, after),
            None => marks.remove(&node),
        };
    }
}

/// Why a node could not be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub(in crate::workers) struct Sum {
    /// Pieces that were condemned, and their bytes as their nodes say.
    pub(in crate::workers) condemned: u64,
    pub(in crate::workers) bytes: u64,
    /// Pieces that were taken out of the trash.
    pub(in crate::workers) restored: u64,
}

/// A round whose walk has seen all segments, and what its nodes are asked by.
pub(in crate::workers) struct Asking {
    round: Round,
    metadata: Metadata,
    nodes: Nodes,
    bookmarks: Bookmarks,
    pages: Pages,
}

impl Asking {
    pub(in crate::workers) fn new(round: Round, metadata: Metadata, nodes: Nodes, bookmarks: Bookmarks) -> Self {
        Self { round, metadata, nodes, bookmarks, pages: PAGES }
    }

    /// Asks for so much of each node.
    #[cfg(test)]
    pub(in crate::workers) fn with_pages(self, pages: Pages) -> Self {
        Self { pages, ..self }
    }

    /// Compares all nodes, a few at a time; tells what came of each.
    pub(in crate::workers) async fn run(self, mut tell: impl FnMut(Sum)) {
        let nodes = self.round.nodes();
        let mut sums = stream::iter(nodes).map(|node| self.compare(node)).buffer_unordered(NODES_AT_ONCE);
        while let Some(sum) = sums.next().await {
            tell(sum);
        }
    }

    /// Compares a node, as far as it answers in time.
    async fn compare(&self, (number, node): (u32, NodeId)) -> Sum {
        let mut sum = Sum::default();
        let outcome = timeout(NODE_TIME, self.ask((number, node), &mut sum)).await;
        if let Err(error) = outcome.unwrap_or(Err(NodeError::Timeout.into())) {
            tracing::debug!(%node, %error, "a node could not be compared with the lists; it is tried again");
        }
        let Sum { condemned, bytes, restored } = sum;
        if condemned + restored > 0 {
            tracing::info!(%node, condemned, bytes, restored, "a node had pieces that nobody refers to, or in its trash by mistake");
        }
        sum
    }

    async fn ask(&self, (number, node): (u32, NodeId), sum: &mut Sum) -> Result<(), AskError> {
        let Self { round, metadata, bookmarks, pages, .. } = self;
        let found = round.check(metadata, number).await?;
        self.obey(node, found, sum).await?;
        let Some(known) = round.known(number) else { return Ok(()) };
        let known = Bytes::from(known.encode());
        for _ in 0..pages.most {
            let (page, next) = self.page((number, node), &known, bookmarks.get(number)).await?;
            let found = round.hear(metadata, number, &page).await?;
            self.obey(node, found, sum).await?;
            bookmarks.set(number, next);
            if next.is_none() {
                return Ok(round.done(metadata, number).await?);
            }
        }
        Ok(())
    }

    /// Counts what was found, and orders what the node is to do about it.
    async fn obey(&self, node: NodeId, found: Found, sum: &mut Sum) -> Result<(), NodeError> {
        (sum.condemned, sum.bytes) = (sum.condemned + found.condemned, sum.bytes + found.bytes);
        if !found.restore.is_empty() {
            self.nodes.restore(node, &found.restore).await?;
            sum.restored += found.restore.len() as u64;
        }
        Ok(())
    }

    /// A page of what is not as it should be, and where the next one begins.
    async fn page(
        &self,
        (number, node): (u32, NodeId),
        known: &Bytes,
        after: Option<PieceId>,
    ) -> Result<(Vec<InventoryEntry>, Option<PieceId>), NodeError> {
        let (round, limit) = (&self.round, self.pages.limit);
        let next = |page: &[InventoryEntry]| page.last().map(|entry| entry.id).filter(|_| page.len() == limit);
        let strays = timeout(PAGE_TIME, self.nodes.strays(node, known.clone(), round.before(), after, limit)).await;
        match strays.unwrap_or(Err(NodeError::Timeout)) {
            // One that cannot even read the filters to their end closes the connection.
            Err(NodeError::Unsupported(_) | NodeError::Broken(_)) => {
                let page = timeout(PAGE_TIME, self.nodes.inventory(node, after, limit)).await;
                let mut page = page.unwrap_or(Err(NodeError::Timeout))?;
                let next = next(&page);
                page.retain(|entry| round.known(number).is_some_and(|known| known.contradicts(entry, round.before())));
                Ok((page, next))
            }
            strays => {
                let page = strays?;
                let next = next(&page);
                Ok((page, next))
            }
        }
    }
}
