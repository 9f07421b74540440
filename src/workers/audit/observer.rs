//! Draws shares while the pass goes by, and has them asked for when it has
//! ended; in a thorough pass, asks for all of them at once.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};

use super::super::observer::{Observer, Scene, Wish};
use super::super::report::Losses;
use super::super::task::Keeper;
use super::asking::{Waiting, ask_waiting, lock};
use super::inspect::Asked;
use super::line::without_our_outage;
use crate::audit::{Answer, Draw, Sampler};
use crate::metadata::{
    Audited, AuditedPiece, FOLLOW_UPS_MAX, FollowUp, ListFollowUps, MetadataError, PiecePlace, SegmentRow,
};
use crate::segment::Layout;
use crate::transfer::SegmentReader;
use crate::types::SegmentId;

/// Pieces that a thorough pass asks for at once.
const AT_ONCE: usize = 8;
/// So many pieces of one node without an answer, and a thorough pass asks it
/// for no more: each would take as long as it may.
const UNANSWERED_MAX: u64 = 5;

/// Audits. Its draws survive neither the process nor the loss of the walk, and
/// need not: the next pass draws others. What was asked is in the database.
#[derive(Default)]
pub(in crate::workers) struct Auditor {
    sampler: Option<Sampler<(SegmentId, PiecePlace)>>,
    losses: Losses,
    waiting: Waiting,
    asking: Option<Keeper>,
    thorough: Thorough,
}

/// What a thorough pass remembers.
#[derive(Default)]
struct Thorough {
    /// Pieces in a row that each node has left unanswered.
    unanswered: BTreeMap<u32, u64>,
}

#[async_trait]
impl Observer for Auditor {
    async fn begin(&mut self, scene: &Scene) -> Result<(), MetadataError> {
        let nodes = scene.transfer.fleet().registered().len();
        self.sampler = Some(Sampler::new(u64::from_le_bytes(scene.env.random()), nodes));
        self.losses = scene.watch.losses();
        self.thorough = Thorough::default();
        Ok(())
    }

    async fn page(&mut self, scene: &Scene, rows: &[SegmentRow]) -> Result<bool, MetadataError> {
        if scene.thorough {
            return self.ask_all(scene, rows).await;
        }
        let Some(sampler) = &mut self.sampler else { return Ok(false) };
        for row in rows {
            let Ok(layout) = Layout::from_bytes(&row.layout) else { continue };
            for place in &row.pieces {
                if !is_known(scene, &self.losses, row.segment, place) {
                    sampler.offer(place.node, layout.piece_bytes() as u64, layout.stripes(), (row.segment, *place));
                }
            }
        }
        Ok(false)
    }

    async fn end(&mut self, scene: &Scene) -> Result<Wish, MetadataError> {
        let draws = self.sampler.take().map(Sampler::draws).unwrap_or_default();
        self.add(scene, if scene.thorough { Vec::new() } else { draws }).await?;
        if !lock(&self.waiting).is_empty() && self.asking.as_ref().is_none_or(Keeper::has_ended) {
            self.asking = Some(Keeper::begin(ask_waiting(scene.clone(), self.waiting.clone())));
        }
        Ok(Wish::default())
    }

    fn cut_off(&mut self) {
        self.sampler = None;
    }

    fn is_busy(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| !asking.has_ended())
    }
}

/// A piece that is known to be lost is being made anew: its node has paid for it.
fn is_known(scene: &Scene, losses: &Losses, segment: SegmentId, place: &PiecePlace) -> bool {
    let id = || scene.transfer.piece_id(segment, place);
    losses.concern(place.node) && id().is_some_and(|id| losses.contain(place.node, &id))
}

/// Of nodes that have left as many questions open as are kept, one draw each:
/// it shows whether they answer anything meanwhile. All of the others. `open`
/// names the node of every open question.
fn contained<P>(draws: Vec<Draw<P>>, open: impl Iterator<Item = u32>) -> Vec<Draw<P>> {
    let (mut counts, mut drawn) = (BTreeMap::<u32, u64>::new(), HashSet::new());
    open.for_each(|node| *counts.entry(node).or_default() += 1);
    let is_full = |node| counts.get(&node).is_some_and(|count| *count >= FOLLOW_UPS_MAX);
    draws.into_iter().filter(|draw| drawn.insert(draw.node) || !is_full(draw.node)).collect()
}

impl Auditor {
    /// Open questions that are due wait to be asked, and what was drawn.
    async fn add(&self, scene: &Scene, draws: Vec<Draw<(SegmentId, PiecePlace)>>) -> Result<(), MetadataError> {
        let follow_ups = scene.metadata.read(ListFollowUps).await?;
        let drawn = contained(draws, follow_ups.iter().map(|(question, _)| question.place.node)).into_iter();
        let drawn = drawn.map(|Draw { piece: (segment, place), stripe, .. }| FollowUp { segment, place, stripe });
        let due = follow_ups.into_iter().filter(|(_, due)| *due).map(|(question, _)| question);
        lock(&self.waiting).extend(due, drawn);
        Ok(())
    }
}

