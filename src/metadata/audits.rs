//! What audits found: each node's record, its failures share by share, the
//! questions that it left open, and the verdict.
//!
//! The record is read, judged and written in one transaction that holds the
//! node's row, so any number of workers may audit a node at once. A verdict
//! never removes a piece from a list: what it costs a node is what placement
//! and the judge make of it.

use std::collections::BTreeMap;

use super::codec::{Reader, Writer};
use super::dialect::Lock;
use super::nodes::{NodeRow, NodeState, find_number_locked};
use super::segments::PiecePlace;
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::audit::{Answer, Record, Verdict, held_back};
use crate::types::{Incarnation, NodeId, PieceNumber, SegmentId, UnixMillis};

/// Failures of one node that are kept: the latest.
pub const FAILURES_MAX: u64 = 1000;
/// Open questions of one node, at most: with so many it is asked hardly any new
/// ones, and those that it does not answer are not kept.
pub const FOLLOW_UPS_MAX: u64 = 8;
/// So many times a share is asked for before it counts that it is not given.
const TRIES: u64 = 3;
/// From one try to the next, at first; each time three times as long.
const TRY_AGAIN_AFTER_MS: i64 = 10 * 60 * 1000;
/// How the reason begins that audits give.
const OURS: &str = "audits: ";
/// Nodes that have a verdict and were audited within this time count when
/// others are judged.
const JUDGED_WITHIN_MS: u64 = 24 * 3600 * 1000;

/// What asking for a share came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audited {
    /// The node answered, and this is what its answer was worth.
    Told(Answer),
    /// It declined, or what came was no answer. It is asked again later, and
    /// that counts after some times.
    Declined,
    /// It did not answer in time. The same.
    Late,
    /// That the piece is lost was known, or a read has found it: what is wrong
    /// with it is kept, and its record stays as it is.
    Known(Answer),
}

/// A piece that was audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedPiece {
    /// The segment.
    pub segment: SegmentId,
    /// Which piece, and its node.
    pub place: PiecePlace,
    /// The share that was drawn: it alone changes the record, so that a piece
    /// which is read whole weighs no more than any other.
    pub stripe: u16,
    /// What came of that share.
    pub audited: Audited,
    /// All shares of the piece that were wrong. Each is kept.
    pub wrong: Vec<u16>,
}

/// A failure, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditFailure {
    /// When it was found, by the database's clock.
    pub found: UnixMillis,
    /// The segment.
    pub segment: SegmentId,
    /// Which piece, and its node.
    pub place: PiecePlace,
    /// Which share of it.
    pub stripe: u16,
    /// What was wrong with it.
    pub fault: Answer,
}

/// A share that is to be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowUp {
    /// The segment.
    pub segment: SegmentId,
    /// Which piece, and its node.
    pub place: PiecePlace,
    /// Which share of it.
    pub stripe: u16,
}

/// A node's record as of now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditRecord {
    /// The node, by its number.
    pub node: u32,
    /// The record.
    pub record: Record,
    /// When it answered last, rightly or not, by the database's clock; 0 if it
    /// never did.
    pub audited: UnixMillis,
}

/// What recording audits has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditsRecorded {
    /// Pieces that count as lost since a question was asked for the last time.
    pub given_up: Vec<(SegmentId, PiecePlace)>,
    /// Nodes that stand otherwise now, and why.
    pub verdicts: Vec<(NodeId, Verdict, String)>,
    /// Nodes whose record deserves this verdict by now, and that are spared
    /// it, as too many others stand so.
    pub held_back: Vec<(NodeId, Verdict)>,
}

/// Takes audits into the records of their nodes. Nodes that are no members
/// any more are passed over.
pub struct RecordAudits {
    /// The pieces, of any nodes.
    pub pieces: Vec<AuditedPiece>,
}

impl Operation for RecordAudits {
    type Output = AuditsRecorded;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<AuditsRecorded, MetadataError> {
        let mut by_node: BTreeMap<u32, Vec<&AuditedPiece>> = BTreeMap::new();
        for piece in &self.pieces {
            by_node.entry(piece.place.node).or_default().push(piece);
        }
        let mut recorded = AuditsRecorded::default();
        for (node, pieces) in by_node {
            // In the order of their numbers, as everybody locks nodes.
            let Some(row) = find_number_locked(tx, Lock::Change, node).await? else { continue };
            if row.state.is_member() {
                record(tx, row, &pieces, &mut recorded).await?;
            }
        }
        Ok(recorded)
    }
}

