//! `cairn up`: gateway, worker, metadata and local nodes in one process, on one
//! directory.

use std::path::PathBuf;

use super::Failure;
use super::cluster::Kind;
use super::serve::serve;
use super::settings::{Config, Environment, Flags, UpCommand};

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

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let loaded = Config::load(arguments.flags, file, Environment::of_process()?)?;
    check_scheme(&loaded.config)?;
    serve(loaded, Kind::Up)
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
