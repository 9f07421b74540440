//! What audits have found at a node, so that an operator sees why it stands as
//! it does: share by share.

use serde::{Deserialize, Serialize};

use super::AdminError;
use super::operator::Operator;
use crate::audit::{Answer, Record, Verdict};
use crate::metadata::{AuditFailure, ListAuditFailures, ListAudits, ListFollowUps, NodeRow, NodeState};

/// What audits have found at a node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditsView {
    /// Audits that have counted.
    pub audits: u64,
    /// Those of them that it failed.
    pub failed: u64,
    /// The share of what it was given that it is expected to have, from 0 to 1:
    /// it is suspended and disqualified by this. Null before the first audit.
    pub integrity: Option<f64>,
    /// The share of questions that it is expected to answer while it is
    /// connected, from 0 to 1.
    pub answering: Option<f64>,
    /// When it answered an audit last, in milliseconds since 1970.
    pub audited_ms: Option<i64>,
    /// Shares that it did not give, and that it is asked for again.
    pub open_questions: u64,
    /// Its failures, the latest first: the last thousand.
    pub failures: Vec<FailureView>,
}

/// A share that was not what had been stored, or was not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// When that was found, in milliseconds since 1970.
    pub found_ms: i64,
    /// The segment's id.
    pub segment: String,
    /// Which of its pieces.
    pub piece: u16,
    /// Which placing of the piece.
    pub incarnation: u32,
    /// Which share of it.
    pub stripe: u16,
    /// wrong, missing, refused or silent.
    pub fault: String,
}

/// All nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditTotals {
    /// Audits that have counted.
    pub audits: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Members that audits have suspended.
    pub suspended: u64,
    /// Members that audits have disqualified.
    pub disqualified: u64,
    /// Members that stand better than their record, since too many others
    /// failed at the same time.
    pub spared: u64,
}

/// Whether a member stands better than its record: audits had judged too many
/// others when they would have judged it.
pub(super) fn is_spared(row: &NodeRow, record: &Record) -> bool {
    match record.verdict(row.verdict) {
        verdict if verdict <= row.verdict => false,
        Verdict::Suspended => row.state == NodeState::Active,
        _ => row.state.is_member(),
    }
}

impl AuditsView {
    pub(super) async fn of(operator: &Operator, node: u32) -> Result<Self, AdminError> {
        let metadata = operator.metadata();
        let known = metadata.read(ListAudits).await?.into_iter().find(|audit| audit.node == node);
        let record = known.map(|known| known.record);
        let open = metadata.read(ListFollowUps).await?;
        let failures = metadata.read(ListAuditFailures { node }).await?;
        Ok(Self {
            audits: record.map_or(0, |record| record.audits),
            failed: record.map_or(0, |record| record.failed),
            integrity: record.as_ref().map(Record::integrity),
            answering: record.as_ref().map(Record::answering),
            audited_ms: known.map(|known| known.audited.0).filter(|answered| *answered > 0),
            open_questions: open.iter().filter(|(question, _)| question.place.node == node).count() as u64,
            failures: failures.iter().map(FailureView::of).collect(),
        })
    }
}

impl FailureView {
    fn of(failure: &AuditFailure) -> Self {
        Self {
            found_ms: failure.found.0,
            segment: failure.segment.to_string(),
            piece: failure.place.piece.0,
            incarnation: failure.place.incarnation.0,
            stripe: failure.stripe,
            fault: fault_name(failure.fault).to_owned(),
        }
    }
}

fn fault_name(fault: Answer) -> &'static str {
    match fault {
        Answer::Right => "right",
        Answer::Wrong => "wrong",
        Answer::Missing => "missing",
        Answer::Refused => "refused",
        Answer::Silent => "silent",
    }
}

pub(super) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Suspended => "suspended",
        Verdict::Disqualified => "disqualified",
    }
}