async fn record(
    tx: &mut Tx<'_>,
    row: NodeRow,
    pieces: &[&AuditedPiece],
    recorded: &mut AuditsRecorded,
) -> Result<(), MetadataError> {
    let (now, number) = (tx.now().await?, row.number);
    let known = read_record(tx, number).await?;
    let before = known.map_or_else(Record::default, |known| known.record);
    let told = pieces.iter().any(|piece| matches!(piece.audited, Audited::Told(_)));
    let answered = if told { now } else { known.map_or(UnixMillis(0), |known| known.audited) };
    let (mut record, mut failures) = (before, Vec::new());
    for piece in pieces {
        match piece.audited {
            Audited::Known(fault) => failures.extend(faults(piece, fault)),
            Audited::Told(answer) => {
                match close(tx, piece).await? {
                    0 => record.hear(answer),
                    _ => record.settle(answer),
                }
                failures.extend(faults(piece, answer));
            }
            Audited::Declined | Audited::Late => match strike(tx, piece, now).await? {
                Strike::Nothing => {}
                Strike::First => record.leave_open(),
                Strike::Last { before } => {
                    close(tx, piece).await?;
                    let silent = piece.audited == Audited::Late;
                    let answer = if silent { record.silence(answered >= before) } else { Answer::Refused };
                    record.settle(answer);
                    recorded.given_up.push((piece.segment, piece.place));
                    failures.extend(faults(piece, answer));
                }
            },
        }
    }
    keep(tx, number, &failures, now).await?;
    write_record(tx, number, &record, answered).await?;
    let deserved = record.verdict(row.verdict);
    let verdict = brake(tx, &row, deserved, now).await?;
    if verdict < deserved && before.verdict(row.verdict) < deserved {
        recorded.held_back.push((row.node, deserved));
    }
    if verdict != row.verdict {
        recorded.verdicts.extend(change(tx, &row, &record, verdict).await?);
    }
    Ok(())
}

/// A verdict as far as there is room for it beside those on other members.
/// What a node has got already it keeps. Of processes that judge at the same
/// moment each may take the last room: it is a brake and not a limit.
async fn brake(tx: &mut Tx<'_>, row: &NodeRow, deserved: Verdict, now: UnixMillis) -> Result<Verdict, MetadataError> {
    if deserved <= row.verdict {
        return Ok(deserved);
    }
    let gone = NodeState::Gone as i64;
    let members = tx.first("SELECT COUNT(*) FROM nodes WHERE state < ?1", params![gone]).await?;
    let members = members.map_or(Ok(0), |row| row.u64(0))?;
    let sql = "SELECT nodes.node_no, audits.record, nodes.verdict FROM nodes JOIN audits ON audits.node_no = nodes.node_no \
               WHERE nodes.verdict > 0 AND nodes.state < ?1 AND nodes.node_no <> ?2";
    let mut judged = Vec::new();
    for other in tx.query(sql, params![gone, row.number]).await? {
        // One that is empty, or away, is not audited any more.
        if now.0.abs_diff(audit_record(&other)?.audited.0) <= JUDGED_WITHIN_MS {
            judged.push(verdict_of(other.int(2)?)?);
        }
    }
    let others = |verdict| judged.iter().filter(|judged| **judged >= verdict).count() as u64;
    Ok(held_back(deserved, members, others).max(row.verdict))
}

/// What is to be kept of a piece: every share that was wrong, and the one that
/// was drawn if it was not given.
fn faults(piece: &AuditedPiece, answer: Answer) -> Vec<(&AuditedPiece, u16, Answer)> {
    let mut faults: Vec<_> = piece.wrong.iter().map(|stripe| (piece, *stripe, Answer::Wrong)).collect();
    if !matches!(answer, Answer::Right | Answer::Wrong) {
        faults.push((piece, piece.stripe, answer));
    }
    faults
}

/// What it comes to that a share was not given.
enum Strike {
    /// It was known, or it was not the time to ask, or too many are open.
    Nothing,
    /// The question is open now.
    First,
    /// It was asked often enough. It had been asked before at that time.
    Last {
        /// By the database's clock.
        before: UnixMillis,
    },
}

