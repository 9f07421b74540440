//! `cairn metadata copy`: moves the metadata to another database, row by row.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::place::{Opened, Place};
use super::{failed, next};
use crate::cli::{Failure, answer, reserve, say, text};
use crate::metadata::{CopyProgress, CopyReport, cluster_of, copy};

/// How often it is said how far the copy is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Move the metadata to another database, and go on there.
///
/// From the moment that it begins, the database it is copied from can be used
/// by nobody any more: requests to gateways that still run on it get 503. When
/// every row has been compared, the other one takes over, and the nodes follow
/// it alone. Objects stay where they are, on the nodes.
///
/// It may be stopped at any moment; run again, it goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  From one gateway with SQLite to many with PostgreSQL (stop `cairn up` or the gateway before):
    cairn metadata copy --from sqlite:/srv/cairn --to postgres://cairn@db.example.org/cairn
    cairn metadata copy --from sqlite:/srv/cairn --to-file /etc/cairn/database

  And back:
    cairn metadata copy --from-file /etc/cairn/database --to sqlite:/srv/cairn

  Give up a copy that was cut off:
    cairn metadata cancel --from sqlite:/srv/cairn --to-file /etc/cairn/database

Exit code 0 when the metadata is where --to says, 1 when rows of the copy are not what was copied, 2 when something is
to be done first: one sentence on stderr says what.")]
pub(super) struct Arguments {
    /// The database that is in use: sqlite:DIR, with a data directory, or the address of a PostgreSQL
    #[arg(long, value_name = "ADDRESS", required_unless_present = "from_file", conflicts_with = "from_file")]
    from: Option<String>,

    /// A file with that address
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,

    /// The database that takes over; an empty one, or one that the cluster has left before
    #[arg(long, value_name = "ADDRESS", required_unless_present = "to_file", conflicts_with = "to_file")]
    to: Option<String>,

    /// A file with that address
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,

    /// Answer in JSON: rows and digests of all tables
    #[arg(long)]
    json: bool,
}

pub(super) async fn command(arguments: Arguments) -> Result<(), Failure> {
    let from = Place::read("--from", arguments.from, arguments.from_file)?;
    let to = Place::read("--to", arguments.to, arguments.to_file)?;
    if from.is_same(&to) {
        return Err(Failure::start(
            "--from and --to are the same database: name the one that is to take over with --to",
        ));
    }
    if let Place::Directory(path) = &from {
        reserve::give_up_if_short(path);
    }
    let source = from.open().await?;
    let cluster = cluster_of(&source.side).await.map_err(failed)?;
    let target = to.open_for(cluster).await?;
    let outcome = copy_and_say(&source, &target).await;
    target.side.metadata.close().await;
    source.side.metadata.close().await;
    let report = outcome?;
    answer(&match arguments.json {
        true => format!("{}\n", as_json(&report, &source, &target)),
        false => as_text(&report, &target) + &next::steps(&from, &to),
    })
}

async fn copy_and_say(source: &Opened, target: &Opened) -> Result<CopyReport, Failure> {
    let (progress, heard) = watch::channel(CopyProgress::default());
    tokio::select! {
        outcome = copy(&source.side, &target.side, &progress) => outcome.map_err(failed),
        () = speak(heard) => unreachable!("it speaks until it is stopped"),
    }
}

/// Says how far it is, every few seconds. A short copy says nothing.
async fn speak(heard: watch::Receiver<CopyProgress>) {
    let (mut before, mut since) = (CopyProgress::default(), Instant::now());
    loop {
        sleep(SAY_EVERY).await;
        let now = *heard.borrow();
        let done = if now.verifying == before.verifying { now.rows - before.rows } else { now.rows };
        let rate = (done as f64 / since.elapsed().as_secs_f64()) as u64;
        say(&line(&now, rate));
        (before, since) = (now, Instant::now());
    }
}

fn line(progress: &CopyProgress, rate: u64) -> String {
    let CopyProgress { verifying, table, rows, total } = *progress;
    let step = match (verifying, table) {
        (_, "") => return "waiting for the databases".to_owned(),
        (false, table) => format!("copying {table}"),
        (true, table) => format!("comparing {table} once more"),
    };
    let whole = total.map_or_else(String::new, |total| format!(" of {}", text::count(total)));
    format!("{step}: {}{whole} rows, {} rows/s", text::count(rows), text::count(rate))
}

fn as_text(report: &CopyReport, target: &Opened) -> String {
    let (place, generation) = (&target.side.place, report.generation.0);
    if report.tables.is_empty() {
        return format!("The metadata was moved before: it is in {place}, at generation {generation}.\n");
    }
    let rows = text::counted(report.tables.iter().map(|table| table.rows).sum(), "row");
    let tables = text::counted(report.tables.len() as u64, "table");
    format!("The metadata is in {place} now, at generation {generation}: {rows} in {tables}, every row compared.\n")
}

fn as_json(report: &CopyReport, source: &Opened, target: &Opened) -> serde_json::Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let table = |copied: &crate::metadata::CopiedTable| json!({ "table": copied.table, "rows": copied.rows, "sha256": hex(&copied.sha256) });
    json!({
        "from": source.side.place,
        "to": target.side.place,
        "generation": report.generation.0,
        "rows_written": report.rows_written,
        "tables": report.tables.iter().map(table).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_what_of_how_much_and_how_fast() {
        let mut progress = CopyProgress { verifying: false, table: "objects", rows: 123_000, total: Some(1_000_000) };
        assert_eq!(line(&progress, 45_678), "copying objects: 123,000 of 1,000,000 rows, 45,678 rows/s");
        (progress.verifying, progress.total) = (true, None);
        assert_eq!(line(&progress, 1), "comparing objects once more: 123,000 rows, 1 rows/s");
        assert_eq!(line(&CopyProgress::default(), 0), "waiting for the databases");
    }
}
