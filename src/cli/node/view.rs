//! A node's report as people like to look at it: eighty columns, bars for the
//! disk, and how its traffic has been.

use std::collections::VecDeque;
use std::time::Instant;

use crate::cli::text::{bytes, count, span};
use crate::node::{Bytes, DiskReport, DoorReport, NodeReport, NodeState};
use crate::wire::{Standing, StandingKind};

const COLUMNS: usize = 80;
/// Cells of the disk's bar.
const BAR: usize = 66;
/// Seconds of traffic that the live view shows.
const HISTORY: usize = 32;

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const DIM: &str = "2";
const BOLD: &str = "1";

/// Colours text where a terminal shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Painter {
    pub(super) colours: bool,
}

impl Painter {
    fn paint(self, colour: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How fast bytes have moved, second by second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, Bytes)>,
    received: VecDeque<u64>,
    sent: VecDeque<u64>,
    seen: u64,
}

impl Rates {
    /// Adds what has passed since the report before.
    pub(super) fn add(&mut self, report: &NodeReport, now: Instant) {
        let total = report.traffic.since_start;
        self.seen += 1;
        if let Some((then, before)) = self.last.replace((now, total)) {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            // A node that was started again counts from zero.
            let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds) as u64;
            push(&mut self.received, rate(total.received_bytes, before.received_bytes));
            push(&mut self.sent, rate(total.sent_bytes, before.sent_bytes));
        }
    }

    pub(super) fn is_first(&self) -> bool {
        self.seen <= 1
    }
}

fn push(history: &mut VecDeque<u64>, rate: u64) {
    history.push_back(rate);
    if history.len() > HISTORY {
        history.pop_front();
    }
}

/// The whole page.
pub(super) fn page(report: &NodeReport, rates: Option<&Rates>, painter: Painter) -> String {
    let mut lines = vec![head(report, painter), painter.paint(DIM, &"─".repeat(COLUMNS))];
    lines.extend(disk(report, painter));
    lines.extend(traffic(report, rates, painter));
    lines.extend(standing(report.standing.as_ref(), painter));
    lines.extend(doors(&report.doors, painter));
    lines.extend(waiting(report));
    lines.join("\n") + "\n"
}

/// The same in a line, for logs.
pub(super) fn line(report: &NodeReport, rates: &Rates) -> String {
    let now = |history: &VecDeque<u64>| bytes(history.back().copied().unwrap_or(0));
    let disk = report.disk.clone().unwrap_or_default();
    format!(
        "{}  live {}  trash {}  free {}  in {}/s  out {}/s\n",
        state(report.state).0,
        bytes(disk.live_bytes),
        bytes(disk.trash_bytes),
        bytes(disk.free_bytes),
        now(&rates.received),
        now(&rates.sent)
    )
}

fn state(state: NodeState) -> (&'static str, &'static str) {
    match state {
        NodeState::Stopped => ("stopped", YELLOW),
        NodeState::Starting => ("starting", YELLOW),
        NodeState::Connecting => ("connecting", YELLOW),
        NodeState::Serving => ("serving", GREEN),
        NodeState::Leaving => ("leaving", YELLOW),
        NodeState::Left => ("left", DIM),
    }
}

fn head(report: &NodeReport, painter: Painter) -> String {
    let short = |id: &str| id.get(..12).unwrap_or("unknown").to_owned();
    let (word, colour) = state(report.state);
    let name = format!("Cairn node {}", short(&report.node));
    let since = match report.state {
        NodeState::Stopped => "not running".to_owned(),
        NodeState::Starting => "not serving yet".to_owned(),
        _ if report.uptime_s == 0 => "not running".to_owned(),
        _ => format!("up {}", span(report.uptime_s)),
    };
    let rest = format!("  cluster {}  {since}", short(&report.cluster));
    let gap = COLUMNS.saturating_sub(name.len() + word.len() + rest.len());
    format!("{}{}{}{rest}", painter.paint(BOLD, &name), " ".repeat(gap), painter.paint(colour, word))
}

fn disk(report: &NodeReport, painter: Painter) -> Vec<String> {
    let Some(disk) = &report.disk else {
        let used = bytes(report.log_bytes);
        return vec![format!("Disk      {used} in its logs; it was cut off, and says what they hold once it runs")];
    };
    let parts = [
        ("█", GREEN, disk.live_bytes),
        ("▓", YELLOW, disk.trash_bytes),
        ("▒", RED, disk.dead_bytes + disk.overhead_bytes),
    ];
    let total = disk.capacity_bytes.max(disk.used_bytes()).max(1);
    let mut bar = String::new();
    let mut cells = 0;
    for (sign, colour, size) in parts {
        let width = width(size, total, BAR - cells);
        cells += width;
        bar += &painter.paint(colour, &sign.repeat(width));
    }
    bar += &painter.paint(DIM, &"░".repeat(BAR - cells));
    let share = disk.used_bytes() as f64 * 100.0 / disk.capacity_bytes.max(1) as f64;
    let legend = format!(
        "{} live {}   {} trash {}   {} dead {}   {} free {}",
        painter.paint(GREEN, "█"),
        bytes(disk.live_bytes),
        painter.paint(YELLOW, "▓"),
        bytes(disk.trash_bytes),
        painter.paint(RED, "▒"),
        bytes(disk.dead_bytes + disk.overhead_bytes),
        painter.paint(DIM, "░"),
        bytes(disk.free_bytes)
    );
    vec![
        format!("Disk      {bar}"),
        format!("          {legend}"),
        format!("          {}", holds(disk, share, painter)),
    ]
}

