//! Years of a network's life in seconds, by dice: nodes come, go, and go for
//! good, and the real placement, the real judge and the real order of repairs
//! keep the segments. What `docs/durability.md` claims is checked against it.
//!
//! What is simulated: losses of nodes and of whole failure domains, absences,
//! how late they are noticed, how many repairs run at once and how long one
//! takes. What is not: bytes. A loss takes effect on all pieces at once, and a
//! fresh node joins where one was lost.

mod events;
#[cfg(test)]
mod tests;
mod world;

use events::{Event, Events};
use world::World;

use crate::erasure::Scheme;

/// Hours in a month, on average.
const MONTH_HOURS: f64 = 730.5;
/// Hours in a year, on average.
const YEAR_HOURS: f64 = 12.0 * MONTH_HOURS;

/// A network, and what happens to it. Parts are from 0 to below 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Storage nodes; as many join as are lost.
    pub nodes: u32,
    /// Failure domains that they are in, in equal parts.
    pub domains: u32,
    /// How segments are kept.
    pub scheme: Scheme,
    /// Segments that stand for all data.
    pub segments: u32,
    /// Which part of the nodes is lost for good in a month.
    pub loss_per_month: f64,
    /// Which part of the failure domains is lost whole in a month.
    pub domain_loss_per_month: f64,
    /// How often a node goes and comes back in a month.
    pub absences_per_month: f64,
    /// How long it is away then, on average (exponential).
    pub absence_hours: f64,
    /// How long a node may be away before its pieces count as missing.
    pub offline_after_hours: f64,
    /// Which part of all segments can be repaired in a day.
    pub repaired_per_day: f64,
    /// How long one repair takes on average (exponential).
    pub repair_hours: f64,
    /// How long to look.
    pub years: f64,
    /// Of the dice. The same setting and seed give the same outcome.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Simulated {
    /// Nodes that were lost for good.
    pub nodes_lost: u64,
    /// Failure domains that were lost whole.
    pub domains_lost: u64,
    /// Times that a node was away and came back.
    pub absences: u64,
    /// Segments that were lost. Each is replaced by a new one.
    pub segments_lost: u64,
    /// The chance that a segment is lost within a year, as it was seen.
    pub loss_per_year: f64,
    /// Repairs of segments that were finished.
    pub repairs: u64,
    /// Repairs that came too late.
    pub repairs_failed: u64,
    /// Pieces that they made anew.
    pub pieces_repaired: u64,
    /// Bytes that repairs read and wrote in a month, for each byte of data.
    pub repair_bytes_per_month: f64,
    /// Segments that waited for repair at once, at most.
    pub queue_max: u64,
    /// Hours from the loss that left no more than r pieces until there were
    /// more again, on average.
    pub exposed_hours: f64,
    /// The fewest pieces that a segment had beyond those that it needs; below
    /// zero where one was lost.
    pub least_margin: i64,
}

/// Lets time pass. `progress` hears of the part that is over, from 0 to 1,
/// about once in a hundredth.
pub fn simulate(setting: &Setting, mut progress: impl FnMut(f64)) -> Simulated {
    let end = setting.years * YEAR_HOURS;
    let mut events = Events::new(setting);
    let mut world = World::new(setting, &mut events);
    let mut told = 0.0;
    while let Some((now, event)) = events.next_before(end) {
        world.pass(now, event, &mut events);
        if now / end >= told + 0.01 {
            told = now / end;
            progress(told);
        }
    }
    world.outcome(setting)
}
