//! The wiring of a process that serves S3: database, node door, workers and
//! gateway. `cairn up` runs nodes of its own besides, reached through the same
//! sockets and TLS as far-away ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::database::Opened;
use super::doors::{self, Registration};
use super::failure::reason;
use super::local_nodes::{LocalNode, Prepared, prepare, stop_all, warn_of_idle};
use super::operator::open_doors;
use super::progress::Progress;
use super::settings::{Config, Credentials};
use super::{DataDir, Failure, announce, database, join_token};
use crate::admin::{Live, Operator, OperatorParts};
use crate::env::{Env, Shutdown};
use crate::erasure::Scheme;
use crate::gateway::front::{Domains, FrontConfig, RootCredentials};
use crate::gateway::server::serve;
use crate::gateway::tls::{Tls, TlsFiles};
use crate::gateway::{Gateway, gateway};
use crate::metadata::{ClusterRow, Metadata};
use crate::objects::{Epochs, KeyRing, Objects};
use crate::seal::ClusterSecret;
use crate::transfer::{Budget, Fleet, Registered, SchemePolicy, Transfer};
use crate::transport::{ClusterIdentity, Door, DoorConfig, TransportError, Tuning};
use crate::types::ClusterId;
use crate::types::limits::{MAC_BYTES, SEALED_BLOCK_BYTES, STRIPES_MAX};
use crate::workers::{self, DeleteWorker, HealthLoop, HealthTuning, HealthWatch, NodeWatch, ReleaseWorker};

/// Where the nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In this process: their door is on loopback.
    Up,
    /// On other machines: their door is open to the network.
    Gateway,
}

/// What the parts of a cluster are started from.
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    pub(super) kind: Kind,
    pub(super) layout: &'a DataDir,
    pub(super) env: Env,
    pub(super) opened: Opened,
    pub(super) root: &'a Credentials,
    /// Bound already; a client that connects waits until it is served.
    pub(super) listener: TcpListener,
    /// Tells people what a long start is waiting for.
    pub(super) progress: &'a Progress,
}

/// How long the local nodes may take to come through the door at the start.
const NODES_CONNECT: Duration = Duration::from_secs(30);

/// A cluster that serves.
pub(super) struct Cluster {
    metadata: Metadata,
    epochs: Epochs,
    door: Door,
    nodes: Vec<LocalNode>,
    background: JoinSet<()>,
    listener: TcpListener,
    gateway: Gateway,
    tls: Option<Tls>,
}

impl Cluster {
    /// Starts every part and returns when S3 can be served. May be dropped at
    /// any await: a stop may come first.
    pub(super) async fn start(start: Start<'_>, shutdown: Shutdown) -> Result<Self, Failure> {
        let Start { config, kind, layout, env, opened, root, listener, progress } = start;
        let Opened { secret, metadata, row } = opened;
        let tls = tls(config)?;
        let prepared = match kind {
            Kind::Up => {
                progress.step("opening the nodes' stores");
                let spare = scheme(config, config.nodes.get().into()).survives_at_ack();
                prepare(config, layout, &metadata, spare).await?
            }
            Kind::Gateway => {
                warn_of_idle(layout, &metadata).await?;
                Vec::new()
            }
        };
        // Before the door opens, so that nobody is turned away who has it.
        let token = config.join_token_file.as_deref().filter(|_| kind == Kind::Gateway);
        let token_to_make = match token {
            Some(path) if !join_token::accept(path, &metadata, row.cluster).await? => token,
            _ => None,
        };
        let door = open_door(config, kind, &secret, &row, metadata.clone()).await?;
        let nodes = start_nodes(prepared, row.cluster, &door, progress).await?;
        let fleet = Fleet::load(door.nodes(), &metadata).await.map_err(database::failed)?;
        let scheme = scheme(config, fleet.registered().len());
        let budget = Budget::new(memory(config, scheme));
        let min_nodes = config.min_nodes.filter(|_| kind == Kind::Gateway);
        let policy = SchemePolicy { configured: config.scheme, min_nodes: min_nodes.map(|nodes| nodes.get()) };
        let transfer = Transfer::new(fleet, metadata.clone(), secret.piece_id_key(), policy, budget, env.clone());
        let missing = transfer.readiness().missing;
        let epochs = Epochs::start(metadata.clone(), transfer.fleet().clone(), &env).await.map_err(database::failed)?;
        let keys = KeyRing::new(secret, row.key_version, env.clone());
        let mut background = JoinSet::new();
        let names = match kind {
            Kind::Up => Vec::new(),
            Kind::Gateway => doors::names(config, door.local_addr())?,
        };
        if kind == Kind::Gateway {
            let registration = Registration::begin(metadata.clone(), &env, &names).await.map_err(database::failed)?;
            background.spawn(registration.keep(shutdown.clone()));
        }
        let work = Work { metadata: &metadata, transfer: &transfer, epochs: &epochs, env: &env };
        let health = work.begin(&shutdown, &mut background);
        let live = Live { transfer: transfer.clone(), health, s3: announce::url(config, &listener) };
        let parts = OperatorParts {
            metadata: metadata.clone(),
            env: env.clone(),
            cluster: row.cluster,
            doors: names,
            live: Some(live),
            is_shared: false,
        };
        let operator = Operator::new(parts);
        if let Some(path) = token_to_make {
            join_token::make(path, &operator, &metadata, &env).await?;
        }
        open_doors(config, kind, layout, &env, operator, &shutdown, &mut background).await?;
        let objects = Objects::new(metadata.clone(), transfer, keys, epochs.clone(), env);
        let gateway = gateway(objects, front(config, root, row.cluster)?);
        tracing::info!("{}, redundancy scheme {scheme}", nodes_in_words(&nodes, &door));
        if let Some(missing) = &missing {
            tracing::info!("until that changes, writes are refused: {missing}");
        }
        Ok(Self { metadata, epochs, door, nodes, background, listener, gateway, tls })
    }

