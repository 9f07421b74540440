//! The nodes' side of a comparison: each is asked for what is not as the lists
//! say; what follows is written down, and what is to be restored is ordered.
//! A node that knows no filters is asked for all that it has.

use bytes::Bytes;
use tokio::time::{Duration, timeout};

use super::round::{Found, Round};
use crate::metadata::{Metadata, MetadataError};
use crate::transport::{NodeError, Nodes};
use crate::types::limits::INVENTORY_PAGE_MAX;
use crate::types::{NodeId, PieceId};
use crate::wire::InventoryEntry;

/// How long a node may take for a page of its answer.
const PAGE_TIME: Duration = Duration::from_secs(60);
/// Pages of a node's answer, at most: the rest waits for the next comparison.
const PAGES_MAX: usize = 100;

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
pub(super) struct Sum {
    /// Pieces that were condemned, and their bytes as their nodes say.
    pub(super) condemned: u64,
    pub(super) bytes: u64,
    /// Pieces that were taken out of the trash.
    pub(super) restored: u64,
}

/// Compares all nodes of a round whose walk has seen all segments.
pub(super) async fn ask_all(mut round: Round, metadata: &Metadata, nodes: &Nodes) -> Sum {
    let mut all = Sum::default();
    for (number, node) in round.nodes() {
        let mut sum = Sum::default();
        if let Err(error) = ask(&mut round, metadata, nodes, (number, node), &mut sum).await {
            tracing::debug!(%node, %error, "a node could not be compared with the lists; it is tried again");
        }
        let Sum { condemned, bytes, restored } = sum;
        if condemned + restored > 0 {
            tracing::info!(%node, condemned, bytes, restored, "a node had pieces that nobody refers to, or in its trash by mistake");
        }
        all = Sum { condemned: all.condemned + condemned, bytes: all.bytes + bytes, restored: all.restored + restored };
    }
    all
}

async fn ask(
    round: &mut Round,
    metadata: &Metadata,
    nodes: &Nodes,
    (number, node): (u32, NodeId),
    sum: &mut Sum,
) -> Result<(), AskError> {
    let found = round.check(metadata, number).await?;
    obey(nodes, node, found, sum).await?;
    let Some(known) = round.known(number) else { return Ok(()) };
    let known = Bytes::from(known.encode());
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let (page, next) = page(round, nodes, (number, node), &known, after).await?;
        let found = round.hear(metadata, number, &page).await?;
        obey(nodes, node, found, sum).await?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    round.done(metadata, number).await?;
    Ok(())
}

/// Counts what was found, and orders what the node is to do about it.
async fn obey(nodes: &Nodes, node: NodeId, found: Found, sum: &mut Sum) -> Result<(), NodeError> {
    (sum.condemned, sum.bytes) = (sum.condemned + found.condemned, sum.bytes + found.bytes);
    if !found.restore.is_empty() {
        nodes.restore(node, &found.restore).await?;
        sum.restored += found.restore.len() as u64;
    }
    Ok(())
}

/// A page of what is not as it should be, and where the next one begins.
async fn page(
    round: &Round,
    nodes: &Nodes,
    (number, node): (u32, NodeId),
    known: &Bytes,
    after: Option<PieceId>,
) -> Result<(Vec<InventoryEntry>, Option<PieceId>), NodeError> {
    let limit = INVENTORY_PAGE_MAX;
    let next = |page: &[InventoryEntry]| page.last().map(|entry| entry.id).filter(|_| page.len() == limit);
    let strays = timeout(PAGE_TIME, nodes.strays(node, known.clone(), round.before(), after, limit)).await;
    match strays.unwrap_or(Err(NodeError::Timeout)) {
        // One that cannot even read the filters to their end closes the connection.
        Err(NodeError::Unsupported(_) | NodeError::Broken(_)) => {
            let page = timeout(PAGE_TIME, nodes.inventory(node, after, limit)).await;
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
