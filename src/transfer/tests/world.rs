//! A cluster in one process: a real door, and nodes that keep pieces in memory
//! and behave as the test wants.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;

use crate::env::Env;
use crate::erasure::Scheme;
use crate::metadata::{CondemnedPiece, ListNodes, Metadata, PiecesToTrash, PlaceNode, SqliteOptions};
use crate::seal::ClusterSecret;
use crate::transfer::{Budget, Fleet, SchemePolicy, Transfer};
use crate::transport::tests::{cluster, config};
use crate::transport::{Dialler, Door, Identity, Tuning};
use crate::types::{InstanceId, NodeId, PieceId};
use crate::wire::{ErrorBody, ErrorKind, Fields, Hello, Purpose, Request, Usage, example_hello};

/// What a node does with pieces. Signs of life it always gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Manner {
    /// Takes and gives.
    Good,
    /// Says nothing.
    Stalled,
    /// Takes its time for everything.
    Slow,
    /// Gives changed bytes.
    Lying,
    /// Takes no more.
    Full,
    /// Gives nothing now.
    Busy,
    /// Does not dial.
    Away,
}

impl Manner {
    const ALL: [Self; 7] = [Self::Good, Self::Stalled, Self::Slow, Self::Lying, Self::Full, Self::Busy, Self::Away];
}

/// Longer than a machine stands still, and no longer than a door waits for progress.
pub(super) const SLOW: Duration = Duration::from_secs(12);

/// A node.
pub(super) struct Puppet {
    pub(super) node: NodeId,
    /// What the cluster calls it.
    pub(super) number: u32,
    pub(super) pieces: Mutex<HashMap<PieceId, Bytes>>,
    /// How often a piece was asked of it.
    pub(super) gets: AtomicUsize,
    /// How often it was given a piece, whether it took it or not.
    puts: AtomicUsize,
    manner: AtomicU8,
    dialler: Dialler,
    instance: InstanceId,
    door: String,
}

/// All of it.
pub(super) struct World {
    pub(super) transfer: Transfer,
    pub(super) metadata: Metadata,
    pub(super) puppets: Vec<Arc<Puppet>>,
    pub(super) door: Door,
    _folder: TempDir,
}

impl World {
    /// So many nodes, and this scheme.
    pub(super) async fn new(nodes: u8, scheme: &str) -> Self {
        let configured: Scheme = scheme.parse().unwrap();
        Self::with_policy(nodes, SchemePolicy { configured: Some(configured), min_nodes: None }).await
    }

    pub(super) async fn with_policy(nodes: u8, policy: SchemePolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.db");
        let metadata = Metadata::open_sqlite(SqliteOptions { path, cache_kib: 1024, readers: 2 }).unwrap();
        let door = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
        let fleet = Fleet::load(door.nodes(), &metadata).await.unwrap();
        let budget = Budget::new(512 << 20);
        let ids = ClusterSecret::from_bytes([9; 32]).piece_id_key();
        let transfer = Transfer::new(fleet, metadata.clone(), ids, policy, budget, Env::real());
        let mut world = Self { transfer, metadata, puppets: Vec::new(), door, _folder: folder };
        world.grow(nodes).await;
        world
    }

    /// More nodes join.
    pub(super) async fn grow(&mut self, nodes: u8) {
        for _ in 0..nodes {
            let identity = Identity::generate().unwrap();
            let node = identity.node_id();
            let place = PlaceNode { node, place: format!("{}", self.puppets.len()), instead_of: None };
            self.metadata.write(place).await.unwrap();
            let rows = self.metadata.read(ListNodes).await.unwrap();
            let puppet = Arc::new(Puppet {
                node,
                number: rows.iter().find(|row| row.node == node).unwrap().number,
                pieces: Mutex::default(),
                gets: AtomicUsize::new(0),
                puts: AtomicUsize::new(0),
                manner: AtomicU8::new(Manner::Good as u8),
                dialler: Dialler::new(&identity, cluster().cluster_id()).unwrap(),
                instance: InstanceId::from_bytes([self.puppets.len() as u8; 16]),
                door: self.door.local_addr().to_string(),
            });
            puppet.clone().dial(Purpose::Control).await;
            self.puppets.push(puppet);
        }
        let all = self.puppets.len();
        assert!(self.door.nodes().wait_connected(all, Duration::from_secs(60)).await);
        self.transfer.fleet().refresh(&self.metadata).await.unwrap();
    }

    pub(super) fn puppet(&self, number: u32) -> &Puppet {
        self.puppets.iter().find(|puppet| puppet.number == number).unwrap()
    }