/// After so many tries, so long until the next one.
fn again_after_ms(tries: u64) -> i64 {
    TRY_AGAIN_AFTER_MS * 3_i64.pow(tries as u32 - 1)
}

/// A share was not given: it is asked for again later, or that counts now.
async fn strike(tx: &mut Tx<'_>, piece: &AuditedPiece, now: UnixMillis) -> Result<Strike, MetadataError> {
    let (PiecePlace { piece: number, node, incarnation }, id) = (piece.place, piece.segment.as_bytes());
    let sql = "SELECT tries, due_ms FROM audit_followups WHERE node_no = ?1 AND segment_id = ?2 AND piece = ?3 \
               AND incarnation = ?4";
    let Some(row) = tx.first(sql, params![node, id, u32::from(number.0), incarnation.0]).await? else {
        return open(tx, piece, now).await;
    };
    let (tries, due) = (row.u64(0)?, UnixMillis(row.int(1)?));
    // Asked again before its time, it says no more than it did.
    if !is_due(due, now) {
        return Ok(Strike::Nothing);
    }
    if tries + 1 >= TRIES {
        return Ok(Strike::Last { before: UnixMillis(due.0.saturating_sub(again_after_ms(tries))) });
    }
    let due = now.0.saturating_add(again_after_ms(tries + 1));
    let sql = "UPDATE audit_followups SET tries = ?5, due_ms = ?6 WHERE node_no = ?1 AND segment_id = ?2 \
               AND piece = ?3 AND incarnation = ?4";
    tx.execute(sql, params![node, id, u32::from(number.0), incarnation.0, tries + 1, due]).await?;
    Ok(Strike::Nothing)
}

/// Opens a question, unless too many are open.
async fn open(tx: &mut Tx<'_>, piece: &AuditedPiece, now: UnixMillis) -> Result<Strike, MetadataError> {
    let PiecePlace { piece: number, node, incarnation } = piece.place;
    let open = tx.first("SELECT COUNT(*) FROM audit_followups WHERE node_no = ?1", params![node]).await?;
    if open.is_some_and(|row| row.u64(0).unwrap_or(0) >= FOLLOW_UPS_MAX) {
        return Ok(Strike::Nothing);
    }
    let due = now.0.saturating_add(again_after_ms(1));
    let sql = "INSERT INTO audit_followups (node_no, segment_id, piece, incarnation, stripe, tries, due_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)";
    let (segment, stripe) = (piece.segment.as_bytes(), u32::from(piece.stripe));
    tx.execute(sql, params![node, segment, u32::from(number.0), incarnation.0, stripe, due]).await?;
    Ok(Strike::First)
}

/// Whether a question is to be asked again. What is due later than any can be
/// was written before the clock was set back.
fn is_due(due: UnixMillis, now: UnixMillis) -> bool {
    due <= now || due.0 > now.0.saturating_add(2 * again_after_ms(TRIES - 1))
}

/// The question has been answered. Answers how many were open: one or none.
async fn close(tx: &mut Tx<'_>, piece: &AuditedPiece) -> Result<usize, MetadataError> {
    let sql = "DELETE FROM audit_followups WHERE node_no = ?1 AND segment_id = ?2 AND piece = ?3 AND incarnation = ?4";
    let PiecePlace { piece: number, node, incarnation } = piece.place;
    tx.execute(sql, params![node, piece.segment.as_bytes(), u32::from(number.0), incarnation.0]).await
}

/// Keeps failures, and no more than the latest.
async fn keep(
    tx: &mut Tx<'_>,
    node: u32,
    failures: &[(&AuditedPiece, u16, Answer)],
    now: UnixMillis,
) -> Result<(), MetadataError> {
    if failures.is_empty() {
        return Ok(());
    }
    let sql = "SELECT failure_no FROM audit_failures WHERE node_no = ?1 ORDER BY failure_no DESC LIMIT 1";
    let last = tx.first(sql, params![node]).await?.map(|row| row.u64(0)).transpose()?.unwrap_or(0);
    let rows: Vec<_> = (last + 1..)
        .zip(failures)
        .map(|(failure, (piece, stripe, fault))| {
            let place = piece.place;
            let (id, fault) = (piece.segment.as_bytes(), fault_number(*fault));
            let (number, stripe) = (u32::from(place.piece.0), u32::from(*stripe));
            params![node, failure, now, id, number, place.incarnation.0, stripe, fault].to_vec()
        })
        .collect();
    let sql = "INSERT INTO audit_failures (node_no, failure_no, found_ms, segment_id, piece, incarnation, stripe, fault) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    tx.execute_each(sql, &rows).await?;
    let oldest = (last + failures.len() as u64).saturating_sub(FAILURES_MAX);
    let sql = "DELETE FROM audit_failures WHERE node_no = ?1 AND failure_no <= ?2";
    tx.execute(sql, params![node, oldest]).await.map(drop)
}

