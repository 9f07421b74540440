//! The wiring of a process that serves a cluster: database, node door, workers
//! and gateway. `cairn worker` is all of that without S3; `cairn up` runs nodes of its own besides, reached through the same
//! sockets and TLS as far-away ones.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::database::Opened;
use super::doors::{self, Registration};
use super::failure::reason;
use super::local_nodes::{LocalNode, Prepared, prepare, stop_all, warn_of_idle};
use super::operator::open_doors;
use super::progress::Progress;
use super::settings::{Config, Credentials};
use super::{DataDir, Failure, announce, database, join_token};
use crate::admin::{Live, Operator, OperatorParts, ServingSubject, Stage};
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
use crate::workers::{
    self, DeleteWorker, HealthLoop, HealthTuning, HealthWatch, MergeWorker, NodeWatch, ReleaseWorker,
};

/// Where the nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In this process: their door is on loopback.
    Up,
    /// On other machines: their door is open to the network.
    Gateway,
    /// The same, and S3 is served by others.
    Worker,
}

impl Kind {
    /// What the command is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
        }
    }
}

/// What the parts of a cluster are started from.
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    pub(super) kind: Kind,
    pub(super) layout: &'a DataDir,
    pub(super) env: Env,
    pub(super) opened: Opened,
    /// None for a worker.
    pub(super) s3: Option<S3<'a>>,
    /// Tells people what a long start is waiting for.
    pub(super) progress: &'a Progress,
    /// Tells orchestrators.
    pub(super) stage: &'a Stage,
}

/// What S3 is served with.
pub(super) struct S3<'a> {
    pub(super) root: &'a Credentials,
    /// Bound already; a client that connects waits until it is served.
    pub(super) listener: TcpListener,
}

/// How long the local nodes may take to come through the door at the start.
const NODES_CONNECT: Duration = Duration::from_secs(30);
/// How long work in the background may take to end, at least.
const END_TIME: Duration = Duration::from_secs(5);

/// A cluster that serves.
pub(super) struct Cluster {
    metadata: Metadata,
    epochs: Epochs,
    door: Door,
    nodes: Vec<LocalNode>,
    background: JoinSet<()>,
    front: Option<Front>,
    stage: Stage,
}

/// S3 before it is served.
struct Front {
    listener: TcpListener,
    gateway: Gateway,
    tls: Option<Tls>,
}

impl Cluster {
    /// Starts every part and returns when it can serve. May be dropped at
    /// any await: a stop may come first.
    pub(super) async fn start(start: Start<'_>, shutdown: Shutdown) -> Result<Self, Failure> {
        let Start { config, kind, layout, env, opened, s3, progress, stage } = start;
        let Opened { secret, metadata, row } = opened;
        let tls = tls(config)?;
        let prepared = match kind {
            Kind::Up => {
                progress.step("opening the nodes' stores");
                let spare = scheme(config, config.nodes.get().into()).survives_at_ack();
                prepare(config, layout, &metadata, spare).await?
            }
            Kind::Gateway | Kind::Worker => {
                warn_of_idle(layout, &metadata).await?;
                Vec::new()
            }
        };
        // Before the door opens, so that nobody is turned away who has it.
        let token_to_make = accept_token(config, kind, &metadata, row.cluster).await?;
        let door = open_door(config, kind, &secret, &row, metadata.clone()).await?;
        let nodes = start_nodes(prepared, row.cluster, &door, progress).await?;
        let fleet = Fleet::load(door.nodes(), &metadata).await.map_err(database::failed)?;
        let scheme = scheme(config, fleet.registered().len());
        let budget = Budget::new(memory(config, scheme));
        let min_nodes = config.min_nodes.filter(|_| kind != Kind::Up);
        let policy = SchemePolicy { configured: config.scheme, min_nodes: min_nodes.map(|nodes| nodes.get()) };
        let transfer = Transfer::new(fleet, metadata.clone(), secret.piece_id_key(), policy, budget, env.clone());
        let missing = transfer.readiness().missing;
        let epochs = Epochs::start(metadata.clone(), transfer.fleet().clone(), &env).await.map_err(database::failed)?;
        let keys = KeyRing::new(secret, row.key_version, env.clone());
        let mut background = JoinSet::new();
        let names = match kind {
            Kind::Up => Vec::new(),
            Kind::Gateway | Kind::Worker => doors::names(config, door.local_addr())?,
        };
        if kind != Kind::Up {
            let registration = Registration::begin(metadata.clone(), &env, &names).await.map_err(database::failed)?;
            background.spawn(registration.keep(shutdown.clone()));
        }
        let only_hears = kind == Kind::Gateway && !config.workers;
        let offline_after = config.offline_after.0;
        let work =
            Work { metadata: &metadata, transfer: &transfer, epochs: &epochs, env: &env, only_hears, offline_after };
        let health = work.begin(&shutdown, &mut background);
        let url = s3.as_ref().and_then(|s3| announce::url(config, &s3.listener));
        let live = Live { transfer: transfer.clone(), health: health.clone(), s3: url, stage: stage.clone() };
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
        let settings = s3.as_ref().map(|s3| front(config, s3.root, row.cluster)).transpose()?;
        let meter = settings.as_ref().map(|settings| settings.meter.clone());
        let subject = ServingSubject { metadata: metadata.clone(), transfer: transfer.clone(), health, meter };
        let objects = Objects::new(metadata.clone(), transfer, keys, epochs.clone(), env);
        let serves = |(S3 { listener, .. }, settings)| Front { listener, gateway: gateway(objects, settings), tls };
        let front = s3.zip(settings).map(serves);
        stage.runs(subject);
        tracing::info!("{}, redundancy scheme {scheme}", nodes_in_words(&nodes, &door));
        if let Some(missing) = &missing {
            tracing::info!("until that changes, writes are refused: {missing}");
        }
        Ok(Self { metadata, epochs, door, nodes, background, front, stage: stage.clone() })
    }

