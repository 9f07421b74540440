//! `cairn metadata cancel`: takes back a move that was not finished.

use std::path::PathBuf;

use super::failed;
use super::place::Place;
use crate::cli::{Failure, answer};
use crate::metadata::cancel;

/// Take back a move that was not finished: the database that it began at can
/// be used again.
///
/// A move that is complete is not taken back: copy in the other direction.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn metadata cancel --from sqlite:/srv/cairn --to-file /etc/cairn/database
  cairn metadata cancel --from sqlite:/srv/cairn --target-is-gone

Without the target nobody can know whether the move was complete, and metadata in use. So say --target-is-gone only
where it was lost for good: the nodes will not listen to it any more.")]
pub(super) struct Arguments {
    /// The database that was moved from: sqlite:DIR, with a data directory, or the address of a PostgreSQL
    #[arg(long, value_name = "ADDRESS", required_unless_present = "from_file", conflicts_with = "from_file")]
    from: Option<String>,

    /// A file with that address
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,

    /// The database that was moved to
    #[arg(
        long,
        value_name = "ADDRESS",
        required_unless_present_any = ["to_file", "target_is_gone"],
        conflicts_with_all = ["to_file", "target_is_gone"]
    )]
    to: Option<String>,

    /// A file with that address
    #[arg(long, value_name = "FILE", conflicts_with = "target_is_gone")]
    to_file: Option<PathBuf>,

    /// The database that was moved to is lost for good
    #[arg(long)]
    target_is_gone: bool,
}

pub(super) async fn command(arguments: Arguments) -> Result<(), Failure> {
    let from = Place::read("--from", arguments.from, arguments.from_file)?;
    let to = match arguments.target_is_gone {
        true => None,
        false => Some(Place::read("--to", arguments.to, arguments.to_file)?),
    };
    if to.as_ref().is_some_and(|to| from.is_same(to)) {
        return Err(Failure::start("--from and --to are the same database: name the one that was moved to with --to"));
    }
    let source = from.open().await?;
    let target = match &to {
        Some(to) => Some(to.open().await?),
        None => None,
    };
    let outcome = cancel(&source.side, target.as_ref().map(|target| &target.side)).await;
    if let Some(target) = &target {
        target.side.metadata.close().await;
    }
    source.side.metadata.close().await;
    let place = &source.side.place;
    answer(&match outcome.map_err(failed)? {
        true => format!("The move is taken back: {place} can be used again.\n"),
        false => format!("{place} is in use, and no move of it is under way.\n"),
    })
}
