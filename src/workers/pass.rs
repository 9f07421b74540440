//! One pass over all segments: what it counts.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::census::Census;
use super::judge::Verdict;
use super::report::{HealthWatch, OneMore};
use crate::metadata::NodeRow;
use crate::types::{Epoch, SegmentId, UnixMillis};

/// Segments that are named, at most, of each kind.
const NAMED_MAX: usize = 100;

fn name(names: &mut Vec<String>, segment: SegmentId) {
    if names.len() < NAMED_MAX {
        names.push(segment.to_string());
    }
}

/// A pass that goes on.
pub(super) struct Pass {
    pub(super) begun: Instant,
    /// The segment that was seen last.
    pub(super) after: Option<SegmentId>,
    /// Nodes that no upload could reach any more when it began.
    drained: HashMap<u32, Epoch>,
    /// Members whose pieces counted as missing when it began.
    away: u64,
    segments: u64,
    by_margin: BTreeMap<i64, u64>,
    degraded: u64,
    unreadable: u64,
    lost: u64,
    /// The first of those that are lost, and of those that cannot be read now.
    lost_segments: Vec<String>,
    unreadable_segments: Vec<String>,
    /// Segments that would become unreadable with each domain.
    hang_on: BTreeMap<u64, u64>,
    to_move: BTreeMap<u32, u64>,
}

impl Pass {
    pub(super) fn begin(drained: HashMap<u32, Epoch>, away: u64) -> Self {
        Self {
            begun: Instant::now(),
            after: None,
            drained,
            away,
            segments: 0,
            by_margin: BTreeMap::new(),
            degraded: 0,
            unreadable: 0,
            lost: 0,
            lost_segments: Vec::new(),
            unreadable_segments: Vec::new(),
            hang_on: BTreeMap::new(),
            to_move: BTreeMap::new(),
        }
    }

    pub(super) fn count(&mut self, segment: SegmentId, verdict: &Verdict) {
        self.segments += 1;
        *self.by_margin.entry(verdict.margin()).or_default() += 1;
        self.degraded += u64::from(verdict.is_degraded());
        self.unreadable += u64::from(!verdict.is_readable());
        for domain in verdict.hangs_on() {
            *self.hang_on.entry(domain).or_default() += 1;
        }
        for node in verdict.draining() {
            *self.to_move.entry(node).or_default() += 1;
        }
        if verdict.is_lost() {
            self.lost += 1;
            name(&mut self.lost_segments, segment);
            tracing::error!(%segment, "a segment has fewer pieces left than it takes to read it");
        } else if !verdict.is_readable() {
            name(&mut self.unreadable_segments, segment);
        }
    }

    /// Counts a segment that cannot be judged.
    pub(super) fn count_unreadable(&mut self, segment: SegmentId) {
        name(&mut self.unreadable_segments, segment);
        self.segments += 1;
        self.unreadable += 1;
    }

    /// Whether a node that no upload could reach had no piece.
    pub(super) fn found_drained(&self, node: u32) -> Option<Epoch> {
        self.drained.get(&node).copied().filter(|_| !self.to_move.contains_key(&node))
    }

    /// Shows what was counted.
    pub(super) fn report(&self, census: &Census, watch: &HealthWatch, now: UnixMillis) {
        let worst = self.hang_on.iter().max_by_key(|(_, segments)| **segments);
        let one_more = worst.map(|(domain, segments)| OneMore {
            segments_lost: *segments,
            worst_domain: Some(*domain),
            nodes: census.nodes_in(*domain),
        });
        let left = |row: &NodeRow| (row.number, self.to_move.get(&row.number).copied().unwrap_or(0));
        let to_move = census.draining.iter().map(left).collect();
        let mut report = watch.report();
        report.passes += 1;
        report.scanned_at_ms = Some(now.0);
        report.segments = self.segments;
        report.by_margin = self.by_margin.clone();
        report.degraded = self.degraded;
        report.healthy = self.segments - self.degraded - self.unhealthy();
        report.unreadable = self.unreadable;
        report.lost = self.lost;
        report.nodes_away = self.away;
        report.lost_segments.clone_from(&self.lost_segments);
        report.unreadable_segments.clone_from(&self.unreadable_segments);
        report.if_one_more_domain_dies = one_more.unwrap_or_default();
        report.pieces_to_move = to_move;
    }

    /// Segments that are not degraded and yet not healthy: those that cannot
    /// be judged.
    fn unhealthy(&self) -> u64 {
        self.segments - self.by_margin.values().sum::<u64>()
    }
}
