//! The nodes that `cairn up` runs itself: each with a folder and an identity
//! of its own, dialling the door over loopback like any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::failure::reason;
use super::node::store as node_store;
use super::settings::Config;
use super::{DataDir, Failure};
use crate::metadata::{ListNodes, Metadata, MetadataError, NodeRow, NodeState, PlaceNode};
use crate::node::store::PieceStore;
use crate::node::{Node, NodeConfig};
use crate::transport::{Identity, TransportError};
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
        node_store::stop(self.node, self.store).await;
    }
}

/// Makes the folders ready: at least as many as are configured, and those that
/// the database knows besides. A node whose folder is gone, or whose identity
/// cannot be read, is given up for a fresh one; a node that was given up and is
/// there again, or is in another folder now, is taken as it is.
pub(super) async fn prepare(
    config: &Config,
    layout: &DataDir,
    metadata: &Metadata,
    spare: u16,
) -> Result<Vec<Prepared>, Failure> {
    let rows = metadata.read(ListNodes).await.map_err(database)?;
    let count = count(config, &rows);
    let mut found = Vec::with_capacity(count.into());
    for index in 0..count {
        found.push(load(&layout.node_dir(index))?);
    }
    refuse_volunteers(&rows, &found)?;
    let lost = lost(&rows, &found);
    refuse_many(layout, &lost, spare)?;
    let capacity = capacity(config, layout, count)?;
    let mut opening = Vec::with_capacity(found.len());
    for (index, identity) in (0..).zip(found) {
        let dir = layout.node_dir(index);
        if has_left(&rows, identity.as_ref()) {
            tracing::info!("the node in {} has left: the folder can be deleted", dir.display());
            continue;
        }
        let lost = lost.get(&index).copied();
        let identity = settle(&dir, index, identity, lost, metadata).await?;
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

/// As many nodes as are configured, or as there were if that was more.
fn count(config: &Config, rows: &[NodeRow]) -> u16 {
    let configured = config.nodes.get();
    let most = rows.iter().filter(|row| row.state.is_member()).filter_map(place).max().map_or(0, |last| last + 1);
    if most > configured {
        tracing::warn!("{most} local nodes hold pieces, so {most} are started and not {configured}");
    }
    most.max(configured)
}

fn place(row: &NodeRow) -> Option<u16> {
    row.place.as_ref()?.parse().ok()
}

fn is_here(row: &NodeRow, found: &[Option<Identity>]) -> bool {
    found.iter().flatten().any(|identity| identity.node_id() == row.node)
}

/// Nodes on other machines could not dial the door of `cairn up`, which is on
/// loopback. Those in its folders may have been run by themselves meanwhile.
fn refuse_volunteers(rows: &[NodeRow], found: &[Option<Identity>]) -> Result<(), Failure> {
    let elsewhere = |row: &&NodeRow| row.state.is_member() && row.place.is_none() && !is_here(row, found);
    match rows.iter().filter(elsewhere).count() {
        0 => Ok(()),
        count => Err(Failure::start(format!(
            "this is the data directory of a `cairn gateway`, which {count} nodes on other machines have joined: start that"
        ))),
    }
}

/// Says that a gateway runs no nodes, where `cairn up` ran some on this
/// directory.
pub(super) async fn warn_of_idle(layout: &DataDir, metadata: &Metadata) -> Result<(), Failure> {
    let rows = metadata.read(ListNodes).await.map_err(database)?;
    let here = |row: &&NodeRow| place(row).is_some_and(|index| layout.node_dir(index).exists());
    let idle = rows.iter().filter(|row| row.state.is_member()).filter(here).count();
    if idle > 0 {
        let folders = layout.path().join("nodes");
        tracing::warn!(
            "`cairn up` ran {idle} nodes in {}, and a gateway runs none: start each with `cairn node --data {}/N --join TOKEN`",
            folders.display(),
            folders.display()
        );
    }
    Ok(())
}

fn has_left(rows: &[NodeRow], identity: Option<&Identity>) -> bool {
    let node = identity.map(Identity::node_id);
    rows.iter().any(|row| row.state == NodeState::Left && Some(row.node) == node)
}

/// The nodes whose identity is in no folder, by the folder where it was.
fn lost(rows: &[NodeRow], found: &[Option<Identity>]) -> BTreeMap<u16, NodeId> {
    let standing = rows.iter().filter(|row| row.state.is_member());
    standing.filter(|row| !is_here(row, found)).filter_map(|row| Some((place(row)?, row.node))).collect()
}

/// More nodes than data survives without are hardly all broken: a disk is not
/// mounted, or the folder was moved. What is written meanwhile would be on
/// other nodes than those that come back.
fn refuse_many(layout: &DataDir, lost: &BTreeMap<u16, NodeId>, spare: u16) -> Result<(), Failure> {
    let survivable = spare.max(1);
    if lost.len() <= survivable.into() {
        return Ok(());
    }
    let folders: Vec<String> = lost.keys().map(u16::to_string).collect();
    Err(Failure::start(format!(
        "{} of the node folders in {} are missing or damaged ({}), and data survives the loss of {survivable}: if their disk is \
         not mounted, mount it; if they are really lost, start on an empty data directory and restore from a copy",
        lost.len(),
        layout.path().join("nodes").display(),
        folders.join(", "),
    )))
}

/// The identity in a folder. None where there is no folder or no identity, or
/// one that cannot be read.
fn load(dir: &Path) -> Result<Option<Identity>, Failure> {
    let path = dir.join("identity.key");
    let there = path.try_exists().map_err(|error| Failure::io("a node's folder could not be read", &path, &error))?;
    if !there {
        return Ok(None);
    }
    match Identity::load_or_create(dir) {
        Ok(identity) => Ok(Some(identity)),
        Err(TransportError::NotAKey(_)) => Ok(None),
        Err(error) => Err(Failure::start(error.to_string())),
    }
}

/// The identity that a folder goes on with, recorded in the database. A fresh
/// one is durable in its folder before the lost one is given up.
async fn settle(
    dir: &Path,
    index: u16,
    found: Option<Identity>,
    lost: Option<NodeId>,
    metadata: &Metadata,
) -> Result<Identity, Failure> {
    let identity = found.map_or_else(|| fresh(dir), Ok)?;
    if let Some(lost) = lost {
        tracing::warn!(
            "node {lost} is gone: its folder {} is missing or damaged; node {} takes its place, and what only the lost \
             one held is made up for by others",
            dir.display(),
            identity.node_id()
        );
    }
    let place = PlaceNode { node: identity.node_id(), place: index.to_string(), instead_of: lost };
    metadata.write(place).await.map_err(database)?;
    Ok(identity)
}

/// A fresh identity in a fresh folder. What is left of a lost node is set
/// aside, not deleted: somebody may want to look at it.
fn fresh(dir: &Path) -> Result<Identity, Failure> {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
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
    let store = node_store::open(&dir, capacity_bytes)?;
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
