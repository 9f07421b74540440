//! `cairn worker run --once`: asks for one full pass over all segments, follows
//! it, and says what it has found and done.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use super::super::settings::{Config, Environment, Flags, WorkerCommand};
use super::super::{Failure, answer, database, say, slot, text};
use crate::admin::{AdminError, Client, ErrorKind, RunOnce, ShowRun};
use crate::workers::{NodeTally, OnceView, WorkerReport};

/// How often it is looked how far it is, and how often that is said.
const LOOK_EVERY: Duration = Duration::from_millis(300);
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How long the process that does it may be out of reach: a restart.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process of our own may take to start, besides the wait for its
/// database, and to end.
const START_TIME: Duration = Duration::from_secs(60);
const END_TIME: Duration = Duration::from_secs(20);

/// Make one full pass over all segments and say what was found and done.
///
/// The process that serves DIR does it; where none runs, a worker is started
/// for it, which takes a PostgreSQL: with SQLite the gateway is the process
/// that works. While one pass is under way, another asker follows it.
///
/// Exit code 0 when all is well or was made well, 1 when something could not
/// be repaired or was not reachable, 3 when a segment is lost, 2 when the pass
/// could not be made.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn worker run --once --data /srv/cairn
  cairn worker run --once --audit-all --json --data /srv/cairn | jq .by_node")]
pub(super) struct Arguments {
    /// One pass, then end
    #[arg(long, required = true)]
    once: bool,

    /// Ask for every share of every piece, and check each by its MAC
    #[arg(long)]
    audit_all: bool,

    /// Answer in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: Flags<WorkerCommand>,
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let mut loaded = Config::load(arguments.flags, file, Environment::of_process()?)?;
    loaded.warnings.iter().for_each(|warning| say(&format!("cairn: warning: {warning}")));
    slot::find(&mut loaded.config.data)?;
    let desk = Desk::new(&loaded.config.data)?;
    let ask = RunOnce { audit_all: arguments.audit_all };
    let (asked, _own) = match desk.call(&ask) {
        Err(error) if error.kind == ErrorKind::NotRunning => {
            let own = Own::start(&loaded.config)?;
            (own.ask(&desk, &ask)?, Some(own))
        }
        asked => (asked.map_err(failure)?, None),
    };
    if asked.joined {
        let other = if asked.audit_all == ask.audit_all { "" } else { ", which was asked for differently" };
        say(&format!("cairn: a full pass is under way already{other}: following it"));
    }
    let report = follow(&desk, &asked)?;
    answer(&if arguments.json { as_json(&report) } else { as_text(&report) })?;
    judge(&report)
}

/// The process that serves the directory.
struct Desk {
    client: Client,
    runtime: Runtime,
}

impl Desk {
    fn new(data: &Path) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::start(format!("threads could not be started: {error}")))?;
        Ok(Self { client: Client::unix(data), runtime })
    }

    fn call<C: crate::admin::Command>(&self, command: &C) -> Result<C::Reply, AdminError> {
        self.runtime.block_on(self.client.call(command))
    }
}

fn failure(error: AdminError) -> Failure {
    Failure::start(error.sentence)
}

/// Until it has ended.
fn follow(desk: &Desk, asked: &OnceView) -> Result<WorkerReport, Failure> {
    let (mut heard, mut said) = (Instant::now(), Instant::now());
    loop {
        match desk.call(&ShowRun {}) {
            Ok(view) if view.run != asked.run => {
                return Err(Failure::running("the pass was given up, and another one asked for: run it again"));
            }
            Ok(OnceView { done: true, report, .. }) => return Ok(report),
            Ok(view) if !view.active => {
                return Err(Failure::running("nobody goes on with the pass: run it again while a process works"));
            }
            Ok(view) => {
                heard = Instant::now();
                if said.elapsed() >= SAY_EVERY {
                    said = heard;
                    say(&progress(&view));
                }
            }
            Err(error) if heard.elapsed() > PATIENCE => {
                return Err(Failure::running(format!("the process that works is gone: {error}")));
            }
            Err(_) => {}
        }
        sleep(LOOK_EVERY);
    }
}

fn progress(view: &OnceView) -> String {
    let report = &view.report;
    format!(
        "{}: {} checked, {} wrong; {} repaired, {} waiting",
        view.doing,
        text::counted(report.shares_checked, "share"),
        text::count(report.shares_wrong),
        text::counted(report.pieces_repaired, "piece"),
        text::counted(report.segments_waiting, "segment"),
    )
}