    /// Where the nodes are, for people.
    pub(super) fn nodes_in_words(&self) -> String {
        nodes_in_words(&self.nodes, &self.door)
    }

    /// Serves until the order to stop, then finishes what is in flight and
    /// closes every part.
    pub(super) async fn run(mut self, shutdown: Shutdown) -> Result<(), Failure> {
        let order = shutdown.clone();
        let finish_within = shutdown.grace();
        serve(self.listener, self.tls, self.gateway, async move { order.requested().await }, finish_within).await;
        while self.background.join_next().await.is_some() {}
        self.door.close();
        stop_all(self.nodes).await;
        self.epochs.end(&self.metadata).await;
        self.metadata.close().await;
        Ok(())
    }
}

/// What the workers of a process work with.
struct Work<'a> {
    metadata: &'a Metadata,
    transfer: &'a Transfer,
    epochs: &'a Epochs,
    env: &'a Env,
}

impl Work<'_> {
    /// Starts all of them.
    fn begin(&self, shutdown: &Shutdown, background: &mut JoinSet<()>) -> HealthWatch {
        let (metadata, transfer) = (self.metadata, self.transfer);
        let (epochs, tuning) = (self.epochs.clone(), HealthTuning::default());
        let health = HealthLoop::new(metadata.clone(), transfer.clone(), epochs, self.env.clone(), tuning);
        let watch = health.watch();
        let nodes = NodeWatch::new(metadata.clone(), transfer.clone(), watch.clone(), self.env.clone());
        background
            .spawn(workers::run(DeleteWorker::new(metadata.clone(), transfer.clone(), self.env), shutdown.clone()));
        background.spawn(workers::run(ReleaseWorker::new(metadata.clone()), shutdown.clone()));
        background.spawn(workers::run(nodes, shutdown.clone()));
        background.spawn(workers::run(health, shutdown.clone()));
        watch
    }
}

async fn start_nodes(
    prepared: Vec<Prepared>,
    cluster: ClusterId,
    door: &Door,
    progress: &Progress,
) -> Result<Vec<LocalNode>, Failure> {
    let address = door.local_addr().to_string();
    let mut nodes = Vec::with_capacity(prepared.len());
    for prepared in prepared {
        nodes.push(prepared.start(cluster, address.clone()).await?);
    }
    progress.step("waiting for the nodes to connect");
    if !door.nodes().wait_connected(nodes.len(), NODES_CONNECT).await {
        tracing::warn!("only {} of {} local nodes have connected", door.nodes().connected().len(), nodes.len());
    }
    Ok(nodes)
}

fn nodes_in_words(nodes: &[LocalNode], door: &Door) -> String {
    match nodes.len() {
        0 => format!("they dial the node door on {}", door.local_addr()),
        count => format!("{count} local nodes"),
    }
}

fn scheme(config: &Config, nodes: usize) -> Scheme {
    config.scheme.unwrap_or_else(|| Scheme::default_for(nodes))
}

/// The memory for transfers: what was configured, or what two segments of the
/// scheme take if that is more.
fn memory(config: &Config, scheme: Scheme) -> usize {
    let configured = usize::try_from(config.memory.0.bytes()).unwrap_or(usize::MAX);
    let piece = STRIPES_MAX * (SEALED_BLOCK_BYTES + MAC_BYTES);
    let needed = 5 * piece * usize::from(scheme.total());
    if configured < needed {
        tracing::warn!("the scheme {scheme} needs {} MiB of memory for transfers: that much is used", needed >> 20);
    }
    configured.max(needed)
}

async fn open_door(
    config: &Config,
    kind: Kind,
    secret: &ClusterSecret,
    row: &ClusterRow,
    metadata: Metadata,
) -> Result<Door, Failure> {
    let address = match kind {
        Kind::Up => "127.0.0.1:0".to_owned(),
        Kind::Gateway => config.node_door.0.to_string(),
    };
    let failed = |error: TransportError| Failure::start(error.to_string());
    let door = DoorConfig {
        cluster: ClusterIdentity::from_seed(&secret.signing_seed()).map_err(failed)?,
        generation: row.generation,
        admission: Arc::new(Registered::new(metadata)),
        tuning: Tuning::default(),
    };
    Door::bind(&address, door).await.map_err(|error| match error {
        TransportError::Bind { address, error } => Failure::start(format!(
            "the node door cannot listen on {address} ({}): {}",
            config.origin("node_door"),
            reason(&error).replace("--listen", "--node-door")
        )),
        error => failed(error),
    })
}

/// The cluster's id, which is as long as AWS's canonical user ids, stands for
/// the one who owns all buckets.
fn front(config: &Config, root: &Credentials, cluster: ClusterId) -> Result<FrontConfig, Failure> {
    let domains = Domains::new(config.domains.as_slice()).map_err(|error| Failure::start(error.to_string()))?;
    let credentials = RootCredentials::new(root.access_key.clone(), root.secret_key.expose());
    Ok(FrontConfig::new(config.region.as_str(), domains, cluster.to_string(), Arc::new(credentials)))
}

fn tls(config: &Config) -> Result<Option<Tls>, Failure> {
    let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    Tls::load(files).map(Some).map_err(|error| Failure::start(error.to_string()))
}
