//! A process that serves a cluster, from its settings to its end: what `cairn up`,
//! `cairn gateway` and `cairn worker` have in common.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::cluster::{Cluster, Kind, S3, Start};
use super::database::Told;
use super::failure::reason;
use super::progress::Progress;
use super::settings::{Config, Credentials, Loaded, RootPair};
use super::{DataDir, Failure, announce, credentials, database, logging, observe, process, reserve, signals, slot};
use crate::admin::Stage;
use crate::env::{Env, Shutdown};

/// How long what is in flight may take when the process is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How long threads that wait for the disk may take after that.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Serves until the order to stop.
pub(super) fn serve(loaded: Loaded, kind: Kind) -> Result<(), Failure> {
    let mut config = loaded.config;
    check_tls_files(&config)?;
    logging::start(&config.log, config.log_format)?;
    let _slot = slot::take(&mut config.data)?;
    let given = config.root.as_ref().map(RootPair::read).transpose()?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    process::keep_files_private();
    process::take_all_descriptors();

    reserve::give_up_if_short(&config.data);
    let directory = DataDir::open(&config.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::start(format!("threads could not be started: {}", reason(&error))))?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new(GRACE);
        signals::listen(shutdown.clone())?;
        run(&config, kind, directory.clone(), given.as_ref(), shutdown).await
    });
    // The directory stays locked until nothing of this process writes to it.
    runtime.shutdown_timeout(LAST_WRITES);
    drop(directory);
    outcome
}

/// Runs the cluster on this directory until the order to stop, or until a part
/// of it fails.
async fn run(
    config: &Config,
    kind: Kind,
    layout: DataDir,
    given: Option<&Credentials>,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    let (env, stage) = (Env::real(), Stage::starting(kind.name()));
    // First what can fail for outside reasons: then nothing has been made yet.
    let s3 = if kind == Kind::Worker { None } else { Some(listen(config).await?) };
    let (listener, address) = s3.unzip();
    observe::open(config, &stage).await?;
    let progress = Progress::begin("opening the metadata database");
    let starting = async {
        let opened = database::open(config, &layout, &env, Told { progress: &progress, stage: &stage }).await?;
        let root = credentials::root(given, &layout, &opened.secret)?;
        let s3 = listener.map(|listener| S3 { root: &root, listener });
        let start = Start { config, kind, layout: &layout, env, opened, s3, progress: &progress, stage: &stage };
        Ok::<_, Failure>((Cluster::start(start, shutdown.clone()).await?, root))
    };
    let (cluster, root) = tokio::select! {
        biased;
        started = starting => started?,
        () = shutdown.requested() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    drop(progress);
    reserve::keep(layout.path());
    layout.keep_scheme(config.scheme)?;
    match address {
        Some(address) => announce::announce(config, &layout, &root, address, &cluster.nodes_in_words())?,
        None => tracing::info!("ready: this worker repairs, moves and deletes pieces"),
    }
    until_the_end(cluster.run(shutdown.clone()), &shutdown).await
}

async fn until_the_end(running: impl Future<Output = Result<(), Failure>>, shutdown: &Shutdown) -> Result<(), Failure> {
    tokio::select! {
        biased;
        ended = running => {
            if ended.is_ok() {
                tracing::info!("stopped");
            }
            ended
        }
        () = shutdown.expired() => {
            tracing::warn!("stopped with requests unfinished: their time was up");
            Ok(())
        }
    }
}

async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: io::Error| {
        let (address, origin) = (config.listen.0, config.origin("listen"));
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "this user may not use the port; choose one from 1024 up with --listen".to_owned()
            }
            _ => reason(&error),
        };
        Failure::start(format!("cannot listen on {address} ({origin}): {advice}"))
    };
    let listener = TcpListener::bind(config.listen.0).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn check_tls_files(config: &Config) -> Result<(), Failure> {
    for (name, path) in [("tls_cert", &config.tls_cert), ("tls_key", &config.tls_key)] {
        let Some(path) = path else { continue };
        let opened = File::open(path).and_then(|file| file.metadata());
        let what = format!("{name} could not be read");
        match opened {
            Ok(found) if found.is_dir() => return Err(Failure::io(&what, path, &io::ErrorKind::IsADirectory.into())),
            Ok(_) => {}
            Err(error) => return Err(Failure::io(&what, path, &error)),
        }
    }
    Ok(())
}
