//! The door: accepts nodes, judges their hello, parks their connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::Traffic;
use super::certificate::node_id;
use super::connection::Connection;
use super::frames::{FrameError, read_frame, write_frame};
use super::metered::Metered;
use super::registry::{Member, Registry, duplicate, not_admitted, park};
use super::tls::{BINDING_LABEL, door_config};
use super::tuning::{BUFFER_BYTES, Tuning};
use super::{ClusterIdentity, Nodes, TransportError};
use crate::env::{Crowd, Lines};
use crate::types::limits::HELLO_BYTES_MAX;
use crate::types::{Generation, InstanceId, NodeId};
use crate::wire::{Answer, Hello, Purpose, Refusal, RefusalKind, VERSION, Welcome};

/// Who may come in: decided over the database, for every control connection.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Judges a node whose key is proven. The cluster, the generation and the
    /// wire's version fit already, and no other instance of it is alive.
    async fn admit(&self, node: NodeId, hello: &Hello, peer: SocketAddr) -> Result<Admitted, Refusal>;
}

/// What a node learns that may come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// All doors of the cluster as `host:port`; empty if that does not change.
    pub doors: Vec<String>,
}

/// What a door is made of.
pub struct DoorConfig {
    /// The cluster's key.
    pub cluster: ClusterIdentity,
    /// The cluster's generation.
    pub generation: Generation,
    /// Who may come in.
    pub admission: Arc<dyn Admission>,
    /// The numbers; `Tuning::default()` suits all but tests.
    pub tuning: Tuning,
}