    pub(super) fn all(&self, manner: Manner) {
        self.puppets.iter().for_each(|puppet| puppet.set(manner));
    }

    /// All that was condemned by now.
    pub(super) async fn condemned(&self) -> Vec<CondemnedPiece> {
        let mut condemned = Vec::new();
        for puppet in &self.puppets {
            let node = puppet.number;
            condemned.extend(self.metadata.read(PiecesToTrash { node, limit: 10_000 }).await.unwrap());
        }
        condemned
    }

    /// Pieces on all nodes.
    pub(super) fn pieces(&self) -> usize {
        self.puppets.iter().map(|puppet| puppet.pieces.lock().unwrap().len()).sum()
    }

    /// How often nodes were given a piece.
    pub(super) fn puts(&self) -> usize {
        self.puppets.iter().map(|puppet| puppet.puts.load(Relaxed)).sum()
    }

    /// How often a piece was asked of any node.
    pub(super) fn gets(&self) -> usize {
        self.puppets.iter().map(|puppet| puppet.gets.load(Relaxed)).sum()
    }
}

impl Puppet {
    pub(super) fn set(&self, manner: Manner) {
        self.manner.store(manner as u8, Relaxed);
    }

    fn manner(&self) -> Manner {
        Manner::ALL[usize::from(self.manner.load(Relaxed))]
    }

    fn dial(self: Arc<Self>, purpose: Purpose) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(async move {
            let usage = Usage { writable_bytes: 1 << 40, free_bytes: 1 << 40, ..Usage::default() };
            let hello =
                Hello { instance: self.instance, cluster: cluster().cluster_id(), purpose, usage, ..example_hello() };
            let dialled = self.dialler.dial(&self.door, &hello).await.unwrap();
            tokio::spawn(async move {
                let again = self.clone();
                let service = service_fn(move |request| self.clone().answer(request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(dialled.stream), service).await;
                // A request that was given up took its connection with it.
                if purpose == Purpose::Control && !again.door.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    while again.manner() == Manner::Away {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    again.dial_if_open(purpose).await;
                }
            });
        })
    }

    async fn dial_if_open(self: Arc<Self>, purpose: Purpose) {
        if tokio::net::TcpStream::connect(&self.door).await.is_ok() {
            let _ = tokio::spawn(self.dial(purpose)).await;
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let (head, body) = request.into_parts();
        let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        for _ in 0..field("cairn-dial").map_or(0, |count| count.parse().unwrap()) {
            tokio::spawn(self.clone().dial(Purpose::Data));
        }
        let fields = Fields { epoch: field("cairn-epoch"), range: field("range"), length: field("content-length") };
        let target = head.uri.path_and_query().unwrap().as_str();
        let request = Request::decode(head.method.as_str(), target, fields).unwrap();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let (status, body) = self.perform(request, body).await;
        let mut answer = Response::new(Full::new(body));
        *answer.status_mut() = status;
        Ok(answer)
    }

    async fn perform(&self, request: Request, body: Bytes) -> (StatusCode, Bytes) {
        let manner = self.manner();
        let refuse = |kind: ErrorKind| {
            let status = StatusCode::from_u16(kind.status()).unwrap();
            (status, Bytes::from(ErrorBody::new(kind, "no").encode()))
        };
        if let Request::Usage = request {
            return (
                StatusCode::OK,
                Usage { writable_bytes: 1 << 40, free_bytes: 1 << 40, ..Usage::default() }.encode().into(),
            );
        }
        if let Request::Put { .. } = request {
            self.puts.fetch_add(1, Relaxed);
        }
        match manner {
            Manner::Stalled => std::future::pending().await,
            Manner::Slow => tokio::time::sleep(SLOW).await,
            _ => {}
        }
        match request {
            Request::Put { .. } if manner == Manner::Full => refuse(ErrorKind::Full),
            Request::Put { id, .. } => {
                self.pieces.lock().unwrap().insert(id, body);
                (StatusCode::CREATED, Bytes::new())
            }
            Request::Get { .. } if manner == Manner::Busy => refuse(ErrorKind::Busy),
            Request::Get { id, range } => {
                self.gets.fetch_add(1, Relaxed);
                let Some(piece) = self.pieces.lock().unwrap().get(&id).cloned() else {
                    return refuse(ErrorKind::Missing);
                };
                let mut bytes = piece[range.start as usize..range.end as usize].to_vec();
                if manner == Manner::Lying {
                    bytes[0] ^= 1;
                }
                (StatusCode::PARTIAL_CONTENT, bytes.into())
            }
            _ => refuse(ErrorKind::Unsupported),
        }
    }
}
