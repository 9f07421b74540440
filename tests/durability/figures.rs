//! What every drill prints: how much was acknowledged and lost, what could not
//! be read meanwhile, how long it took until all was well; and what `cairn
//! status` says of it, as an operator would see it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cairn::tell;
use crate::support::community::Gateway;
use crate::support::load::{Entry, Outcome};

/// The figures of one fault, or of several.
#[derive(Default)]
pub struct Figures {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Requests to read that were not answered with what was stored.
    pub unreadable: usize,
    /// Requests to read, during the faults.
    pub reads: usize,
    /// From each fault until all was well.
    pub healthy_after: Vec<Duration>,
    /// Segments that `cairn status` counted as lost, the most at once.
    pub lost: u64,
}

impl Figures {
    /// Adds what was asked for while something was wrong.
    pub fn add_reads(&mut self, book: &[Entry], from: Instant, to: Instant) {
        let during = book.iter().filter(|entry| !entry.writes && entry.begun >= from && entry.begun < to);
        for entry in during {
            self.reads += 1;
            self.unreadable += usize::from(entry.outcome != Outcome::Good);
        }
    }

    /// Takes the writes of a load that has ended, all of which were compared.
    pub fn count(&mut self, book: &[Entry]) {
        self.acknowledged += book.iter().filter(|entry| entry.writes && entry.outcome == Outcome::Good).count();
    }

    /// Prints them, and what an operator sees; nothing may be lost there either.
    pub fn show(&self, drill: &str, gateway: &Gateway) {
        let longest = self.healthy_after.iter().max().copied().unwrap_or_default();
        let Self { acknowledged, lost, unreadable, reads, .. } = self;
        tell(&format!(
            "{drill}: {acknowledged} acknowledged, {lost} lost, {unreadable} of {reads} reads during the faults not \
             answered, full health after {longest:.1?} at the latest ({} faults)",
            self.healthy_after.len(),
        ));
        tell(&gateway.operator(&["status"]).outcome().text());
        let status = gateway.json(&["status"]);
        assert_eq!((lost, status["segments"]["lost"].as_u64()), (&0, Some(0)), "{status:#}");
    }
}

/// Whether nothing is left to repair: as many nodes count as away as are to, and
/// every segment has more pieces than those at which it is repaired.
pub fn is_whole(status: &Value, away: u64) -> bool {
    let segments = &status["segments"];
    let none = |name: &str| segments[name].as_u64() == Some(0);
    let counted = segments["passes"].as_u64() > Some(0) && segments["nodes_away"].as_u64() == Some(away);
    counted && none("degraded") && none("unreadable") && none("lost") && none("queue")
}

/// A piece of a segment.
pub type Blamed = BTreeSet<(String, u64)>;

/// The pieces of a node that were found wrong: by audits, as `cairn nodes show`
/// has them, and by whoever used them, as the gateway's log has them.
pub fn blamed(gateway: &Gateway, node: &str) -> Blamed {
    let shown = gateway.json(&["nodes", "show", node]);
    let failures = shown["audits"]["failures"].as_array().cloned().unwrap_or_default();
    let faults = failures.iter().filter(|failure| failure["fault"] == "wrong" || failure["fault"] == "missing");
    let audited =
        faults.filter_map(|failure| Some((failure["segment"].as_str()?.to_owned(), failure["piece"].as_u64()?)));
    let (log, mark) = (gateway.log(), format!("a node gave wrong shares node=\"{node}\" segment="));
    let told = log.lines().filter_map(|line| line.split_once(&mark)).filter_map(|(_, rest)| {
        let (segment, rest) = rest.split_once(" piece=")?;
        Some((segment.to_owned(), rest.split(' ').next()?.parse().ok()?))
    });
    audited.chain(told).collect()
}
