//! A small town: a door, nodes with real stores, objects, and the workers,
//! which go step by step as the tests tell them.

mod audits;
mod coming_and_going;
mod damage;
mod merge;
mod model;
mod overtaking;
mod reclaim;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use tempfile::TempDir;
use tokio::time::Instant;

use super::repair::Repairer;
use super::*;
use crate::env::Env;
use crate::metadata::*;
use crate::node::store::{PieceStore, StoreOptions};
use crate::node::{Node, NodeConfig};
use crate::objects::{Address, Epochs, Get, Incoming, KeyRing, Objects, Put};
use crate::seal::ClusterSecret;
use crate::transfer::{Budget, Fleet, Registered, SchemePolicy, Transfer};
use crate::transport::{ClusterIdentity, Door, DoorConfig, Identity, Tuning};
use crate::types::limits::LOG_BYTES_MAX;
use crate::types::{
    BucketName, ClusterId, Generation, KeyVersion, NodeId, ObjectHeaders, ObjectKey, PieceId, UnixMillis,
};

const SOON: Duration = Duration::from_secs(60);

/// A node and its folder.
struct Volunteer {
    folder: TempDir,
    id: NodeId,
    running: Option<(Node, PieceStore)>,
}

impl Volunteer {
    fn dir(&self) -> &Path {
        self.folder.path()
    }

    fn store(&self) -> &PieceStore {
        &self.running.as_ref().unwrap().1
    }

    async fn start(&mut self, cluster: ClusterId, doors: Vec<String>) {
        let options = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: LOG_BYTES_MAX };
        let store = PieceStore::open(self.dir(), options).unwrap().0;
        let identity = Identity::load_or_create(self.dir()).unwrap();
        let config = NodeConfig::new(self.dir(), store.clone(), identity, cluster, doors);
        self.running = Some((Node::start(config).await.unwrap(), store));
    }

    /// Ends it as a kill does: the files that only it had open are gone.
    fn kill(&mut self) {
        self.running = None;
    }

    async fn stop(&mut self) {
        if let Some((node, store)) = self.running.take() {
            node.shutdown().await;
            store.close().await.unwrap();
        }
    }
}

/// A gateway and its workers.
struct Process {
    metadata: Metadata,
    door: Door,
    transfer: Transfer,
    epochs: Epochs,
    objects: Objects,
    health: HealthLoop,
    watch: NodeWatch,
}

impl Process {
    async fn new(metadata: Metadata, scheme: &str) -> Self {
        let (env, secret) = (Env::real(), ClusterSecret::from_bytes([7; 32]));
        metadata.write(OpenCluster { cluster: secret.cluster_id() }).await.unwrap();
        let config = DoorConfig {
            cluster: ClusterIdentity::from_seed(&secret.signing_seed()).unwrap(),
            generation: Generation(1),
            admission: Arc::new(Registered::new(metadata.clone())),
            tuning: Tuning { ping_after: Duration::from_millis(300), ..Tuning::default() },
        };
        let door = Door::bind("127.0.0.1:0", config).await.unwrap();
        let fleet = Fleet::load(door.nodes(), &metadata).await.unwrap();
        let policy = SchemePolicy { configured: Some(scheme.parse().unwrap()), min_nodes: Some(1) };
        let budget = Budget::new(256 << 20);
        let transfer = Transfer::new(fleet, metadata.clone(), secret.piece_id_key(), policy, budget, env.clone());
        let epochs = Epochs::start(metadata.clone(), transfer.fleet().clone(), &env).await.unwrap();
        let keys = KeyRing::new(secret, KeyVersion(1), env.clone());
        let objects = Objects::new(metadata.clone(), transfer.clone(), keys, epochs.clone(), env.clone());
        let (rest, short_rest) = (Duration::from_millis(300), Duration::from_millis(10));
        let tuning = HealthTuning { rest, short_rest, settle: Duration::ZERO, page: 3, ..HealthTuning::default() };
        // Not for so long that a test waits for it, and longer than a machine stands still.
        let tuning = HealthTuning { lease: Duration::from_secs(8), ..tuning };
        let health = HealthLoop::new(metadata.clone(), transfer.clone(), epochs.clone(), env.clone(), tuning);
        let watch = NodeWatch::new(metadata.clone(), transfer.clone(), health.watch(), env);
        Self { metadata, door, transfer, epochs, objects, health, watch }
    }

