//! The nodes that `cairn up` runs itself: each with a folder and an identity
//! of its own, dialling the door over loopback like any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::reason;
use super::settings::Config;
use super::{DataDir, Failure};
use crate::env::Shutdown;
use crate::metadata::{ListNodes, Metadata, MetadataError, NodeRow, NodeState, RegisterNode, ReplaceNode};
use crate::node::store::{PieceStore, StoreError, StoreOptions};
use crate::node::{Node, NodeConfig};
use crate::transport::{Identity, TransportError};
use crate::types::limits::LOG_BYTES_MAX;
use crate::types::{ClusterId, NodeId};

/// A node that runs.
pub(super) struct LocalNode {
    node: Node,
    store: PieceStore,
}

/// A node's folder that is ready to run.
pub(super) struct Prepared {
    dir: PathBuf,
    identity: Identity,
    store: PieceStore,
}

/// How often a store looks for logs worth compacting.
const COMPACT_EVERY: Duration = Duration::from_secs(60);

impl Prepared {
    /// Starts the node: it dials the door until it is stopped.
    pub(super) async fn start(self, cluster: ClusterId, door: String) -> Result<LocalNode, Failure> {
        let failed = |error| Failure::start(format!("the node in {} cannot start: {error}", self.dir.display()));
        let config = NodeConfig::new(&self.dir, self.store.clone(), self.identity, cluster, vec![door]);
        let node = Node::start(config).await.map_err(|error| failed(error.to_string()))?;
        Ok(LocalNode { node, store: self.store })
    }
}

impl LocalNode {
    /// Finishes what is in flight and closes the store.
    pub(super) async fn stop(self) {
        self.node.shutdown().await;
        if let Err(error) = self.store.close().await {
            tracing::warn!(%error, "a node's store did not close cleanly");
        }
    }

    /// Gives the space of what was purged back, until the order to stop.
    pub(super) fn compaction(&self, shutdown: Shutdown) -> impl Future<Output = ()> + use<> {
        let store = self.store.clone();
        async move {
            loop {
                tokio::select! {
                    () = shutdown.requested() => return,
                    () = tokio::time::sleep(COMPACT_EVERY) => {}
                }
                if let Err(error) = store.compact().await {
                    tracing::debug!(%error, "a store could not be compacted");
                }
            }
        }
    }
}

/// Makes the folders ready: at least as many as are configured, and those that
/// the database knows besides. A folder that is gone, or whose identity cannot
/// be read, gets a fresh node.
pub(super) async fn prepare(config: &Config, layout: &DataDir, metadata: &Metadata) -> Result<Vec<Prepared>, Failure> {
    let mut known: BTreeMap<String, NodeRow> = BTreeMap::new();
    for row in metadata.read(ListNodes).await.map_err(database)? {
        if let Some(place) = row.place.clone().filter(|_| row.state != NodeState::Gone) {
            known.insert(place, row);
        }
    }
    let most = known.keys().filter_map(|place| place.parse::<u16>().ok()).max().map_or(0, |index| index + 1);
    if most > config.nodes.get() {
        tracing::warn!("{most} local nodes hold pieces, so {most} are started and not {}", config.nodes.get());
    }
    let count = most.max(config.nodes.get());
    let capacity = capacity(config, layout, count)?;
    let mut opening = Vec::new();
    for index in 0..count {
        let place = index.to_string();
        let (dir, identity) = folder(layout, index, known.get(&place), metadata).await?;
        opening.push(tokio::task::spawn_blocking(move || open(dir, identity, capacity)));
    }
    let mut prepared = Vec::with_capacity(opening.len());
    for opening in opening {
        prepared.push(opening.await.map_err(|_| Failure::start("the start was cut off"))??);
    }
    Ok(prepared)
}

fn database(error: MetadataError) -> Failure {
    Failure::start(error.to_string())
}

/// The folder of a local node, with its identity registered in the database.
async fn folder(
    layout: &DataDir,
    index: u16,
    row: Option<&NodeRow>,
    metadata: &Metadata,
) -> Result<(PathBuf, Identity), Failure> {
    let dir = layout.node_dir(index);
    let identity = match (load(&dir, row.is_some())?, row) {
        (Some(identity), Some(row)) if identity.node_id() == row.node => return Ok((dir, identity)),
        (Some(identity), None) => identity,
        (found, Some(row)) => {
            tracing::warn!(
                "node {} is gone: its folder {} is missing, damaged or another node's; a fresh node takes its place, \
                 and what only it held is rebuilt from the others",
                row.node,
                dir.display()
            );
            metadata.write(ReplaceNode { node: row.node }).await.map_err(database)?;
            found.map_or_else(|| fresh(&dir), Ok)?
        }
        (None, None) => fresh(&dir)?,
    };
    register(metadata, identity.node_id(), index).await?;
    Ok((dir, identity))
}

async fn register(metadata: &Metadata, node: NodeId, index: u16) -> Result<(), Failure> {
    let place = Some(index.to_string());
    metadata.write(RegisterNode { node, place }).await.map_err(database)
}

/// The identity in a folder. None where there is no folder or no identity, or
/// one that cannot be read in the folder of a known node.
fn load(dir: &Path, known: bool) -> Result<Option<Identity>, Failure> {
    if !dir.join("identity.key").exists() {
        return Ok(None);
    }
    match Identity::load_or_create(dir) {
        Ok(identity) => Ok(Some(identity)),
        Err(TransportError::NotAKey(_)) if known => Ok(None),
        Err(error) => Err(Failure::start(error.to_string())),
    }
}

/// A fresh identity in a fresh folder. What is left of a lost node is set
/// aside, not deleted: somebody may want to look at it.
fn fresh(dir: &Path) -> Result<Identity, Failure> {
    if dir.exists() {
        let aside = (1..).map(|n| dir.with_extension(format!("lost-{n}"))).find(|aside| !aside.exists());
        if let Some(aside) = aside {
            let failed = |error| Failure::io("what is left of a lost node could not be set aside", dir, &error);
            std::fs::rename(dir, &aside).map_err(failed)?;
            tracing::warn!("what is left in {} was set aside as {}", dir.display(), aside.display());
        }
    }
    let failed = |error| Failure::io("a node's folder could not be made", dir, &error);
    std::fs::create_dir_all(dir).map_err(failed)?;
    Identity::load_or_create(dir).map_err(|error| Failure::start(error.to_string()))
}

fn open(dir: PathBuf, identity: Identity, capacity_bytes: u64) -> Result<Prepared, Failure> {
    let options = StoreOptions { capacity_bytes, log_bytes_max: LOG_BYTES_MAX };
    let (store, report) = PieceStore::open(&dir, options).map_err(|error| match error {
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
    Ok(Prepared { dir, identity, store })
}

/// Bytes that each node may use: what was configured, or an equal share of
/// nine tenths of the disk.
fn capacity(config: &Config, layout: &DataDir, nodes: u16) -> Result<u64, Failure> {
    if let Some(capacity) = config.node_capacity {
        return Ok(capacity.bytes());
    }
    let failed =
        |error: rustix::io::Errno| Failure::start(format!("the disk's size cannot be read: {}", reason(&error.into())));
    let disk = rustix::fs::statvfs(layout.path()).map_err(failed)?;
    Ok(disk.f_blocks * disk.f_frsize / 10 * 9 / u64::from(nodes))
}

/// All of them at once.
pub(super) async fn stop_all(nodes: Vec<LocalNode>) {
    let stopping: Vec<_> = nodes.into_iter().map(|node| tokio::spawn(node.stop())).collect();
    for stopping in stopping {
        let _ = stopping.await;
    }
}
