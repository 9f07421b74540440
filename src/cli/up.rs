//! `cairn up`: gateway, worker, metadata and local nodes in one process, on one
//! directory.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

use super::cluster::{Cluster, Start};
use super::failure::reason;
use super::progress::Progress;
use super::settings::{Config, Environment, Flags, UpCommand};
use super::{DataDir, Failure, announce, cluster_key, credentials, logging, process, signals};
use crate::env::{Env, Shutdown};

/// Serve S3 from this machine: gateway, worker, metadata and local nodes in
/// one process.
///
/// Prints the lines that S3 clients want in their environment when it is
/// ready, and keeps them in s3.env in the data directory. Everything is kept
/// there; started again on the same directory, everything is there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn up
  cairn up --data /srv/cairn --listen 0.0.0.0:9000 --nodes 12 --scheme 6/7/10/12
  CAIRN_ROOT_ACCESS_KEY=admin CAIRN_ROOT_SECRET_KEY=… cairn up --log-format json

Ctrl-C or SIGTERM finishes what is in flight, for 10 s at most; a second one ends at once.")]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags<UpCommand>,
}

/// How long what is in flight may take when the process is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How long threads that wait for the disk may take after that.
const LAST_WRITES: Duration = Duration::from_secs(1);

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let loaded = Config::load(arguments.flags, file, Environment::of_process()?)?;
    let config = loaded.config;
    check_scheme(&config)?;
    check_tls_files(&config)?;
    logging::start(&config.log, config.log_format)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    process::keep_files_private();
    process::take_all_descriptors();

    let directory = DataDir::open(&config.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::start(format!("threads could not be started: {}", reason(&error))))?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new(GRACE);
        signals::listen(shutdown.clone())?;
        run(&config, directory.clone(), shutdown).await
    });
    // The directory stays locked until nothing of this process writes to it.
    runtime.shutdown_timeout(LAST_WRITES);
    drop(directory);
    outcome
}

/// Runs the cluster on this directory until the order to stop, or until a part
/// of it fails.
async fn run(config: &Config, layout: DataDir, shutdown: Shutdown) -> Result<(), Failure> {
    let env = Env::real();
    // First what can fail for outside reasons: then nothing has been made yet.
    let (listener, address) = listen(config).await?;
    let secret = cluster_key::of(&layout, &env, &mut io::stderr())?;
    let root = credentials::root(config.root.as_ref(), &layout, &env)?;
    let progress = Progress::begin("preparing");
    let start = Start { config, layout: &layout, env, secret, root: &root, listener, progress: &progress };
    let cluster = tokio::select! {
        biased;
        started = Cluster::start(start, shutdown.clone()) => started?,
        () = shutdown.requested() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    drop(progress);
    announce::announce(config, &layout, &root, address)?;
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

fn check_scheme(config: &Config) -> Result<(), Failure> {
    let nodes = config.nodes.get();
    match config.scheme {
        Some(scheme) if scheme.total() > nodes => Err(Failure::start(format!(
            "scheme is {scheme} ({}), which needs {} nodes, but nodes is {nodes} ({}): raise --nodes or choose a smaller scheme",
            config.origin("scheme"),
            scheme.total(),
            config.origin("nodes"),
        ))),
        _ => Ok(()),
    }
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
