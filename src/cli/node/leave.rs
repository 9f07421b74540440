//! `cairn node leave`: asks the node to go, and shows how its pieces go first.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::status::report;
use super::wait;
use crate::cli::settings::{Config, DataCommand, Environment, Flags};
use crate::cli::text::count;
use crate::cli::{Failure, answer, show, slot};
use crate::node::local::{self, LocalError};
use crate::node::{NodeReport, NodeState};
use crate::wire::{Standing, StandingKind};

/// Leave the cluster: the node's pieces are moved to other nodes first.
///
/// Shows the progress until the disk can be wiped. Ctrl-C ends only the
/// showing; the node goes on leaving, also after a restart. Run it again to
/// see how far it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn node leave --data /srv/node
  cairn node leave --data /srv/node --no-wait")]
pub(super) struct Arguments {
    /// Ask, and do not wait for the end
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    flags: Flags<DataCommand>,
}

const EVERY: Duration = Duration::from_secs(1);
/// Cells of the progress bar.
const BAR: u64 = 40;

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let mut config = Config::load(arguments.flags, file, Environment::of_process()?)?.config;
    slot::find(&mut config.data)?;
    wait(async {
        let asked = ask(&config.data).await?;
        if asked.left {
            return answer(&done(&config.data));
        }
        if arguments.no_wait {
            return answer(
                "the node leaves: its pieces are moved elsewhere; `cairn node status` shows how far it is\n",
            );
        }
        follow(&config.data).await
    })
}

/// Tells the node. One that has left already need not run.
async fn ask(dir: &Path) -> Result<NodeReport, Failure> {
    let before = report(dir).await?;
    if before.left {
        return Ok(before);
    }
    match local::leave(dir).await {
        Ok(report) => Ok(report),
        Err(LocalError::NotRunning) => Err(stopped(dir)),
        Err(error) => Err(Failure::running(error.to_string())),
    }
}

fn stopped(dir: &Path) -> Failure {
    let dir = dir.display();
    Failure::running(format!(
        "the node in {dir} is not running, and only a running one can give its pieces away: start it with `cairn node --data {dir}`, and then leave"
    ))
}

fn done(dir: &Path) -> String {
    format!("the node has left: stop it, and {} can be wiped\n", dir.display())
}

async fn follow(dir: &Path) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal();
    let (mut most, mut said) = (0, String::new());
    loop {
        let report = report(dir).await?;
        if report.left {
            let newline = if terminal && !said.is_empty() { "\n" } else { "" };
            return answer(&format!("{newline}{}", done(dir)));
        }
        if report.state == NodeState::Stopped {
            return Err(stopped(dir));
        }
        let text = progress(report.standing.as_ref(), &mut most);
        if text != said {
            if !show(&if terminal { format!("\r{text}\x1b[K") } else { format!("{text}\n") })? {
                return Ok(());
            }
            said = text;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How far it is; `most` is the most pieces that there were to move.
fn progress(standing: Option<&Standing>, most: &mut u64) -> String {
    let draining = standing.filter(|standing| standing.kind == StandingKind::Draining);
    match draining.map(|standing| standing.pieces_to_move) {
        None => "waiting for the cluster to hear of it".to_owned(),
        Some(None) => "the cluster counts the pieces that have to be moved".to_owned(),
        Some(Some(0)) => format!("{} all pieces moved; the cluster makes sure of it", "█".repeat(BAR as usize)),
        Some(Some(left)) => {
            *most = left.max(*most);
            let moved = *most - left;
            let cells = (moved * BAR).checked_div(*most).unwrap_or(BAR);
            let bar = "█".repeat(cells as usize) + &"░".repeat((BAR - cells) as usize);
            format!("{bar} {} of {} pieces moved", count(moved), count(*most))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_from_the_most_that_there_was() {
        let standing = |kind, pieces_to_move| Standing {
            kind,
            sentence: String::new(),
            joined_ms: 0,
            trust_permille: 0,
            audits_passed: 0,
            audits_failed: 0,
            pieces_to_move,
            doors: Vec::new(),
        };
        let mut most = 0;
        assert!(progress(None, &mut most).contains("to hear of it"));
        assert!(progress(Some(&standing(StandingKind::Active, None)), &mut most).contains("to hear of it"));
        assert!(progress(Some(&standing(StandingKind::Draining, None)), &mut most).contains("counts"));
        for (left, text) in [(2000, "0 of 2,000"), (500, "1,500 of 2,000"), (0, "all pieces moved")] {
            let line = progress(Some(&standing(StandingKind::Draining, Some(left))), &mut most);
            assert!(line.contains(text) && line.chars().filter(|c| "█░".contains(*c)).count() == 40, "{line}");
        }
    }
}
