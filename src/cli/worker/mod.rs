//! `cairn worker`: what a gateway does in the background, without S3.

mod run;

use std::path::PathBuf;

use super::cluster::Kind;
use super::serve::serve;
use super::settings::{Config, Environment, Flags, WorkerCommand};
use super::{Failure, database};

/// Repair, move and delete pieces for a cluster whose gateways serve S3.
///
/// A gateway does this besides, unless it runs with --workers=false. A worker
/// has a node door of its own, which nodes find by themselves, and takes its
/// share of the work; it may come, go and be run several times. It needs the
/// cluster's PostgreSQL and its secret.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cairn worker run --once --data /srv/cairn    # one full pass by the process that runs there
  cairn worker --data /srv/worker --metadata-file database --cluster-key-file cluster.key --door-name 10.0.0.7:9100
  CAIRN_DATA=/data CAIRN_METADATA_FILE=/run/secrets/database CAIRN_CLUSTER_KEY_FILE=/run/secrets/cluster.key \\
      CAIRN_DOOR_NAME='{address}:9100' cairn worker

Ctrl-C or SIGTERM finishes what is in flight, for 10 s at most; a second one ends at once."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    flags: Flags<WorkerCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(run::Arguments),
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    if let Some(Command::Run(arguments)) = arguments.command {
        return run::command(arguments, file);
    }
    let loaded = Config::load(arguments.flags, file, Environment::of_process()?)?;
    check(&loaded.config)?;
    serve(loaded, Kind::Worker)
}

fn check(config: &Config) -> Result<(), Failure> {
    if config.cluster_key_file.is_none() {
        return Err(Failure::start(
            "a worker needs the cluster's secret: name the file cluster.key of a gateway, or of `cairn secrets create`, with \
             --cluster-key-file",
        ));
    }
    match database::postgres(config)? {
        Some(_) => Ok(()),
        None => Err(Failure::start(
            "a worker needs the PostgreSQL that its cluster's gateways share: name it with --metadata or --metadata-file \
             (with SQLite the gateway does this work itself)",
        )),
    }
}