/// Changes how a node stands. What the operator has decided stays: a node that
/// it has suspended is not resumed by a good record.
async fn change(
    tx: &mut Tx<'_>,
    row: &NodeRow,
    record: &Record,
    verdict: Verdict,
) -> Result<Option<(NodeId, Verdict, String)>, MetadataError> {
    let (state, reason) = match verdict {
        Verdict::Good if row.state == NodeState::Suspended && is_ours(row) => (NodeState::Active, None),
        Verdict::Suspended if row.state == NodeState::Active => (NodeState::Suspended, Some(sentence(record, verdict))),
        Verdict::Disqualified => {
            let state = if row.state == NodeState::Active { NodeState::Suspended } else { row.state };
            (state, Some(sentence(record, verdict)))
        }
        Verdict::Good if row.verdict == Verdict::Suspended => (row.state, row.reason.clone()),
        _ => return Ok(None),
    };
    let sql = "UPDATE nodes SET state = ?2, reason = ?3, verdict = ?4 WHERE node_no = ?1";
    tx.execute(sql, params![row.number, state as i64, reason.as_deref(), verdict_number(verdict)]).await?;
    Ok(Some((row.node, verdict, reason.unwrap_or_default())))
}

/// Whether it is audits that say why a node stands as it does. Gateways of
/// the version before suspend one without a word on its verdict.
fn is_ours(row: &NodeRow) -> bool {
    row.reason.as_ref().is_some_and(|reason| reason.starts_with(OURS))
}

/// Why, for people.
fn sentence(record: &Record, verdict: Verdict) -> String {
    let Record { audits, failed, .. } = record;
    let (integrity, answering) = (record.integrity() * 100.0, record.answering() * 100.0);
    let consequence = match verdict {
        Verdict::Disqualified => "its pieces do not count any more and are made anew elsewhere",
        _ => "it is given no new pieces",
    };
    format!(
        "{OURS}it failed {failed} of {audits}; of what it was given it seems to have {integrity:.1} %, and it answers \
         {answering:.0} % of the questions: {consequence}"
    )
}

fn fault_number(answer: Answer) -> u32 {
    match answer {
        Answer::Right => 0,
        Answer::Wrong => 1,
        Answer::Missing => 2,
        Answer::Refused => 3,
        Answer::Silent => 4,
    }
}

fn fault_of(number: i64) -> Result<Answer, MetadataError> {
    [Answer::Right, Answer::Wrong, Answer::Missing, Answer::Refused, Answer::Silent]
        .into_iter()
        .find(|answer| i64::from(fault_number(*answer)) == number)
        .ok_or_else(|| MetadataError::Corrupt(format!("fault {number} of an audit is unknown")))
}

pub(super) fn verdict_number(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Good => 0,
        Verdict::Suspended => 1,
        Verdict::Disqualified => 2,
    }
}

pub(super) fn verdict_of(number: i64) -> Result<Verdict, MetadataError> {
    [Verdict::Good, Verdict::Suspended, Verdict::Disqualified]
        .into_iter()
        .find(|verdict| i64::from(verdict_number(*verdict)) == number)
        .ok_or_else(|| MetadataError::Corrupt(format!("a node's verdict {number} is unknown")))
}

async fn read_record(tx: &mut Tx<'_>, node: u32) -> Result<Option<AuditRecord>, MetadataError> {
    let row = tx.first("SELECT node_no, record FROM audits WHERE node_no = ?1", params![node]).await?;
    row.as_ref().map(audit_record).transpose()
}

