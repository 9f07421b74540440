//! `cairn node`: lends a disk to a cluster; and what its volunteer asks of it.

pub(super) mod folder;
mod leave;
mod run;
mod status;
pub(super) mod store;
mod token;
mod view;

use std::path::PathBuf;

use clap::Subcommand;

use super::Failure;
use super::settings::{Config, Environment, Flags, NodeCommand};

/// Lend a disk to a cluster: run a storage node.
///
/// The first run makes a key in the data directory, joins with the token and
/// serves; later runs need no token. No port has to be open: the node dials
/// its cluster. What it stores are sealed pieces that say nothing.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cairn node --join TOKEN --data /srv/node --capacity 500GB
  cairn node --data /srv/node --bandwidth 20MB/s --label region=eu-west
  CAIRN_JOIN_FILE=/run/secrets/token CAIRN_DATA=/data cairn node
  cairn node status --data /srv/node --watch
  cairn node leave --data /srv/node

Ctrl-C or SIGTERM finishes what is in flight, for 10 s at most; a second one ends at once."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    flags: Flags<NodeCommand>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    Leave(leave::Arguments),
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    match arguments.command {
        None => run::command(Config::load(arguments.flags, file, Environment::of_process()?)?),
        Some(Command::Status(arguments)) => status::command(arguments, file),
        Some(Command::Leave(arguments)) => leave::command(arguments, file),
    }
}

/// Does what waits for a socket.
pub(super) fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::start(format!("threads could not be started: {error}")))?.block_on(work)
}
