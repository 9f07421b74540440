//! A node that runs: what it is made of, what it shows, how it stops.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};

use super::doors::{DoorStatus, Doors};
use super::report::{NodeReport, size};
use super::state::{NodeState, StateError};
use super::store::PieceStore;
use super::traffic::TrafficLog;
use crate::env::Clock;
use crate::transport::{Bandwidth, Dialler, Identity, Traffic, TransportError};
use crate::types::limits::PIECE_BYTES_MAX;
use crate::types::{ClusterId, InstanceId, NodeId};
use crate::wire::{Hello, Purpose, Usage, VERSION};

/// How long requests in flight may take to end when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the traffic is written down.
const NOTE_TRAFFIC_EVERY: Duration = Duration::from_secs(60);

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
    /// Bytes per second in each direction, at most; no limit if none.
    pub bandwidth: Option<u64>,
    /// The token is one that no door has seen: a node that had left joins anew.
    pub rejoin: bool,
    /// Says which day it is.
    pub clock: Clock,
}

impl NodeConfig {
    /// A node without labels, token or limit, with 32 MiB for incoming pieces.
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
            bandwidth: None,
            rejoin: false,
            clock: Clock::real(),
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

/// A node that runs. Dropping it stops it at once; see [`shutdown`](Self::shutdown).
pub struct Node {
    inner: Arc<Inner>,
    ended: mpsc::Receiver<()>,
}

/// What all of a node's tasks share.
pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) started: Instant,
    pub(super) clock: Clock,
    pub(super) bandwidth: Option<u64>,
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
    /// What a door said first: welcome, or why not. A welcome stays.
    pub(super) verdict: watch::Sender<Option<Result<(), String>>>,
    state: Mutex<NodeState>,
    traffic: Mutex<TrafficLog>,
}

impl Node {
    /// Counts the start in the node's folder, begins to dial all doors and to
    /// keep the store compact and verified.
    /// Must be called within a tokio runtime.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let mut state = NodeState::open(&config.dir)?;
        if config.rejoin {
            state.rejoin()?;
        }
        let bandwidth = config.bandwidth.map(Bandwidth::new);
        let dialler = Dialler::new(&config.identity, config.cluster)?.limited(bandwidth);
        let mut instance = [0; InstanceId::BYTES];
        aws_lc_rs::rand::fill(&mut instance).map_err(|_| TransportError::Crypto("no random numbers".to_owned()))?;
        let (alive, ended) = mpsc::channel(1);
        let learned = state.doors().to_vec();
        let inner = Arc::new(Inner {
            started: Instant::now(),
            clock: config.clock,
            bandwidth: config.bandwidth,
            traffic: Mutex::new(TrafficLog::open(&config.dir)),
            dir: config.dir,
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
            verdict: watch::Sender::new(None),
        });
        inner.warn_if_shrunk();
        inner.dial_all(&learned);
        let (noting, watching) = (inner.clone(), inner.clone());
        inner.spawn(noting.note_traffic());
        inner.spawn(super::folder_watch::run(watching));
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

    /// Everything that is known of it.
    pub fn status(&self) -> NodeReport {
        self.inner.report()
    }

    /// Tells the same for as long as somebody asks.
    pub fn reporter(&self) -> impl Fn() -> NodeReport + Send + Sync + use<> {
        let inner = self.inner.clone();
        move || inner.report()
    }

    /// Begins to leave the cluster, durably: the doors hear of it, and the
    /// pieces are moved to other nodes. The node goes on serving meanwhile.
    pub fn leave(&self) -> Result<(), StateError> {
        self.inner.state().set_leaving()
    }

    /// Serves `node.sock` in its folder until it stops.
    pub fn serve_socket(&self) -> io::Result<()> {
        super::local::serve(&self.inner)
    }

    /// Waits for a door's first word: that the node is welcome, or why it is
    /// not and will not be until somebody acts. Doors that cannot be reached,
    /// or cannot answer now, say nothing.
    pub fn verdict(&self) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let mut verdict = self.inner.verdict.subscribe();
        async move {
            let said = verdict.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
            match said {
                Some(said) => said,
                // The node is gone, and nobody will say anything any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for the first door that welcomes the node.
    pub fn welcomed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut verdict = self.inner.verdict.subscribe();
        async move {
            if verdict.wait_for(|verdict| matches!(verdict, Some(Ok(())))).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
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
        let (usage, inner) = (self.inner.usage(), &self.inner);
        if let Err(error) = inner.state().keep(usage) {
            tracing::warn!(node = %inner.node, %error, "what the node knew last could not be written down");
        }
        inner.write_traffic();
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
        let (usage, failed) = (self.store.usage(), self.store.failure().is_some());
        // A store that is gone takes nothing, whatever its capacity was.
        let writable_bytes = if failed { 0 } else { usage.writable_bytes };
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
            damage_version: self.store.damage_version(),
            leaving: self.state().leaving(),
            failed,
        }
    }

    /// Says so where the capacity was lowered below what is stored.
    fn warn_if_shrunk(&self) {
        let usage = self.usage();
        if usage.used_bytes() > usage.capacity_bytes {
            tracing::warn!(
                "the node promises {} and holds {}: it takes no more pieces until enough of them have been deleted",
                size(usage.capacity_bytes),
                size(usage.used_bytes())
            );
        }
    }

    async fn note_traffic(self: Arc<Self>) {
        let mut stopped = self.stop.subscribe();
        while tokio::time::timeout(NOTE_TRAFFIC_EVERY, stopped.wait_for(|&stopped| stopped)).await.is_err() {
            let inner = self.clone();
            let _ = tokio::task::spawn_blocking(move || inner.write_traffic()).await;
        }
    }

    /// Blocks for an fsync.
    fn write_traffic(&self) {
        let mut traffic = self.traffic();
        traffic.add(self.clock.now(), self.traffic_total());
        if let Err(error) = traffic.save() {
            tracing::warn!(node = %self.node, %error, "the traffic could not be written down");
        }
    }

    pub(super) fn traffic(&self) -> MutexGuard<'_, TrafficLog> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
