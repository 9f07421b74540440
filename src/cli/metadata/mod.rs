//! `cairn metadata`: moves the metadata of a cluster to another database.

mod cancel;
mod copy;
mod next;
mod place;

use clap::Subcommand;

use super::Failure;
use crate::metadata::CopyError;

/// Move the metadata of a cluster to another database, or take that back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Outgrow SQLite (stop `cairn up` or the gateway before):
    cairn metadata copy --from sqlite:/srv/cairn --to-file /etc/cairn/database

  And back:
    cairn metadata copy --from-file /etc/cairn/database --to sqlite:/srv/cairn")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Copy(copy::Arguments),
    Cancel(cancel::Arguments),
}

pub(super) fn command(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Copy(arguments) => wait(copy::command(arguments)),
        Command::Cancel(arguments) => wait(cancel::command(arguments)),
    }
}

fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failure::start(format!("threads could not be started: {error}")))?.block_on(work)
}

/// What a copy says became of it.
fn failed(error: CopyError) -> Failure {
    match error {
        CopyError::Differs { .. } => Failure::running(error.to_string()),
        CopyError::Refused(_) | CopyError::Failed { .. } => Failure::start(error.to_string()),
    }
}
