//! `cairn node`: joins if it has to, and serves until it is stopped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::token::{Given, given, wait_for};
use super::{folder, store};
use crate::admin::{NodeSubject, Stage};
use crate::cli::failure::reason;
use crate::cli::progress::Progress;
use crate::cli::settings::{Config, Loaded};
use crate::cli::text::bytes;
use crate::cli::{Failure, logging, observe, process, signals, slot};
use crate::env::Shutdown;
use crate::node::{Membership, MembershipError, Node, NodeConfig, short};
use crate::transport::{Identity, TransportError};
use crate::wire::JoinToken;

/// How long what is in flight may take when the process is asked to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long threads that wait for the disk may take after that.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// A node that can hold less is of no use: a piece has about 2 MiB.
const CAPACITY_MIN: u64 = 16 << 20;
/// How long another door may take to welcome a node that one has refused.
const SECOND_OPINION: Duration = Duration::from_secs(3);

/// A node that is ready to start.
struct Prepared {
    identity: Identity,
    membership: Membership,
    /// The token is one that no door has seen.
    new_token: bool,
}

pub(super) fn command(loaded: Loaded) -> Result<(), Failure> {
    let mut config = loaded.config;
    logging::start(&config.log, config.log_format)?;
    let _slot = slot::take(&mut config.data)?;
    let given = given(&config)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    process::keep_files_private();
    process::take_all_descriptors();

    if matches!(given, Given::Nothing) && matches!(Membership::load(&config.data), Ok(None)) {
        return Err(no_cluster(&config.data));
    }
    let lock = folder::take(&config.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::start(format!("threads could not be started: {}", reason(&error))))?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new(GRACE);
        signals::listen(shutdown.clone())?;
        let stage = Stage::starting("node");
        observe::open(&config, &stage).await?;
        let token = match given {
            Given::Nothing => None,
            Given::Token(token) => Some(token),
            Given::Later(path) => tokio::select! {
                waited = wait_for(&path, &stage) => Some(waited?),
                () = shutdown.requested() => return Ok(()),
            },
        };
        run(&config, prepare(&config, token.as_ref())?, &stage, shutdown).await
    });
    // The folder stays locked until nothing of this process writes to it.
    runtime.shutdown_timeout(LAST_WRITES);
    drop(lock);
    outcome
}

/// Makes what the folder lacks. Everything is durable before a door is dialled.
fn prepare(config: &Config, token: Option<&JoinToken>) -> Result<Prepared, Failure> {
    let dir = &config.data;
    let known = Membership::load(dir).map_err(unusable)?;
    let before = known.clone();
    let was_joined = known.as_ref().is_some_and(Membership::has_joined);
    let capacity = capacity(config, known.as_ref())?;
    let (mut membership, new_token) = match (known, token) {
        (None, None) => return Err(no_cluster(dir)),
        (None, Some(token)) => (Membership::new(token, capacity), true),
        (Some(membership), None) => {
            let pending = membership.credential().is_some();
            (membership, pending)
        }
        (Some(mut membership), Some(token)) => {
            let new = membership.rejoin(token).map_err(unusable)?;
            (membership, new)
        }
    };
    membership.capacity_bytes = capacity;
    let identity = identity(dir, was_joined)?;
    if before.as_ref() != Some(&membership) {
        membership.save(dir).map_err(unusable)?;
    }
    if was_joined && new_token {
        tracing::info!("the node has a new token and shows it to its doors");
    }
    Ok(Prepared { identity, membership, new_token })
}

fn no_cluster(dir: &Path) -> Failure {
    Failure::start(format!(
        "the folder {} belongs to no cluster yet: ask an operator for a join token, and give it with --join",
        dir.display()
    ))
}

/// The node's key; made for a node that has not joined. One that has would come
/// back as a stranger, with pieces that nobody knows it has.
fn identity(dir: &Path, has_joined: bool) -> Result<Identity, Failure> {
    let failed = |error: TransportError| Failure::start(error.to_string());
    match Identity::load(dir).map_err(failed)? {
        Some(identity) => Ok(identity),
        None if has_joined => Err(Failure::start(format!(
            "{} is missing, and without this key the node is not the one that has joined: restore it from a copy, or begin \
             with an empty folder and a new token",
            dir.join("identity.key").display()
        ))),
        None => Identity::load_or_create(dir).map_err(failed),
    }
}

