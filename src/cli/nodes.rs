//! `cairn nodes`: who lends their disks, and how each of them stands.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Subcommand;

use super::operator::{Desk, Reach};
use super::text;
use super::{Failure, answer, say};
use crate::admin::{
    AuditsView, Change, FailureView, ListNodes, NodeList, NodeView, ShowNode, ShownNode, SpaceView, Wish,
};

/// See the storage nodes, and change how they stand.
///
/// NODE is a node's id or a beginning of it that no other node has.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  See all nodes, and all about one of them:
    cairn nodes list
    cairn nodes show 5d21c0ff

  Give it no more pieces for a while, and again:
    cairn nodes suspend 5d21c0ff --reason 'its disk is slow'
    cairn nodes resume 5d21c0ff

  Let it go: its pieces move elsewhere first, then its volunteer is told that the disk can be wiped:
    cairn nodes drain 5d21c0ff

  Give up one that will not come back:
    cairn nodes forget 5d21c0ff")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    /// Give a node no more pieces; it still gives those that it has
    #[command(after_help = "Examples:\n  cairn nodes suspend 5d21c0ff --reason 'its disk is slow'")]
    Suspend(Alter),
    /// Let a node take pieces again, also one that drains
    #[command(after_help = "Examples:\n  cairn nodes resume 5d21c0ff")]
    Resume(Alter),
    /// Move a node's pieces elsewhere; then it has left
    #[command(after_help = "Examples:\n  cairn nodes drain 5d21c0ff\n  cairn nodes show 5d21c0ff    # how far it is")]
    Drain(Alter),
    Forget(Forget),
}

/// List the nodes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nodes of one domain would fail together, so a segment has one piece there: as their token's label\n`domain` says, or else #N with the number of its first node (same owner, or same public network).

Examples:
  cairn nodes list
  cairn nodes list --json | jq -r '.[] | select(.connected | not).node'")]
struct List {
    /// Also those that have gone or left
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    reach: Reach,
}

/// Show all that is known of a node.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cairn nodes show 5d21c0ff\n  cairn nodes show 5d21c0ff --json")]
struct Show {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
struct Alter {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,

    /// Why; its volunteer is shown this
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Do it although it is refused: the cluster would be left with too few
    /// failure domains, or the node seems to be there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    reach: Reach,
}

/// Give a node up: its pieces count as lost and are made anew elsewhere.
///
/// It may not come back without a new token. A node that is there should be
/// drained instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn nodes forget 5d21c0ff --reason 'its disk has died'
  cairn nodes forget 5d21c0ff --yes --force    # in a script, and although it was seen a moment ago")]
struct Forget {
    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    alter: Alter,
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    match arguments.command {
        Command::List(List { all, reach }) => {
            let json = reach.json;
            let list = reach.desk(file)?.ask(&ListNodes {})?;
            answer(&if json { as_json(&list.nodes) } else { as_table(&list, all) })
        }
        Command::Show(Show { node, reach }) => {
            let json = reach.json;
            let shown = reach.desk(file)?.ask(&ShowNode { node })?;
            answer(&if json { as_json(&shown) } else { as_lines(&shown) })
        }
        Command::Suspend(alter) => alter.run(Wish::Suspend, file),
        Command::Resume(alter) => alter.run(Wish::Resume, file),
        Command::Drain(alter) => alter.run(Wish::Drain, file),
        Command::Forget(Forget { yes, alter }) => {
            let ((json, reach), change) = alter.change(Wish::Forget);
            let desk = reach.desk(file)?;
            if !yes {
                confirm(&desk, &change)?;
            }
            tell(json, &desk.ask(&change)?)
        }
    }
}

impl Alter {
    fn change(self, to: Wish) -> ((bool, Reach), Change) {
        let change = Change { node: self.node, to, reason: self.reason, force: self.force };
        ((self.reach.json, self.reach), change)
    }