async fn write_record(tx: &mut Tx<'_>, node: u32, record: &Record, now: UnixMillis) -> Result<(), MetadataError> {
    let mut row = Writer::new(1);
    for number in record.to_numbers() {
        row.u64(number);
    }
    let bytes = row.u64(now.0 as u64).finish();
    let sql = "INSERT INTO audits (node_no, record) VALUES (?1, ?2) ON CONFLICT (node_no) DO UPDATE SET record = ?2";
    tx.execute(sql, params![node, &bytes]).await.map(drop)
}

fn audit_record(row: &Row) -> Result<AuditRecord, MetadataError> {
    let mut numbers = Reader::new("a node's record of audits", row.bytes(1)?, 1)?;
    let mut next = || numbers.u64();
    let record = Record::from_numbers([next()?, next()?, next()?, next()?, next()?, next()?]);
    Ok(AuditRecord { node: row.u32(0)?, record, audited: UnixMillis(next()? as i64) })
}

/// Forgets what is known of a node: it begins anew.
pub(super) async fn forget(tx: &mut Tx<'_>, node: u32) -> Result<(), MetadataError> {
    for sql in [
        "DELETE FROM audits WHERE node_no = ?1",
        "DELETE FROM audit_followups WHERE node_no = ?1",
        "DELETE FROM audit_failures WHERE node_no = ?1",
    ] {
        tx.execute(sql, params![node]).await?;
    }
    Ok(())
}

/// The records of all nodes that were ever audited, ascending by number.
pub struct ListAudits;

impl Operation for ListAudits {
    type Output = Vec<AuditRecord>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<AuditRecord>, MetadataError> {
        let rows = tx.query("SELECT node_no, record FROM audits ORDER BY node_no", &[]).await?;
        rows.iter().map(audit_record).collect()
    }
}

/// A node's failures, the latest first, at most [`FAILURES_MAX`].
pub struct ListAuditFailures {
    /// The node, by its number.
    pub node: u32,
}

impl Operation for ListAuditFailures {
    type Output = Vec<AuditFailure>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<AuditFailure>, MetadataError> {
        let sql = "SELECT found_ms, segment_id, piece, incarnation, stripe, fault FROM audit_failures \
                   WHERE node_no = ?1 ORDER BY failure_no DESC";
        let failure = |row: &Row| {
            Ok(AuditFailure {
                found: UnixMillis(row.int(0)?),
                segment: SegmentId::from_bytes(row.array(1)?),
                place: place(row, 2, self.node)?,
                stripe: row.u32(4)? as u16,
                fault: fault_of(row.int(5)?)?,
            })
        };
        tx.query(sql, params![self.node]).await?.iter().map(failure).collect()
    }
}

fn place(row: &Row, first: usize, node: u32) -> Result<PiecePlace, MetadataError> {
    let (piece, incarnation) = (PieceNumber(row.u32(first)? as u16), Incarnation(row.u32(first + 1)?));
    Ok(PiecePlace { piece, node, incarnation })
}

/// The open questions of members, and whether it is time to ask again.
pub struct ListFollowUps;

impl Operation for ListFollowUps {
    type Output = Vec<(FollowUp, bool)>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<(FollowUp, bool)>, MetadataError> {
        let now = tx.now().await?;
        let sql = "SELECT node_no, segment_id, piece, incarnation, stripe, due_ms FROM audit_followups \
                   ORDER BY node_no, segment_id";
        let follow_up = |row: &Row| {
            let (segment, place) = (SegmentId::from_bytes(row.array(1)?), place(row, 2, row.u32(0)?)?);
            Ok((FollowUp { segment, place, stripe: row.u32(4)? as u16 }, is_due(UnixMillis(row.int(5)?), now)))
        };
        tx.query(sql, &[]).await?.iter().map(follow_up).collect()
    }
}

/// Forgets questions about pieces that are in no list any more.
pub struct DropFollowUps {
    /// Which ones.
    pub questions: Vec<FollowUp>,
}

impl Operation for DropFollowUps {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "DELETE FROM audit_followups WHERE node_no = ?1 AND segment_id = ?2 AND piece = ?3 \
                   AND incarnation = ?4";
        for FollowUp { segment, place, .. } in &self.questions {
            let PiecePlace { piece, node, incarnation } = place;
            tx.execute(sql, params![*node, segment.as_bytes(), u32::from(piece.0), incarnation.0]).await?;
        }
        Ok(())
    }
}