    /// One look and one step.
    async fn step(&mut self) {
        self.watch.step().await.unwrap();
        if self.health.step().await.unwrap() == Step::Idle {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn report(&self) -> HealthReport {
        self.health.watch().latest()
    }

    /// Has every pass compare all nodes with the lists.
    fn compare_always(&mut self) {
        let tuning = HealthTuning { compare_every: Duration::ZERO, ..self.health.tuning.clone() };
        let Self { metadata, transfer, epochs, .. } = self;
        let env = Env::real();
        let health = HealthLoop::new(metadata.clone(), transfer.clone(), epochs.clone(), env.clone(), tuning);
        self.watch = NodeWatch::new(metadata.clone(), transfer.clone(), health.watch(), env);
        self.health = health;
    }

    /// Merges what the walk of this process finds.
    fn merger(&self) -> MergeWorker {
        let Self { metadata, transfer, epochs, health, .. } = self;
        MergeWorker::new(metadata.clone(), transfer.clone(), epochs.clone(), health.candidates(), health.watch())
    }
}

struct Town {
    /// The gateway whose workers go step by step.
    process: Process,
    cluster: ClusterId,
    nodes: Vec<Volunteer>,
    bodies: BTreeMap<String, Bytes>,
    _folder: Option<TempDir>,
}

impl std::ops::Deref for Town {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl std::ops::DerefMut for Town {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Town {
    /// So many nodes, numbered from 1, and a scheme.
    async fn new(nodes: usize, scheme: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { path: folder.path().join("town.db"), cache_kib: 1024, readers: 4 };
        let process = Process::new(Metadata::open_sqlite(options).unwrap(), scheme).await;
        let mut town = Self::of(process).await;
        town._folder = Some(folder);
        for _ in 0..nodes {
            town.join().await;
        }
        town
    }

    /// No nodes yet.
    async fn of(process: Process) -> Self {
        let bucket = CreateBucket { name: BucketName::new("town").unwrap(), now: UnixMillis(1) };
        process.metadata.write(bucket).await.unwrap();
        let cluster = ClusterSecret::from_bytes([7; 32]).cluster_id();
        Self { process, cluster, nodes: Vec::new(), bodies: BTreeMap::new(), _folder: None }
    }

    /// One more node.
    async fn join(&mut self) {
        self.enlist().await;
        self.start(self.nodes.len() - 1).await;
    }

    /// One more node, which does not run yet.
    async fn enlist(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let id = Identity::load_or_create(folder.path()).unwrap().node_id();
        let place = PlaceNode { node: id, place: self.nodes.len().to_string(), instead_of: None };
        self.metadata.write(place).await.unwrap();
        self.nodes.push(Volunteer { folder, id, running: None });
    }

    /// Starts a node on its folder and waits until it is connected.
    async fn start(&mut self, at: usize) {
        let (cluster, door) = (self.cluster, self.door.local_addr().to_string());
        self.nodes[at].start(cluster, vec![door]).await;
        let begun = Instant::now();
        while !self.door.nodes().is_connected(self.nodes[at].id) {
            assert!(begun.elapsed() < SOON, "a node does not connect");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.transfer.fleet().refresh(&self.metadata).await.unwrap();
    }

    async fn kill(&mut self, at: usize) {
        self.nodes[at].kill();
        self.until_gone(at).await;
    }

    async fn stop(&mut self, at: usize) {
        self.nodes[at].stop().await;
        self.until_gone(at).await;
    }

    async fn until_gone(&self, at: usize) {
        while self.door.nodes().is_connected(self.nodes[at].id) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts objects of one or more segments each.
    async fn put(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.bodies.len();
            let body: Bytes = (0..3_000_000 + number * 100_000).map(|at| (at / 5 * (number + 3)) as u8).collect();
            let incoming = Incoming {
                stream: Box::pin(stream::iter([Ok(body.clone())])),
                length: Some(body.len() as u64),
                md5: None,
                algorithm: None,
                checksum: None,
                trailing: None,
            };
            let key = format!("object-{number}");
            let (address, headers) = (address(&key), ObjectHeaders::default());
            self.objects.put(Put { address, headers, condition: Default::default() }, incoming).await.unwrap();
            self.bodies.insert(key, body);
        }
    }

    /// Every object is what it was.
    async fn check(&self) {
        for (key, body) in &self.bodies {
            let get = Get { address: address(key), range: None, part_number: None, condition: Default::default() };
            let content = self.objects.get(get).await.unwrap().1;
            let read: Vec<Bytes> = content.try_collect().await.unwrap();
            assert!(read.concat() == *body, "{key} is not what it was");
        }
    }

    /// Goes on until that is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&HealthReport) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.report()) {
            assert!(begun.elapsed() < SOON, "{what}: {:?}", self.report());
            self.step().await;
        }
    }

    /// Goes on until nothing waits, and a whole pass has seen what was done.
    async fn settle(&mut self) {
        let done = |report: &HealthReport| (report.pieces_repaired, report.pieces_moved);
        loop {
            let passes = self.report().passes + 3;
            self.until("nothing waits", |report| report.passes >= passes && report.queue == 0).await;
            let before = self.report();
            // The first of these may have begun before.
            self.until("two more passes", |report| report.passes >= before.passes + 2).await;
            let after = self.report();
            if after.queue == 0 && done(&before) == done(&after) {
                return;
            }
        }
    }

    async fn segments(&self) -> Vec<SegmentRow> {
        self.metadata.read(ScanSegments { after: None, limit: 1000 }).await.unwrap()
    }

    /// How many pieces the lists name on the node at that place.
    async fn listed(&self, at: usize) -> usize {
        let number = at as u32 + 1;
        self.segments().await.iter().flat_map(|row| &row.pieces).filter(|place| place.node == number).count()
    }

    async fn change(&mut self, at: usize, change: NodeChange) {
        let change = ChangeNode { node: self.nodes[at].id, change, reason: None };
        self.metadata.write(change).await.unwrap().unwrap();
    }

    async fn state(&self, at: usize) -> NodeState {
        self.metadata.read(FindNode { node: self.nodes[at].id }).await.unwrap().unwrap().state
    }

    /// As if the lease were renewed now; answers when this process knows.
    async fn renew_lease(&self) {
        let holder = self.epochs.begin().lease().holder;
        let epoch = self.metadata.write(RenewLease { holder, oldest: None }).await.unwrap();
        while self.epochs.begin().epoch() < epoch {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that the lists name is there, and what is there besides was
    /// condemned. Nodes in `except` are not looked at.
    async fn nothing_leaks(&self, except: &[usize]) {
        let mut listed: BTreeMap<u32, BTreeSet<PieceId>> = BTreeMap::new();
        for row in self.segments().await {
            let nodes: BTreeSet<u32> = row.pieces.iter().map(|place| place.node).collect();
            assert_eq!(nodes.len(), row.pieces.len(), "two pieces on one node");
            for place in &row.pieces {
                let id = self.transfer.piece_id(row.segment, place).unwrap();
                listed.entry(place.node).or_default().insert(id);
            }
        }
        for (at, node) in self.nodes.iter().enumerate().filter(|(at, _)| !except.contains(at)) {
            let number = at as u32 + 1;
            let listed = listed.remove(&number).unwrap_or_default();
            let condemned = self.metadata.read(PiecesToTrash { node: number, limit: 1000 }).await.unwrap();
            let condemned: BTreeSet<PieceId> =
                condemned.iter().map(|piece| self.transfer.piece_id(piece.segment, &piece.place).unwrap()).collect();
            let there: BTreeSet<PieceId> = node.store().inventory(None, 10_000).into_iter().map(|(id, _)| id).collect();
            assert!(listed.is_subset(&there), "node {number} has not got what the lists name");
            assert!(listed.is_disjoint(&condemned), "node {number}: condemned and in use");
            let leaked = there.iter().filter(|id| !listed.contains(id) && !condemned.contains(id)).count();
            assert_eq!(leaked, 0, "node {number} has pieces that nobody knows of");
        }
    }

    async fn close(mut self) {
        for node in &mut self.nodes {
            node.stop().await;
        }
        self.door.close();
    }
}

fn address(key: &str) -> Address {
    Address { bucket: BucketName::new("town").unwrap(), key: ObjectKey::new(key).unwrap() }
}