    fn run(self, to: Wish, file: Option<PathBuf>) -> Result<(), Failure> {
        let ((json, reach), change) = self.change(to);
        tell(json, &reach.desk(file)?.ask(&change)?)
    }
}

fn tell(json: bool, shown: &ShownNode) -> Result<(), Failure> {
    let then = match shown.view.state.as_str() {
        "suspended" => ": it is given no more pieces",
        "draining" => ": its pieces move elsewhere; `cairn nodes show` tells how far that is",
        "gone" => ": its pieces count as lost and are made anew on other nodes",
        _ => "",
    };
    let said = format!("node {} is {}{then}\n", shown.view.node, shown.view.state);
    answer(&if json { as_json(shown) } else { said })
}

/// Asks on a terminal; elsewhere nobody is there to ask.
fn confirm(desk: &Desk, change: &Change) -> Result<(), Failure> {
    let view = desk.ask(&ShowNode { node: change.node.clone() })?.view;
    if view.connected && !change.force {
        // Which is refused anyway, with a better sentence.
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::start(
            "forgetting a node counts its pieces as lost: say --yes to do it without being asked",
        ));
    }
    let pieces =
        view.space.map_or_else(String::new, |space| format!(", with {}", text::counted(space.pieces, "piece")));
    say(&format!("Give up node {}{pieces}? They count as lost. Type yes to do it:", view.node));
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    match read.is_ok() && line.trim() == "yes" {
        true => Ok(()),
        false => Err(Failure::running("nothing was changed")),
    }
}

fn as_json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("structs of numbers and strings have a JSON form");
    format!("{text}\n")
}

const COLUMNS: [&str; 11] =
    ["NODE", "STATE", "CONNECTED", "DOMAIN", "LABELS", "USED", "CAPACITY", "TRUST", "SUCCESS", "LAST SEEN", "VERSION"];

fn as_table(list: &NodeList, all: bool) -> String {
    let digits = text::short_ids(list.nodes.iter().map(|view| view.node.as_str()));
    let mut shown: Vec<&NodeView> = list.nodes.iter().filter(|view| all || is_member(view)).collect();
    shown.sort_by_key(|view| (rank(view), view.domain, view.number));
    let hidden = list.nodes.len() - shown.len();
    let rows: Vec<Vec<String>> = shown.iter().map(|view| row(view, list, digits)).collect();
    let mut told = match rows.is_empty() && hidden == 0 {
        true => "no nodes have joined yet: `cairn token create` makes a token for the first\n".to_owned(),
        false => text::table(&COLUMNS, &rows),
    };
    if hidden > 0 {
        let (have, them) = if hidden == 1 { ("has", "it") } else { ("have", "them") };
        told.push_str(&format!("\n{hidden} more {have} gone or left: --all shows {them}\n"));
    }
    if !list.running {
        told.push_str("\nnot running: this is what was known last\n");
    }
    told
}

fn is_member(view: &NodeView) -> bool {
    !matches!(view.state.as_str(), "gone" | "left")
}

/// Those that take part first.
fn rank(view: &NodeView) -> usize {
    ["active", "suspended", "draining", "left"].iter().position(|state| *state == view.state).unwrap_or(4)
}

fn row(view: &NodeView, list: &NodeList, digits: usize) -> Vec<String> {
    let labels = view.labels.iter().filter(|(name, _)| *name != "domain");
    let labels = text::labels(&labels.map(|(name, value)| (name.clone(), value.clone())).collect());
    let space =
        |part: fn(&SpaceView) -> u64| view.space.as_ref().map_or("-".to_owned(), |space| text::bytes(part(space)));
    let domain = view.labels.get("domain").cloned().unwrap_or_else(|| format!("#{}", view.domain));
    vec![
        view.node.chars().take(digits).collect(),
        state(view),
        if view.connected { "yes" } else { "no" }.to_owned(),
        domain,
        labels,
        space(|space| space.used_bytes),
        space(|space| space.capacity_bytes),
        trust(view),
        success(view),
        seen(view, list.now_ms),
        view.software.clone(),
    ]
}

fn seen(view: &NodeView, now_ms: i64) -> String {
    if view.connected { "now".to_owned() } else { text::ago(now_ms, view.seen_ms) }
}

fn state(view: &NodeView) -> String {
    let failed = if view.store_failed { ", store gone" } else { "" };
    let judged = if view.verdict == "disqualified" { ", disqualified" } else { "" };
    format!("{}{judged}{failed}", view.state)
}

