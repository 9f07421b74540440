//! A node that runs: what it is made of, what it shows, how it stops.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};

use super::dial::Doors;
use super::state::{NodeState, StateError};
use super::store::PieceStore;
use crate::transport::{Dialler, Identity, Traffic, TransportError};
use crate::types::limits::PIECE_BYTES_MAX;
use crate::types::{ClusterId, InstanceId, NodeId};
use crate::wire::{Hello, Purpose, Standing, Usage, VERSION};

/// How long requests in flight may take to end when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a node is made of.
pub struct NodeConfig {
    /// The node's folder; it must exist. `node.json` is kept there.
    pub dir: PathBuf,
    /// Where its pieces are.
    pub store: PieceStore,
    /// Its key.
    pub identity: Identity,
    /// The cluster whose doors it serves: the public key that it pins.
    pub cluster: ClusterId,
    /// Doors as `host:port`. More are learned from them.
    pub doors: Vec<String>,
    /// Labels that the volunteer set.
    pub labels: BTreeMap<String, String>,
    /// The secret of a join token, as long as the cluster does not know the node.
    pub token: Option<String>,
    /// Memory for pieces that are coming in, in bytes; at least one piece.
    pub memory_bytes: usize,
    /// Extra connections to one door, at most.
    pub extra_connections: usize,
}

impl NodeConfig {
    /// A node without labels or token, with 32 MiB for incoming pieces.
    pub fn new(dir: &Path, store: PieceStore, identity: Identity, cluster: ClusterId, doors: Vec<String>) -> Self {
        Self {
            dir: dir.to_owned(),
            store,
            identity,
            cluster,
            doors,
            labels: BTreeMap::new(),
            token: None,
            memory_bytes: 32 << 20,
            extra_connections: 16,
        }
    }
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its memory cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its key cannot be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// A node's relation to one door.
#[derive(Debug, Clone)]
pub struct DoorStatus {
    /// The door as `host:port`.
    pub door: String,
    /// How it stands.
    pub state: DoorState,
    /// Extra connections that the door asked for and that are open.
    pub extra_connections: usize,
}

/// How a node stands with a door.
#[derive(Debug, Clone)]
pub enum DoorState {
    /// It is being dialled for the first time.
    Dialling,
    /// It has welcomed the node.
    Connected {
        /// Since when.
        since: Instant,
    },
    /// It will be dialled again.
    Waiting {
        /// Why it is not connected, in a sentence.
        reason: String,
    },
}

/// A node that runs. Dropping it stops it at once; see [`shutdown`](Self::shutdown).
pub struct Node {
    inner: Arc<Inner>,
    ended: mpsc::Receiver<()>,
}

/// What all of a node's tasks share.
pub(super) struct Inner {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
    pub(super) instance: InstanceId,
    pub(super) store: PieceStore,
    pub(super) dialler: Dialler,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) token: Option<String>,
    /// A permit per byte of a piece that is coming in.
    pub(super) memory: Semaphore,
    pub(super) extra_connections: usize,
    pub(super) doors: Doors,
    pub(super) store_failed: AtomicBool,
    pub(super) stop: watch::Sender<bool>,
    /// Every task holds a clone; all of them gone means that all have ended.
    pub(super) alive: Mutex<Option<mpsc::Sender<()>>>,
    state: Mutex<NodeState>,
    /// What the cluster last said of this node.
    standing: Mutex<Option<Standing>>,
}

impl Node {
    /// Counts the start in the node's folder, begins to dial all doors and to
    /// keep the store compact and verified.
    /// Must be called within a tokio runtime.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let state = NodeState::open(&config.dir)?;
        let dialler = Dialler::new(&config.identity, config.cluster)?;
        let mut instance = [0; InstanceId::BYTES];
        aws_lc_rs::rand::fill(&mut instance).map_err(|_| TransportError::Crypto("no random numbers".to_owned()))?;
        let (alive, ended) = mpsc::channel(1);
        let learned = state.doors().to_vec();
        let inner = Arc::new(Inner {
            node: config.identity.node_id(),
            cluster: config.cluster,
            instance: InstanceId::from_bytes(instance),
            store: config.store,
            dialler,
            labels: config.labels,
            token: config.token,
            memory: Semaphore::new(config.memory_bytes.max(PIECE_BYTES_MAX)),
            extra_connections: config.extra_connections,
            doors: Doors::new(config.doors),
            store_failed: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            alive: Mutex::new(Some(alive)),
            state: Mutex::new(state),
            standing: Mutex::default(),
        });
        inner.dial_all(&learned);
        inner.spawn(super::compaction::run(inner.store.clone(), inner.stop.subscribe()));
        inner.spawn(super::scrub::run(inner.store.clone(), inner.stop.subscribe()));
        Ok(Self { inner, ended })
    }

    /// Its name.
    pub fn node_id(&self) -> NodeId {
        self.inner.node
    }

    /// How it stands with every door that it knows.
    pub fn doors(&self) -> Vec<DoorStatus> {
        self.inner.doors.status()
    }

    /// Bytes that went over all of its connections since it started.
    pub fn traffic(&self) -> &Traffic {
        self.inner.dialler.traffic()
    }

    /// Stops dialling, lets requests in flight end (10 s at most), closes. The
    /// store is left open.
    pub async fn shutdown(mut self) {
        self.inner.stop.send_replace(true);
        self.inner.alive().take();
        if tokio::time::timeout(STOP_TIMEOUT, self.ended.recv()).await.is_err() {
            tracing::warn!(node = %self.inner.node, "requests in flight did not end in time");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.inner.stop.send_replace(true);
    }
}

impl Inner {
    pub(super) fn hello(&self, purpose: Purpose) -> Hello {
        let (starts, generation) = {
            let state = self.state();
            (state.starts(), state.generation())
        };
        Hello {
            versions: vec![VERSION],
            software: concat!("cairn ", env!("CARGO_PKG_VERSION")).to_owned(),
            cluster: self.cluster,
            instance: self.instance,
            starts,
            position: self.store.position().0,
            usage: self.usage(),
            labels: self.labels.clone(),
            purpose,
            token: self.token.clone().filter(|_| purpose == Purpose::Control),
            generation,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let usage = self.store.usage();
        // A store that is gone takes nothing, whatever its capacity was.
        let writable_bytes = if self.store.failure().is_some() { 0 } else { usage.writable_bytes };
        Usage {
            live_bytes: usage.live_bytes,
            trash_bytes: usage.trash_bytes,
            dead_bytes: usage.dead_bytes,
            overhead_bytes: usage.overhead_bytes,
            free_bytes: usage.free_bytes,
            writable_bytes,
            capacity_bytes: usage.capacity_bytes,
            pieces: usage.pieces,
            trashed: usage.trashed,
            damaged: self.store.damaged().len() as u64,
            damage_version: self.store.damaged().len() as u64,
            leaving: false,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Option<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn alive(&self) -> MutexGuard<'_, Option<mpsc::Sender<()>>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task that `shutdown` waits for. None are begun once it stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(alive) = self.alive().clone() {
            tokio::spawn(async move {
                task.await;
                drop(alive);
            });
        }
    }
}
