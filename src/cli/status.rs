//! `cairn status`: the state of the cluster on one screen.

use std::path::PathBuf;

use super::operator::Reach;
use super::text;
use super::{Failure, answer};
use crate::admin::{Status, StatusView};
use crate::workers::HealthReport;

/// Show the state of the cluster: nodes, space, redundancy, segments and
/// repairs.
///
/// Exit code 0 when all is well: the process runs, objects can be written, and
/// no segment is lost or so near to it that it is being repaired. 1 when not,
/// and the answer says why. 2 when there is no answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cairn status
  cairn status --data /srv/cairn --json | jq .segments
  until cairn status >/dev/null; do sleep 1; done    # wait until objects can be written
  CAIRN_ADMIN_TOKEN=… cairn status --admin 10.0.0.5:9101")]
pub(super) struct Arguments {
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn command(arguments: Arguments, file: Option<PathBuf>) -> Result<(), Failure> {
    let json = arguments.reach.json;
    let status = arguments.reach.desk(file)?.ask(&Status {})?;
    answer(&if json { as_json(&status) } else { as_text(&status) })?;
    match status.problems.as_slice() {
        [] => Ok(()),
        [problem] => Err(Failure::running(problem)),
        [problem, rest @ ..] => Err(Failure::running(format!("{problem} (and {} more problems)", rest.len()))),
    }
}

fn as_json(status: &StatusView) -> String {
    let text = serde_json::to_string_pretty(status).expect("structs of numbers and strings have a JSON form");
    format!("{text}\n")
}

fn as_text(status: &StatusView) -> String {
    let mut pairs = vec![
        ("cairn", head(status)),
        ("S3", status.s3.clone().unwrap_or_default()),
        ("doors", status.doors.join(", ")),
        ("nodes", nodes(status)),
        ("space", space(status)),
        ("room", room(status)),
        ("scheme", scheme(status)),
        ("writes", writes(status)),
    ];
    if let Some(segments) = &status.segments {
        pairs.extend(segment_lines(segments, status.now_ms));
    }
    pairs.push(("audits", audits(status)));
    let mut told = text::lines(&pairs);
    let problems = status.problems.iter().map(|problem| ("PROBLEM", problem));
    let notes = problems.chain(status.warnings.iter().map(|warning| ("note", warning)));
    let notes: Vec<(&str, String)> = notes.map(|(kind, sentence)| (kind, sentence.clone())).collect();
    if !notes.is_empty() {
        told.push('\n');
        told.push_str(&text::lines(&notes));
    }
    told
}

fn audits(status: &StatusView) -> String {
    let audits = &status.audits;
    let mut told = format!("{} of nodes' shares, {} failed", text::count(audits.audits), text::count(audits.failed));
    for (count, what) in [(audits.suspended, "suspended"), (audits.disqualified, "disqualified")] {
        if count > 0 {
            told.push_str(&format!("; {} {what}", text::counted(count, "node")));
        }
    }
    told
}

fn head(status: &StatusView) -> String {
    let running = match status.uptime_s {
        Some(uptime) => format!("running for {}", text::span(uptime)),
        None if status.doors.is_empty() => "not running".to_owned(),
        None => "running elsewhere".to_owned(),
    };
    let health = if status.healthy { "healthy" } else { "NOT HEALTHY" };
    let cluster: String = status.cluster.chars().take(8).collect();
    format!("{}, {running}, {health} (cluster {cluster})", status.version)
}

fn nodes(status: &StatusView) -> String {
    let nodes = &status.nodes;
    let mut parts = vec![format!("{} of {} connected", nodes.connected, nodes.members)];
    for (count, word) in [(nodes.offline, "offline"), (nodes.suspended, "suspended"), (nodes.draining, "draining")] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    let away = status.segments.as_ref().map_or(0, |segments| segments.nodes_away);
    if away > 0 {
        parts.push(format!("{away} away for so long that repair makes up for them"));
    }
    parts.push(text::counted(nodes.domains as u64, "failure domain"));
    format!("{} {}", text::bar(nodes.connected as u64, nodes.members as u64, BAR), parts.join(", "))
}

/// Width of the bars.
const BAR: usize = 20;

fn space(status: &StatusView) -> String {
    let space = &status.space;
    if space.capacity_bytes == 0 {
        return "not known yet".to_owned();
    }
    format!(
        "{} {} of {} used by {}",
        text::bar(space.used_bytes, space.capacity_bytes, BAR),
        text::bytes(space.used_bytes),
        text::bytes(space.capacity_bytes),
        text::counted(space.pieces, "piece"),
    )
}

fn room(status: &StatusView) -> String {
    let space = &status.space;
    if space.capacity_bytes == 0 {
        return String::new();
    }
    format!("for {} of data more ({} of pieces)", text::bytes(space.data_bytes), text::bytes(space.writable_bytes))
}

fn scheme(status: &StatusView) -> String {
    let scheme = &status.scheme;
    format!(
        "{}: any {} of {} restore; survives {} when written, {} while repair keeps up",
        scheme.scheme,
        scheme.required,
        text::counted(scheme.total.into(), "piece"),
        losses(scheme.survives_at_ack),
        scheme.survives_steady,
    )
}

fn losses(count: u16) -> String {
    if count == 1 { "1 loss".to_owned() } else { format!("{count} losses") }
}

/// Whether writes are possible; why not stands below.
fn writes(status: &StatusView) -> String {
    let Some(puts) = &status.puts else { return String::new() };
    let take = if puts.domains_writable == 1 { "takes" } else { "take" };
    format!(
        "{}: {} {take} pieces, {} needed",
        if puts.possible { "possible" } else { "NOT POSSIBLE" },
        text::counted(puts.domains_writable as u64, "failure domain"),
        puts.domains_needed
    )
}

fn segment_lines(segments: &HealthReport, now_ms: i64) -> Vec<(&'static str, String)> {
    if segments.passes == 0 {
        return Vec::new();
    }
    let counted = format!(
        "{}: {} healthy, {} to be repaired, {} unreadable, {} lost (counted {})",
        text::count(segments.segments),
        text::count(segments.healthy),
        text::count(segments.degraded),
        text::count(segments.unreadable),
        text::count(segments.lost),
        text::ago(now_ms, segments.scanned_at_ms),
    );
    let mut lines = vec![("segments", counted)];
    let most = segments.by_margin.values().copied().max().unwrap_or(0);
    for (margin, count) in &segments.by_margin {
        let can_lose = match margin {
            ..=-1 => format!("lack {}", text::counted(margin.unsigned_abs(), "piece")),
            0.. => format!("can lose {}", text::counted(margin.unsigned_abs(), "piece")),
        };
        lines.push(("", format!("{} {} {can_lose}", text::bar(*count, most, BAR), text::count(*count))));
    }
    let lost = match segments.if_one_more_domain_dies.segments_lost {
        0 => "nothing would be lost".to_owned(),
        count => format!("{} would be lost", text::counted(count, "segment")),
    };
    lines.push(("one more", format!("if one more failure domain died, {lost}")));
    lines.push(("queue", queue(segments)));
    lines
}

fn queue(segments: &HealthReport) -> String {
    let mut told = format!(
        "{} waiting; {} repaired and {} moved since the start",
        text::count(segments.queue),
        text::counted(segments.pieces_repaired, "piece"),
        text::count(segments.pieces_moved)
    );
    let to_move = segments.pieces_to_move.values().sum();
    if to_move > 0 {
        told.push_str(&format!(", {} to be moved", text::count(to_move)));
    }
    if segments.repairs_failed > 0 {
        told.push_str(&format!(", {} failed and tried again", text::counted(segments.repairs_failed, "repair")));
    }
    told
}
