//! `cairn gateway`: S3 in front, a door for volunteers' nodes behind.

use std::path::PathBuf;

use super::cluster::Kind;
use super::serve::serve;
use super::settings::{Config, Environment, Flags, GatewayCommand};
use super::{Failure, database};

/// Serve S3 from storage nodes that volunteers run on other machines.
///
/// Nodes dial the node door; they open no port themselves. Prints the lines
/// that S3 clients want in their environment when it is ready, and keeps them
/// in s3.env in the data directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Serve S3 on this machine, and let nodes come in at port 9100:
    cairn gateway --data /srv/cairn --door-name cairn.example.org:9100

  Then make a token, and give it to a volunteer, who runs the second line:
    cairn token create --data /srv/cairn --label owner=alice
    cairn node --join TOKEN --data /srv/node --capacity 500GB

  Take no objects before twelve failure domains have joined:
    cairn gateway --data /srv/cairn --door-name cairn.example.org:9100 --min-nodes 12

Until enough nodes have joined, writes get 503 with a sentence; `cairn status` says what is missing.
Ctrl-C or SIGTERM finishes what is in flight, for 10 s at most; a second one ends at once.")]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags<GatewayCommand>,
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let loaded = Config::load(arguments.flags, file, Environment::of_process()?)?;
    check_workers(&loaded.config)?;
    serve(loaded, Kind::Gateway)
}

fn check_workers(config: &Config) -> Result<(), Failure> {
    if config.workers || database::postgres(config)?.is_some() {
        return Ok(());
    }
    Err(Failure::start(format!(
        "workers is false ({}), and no other process could do their work, as SQLite serves this one alone: name a PostgreSQL \
         with --metadata, or leave workers on",
        config.origin("workers")
    )))
}