/// An open door. Dropping it closes it, but its address may stay in use for a
/// moment; see [`shutdown`](Self::shutdown).
pub struct Door {
    address: SocketAddr,
    nodes: Nodes,
    accepting: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// What every accepted connection needs.
struct Threshold {
    cluster: Arc<ClusterIdentity>,
    generation: Generation,
    admission: Arc<dyn Admission>,
    registry: Arc<Registry>,
    tls: TlsAcceptor,
    traffic: Arc<Traffic>,
    handshakes: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    refusals: Lines,
}

impl Door {
    /// Listens on `host:port` (port 0: any) and begins to let nodes in.
    pub async fn bind(address: &str, config: DoorConfig) -> Result<Self, TransportError> {
        let failed = |error| TransportError::Bind { address: address.to_owned(), error };
        let cluster = Arc::new(config.cluster);
        let tls = TlsAcceptor::from(Arc::new(door_config(cluster.clone())?));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let handshakes = Arc::new(Semaphore::new(config.tuning.handshakes_max));
        let crowd = Arc::new(Crowd::new(config.tuning.handshakes_per_source_max));
        let registry = Arc::new(Registry::new(config.tuning));
        let (stop, stopped) = watch::channel(false);
        let threshold = Arc::new(Threshold {
            cluster,
            generation: config.generation,
            admission: config.admission,
            registry: registry.clone(),
            tls,
            traffic: Arc::default(),
            handshakes,
            crowd,
            refusals: Lines::default(),
        });
        let accepting = tokio::spawn(until(stopped.clone(), accept(listener, threshold)));
        tokio::spawn(until(stopped, look_after(registry.clone())));
        Ok(Self { address: bound, nodes: Nodes { registry }, accepting, stop })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The nodes that are connected to it.
    pub fn nodes(&self) -> Nodes {
        self.nodes.clone()
    }

    /// Takes no more connections and closes the idle ones. Requests in flight
    /// go on; new ones find their node offline.
    pub fn close(&self) {
        self.stop.send_replace(true);
        self.nodes.registry.close();
    }

    /// The same, and returns when the address can be listened on again.
    pub async fn shutdown(mut self) {
        self.close();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

async fn until(mut stopped: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = stopped.wait_for(|&stopped| stopped) => {}
        () = work => {}
    }
}

async fn look_after(registry: Arc<Registry>) {
    let step = (registry.tuning.ping_after / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        tokio::time::sleep(step).await;
        registry.look_after();
    }
}

async fn accept(listener: TcpListener, threshold: Arc<Threshold>) {
    loop {
        let permit = threshold.handshakes.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((socket, peer)) => {
                let Some(place) = threshold.crowd.enter(peer.ip()) else {
                    tracing::debug!(%peer, "too many connections from there that have not said who they are");
                    continue;
                };
                let threshold = threshold.clone();
                tokio::spawn(async move {
                    let _held = (permit, place);
                    let limit = threshold.registry.tuning.hello_timeout;
                    if tokio::time::timeout(limit, threshold.receive(socket, peer)).await.is_err() {
                        tracing::debug!(%peer, "a connection sent no hello in time");
                    }
                });
            }
            // Most likely out of descriptors: some will come back.
            Err(error) => {
                tracing::warn!(%error, "the node door cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Threshold {
    async fn receive(&self, socket: TcpStream, peer: SocketAddr) {
        match self.handshake(socket).await {
            Ok((node, stream)) => {
                if let Err(error) = self.greet(node, stream, peer).await {
                    tracing::debug!(%peer, %node, %error, "a node's connection broke during the hello");
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "no TLS with what dialled the node door"),
        }
    }

    async fn handshake(&self, socket: TcpStream) -> io::Result<(NodeId, TlsStream<Metered>)> {
        let socket = Metered::new(socket, self.traffic.clone())?;
        let mut stream = self.tls.accept(socket).await?;
        stream.get_mut().1.set_buffer_limit(Some(BUFFER_BYTES));
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let node = certificate.and_then(node_id).ok_or_else(|| io::Error::other("no Ed25519 key"))?;
        Ok((node, stream))
    }

    async fn greet(&self, node: NodeId, mut stream: TlsStream<Metered>, peer: SocketAddr) -> Result<(), FrameError> {
        let hello = match read_frame(&mut stream).await {
            Err(FrameError::Wire(error)) => Err(Refusal::from(error)),
            json => Hello::decode(&json?).map_err(Refusal::from),
        };
        let judged = match hello {
            Ok(hello) => self.judge(node, &hello, peer).await.map(|judged| (hello, judged)),
            Err(refusal) => Err(refusal),
        };
        match judged {
            Ok((hello, judged)) => self.welcome(node, hello, judged, stream, peer).await,
            Err(refusal) => {
                if let Some(left_out) = self.refusals.next(Instant::now()) {
                    tracing::info!(%node, %peer, reason = %refusal, left_out, "refused a node");
                }
                refuse(stream, refusal).await
            }
        }
    }

    /// Whether the node may come in; and which instance of it is dead.
    async fn judge(
        &self,
        node: NodeId,
        hello: &Hello,
        peer: SocketAddr,
    ) -> Result<(Admitted, Option<InstanceId>), Refusal> {
        if hello.cluster != self.cluster.cluster_id() {
            return Err(Refusal::new(RefusalKind::Cluster, "this door belongs to another cluster than the node"));
        }
        if hello.generation > self.generation {
            let sentence = format!(
                "the node has seen generation {}, and this door is of generation {}: the door is out of date",
                hello.generation, self.generation
            );
            tracing::error!(%node, seen = %hello.generation, own = %self.generation, "this door is out of date");
            return Err(Refusal::new(RefusalKind::Generation, sentence));
        }
        let present = self.registry.get(node);
        if hello.purpose == Purpose::Data {
            let known = present.filter(|member| member.instance == hello.instance).ok_or_else(not_admitted)?;
            return self.room_for(&known).map(|()| (Admitted::default(), None));
        }
        let dead = match present {
            Some(member) if member.instance == hello.instance => self.room_for(&member).map(|()| None)?,
            Some(member) => Some(self.bury(&member, hello).await?),
            None => None,
        };
        self.admission.admit(node, hello, peer).await.map(|admitted| (admitted, dead))
    }

    /// A node may have a few more connections than are asked for, as those
    /// that broke are not noticed at once.
    fn room_for(&self, member: &Member) -> Result<(), Refusal> {
        if member.pool.counts().0 < 2 * self.registry.tuning.connections_per_node.max(2) {
            return Ok(());
        }
        Err(Refusal::new(RefusalKind::Busy, "the node has too many connections to this door already"))
    }

    /// Makes sure that the instance which is present is dead.
    async fn bury(&self, member: &Member, hello: &Hello) -> Result<InstanceId, Refusal> {
        if member.is_alive(&self.registry.tuning).await {
            member.count_duplicate();
            tracing::warn!(
                node = %member.node, present = %member.instance, refused = %hello.instance,
                "a second node shows the same identity: its folder was copied"
            );
            return Err(duplicate());
        }
        Ok(member.instance)
    }

    async fn welcome(
        &self,
        node: NodeId,
        hello: Hello,
        (admitted, dead): (Admitted, Option<InstanceId>),
        mut stream: TlsStream<Metered>,
        peer: SocketAddr,
    ) -> Result<(), FrameError> {
        let binding = stream.get_ref().1.export_keying_material([0; 32], BINDING_LABEL, None);
        let binding = binding.map_err(io::Error::other)?;
        let welcome = Welcome {
            version: VERSION,
            generation: self.generation,
            signature: self.cluster.sign_generation(self.generation, &binding),
            doors: admitted.doors,
        };
        write_frame(&mut stream, &Answer::Welcome(welcome).encode()?).await?;
        match self.registry.join(node, &hello, peer, dead) {
            Ok(member) => {
                // A node dials a control connection when it has lost the last
                // one, most likely with its address: no request shall wait for
                // what went with it.
                if hello.purpose == Purpose::Control {
                    self.registry.probe(&member, Duration::ZERO);
                }
                self.park(member, hello.purpose, stream).await;
            }
            // Another connection was faster. The node dials again and is told.
            Err(refusal) => tracing::debug!(%node, %peer, reason = %refusal, "closed a node's connection"),
        }
        Ok(())
    }

    async fn park(&self, member: Arc<Member>, purpose: Purpose, stream: TlsStream<Metered>) {
        let number = self.registry.next_number();
        let (registry, owner, pool) = (self.registry.clone(), member.clone(), member.pool.clone());
        let closed = move || pool.evict(number);
        let ended = move |how| registry.ended(owner, number, how);
        match Connection::open(number, purpose, stream, closed, ended).await {
            Ok(connection) => park(&self.registry, &member, connection),
            Err(error) => {
                tracing::debug!(node = %member.node, %error, "a node's connection broke after the hello");
                self.registry.leave_if_empty(&member, Duration::ZERO);
            }
        }
    }
}

/// Says why, and reads what the node still sends for a moment: closing with
/// unread bytes would take the answer away from it.
async fn refuse(mut stream: TlsStream<Metered>, refusal: Refusal) -> Result<(), FrameError> {
    write_frame(&mut stream, &Answer::Refused(refusal).encode()?).await?;
    stream.shutdown().await?;
    let drain = async {
        let mut sink = [0; 4096];
        let mut left = 2 * HELLO_BYTES_MAX;
        while let Ok(count @ 1..) = stream.read(&mut sink).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), drain).await;
    Ok(())
}