fn trust(view: &NodeView) -> String {
    view.record.map_or("-".to_owned(), |record| format!("{:.0} %", record.trust * 100.0))
}

fn success(view: &NodeView) -> String {
    let Some(record) = &view.record else { return "-".to_owned() };
    let slow = if record.slow && view.connected { ", slow" } else { "" };
    let success = record.success.map_or("-".to_owned(), |success| format!("{:.0} %", success * 100.0));
    format!("{success}{slow}")
}

fn as_lines(shown: &ShownNode) -> String {
    let (view, now) = (&shown.view, shown.now_ms);
    let optional = |number: Option<u64>| number.map(text::count).unwrap_or_default();
    let mut pairs = vec![
        ("node", view.node.clone()),
        ("state", state(view)),
        ("reason", view.reason.clone().unwrap_or_default()),
        ("connected", connected(shown)),
        ("domain", format!("#{}", view.domain)),
        ("labels", text::labels(&view.labels)),
        ("says of itself", text::labels(&view.said)),
        ("folder", view.place.as_ref().map(|place| format!("nodes/{place} of the data directory")).unwrap_or_default()),
        ("address", view.address.map(|address| address.to_string()).unwrap_or_default()),
        ("version", view.software.clone()),
        ("joined", text::ago(now, Some(view.joined_ms))),
        ("seen", seen(view, now)),
        ("starts", text::count(view.starts)),
    ];
    if let Some(space) = &view.space {
        pairs.push(("space", space_line(space)));
        pairs.push(("pieces", text::count(space.pieces)));
    }
    pairs.extend([
        ("to be moved", optional(view.pieces_to_move)),
        ("damaged", optional(view.damaged)),
        ("wrong shares", text::count(view.wrong_shares)),
        ("rollbacks", text::count(view.rollbacks)),
    ]);
    if view.record.is_some() {
        pairs.extend([("trust", trust(view)), ("success", success(view))]);
    }
    pairs.extend(audit_lines(&shown.audits, now));
    text::lines(&pairs)
}

/// Failures that are shown; --json has a thousand.
const FAILURES_SHOWN: usize = 20;

fn audit_lines(audits: &AuditsView, now: i64) -> Vec<(&'static str, String)> {
    let Some((integrity, answering)) = audits.integrity.zip(audits.answering) else { return Vec::new() };
    let mut lines = vec![
        (
            "audits",
            format!(
                "{}, {} failed, the last one {}",
                text::count(audits.audits),
                text::count(audits.failed),
                text::ago(now, audits.audited_ms)
            ),
        ),
        ("record", format!("has {:.1} % of what it was given, answers {:.0} %", integrity * 100.0, answering * 100.0)),
    ];
    if audits.open_questions > 0 {
        lines.push((
            "",
            format!("{} not given yet, and asked for again", text::counted(audits.open_questions, "share")),
        ));
    }
    for failure in audits.failures.iter().take(FAILURES_SHOWN) {
        let FailureView { segment, piece, stripe, fault, .. } = failure;
        let ago = text::ago(now, Some(failure.found_ms));
        lines.push(("failed", format!("{ago}: segment {segment}, piece {piece}, share {stripe}: {fault}")));
    }
    let more = audits.failures.len().saturating_sub(FAILURES_SHOWN);
    if more > 0 {
        lines.push(("", format!("and {more} more: --json shows them")));
    }
    lines
}

fn connected(shown: &ShownNode) -> String {
    match &shown.view.connection {
        None if shown.running => "no".to_owned(),
        None => "no (not running)".to_owned(),
        Some(connection) => {
            let duplicates = match connection.refused_duplicates {
                0 => String::new(),
                count => format!("; another instance with its key was refused {}", text::counted(count, "time")),
            };
            format!(
                "for {}, {} of which {} idle{duplicates}",
                text::span(connection.connected_s),
                text::counted(connection.connections as u64, "connection"),
                connection.idle_connections,
            )
        }
    }
}

fn space_line(space: &SpaceView) -> String {
    format!(
        "{} {} of {} used, {} writable",
        text::bar(space.used_bytes, space.capacity_bytes, 20),
        text::bytes(space.used_bytes),
        text::bytes(space.capacity_bytes),
        text::bytes(space.writable_bytes),
    )
}