fn holds(disk: &DiskReport, share: f64, painter: Painter) -> String {
    let damaged = match disk.damaged {
        0 => String::new(),
        damaged => painter.paint(RED, &format!(", {} damaged", count(damaged))),
    };
    format!(
        "{share:.1} % of {} in {} pieces ({} in the trash){damaged}",
        bytes(disk.capacity_bytes),
        count(disk.pieces),
        count(disk.trashed)
    )
}

/// Cells for a part; something that is there is seen.
fn width(size: u64, total: u64, most: usize) -> usize {
    let exact = (size as f64 / total as f64 * BAR as f64).round() as usize;
    exact.max(usize::from(size > 0)).min(most)
}

fn traffic(report: &NodeReport, rates: Option<&Rates>, painter: Painter) -> Vec<String> {
    let traffic = &report.traffic;
    let now = rates.map_or("", |_| "now");
    let limit = traffic.limit_bytes_per_s.map_or(String::new(), |limit| format!("limit {}/s", bytes(limit)));
    let row = |name: &str, today: u64, month: u64, history: Option<&VecDeque<u64>>| {
        let rate = history.and_then(VecDeque::back).map_or(String::new(), |rate| format!("{}/s", bytes(*rate)));
        let chart = history.map_or(String::new(), |history| painter.paint(GREEN, &chart(history)));
        format!("  {name:<6}{:>12}{:>12}{rate:>14}  {chart}", bytes(today), bytes(month)).trim_end().to_owned()
    };
    let (today, month) = (traffic.today, traffic.month);
    vec![
        format!("Traffic {:>12}{:>12}{now:>14}  {limit}", "today", "this month").trim_end().to_owned(),
        row("in", today.received_bytes, month.received_bytes, rates.map(|rates| &rates.received)),
        row("out", today.sent_bytes, month.sent_bytes, rates.map(|rates| &rates.sent)),
    ]
}

/// A sign per second, as high as its rate among the others.
fn chart(history: &VecDeque<u64>) -> String {
    let signs = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = history.iter().copied().max().unwrap_or(0).max(1);
    history.iter().map(|rate| signs[(*rate as f64 / highest as f64 * 7.0).round() as usize]).collect()
}

fn standing(standing: Option<&Standing>, painter: Painter) -> Vec<String> {
    let Some(standing) = standing else {
        return vec!["Standing  the cluster has not said yet".to_owned()];
    };
    let (word, colour) = match standing.kind {
        StandingKind::Active => ("active", GREEN),
        StandingKind::Suspended => ("suspended", RED),
        StandingKind::Draining => ("draining", YELLOW),
        StandingKind::Left => ("left", DIM),
        StandingKind::Other => ("said in words that this version does not know", YELLOW),
    };
    let trust = usize::from(standing.trust_permille.min(1000));
    let bar = "■".repeat(trust / 100) + &"□".repeat(10 - trust / 100);
    let mut lines = vec![format!(
        "Standing  {}   trust {bar} {:.1} %   audits: {} right, {} wrong",
        painter.paint(colour, word),
        trust as f64 / 10.0,
        count(standing.audits_passed),
        count(standing.audits_failed)
    )];
    lines.extend(wrap(&standing.sentence).map(|text| format!("          {text}")));
    lines
}

fn doors(doors: &[DoorReport], painter: Painter) -> Vec<String> {
    let row = |(at, door): (usize, &DoorReport)| {
        let title = if at == 0 { "Doors" } else { "" };
        let connected = door.state == "connected";
        let dot = painter.paint(if connected { GREEN } else { YELLOW }, if connected { "●" } else { "○" });
        let lines = match door.connections {
            _ if !connected => String::new(),
            1 => ", 1 connection".to_owned(),
            connections => format!(", {connections} connections"),
        };
        format!("{title:<10}{dot} {}  {} {}{lines}", door.door, door.state, span(door.since_s))
    };
    doors.iter().enumerate().map(row).collect()
}

fn waiting(report: &NodeReport) -> Vec<String> {
    if report.waiting_for.is_empty() {
        return vec!["Waiting   for nothing".to_owned()];
    }
    let mut lines = Vec::new();
    for sentence in &report.waiting_for {
        for (at, text) in wrap(&format!("for {sentence}")).enumerate() {
            let title = if lines.is_empty() { "Waiting" } else { "" };
            let indent = if at == 0 { "" } else { "  " };
            lines.push(format!("{title:<10}{indent}{text}"));
        }
    }
    lines
}

