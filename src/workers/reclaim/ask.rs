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

/// Compares all nodes of a round whose walk has seen all segments. Answers what
/// was condemned and restored altogether.
pub(super) async fn ask_all(mut round: Round, metadata: &Metadata, nodes: &Nodes) -> (u64, u64) {
    let (mut condemned, mut restored) = (0, 0);
    for (number, node) in round.nodes() {
        match ask(&mut round, metadata, nodes, (number, node)).await {
            Ok((dead, back)) => {
                (condemned, restored) = (condemned + dead, restored + back);
                if dead + back > 0 {
                    tracing::info!(%node, condemned = dead, restored = back, "a node's pieces were compared with the lists");
                }
            }
            Err(error) => tracing::debug!(%node, %error, "a node could not be compared with the lists; it is tried again"),
        }
    }
    (condemned, restored)
}

async fn ask(
    round: &mut Round,
    metadata: &Metadata,
    nodes: &Nodes,
    (number, node): (u32, NodeId),
) -> Result<(u64, u64), AskError> {
    let (mut condemned, mut restored) = (0, 0);
    let mut take = async |found: Found| -> Result<(), AskError> {
        if !found.restore.is_empty() {
            nodes.restore(node, &found.restore).await?;
        }
        (condemned, restored) = (condemned + found.condemned, restored + found.restore.len() as u64);
        Ok(())
    };
    take(round.check(metadata, number).await?).await?;
    let Some(known) = round.known(number) else { return Ok((0, 0)) };
    let known = Bytes::from(known.encode());
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let (page, next) = page(round, nodes, (number, node), &known, after).await?;
        take(round.hear(metadata, number, &page).await?).await?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    round.done(metadata, number).await?;
    Ok((condemned, restored))
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