/// What a script is told.
fn judge(report: &WorkerReport) -> Result<(), Failure> {
    let named = |ids: &[String]| ids.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if report.segments_lost > 0 {
        let lost = text::counted(report.segments_lost, "segment");
        return Err(Failure::lost(format!(
            "{lost} lost, with fewer pieces left than restore one (--json names them: {}); what is left of them is kept",
            named(&report.lost)
        )));
    }
    let left = [
        (report.segments_unreadable, "segment", "cannot be read now, as nodes are away"),
        (report.segments_degraded, "segment", "could not be repaired: see `cairn status`"),
        (report.segments_waiting, "segment", "still waiting for repair: see `cairn status`"),
        (report.nodes_unreachable, "node", "could not be asked for all pieces"),
    ];
    match left.iter().find(|(count, ..)| *count > 0) {
        Some((count, what, why)) => Err(Failure::running(format!("{} {why}", text::counted(*count, what)))),
        None => Ok(()),
    }
}

fn as_json(report: &WorkerReport) -> String {
    let text = serde_json::to_string_pretty(report).expect("structs of numbers and strings have a JSON form");
    format!("{text}\n")
}

fn as_text(report: &WorkerReport) -> String {
    let count = text::count;
    let mut pairs = vec![
        ("segments", count(report.segments)),
        ("shares", format!("{} checked, {} wrong", count(report.shares_checked), count(report.shares_wrong))),
        ("pieces", format!("{} wrong, {} missing", count(report.pieces_wrong), count(report.pieces_missing))),
        ("repaired", text::counted(report.pieces_repaired, "piece")),
        ("reclaimed", text::bytes(report.bytes_reclaimed)),
        ("merged", text::counted(report.segments_merged, "segment")),
        (
            "left",
            format!(
                "{} degraded, {} unreadable, {} lost",
                count(report.segments_degraded),
                count(report.segments_unreadable),
                count(report.segments_lost)
            ),
        ),
        ("took", text::span(report.seconds)),
    ];
    pairs.extend(report.by_node.iter().map(|(node, found)| ("wrong", of_node(node, found))));
    text::lines(&pairs)
}

fn of_node(node: &str, found: &NodeTally) -> String {
    format!(
        "node {}: {} wrong in {}, {} missing, {} not answered for",
        node.get(..8).unwrap_or(node),
        text::counted(found.shares_wrong, "share"),
        text::counted(found.pieces_wrong, "piece"),
        text::count(found.pieces_missing),
        text::count(found.pieces_unanswered + found.pieces_unreachable),
    )
}

// ---- where no process runs --------------------------------------------------

/// A worker that runs for this pass alone. Ends with it.
struct Own(std::cell::RefCell<Child>);

impl Own {
    fn start(config: &Config) -> Result<Self, Failure> {
        if database::postgres(config)?.is_none() {
            return Err(Failure::start(format!(
                "no process of Cairn serves {}: with SQLite the gateway does this work, so start `cairn up` or `cairn \
                 gateway` on it, or name the cluster's PostgreSQL with --metadata",
                config.data.display()
            )));
        }
        super::check(config)?;
        let program = std::env::current_exe();
        let program = program.map_err(|error| Failure::start(format!("this program cannot be found: {error}")))?;
        // The same command without what asks for the pass.
        let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
        if let Some(at) = arguments.iter().position(|argument| argument == "run") {
            arguments.remove(at);
        }
        arguments.retain(|argument| argument != "--once" && argument != "--audit-all" && argument != "--json");
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.map_err(|error| Failure::start(format!("a worker could not be started: {error}")))?;
        Ok(Self(child.into()))
    }

    /// Asks it, as soon as it answers.
    fn ask(&self, desk: &Desk, ask: &RunOnce) -> Result<OnceView, Failure> {
        let begun = Instant::now();
        loop {
            match desk.call(ask) {
                Err(error) if error.kind == ErrorKind::NotRunning => {}
                asked => return asked.map_err(failure),
            }
            if let Ok(Some(status)) = self.0.borrow_mut().try_wait() {
                return Err(Failure::start(format!("the worker for this pass could not run ({status})")));
            }
            if begun.elapsed() > PATIENCE + START_TIME {
                return Err(Failure::start("the worker for this pass does not answer"));
            }
            sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let child = self.0.get_mut();
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if begun.elapsed() > END_TIME {
                let _ = child.kill();
            }
            sleep(LOOK_EVERY);
        }
    }
}