/// A sentence in lines that fit beside the titles.
fn wrap(sentence: &str) -> impl Iterator<Item = String> + use<> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= COLUMNS - 12 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::TrafficReport;

    const PLAIN: Painter = Painter { colours: false };

    fn report() -> NodeReport {
        let disk = DiskReport {
            live_bytes: 380_000_000_000,
            trash_bytes: 30_000_000_000,
            dead_bytes: 2_000_000_000,
            overhead_bytes: 1_000_000,
            free_bytes: 87_999_000_000,
            capacity_bytes: 500_000_000_000,
            other_bytes: 1000,
            pieces: 193_204,
            trashed: 1203,
            damaged: 2,
        };
        NodeReport {
            node: "3f2a91c0d4e1".repeat(5),
            cluster: "77aa01bc93d0".repeat(5),
            version: "0.1.0".into(),
            state: NodeState::Serving,
            uptime_s: 100_000,
            starts: 3,
            log_bytes: disk.used_bytes(),
            disk: Some(disk),
            traffic: TrafficReport {
                today: Bytes { received_bytes: 12_300_000_000, sent_bytes: 5 },
                limit_bytes_per_s: Some(20_000_000),
                ..TrafficReport::default()
            },
            standing: Some(Standing {
                kind: StandingKind::Suspended,
                sentence: "a reason that is told at such length that it has to be broken into several lines".into(),
                joined_ms: 0,
                trust_permille: 873,
                audits_passed: 1204,
                audits_failed: 1,
                pieces_to_move: None,
            }),
            doors: vec![DoorReport {
                door: "door.example.org:9100".into(),
                state: "connected".into(),
                since_s: 4000,
                reason: None,
                connections: 2,
            }],
            waiting_for: vec!["the operator, ".repeat(20)],
            leaving: false,
            left: false,
        }
    }

    #[test]
    fn a_page_fits_a_terminal_and_says_everything() {
        let text = page(&report(), None, PLAIN);
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        for words in [
            "Cairn node 3f2a91c0d4e1",
            "serving  cluster 77aa01bc93d0  up 1 d 3 h",
            "live 380 GB   ▓ trash 30.0 GB   ▒ dead 2.00 GB   ░ free 88.0 GB",
            "82.4 % of 500 GB in 193,204 pieces (1,203 in the trash), 2 damaged",
            "12.3 GB",
            "limit 20.0 MB/s",
            "suspended   trust ■■■■■■■■□□ 87.3 %   audits: 1,204 right, 1 wrong",
            "● door.example.org:9100  connected 1 h 6 min, 2 connections",
        ] {
            assert!(text.contains(words), "'{words}' is missing:\n{text}");
        }
        assert!(!text.contains('\x1b'));
        let colours = page(&report(), None, Painter { colours: true });
        assert!(colours.contains("\x1b[32m"));
    }

    #[test]
    fn the_bar_is_as_long_as_the_disk_and_shows_what_little_there_is() {
        let mut report = report();
        for (live, trash, dead) in [(0, 0, 0), (1, 1, 1), (500, 0, 0), (498, 1, 1), (900, 100, 100)] {
            let disk = report.disk.as_mut().unwrap();
            (disk.live_bytes, disk.trash_bytes, disk.dead_bytes, disk.overhead_bytes) = (live, trash, dead, 0);
            disk.capacity_bytes = 500;
            let bar = self::disk(&report, PLAIN).remove(0);
            assert_eq!(bar.chars().count(), 10 + BAR, "{bar}");
            assert_eq!(bar.contains('█'), live > 0, "{bar}");
        }
    }

    #[test]
    fn a_node_that_promises_less_than_it_holds_is_more_than_full() {
        let mut report = report();
        report.disk.as_mut().unwrap().capacity_bytes = 206_000_500_000;
        assert!(page(&report, None, PLAIN).contains("200.0 % of 206 GB"), "{}", page(&report, None, PLAIN));
    }

    #[test]
    fn rates_are_what_passed_since_the_last_look() {
        let (mut rates, mut report, now) = (Rates::default(), report(), Instant::now());
        rates.add(&report, now);
        assert!(rates.is_first());
        report.traffic.since_start.received_bytes = 5_000_000;
        rates.add(&report, now + Duration::from_secs(2));
        assert_eq!(rates.received, [2_500_000]);
        report.traffic.since_start.received_bytes = 0;
        rates.add(&report, now + Duration::from_secs(3));
        assert_eq!(rates.received, [2_500_000, 0]);
        let page = page(&report, Some(&rates), PLAIN);
        assert!(page.contains("█▁") && page.contains("0 B/s"), "{page}");
        for second in 4..200 {
            rates.add(&report, now + Duration::from_secs(second));
        }
        assert_eq!(rates.received.len(), HISTORY);
        assert!(super::page(&report, Some(&rates), PLAIN).lines().all(|line| line.chars().count() <= COLUMNS));
        assert!(line(&report, &rates).starts_with("serving  live 380 GB"));
    }

    #[test]
    fn a_node_that_was_cut_off_says_what_it_can() {
        let stopped = NodeReport { disk: None, state: NodeState::Stopped, standing: None, doors: vec![], ..report() };
        let text = page(&stopped, None, PLAIN);
        assert!(text.contains("not running") && text.contains("412 GB in its logs"), "{text}");
    }
}
