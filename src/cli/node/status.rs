//! `cairn node status`: what the node shows of itself, running or stopped.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::view::{Painter, Rates, line, page};
use super::{folder, wait};
use crate::cli::settings::{Config, DataCommand, Environment, Flags};
use crate::cli::{Failure, answer, show, slot};
use crate::node::local::{self, LocalError};
use crate::node::{NodeReport, NodeState, at_rest};

/// Show what a node holds, what it costs in traffic, and how it stands.
///
/// Works while the node runs and while it is stopped. Bytes that are live, in
/// the trash, dead and overhead are together what the logs take on the disk.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn node status --data /srv/node
  cairn node status --data /srv/node --watch
  cairn node status --data /srv/node --json | jq .disk.live_bytes")]
pub(super) struct Arguments {
    /// As one JSON object; with --watch one per line
    #[arg(long)]
    json: bool,

    /// Show it again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    flags: Flags<DataCommand>,
}

/// How often the live view is drawn.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let mut config = Config::load(arguments.flags, file, Environment::of_process()?)?.config;
    slot::find(&mut config.data)?;
    let terminal = io::stdout().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let painter = Painter { colours: terminal && !plain };
    wait(async {
        if arguments.watch {
            return watch(&config.data, arguments.json, terminal, painter).await;
        }
        let report = report(&config.data).await?;
        answer(&if arguments.json { json(&report, true)? } else { page(&report, None, painter) })
    })
}

/// The report of the node that runs on the folder, or else of its folder.
pub(super) async fn report(dir: &Path) -> Result<NodeReport, Failure> {
    match local::status(dir).await {
        Ok(report) => Ok(report),
        Err(LocalError::NotRunning) => {
            let report = at_rest(dir, SystemTime::now().into());
            let report = report.map_err(|error| Failure::start(error.to_string()))?;
            match (folder::is_taken(dir), folder::is_run_by_up(dir)) {
                (true, _) => Ok(starting(report)),
                (false, true) => Err(folder::run_by_up(dir)),
                _ => Ok(report),
            }
        }
        Err(LocalError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Failure::io("the node in this folder belongs to another user and cannot be asked", dir, &error))
        }
        Err(error) => Err(Failure::running(error.to_string())),
    }
}

/// A process has taken the folder and does not answer yet.
fn starting(report: NodeReport) -> NodeReport {
    let waiting_for = vec!["its piece store to be opened, which takes longer after a crash".to_owned()];
    NodeReport { state: NodeState::Starting, waiting_for, ..report }
}

fn json(report: &NodeReport, pretty: bool) -> Result<String, Failure> {
    let text = if pretty { serde_json::to_string_pretty(report) } else { serde_json::to_string(report) };
    text.map(|text| text + "\n").map_err(|error| Failure::running(error.to_string()))
}

async fn watch(dir: &Path, as_json: bool, terminal: bool, painter: Painter) -> Result<(), Failure> {
    let mut rates = Rates::default();
    loop {
        let report = report(dir).await?;
        rates.add(&report, Instant::now());
        let text = match (as_json, terminal) {
            (true, _) => json(&report, false)?,
            // Home, the page with every line's rest wiped, and what was below.
            (false, true) => {
                let page = page(&report, Some(&rates), painter).replace('\n', "\x1b[K\n");
                let first = if rates.is_first() { "\x1b[2J" } else { "" };
                format!("{first}\x1b[H{page}\x1b[J")
            }
            (false, false) => line(&report, &rates),
        };
        if !show(&text)? {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}