    /// Where the nodes are, for people.
    pub(super) fn nodes_in_words(&self) -> String {
        nodes_in_words(&self.nodes, &self.door)
    }

    /// Serves until the order to stop, then finishes what is in flight and
    /// closes every part.
    pub(super) async fn run(self, shutdown: Shutdown) -> Result<(), Failure> {
        let (order, stage) = (shutdown.clone(), self.stage);
        let ordered = async move {
            order.requested().await;
            stage.stops();
        };
        match self.front {
            Some(Front { listener, gateway, tls }) => {
                serve(listener, tls, gateway, ordered, shutdown.grace()).await;
            }
            None => ordered.await,
        }
        finish(self.background, shutdown.remaining().unwrap_or_default().max(END_TIME)).await;
        self.door.close();
        stop_all(self.nodes).await;
        self.epochs.end(&self.metadata).await;
        self.metadata.close().await;
        Ok(())
    }
}

/// Waits for work in the background to end. What takes longer is dropped
/// wherever it is: that loses no more than a kill does, and whoever has given
/// the order would kill.
async fn finish(mut background: JoinSet<()>, limit: Duration) {
    let ended = async { while background.join_next().await.is_some() {} };
    if timeout(limit, ended).await.is_err() {
        tracing::info!(tasks = background.len(), "work in the background was cut off");
        background.shutdown().await;
    }
}

/// What the workers of a process work with.
struct Work<'a> {
    metadata: &'a Metadata,
    transfer: &'a Transfer,
    epochs: &'a Epochs,
    env: &'a Env,
    /// Whether other processes do it, and this one only hears of it.
    only_hears: bool,
    offline_after: Duration,
}

impl Work<'_> {
    /// Starts all of them.
    fn begin(&self, shutdown: &Shutdown, background: &mut JoinSet<()>) -> HealthWatch {
        let (metadata, transfer) = (self.metadata, self.transfer);
        let (only_hears, offline_after) = (self.only_hears, self.offline_after);
        let tuning = HealthTuning { only_hears, offline_after, ..HealthTuning::default() };
        let health = HealthLoop::new(metadata.clone(), transfer.clone(), self.epochs.clone(), self.env.clone(), tuning);
        let watch = health.watch();
        let nodes = NodeWatch::new(metadata.clone(), transfer.clone(), watch.clone(), self.env.clone());
        if self.only_hears {
            tracing::info!("this gateway leaves repair and deletes to others: `cairn worker` has to run");
        } else {
            let (epochs, candidates) = (self.epochs.clone(), health.candidates());
            let merge = MergeWorker::new(metadata.clone(), transfer.clone(), epochs, candidates, watch.clone());
            background.spawn(merge.run(shutdown.clone()));
            let deletes = DeleteWorker::new(metadata.clone(), transfer.clone(), self.env);
            background.spawn(workers::run(deletes, shutdown.clone()));
            background.spawn(workers::run(ReleaseWorker::new(metadata.clone()), shutdown.clone()));
        }
        background.spawn(workers::run(nodes, shutdown.clone()));
        background.spawn(workers::run(health, shutdown.clone()));
        watch
    }
}

/// Lets nodes join with the token in the file that is shared; answers the file
/// where a gateway has to make one.
async fn accept_token<'a>(
    config: &'a Config,
    kind: Kind,
    metadata: &Metadata,
    cluster: ClusterId,
) -> Result<Option<&'a Path>, Failure> {
    let Some(path) = config.join_token_file.as_deref().filter(|_| kind != Kind::Up) else { return Ok(None) };
    let accepted = join_token::accept(path, metadata, cluster).await?;
    if !accepted && kind == Kind::Worker {
        tracing::info!("there is no join token in {} yet: a gateway makes one", path.display());
    }
    Ok(Some(path).filter(|_| !accepted && kind == Kind::Gateway))
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
        Kind::Gateway | Kind::Worker => config.node_door.0.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_does_not_end_holds_nothing_up() {
        let mut background = JoinSet::new();
        background.spawn(std::future::pending());
        background.spawn(async {});
        finish(background, Duration::ZERO).await;
    }
}