/// Adds to what was found at a node.
pub(super) fn count(scene: &Scene, place: PiecePlace, asked: &Asked) {
    let mut tally = scene.watch.tally(scene.thorough);
    let node = tally.of(place.node);
    match asked {
        Asked::Shares(right) => {
            let wrong = right.iter().filter(|right| !**right).count() as u64;
            node.shares_checked += right.len() as u64;
            node.shares_wrong += wrong;
            node.pieces_wrong += u64::from(wrong > 0);
        }
        Asked::Missing => node.pieces_missing += 1,
        Asked::Declined | Asked::Late => node.pieces_unanswered += 1,
        Asked::Away => node.pieces_unreachable += 1,
    }
}

// ---- thorough passes -------------------------------------------------------

impl Auditor {
    /// Asks for every share of these segments. Answers whether any piece was
    /// not known to be lost.
    async fn ask_all(&mut self, scene: &Scene, rows: &[SegmentRow]) -> Result<bool, MetadataError> {
        let mut pieces = Vec::new();
        let losses = scene.watch.losses();
        for row in rows {
            let Ok(reader) = SegmentReader::new(scene.transfer.clone(), row.clone()) else { continue };
            let places = row.pieces.clone();
            let unanswered = &self.thorough.unanswered;
            let asked = stream::iter(places).map(|place| {
                let (reader, skip) =
                    (&reader, unanswered.get(&place.node).is_some_and(|count| *count >= UNANSWERED_MAX));
                async move { (place, if skip { Asked::Away } else { ask_whole(scene, reader, place).await }) }
            });
            let asked: Vec<(PiecePlace, Asked)> = asked.buffer_unordered(AT_ONCE).collect().await;
            if is_rows_fault(row, &asked) {
                continue;
            }
            asked.iter().for_each(|(place, asked)| self.note(scene, *place, asked));
            let piece = |(place, asked)| {
                let piece = whole(scene, row.segment, place, asked)?;
                let known = is_known(scene, &losses, row.segment, &place);
                Some(if known { AuditedPiece { audited: Audited::Known(Answer::Wrong), ..piece } } else { piece })
            };
            pieces.extend(without_our_outage(asked.into_iter().filter_map(piece).collect()));
        }
        // What is known of a node is added to in place while nobody holds a copy.
        drop(losses);
        scene.record(pieces).await
    }

    fn note(&mut self, scene: &Scene, place: PiecePlace, asked: &Asked) {
        count(scene, place, asked);
        match asked {
            Asked::Declined | Asked::Late => *self.thorough.unanswered.entry(place.node).or_default() += 1,
            Asked::Away => {}
            _ => drop(self.thorough.unanswered.remove(&place.node)),
        }
    }
}

/// Whether every share that anybody gave is wrong, of several nodes: then it is
/// the row that has changed.
fn is_rows_fault(row: &SegmentRow, asked: &[(PiecePlace, Asked)]) -> bool {
    let given = asked.iter().filter_map(|(_, asked)| match asked {
        Asked::Shares(right) => Some(right.contains(&true)),
        _ => None,
    });
    let given: Vec<bool> = given.collect();
    let fault = given.len() > 1 && !given.contains(&true);
    if fault {
        tracing::error!(segment = %row.segment, "no node gives right shares of a segment: its row in the metadata \
            database seems to be damaged; its pieces are left as they are");
    }
    fault
}

/// All shares of a piece, in memory that is reserved as any reader's.
async fn ask_whole(scene: &Scene, reader: &SegmentReader, place: PiecePlace) -> Asked {
    // However long users need it: that is nothing the node could be blamed for.
    let _memory = loop {
        if let Ok(memory) = scene.transfer.budget().read.reserve(reader.piece_bytes()).await {
            break memory;
        }
    };
    let mut all = Vec::with_capacity(usize::from(reader.stripes()));
    for part in reader.parts() {
        match scene.ask(reader, place, part).await {
            Asked::Shares(right) => all.extend(right),
            // It has a part of the piece at most.
            other => return other,
        }
    }
    Asked::Shares(all)
}

/// What a piece that was read whole says: one share, at random, weighs in the
/// record, and all that are wrong are kept.
fn whole(scene: &Scene, segment: SegmentId, place: PiecePlace, asked: Asked) -> Option<AuditedPiece> {
    let dice = u16::from_le_bytes(scene.env.random());
    let (stripe, audited, wrong) = match asked {
        Asked::Shares(right) => {
            let stripe = dice % (right.len() as u16).max(1);
            let answer = if right[usize::from(stripe)] { Answer::Right } else { Answer::Wrong };
            let wrong = (0..).zip(&right).filter(|(_, right)| !**right).map(|(stripe, _)| stripe).collect();
            (stripe, Audited::Told(answer), wrong)
        }
        Asked::Missing => (0, Audited::Told(Answer::Missing), Vec::new()),
        Asked::Declined => (0, Audited::Declined, Vec::new()),
        Asked::Late => (0, Audited::Late, Vec::new()),
        Asked::Away => return None,
    };
    Some(AuditedPiece { segment, place, stripe, audited, wrong })
}

#[cfg(test)]
#[path = "tests/observer.rs"]
mod tests;