fn unusable(error: MembershipError) -> Failure {
    match error {
        MembershipError::Io { path, error } => Failure::io("the node's membership could not be kept", &path, &error),
        error => Failure::start(error.to_string()),
    }
}

/// Bytes that the node may use: as configured, else as before, else nine
/// tenths of what is free.
fn capacity(config: &Config, known: Option<&Membership>) -> Result<u64, Failure> {
    let failed = |error: rustix::io::Errno| Failure::io("the disk's size cannot be read", &config.data, &error.into());
    let disk = rustix::fs::statvfs(&config.data).map_err(failed)?;
    let (size, free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
    let within_reach = free + logs_bytes(&config.data);
    let given = config.capacity.map(|capacity| capacity.bytes());
    let capacity = given.or(known.map(|known| known.capacity_bytes)).unwrap_or(within_reach / 10 * 9);
    if given.is_some_and(|given| given > size) {
        return Err(Failure::start(format!(
            "capacity is {} ({}), and the whole disk of {} has {}: promise no more than it can hold",
            bytes(capacity),
            config.origin("capacity"),
            config.data.display(),
            bytes(size),
        )));
    }
    if capacity < CAPACITY_MIN {
        return Err(Failure::start(format!(
            "capacity is {}, and a node needs at least {}: make room, or choose another disk with --data",
            bytes(capacity),
            bytes(CAPACITY_MIN)
        )));
    }
    if capacity > within_reach {
        tracing::warn!(
            "the node promises {}, and the disk has room for {}: it takes no more than that",
            bytes(capacity),
            bytes(within_reach)
        );
    }
    Ok(capacity)
}

/// What the node uses of the disk already.
fn logs_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir.join("logs")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}

async fn run(config: &Config, prepared: Prepared, stage: &Stage, shutdown: Shutdown) -> Result<(), Failure> {
    let Prepared { identity, mut membership, new_token } = prepared;
    let progress = Progress::begin("opening the piece store");
    let (dir, capacity) = (config.data.clone(), membership.capacity_bytes);
    let opening = tokio::task::spawn_blocking(move || store::open(&dir, capacity));
    let pieces = tokio::select! {
        biased;
        opened = opening => opened.map_err(|_| Failure::start("the start was cut off"))??,
        () = shutdown.requested() => return Ok(()),
    };
    drop(progress);
    let node_config = NodeConfig {
        labels: config.label.as_map().clone(),
        token: membership.credential().map(str::to_owned),
        bandwidth: config.bandwidth.map(|rate| rate.bytes_per_second()),
        rejoin: new_token,
        ..NodeConfig::new(&config.data, pieces.clone(), identity, membership.cluster, membership.doors.clone())
    };
    let node = Node::start(node_config).await;
    let node = node.map_err(|error| Failure::start(format!("the node cannot start: {error}")))?;
    if let Err(error) = node.serve_socket() {
        // Some file systems have no sockets; pieces can be kept there all the same.
        tracing::warn!(%error, "the node's socket could not be made: `cairn node status` and `leave` cannot ask it");
    }
    stage.runs(NodeSubject(node.reporter()));
    tracing::info!(
        "node {}, which lends {}, dials cluster {}",
        &node.node_id().to_string()[..12],
        bytes(capacity),
        short(membership.cluster)
    );
    let outcome = tokio::select! {
        () = shutdown.requested() => Ok(()),
        refused = serve(&node, &mut membership, &config.data) => Err(refused),
    };
    stage.stops();
    store::stop(node, pieces).await;
    if outcome.is_ok() {
        tracing::info!("stopped");
    }
    outcome
}

/// Serves for ever, or until a door refuses a node that never was a member.
async fn serve(node: &Node, membership: &mut Membership, dir: &Path) -> Failure {
    if node.status().left {
        tracing::warn!("this node has left its cluster and its disk can be wiped; with a new token it joins again");
    }
    let first = !membership.has_joined();
    if first && let Err(refusal) = node.verdict().await {
        // With several doors, one may be out of date.
        if tokio::time::timeout(SECOND_OPINION, node.welcomed()).await.is_err() {
            return Failure::running(format!("the node could not join: {refusal}"));
        }
    }
    node.welcomed().await;
    if membership.welcomed()
        && let Err(error) = membership.save(dir)
    {
        tracing::warn!(%error, "that the node has joined could not be written down; it shows its token again");
    }
    let verb = if first { "joined" } else { "connected to" };
    tracing::info!("{verb} cluster {}, serving", short(membership.cluster));
    std::future::pending().await
}
