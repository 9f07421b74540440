//! Asks the questions that wait, some at a time, each by itself: one that
//! takes as long as it may holds nobody up but its own place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::super::observer::Scene;
use super::super::tranquil::Tranquilizer;
use super::inspect::Asked;
use super::line::Line;
use super::observer::count;
use super::queue::{Question, Queue};
use crate::audit::Answer;
use crate::metadata::{Audited, AuditedPiece, DropFollowUps, FindSegments, FollowUp, MetadataError, SegmentRow};
use crate::transfer::SegmentReader;

/// Shares that are asked for at once; so many answers are written down in one
/// transaction.
const AT_ONCE: usize = 16;

/// What waits to be asked.
pub(super) type Waiting = Arc<Mutex<Queue>>;

pub(super) fn lock(waiting: &Waiting) -> MutexGuard<'_, Queue> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A question that was asked, and what came of it.
type Answered = (Question, Option<AuditedPiece>);

/// Asks until nothing waits.
pub(super) async fn ask_waiting(scene: Scene, waiting: Waiting) {
    let (tranquil, mut line) = (Tranquilizer::new(scene.transfer.budget().clone()), Line::default());
    let (mut running, mut answers) = (FuturesUnordered::new(), Vec::with_capacity(AT_ONCE));
    loop {
        while running.len() < AT_ONCE {
            let Some(question) = take(&waiting) else { break };
            running.push(ask_in_turn(&scene, &tranquil, question));
        }
        match running.next().await {
            Some(answer) => answers.push(answer),
            None => return,
        }
        if answers.len() >= AT_ONCE || running.is_empty() {
            record(&scene, &waiting, &mut line, std::mem::take(&mut answers)).await;
        }
    }
}

fn take(waiting: &Waiting) -> Option<Question> {
    lock(waiting).next()
}

/// Asks, and then leaves its place empty for as long as that took.
async fn ask_in_turn(scene: &Scene, tranquil: &Tranquilizer, question: Question) -> Answered {
    let begun = Instant::now();
    let piece = ask(scene, &question.share).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "a segment could not be looked up for an audit; it is asked for another time");
        None
    });
    tranquil.rest(begun.elapsed()).await;
    (question, piece)
}

/// Writes down what counts.
async fn record(scene: &Scene, waiting: &Waiting, line: &mut Line, answers: Vec<Answered>) {
    let questions: Vec<Question> = answers.iter().map(|(question, _)| *question).collect();
    let pieces = answers.into_iter().filter_map(|(question, piece)| Some((piece?, question.again)));
    match scene.record(line.sift(pieces.collect())).await {
        Ok(true) => scene.watch.wake(),
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "audits could not be recorded; others are drawn in the next pass"),
    }
    let mut waiting = lock(waiting);
    questions.iter().for_each(|question| waiting.done(question));
}

/// One share from one node. None if the piece is in no list any more.
async fn ask(scene: &Scene, share: &FollowUp) -> Result<Option<AuditedPiece>, MetadataError> {
    let rows = scene.metadata.read(FindSegments { segments: vec![share.segment] }).await?;
    match rows.iter().find(|row| row.pieces.contains(&share.place)) {
        Some(row) => Ok(ask_one(scene, row, share).await),
        None => {
            scene.metadata.write(DropFollowUps { questions: vec![*share] }).await?;
            Ok(None)
        }
    }
}

/// One share from one node. None if it is away.
async fn ask_one(scene: &Scene, row: &SegmentRow, question: &FollowUp) -> Option<AuditedPiece> {
    let FollowUp { segment, place, stripe } = *question;
    let reader = SegmentReader::new(scene.transfer.clone(), row.clone()).ok()?;
    let asked = scene.ask(&reader, place, stripe..stripe + 1).await;
    let (audited, wrong) = match &asked {
        Asked::Away => {
            count(scene, place, &asked);
            return None;
        }
        Asked::Shares(right) if right[0] => (Audited::Told(Answer::Right), Vec::new()),
        Asked::Shares(_) if !scene.others_are_right(&reader, row, place).await => return None,
        Asked::Shares(_) => (Audited::Told(Answer::Wrong), vec![stripe]),
        Asked::Missing => (Audited::Told(Answer::Missing), Vec::new()),
        Asked::Declined => (Audited::Declined, Vec::new()),
        Asked::Late => (Audited::Late, Vec::new()),
    };
    count(scene, place, &asked);
    Some(AuditedPiece { segment, place, stripe, audited, wrong })
}
