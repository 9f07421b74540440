//! `cairn health`: whether the process on a data directory does what it is
//! there for, as an exit code for orchestrators.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::data_dir::LOCK;
use super::node::{folder, wait};
use super::settings::{Config, DataCommand, Environment, Flags};
use super::{Failure, answer, slot};
use crate::admin::{Client, ErrorKind, Health, Probe};
use crate::node::local::{LocalError, status};

/// How long the process may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Say whether the process on a data directory is ready.
///
/// A gateway is ready while it serves S3 and its database answers, a worker
/// while its database answers, and a node while it is connected to a door.
/// Exit code 0 when it is, 1 with a sentence when it is not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn health --data /srv/cairn
  HEALTHCHECK CMD [\"/cairn\", \"health\"]                        # with CAIRN_DATA in the environment
  livenessProbe: {exec: {command: [/cairn, health, --live]}}")]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags<DataCommand>,

    /// Ask only whether a process runs there, ready or not
    #[arg(long)]
    live: bool,

    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, serde::Serialize)]
struct Found {
    live: bool,
    #[serde(flatten)]
    health: Health,
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let mut data = Config::load(arguments.flags, file, Environment::of_process()?)?.config.data;
    slot::find(&mut data)?;
    let found = wait(async { Ok(find(&data).await) })?;
    if arguments.json {
        let text = serde_json::to_string(&found).expect("a struct of flags and strings has a JSON form");
        answer(&format!("{text}\n"))?;
    }
    let Found { live, health } = found;
    match (health.ready, arguments.live && live) {
        (true, _) | (_, true) if arguments.json => Ok(()),
        (true, _) => answer(&format!("ready: {}\n", health.sentence)),
        (false, true) => answer(&format!("running: {}\n", health.sentence)),
        (false, false) => Err(Failure::running(format!("not ready: {}", health.sentence))),
    }
}

async fn find(data: &Path) -> Found {
    let is_node = ["cluster.json", folder::LOCK].iter().any(|name| data.join(name).exists());
    let asking = async { if is_node { node(data).await } else { serving(data).await } };
    let asked = tokio::time::timeout(ANSWER_WITHIN, asking).await;
    asked.unwrap_or_else(|_| {
        let sentence = format!("the process does not answer within {} s", ANSWER_WITHIN.as_secs());
        found(true, if is_node { "node" } else { "gateway" }, sentence)
    })
}

/// A process that is not ready.
fn found(live: bool, what: &str, sentence: impl Into<String>) -> Found {
    Found { live, health: Health { ready: false, what: what.to_owned(), sentence: sentence.into() } }
}

/// A process whose door for questions is not there: it may have just begun.
fn silent(data: &Path, lock: &str, what: &str) -> Found {
    match folder::is_locked(&data.join(lock)) {
        true => found(true, what, "the process is starting or stopping"),
        false => found(false, what, format!("no process of Cairn runs on {}", data.display())),
    }
}

async fn serving(data: &Path) -> Found {
    match Client::unix(data).call(&Probe {}).await {
        Ok(health) => Found { live: true, health },
        Err(error) if error.kind == ErrorKind::NotRunning => silent(data, LOCK, "gateway"),
        Err(error) => found(error.kind != ErrorKind::Denied, "gateway", error.sentence),
    }
}

async fn node(data: &Path) -> Found {
    match status(data).await {
        Ok(report) => {
            let said = report.readiness();
            let ready = said.is_ok();
            let sentence = said.unwrap_or_else(|why| why);
            Found { live: true, health: Health { ready, what: "node".to_owned(), sentence } }
        }
        Err(LocalError::NotRunning) => silent(data, folder::LOCK, "node"),
        Err(error) => found(true, "node", error.to_string()),
    }
}
