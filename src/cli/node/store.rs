//! A node's piece store, opened with words for what may be wrong with it.

use std::path::Path;

use crate::cli::Failure;
use crate::node::Node;
use crate::node::store::{PieceStore, StoreError, StoreOptions};
use crate::types::limits::LOG_BYTES_MAX;

/// Opens the store in a node's folder. Blocks, for long if it has to read logs.
pub(in crate::cli) fn open(dir: &Path, capacity_bytes: u64) -> Result<PieceStore, Failure> {
    let options = StoreOptions { capacity_bytes, log_bytes_max: LOG_BYTES_MAX };
    let (store, report) = PieceStore::open(dir, options).map_err(|error| match error {
        StoreError::Locked => {
            Failure::start(format!("the node's folder {} is in use by another process", dir.display()))
        }
        error => Failure::start(format!("the node's folder {} cannot be opened: {error}", dir.display())),
    })?;
    if report.damaged_records > 0 || !report.lost.is_empty() {
        tracing::warn!(
            "the node in {} has lost {} pieces to {} damaged records; reads make up for them from other nodes",
            dir.display(),
            report.lost.len(),
            report.damaged_records
        );
    }
    Ok(store)
}

/// Finishes what is in flight, then closes the store.
pub(in crate::cli) async fn stop(node: Node, store: PieceStore) {
    node.shutdown().await;
    if let Err(error) = store.close().await {
        tracing::warn!(%error, "a node's store did not close cleanly");
    }
}
