//! Records of audits, verdicts, and questions that were left open.

use super::Elapse;
use super::volunteers::{change, id, join};
use crate::audit::{Answer, Verdict};
use crate::metadata::tx::{Tx, params};
use crate::metadata::*;
use crate::types::{Incarnation, PieceNumber, SegmentId};

async fn row(metadata: &Metadata, node: u8) -> NodeRow {
    metadata.read(FindNode { node: id(node) }).await.unwrap().unwrap()
}

fn piece(node: u32, segment: u8, audited: Audited) -> AuditedPiece {
    let place = PiecePlace { piece: PieceNumber(2), node, incarnation: Incarnation(3) };
    let wrong = if audited == Audited::Told(Answer::Wrong) { vec![7, 9] } else { Vec::new() };
    AuditedPiece { segment: SegmentId::from_bytes([segment; 16]), place, stripe: 7, audited, wrong }
}

async fn record(metadata: &Metadata, pieces: Vec<AuditedPiece>) -> AuditsRecorded {
    metadata.write(RecordAudits { pieces }).await.unwrap()
}

async fn told(metadata: &Metadata, node: u32, answer: Answer, times: usize) -> AuditsRecorded {
    record(metadata, vec![piece(node, 1, Audited::Told(answer)); times]).await
}

pub(super) async fn failures_are_kept_share_by_share(metadata: Metadata) {
    join(&metadata, 1).await;
    join(&metadata, 2).await;
    told(&metadata, 1, Answer::Wrong, 1).await;
    record(&metadata, vec![piece(2, 4, Audited::Told(Answer::Missing)), piece(1, 5, Audited::Told(Answer::Right))])
        .await;
    let failures = metadata.read(ListAuditFailures { node: 1 }).await.unwrap();
    let stripes: Vec<_> = failures.iter().map(|failure| (failure.stripe, failure.fault)).collect();
    assert_eq!(stripes, [(9, Answer::Wrong), (7, Answer::Wrong)], "the latest first");
    assert_eq!((failures[0].segment, failures[0].place.piece), (SegmentId::from_bytes([1; 16]), PieceNumber(2)));
    let failures = metadata.read(ListAuditFailures { node: 2 }).await.unwrap();
    assert_eq!((failures[0].stripe, failures[0].fault), (7, Answer::Missing));
    let counts = async || -> Vec<_> {
        let audits = metadata.read(ListAudits).await.unwrap();
        audits.into_iter().map(|audit| (audit.node, audit.record.audits, audit.record.failed)).collect()
    };
    assert_eq!(counts().await, [(1, 2, 1), (2, 1, 1)]);
    // However many there are, the latest are kept.
    for segment in 0..4 {
        let mut many = piece(1, segment, Audited::Told(Answer::Wrong));
        many.wrong = (0..400).collect();
        record(&metadata, vec![many]).await;
    }
    let failures = metadata.read(ListAuditFailures { node: 1 }).await.unwrap();
    assert_eq!(failures.len() as u64, FAILURES_MAX);
    assert_eq!((failures[0].segment, failures[0].stripe), (SegmentId::from_bytes([3; 16]), 399));
    // Of nodes that are gone nothing is recorded, and one that joins again begins anew.
    change(&metadata, 2, NodeChange::Forget).await.unwrap();
    told(&metadata, 2, Answer::Wrong, 1).await;
    assert_eq!(counts().await[1], (2, 1, 1));
    super::volunteers::join_again(&metadata, 2).await;
    assert_eq!(counts().await.len(), 1);
    assert_eq!(metadata.read(ListAuditFailures { node: 2 }).await.unwrap(), []);
    metadata.close().await;
}

/// Suspends a node as a gateway of the version before does.
struct SuspendAsBefore {
    node: u32,
}

impl Operation for SuspendAsBefore {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "UPDATE nodes SET state = 2, reason = 'too loud' WHERE node_no = ?1";
        tx.execute(sql, params![self.node]).await.map(drop)
    }
}

pub(super) async fn verdicts_follow_from_the_record(metadata: Metadata) {
    for node in 1..=3 {
        join(&metadata, node).await;
    }
    let recorded = told(&metadata, 1, Answer::Missing, 16).await;
    let (node, verdict, why) = &recorded.verdicts[0];
    assert_eq!((*node, *verdict), (id(1), Verdict::Suspended));
    let suspended = row(&metadata, 1).await;
    assert_eq!((suspended.state, suspended.verdict), (NodeState::Suspended, Verdict::Suspended));
    assert_eq!(suspended.reason.as_deref(), Some(why.as_str()));
    assert!(why.contains("failed 16 of 16"), "{why}");
    // It does well again.
    let recorded = told(&metadata, 1, Answer::Right, 500).await;
    assert_eq!(recorded.verdicts, [(id(1), Verdict::Good, String::new())]);
    let good = row(&metadata, 1).await;
    assert_eq!((good.state, good.verdict, good.reason), (NodeState::Active, Verdict::Good, None));
    // It loses all: that stays, until the operator says otherwise.
    told(&metadata, 1, Answer::Missing, 40).await;
    assert_eq!(
        (row(&metadata, 1).await.state, row(&metadata, 1).await.verdict),
        (NodeState::Suspended, Verdict::Disqualified)
    );
    assert_eq!(told(&metadata, 1, Answer::Right, 3000).await.verdicts, []);
    assert_eq!(row(&metadata, 1).await.verdict, Verdict::Disqualified);
    change(&metadata, 1, NodeChange::Resume).await.unwrap();
    assert_eq!((row(&metadata, 1).await.state, row(&metadata, 1).await.verdict), (NodeState::Active, Verdict::Good));
    assert_eq!(told(&metadata, 1, Answer::Missing, 1).await.verdicts, [], "it begins anew");

    // Whom the operator has suspended no record resumes.
    told(&metadata, 2, Answer::Missing, 16).await;
    change(&metadata, 2, NodeChange::Suspend).await.unwrap();
    assert_eq!(row(&metadata, 2).await.verdict, Verdict::Good);
    told(&metadata, 2, Answer::Right, 500).await;
    assert_eq!(row(&metadata, 2).await.state, NodeState::Suspended);
    // Also by a gateway of the version before, which knows of no verdicts.
    for node in [1, 2] {
        change(&metadata, node, NodeChange::Resume).await.unwrap();
        told(&metadata, node.into(), Answer::Missing, 16).await;
    }
    metadata.write(SuspendAsBefore { node: 1 }).await.unwrap();
    for node in [1, 2] {
        told(&metadata, node, Answer::Right, 500).await;
    }
    let stands = async |node| (row(&metadata, node).await.state, row(&metadata, node).await.verdict);
    assert_eq!(stands(1).await, (NodeState::Suspended, Verdict::Good));
    assert_eq!(stands(2).await, (NodeState::Active, Verdict::Good));
    // A node that drains goes on draining, and its pieces do not count.
    change(&metadata, 3, NodeChange::Drain).await.unwrap();
    told(&metadata, 3, Answer::Wrong, 40).await;
    assert_eq!(
        (row(&metadata, 3).await.state, row(&metadata, 3).await.verdict),
        (NodeState::Draining, Verdict::Disqualified)
    );
    metadata.close().await;
}

/// As where the database was set back: it names pieces that nobody has.
pub(super) async fn few_are_judged_when_all_fail_at_once(metadata: Metadata) {
    for node in 1..=12 {
        join(&metadata, node).await;
    }
    let all = async |times| {
        let mut spared = 0;
        for node in 1..=12 {
            spared += told(&metadata, node, Answer::Missing, times).await.held_back.len();
        }
        spared
    };
    let standing = async |verdict| {
        let rows = metadata.read(ListNodes).await.unwrap();
        rows.iter().filter(|row| (row.state, row.verdict) == verdict).count()
    };
    let (spared_good, suspended, lost) = (
        (NodeState::Active, Verdict::Good),
        (NodeState::Suspended, Verdict::Suspended),
        (NodeState::Suspended, Verdict::Disqualified),
    );
    assert_eq!(all(16).await, 8, "who is spared is named");
    assert_eq!((standing(suspended).await, standing(spared_good).await), (4, 8), "a third takes no pieces");
    assert_eq!(all(1).await, 0, "once");
    assert_eq!(all(20).await, 10);
    assert_eq!((standing(lost).await, standing(suspended).await, standing(spared_good).await), (2, 2, 8));
    // One whose turn it would be is judged once others are taken back.
    change(&metadata, 1, NodeChange::Resume).await.unwrap();
    let recorded = told(&metadata, 9, Answer::Missing, 1).await;
    assert_eq!(recorded.verdicts[0].1, Verdict::Disqualified);
    metadata.close().await;
}

pub(super) async fn open_questions_are_asked_again(metadata: Metadata) {
    join(&metadata, 1).await;
    let open = async || metadata.read(ListFollowUps).await.unwrap();
    let audits = async || metadata.read(ListAudits).await.unwrap().first().map_or(0, |audit| audit.record.audits);
    let ask = async |audited| record(&metadata, vec![piece(1, 1, audited)]).await;
    let minutes = async |count: i64| metadata.write(Elapse(count * 60_000)).await.unwrap();
    assert_eq!(ask(Audited::Late).await, AuditsRecorded::default());
    let questions = open().await;
    assert_eq!((questions.len(), questions[0].0.stripe, questions[0].1), (1, 7, false), "not at once");
    assert_eq!(audits().await, 0, "nothing counts yet");
    // The clock was a year ahead when that was written.
    let year = 365 * 24 * 60;
    minutes(-year).await;
    assert!(open().await[0].1, "it is asked now and not in a year");
    minutes(year).await;
    // However often it is asked meanwhile: one stall is one silence.
    for _ in 0..3 {
        minutes(3).await;
        assert_eq!(ask(Audited::Late).await, AuditsRecorded::default());
        assert!(!open().await[0].1);
    }
    minutes(2).await;
    assert!(open().await[0].1, "after ten minutes it is time");
    ask(Audited::Declined).await;
    assert_eq!((open().await.len(), audits().await), (1, 0));
    minutes(20).await;
    assert_eq!(ask(Audited::Late).await, AuditsRecorded::default(), "the third time is half an hour later");
    minutes(11).await;
    let recorded = record(&metadata, vec![piece(1, 1, Audited::Late)]).await;
    assert_eq!(recorded.given_up, [(SegmentId::from_bytes([1; 16]), piece(1, 1, Audited::Late).place)]);
    assert_eq!((open().await, audits().await), (vec![], 1), "the third time it does");
    let failures = metadata.read(ListAuditFailures { node: 1 }).await.unwrap();
    assert_eq!((failures.len(), failures[0].fault), (1, Answer::Silent));
    // An answer closes a question, and there are never many.
    for segment in 0..20 {
        record(&metadata, vec![piece(1, segment, Audited::Declined)]).await;
    }
    assert_eq!(open().await.len() as u64, FOLLOW_UPS_MAX);
    record(&metadata, vec![piece(1, 0, Audited::Told(Answer::Right))]).await;
    assert_eq!(open().await.len() as u64, FOLLOW_UPS_MAX - 1);
    let questions = open().await.into_iter().map(|(question, _)| question).collect();
    metadata.write(DropFollowUps { questions }).await.unwrap();
    assert_eq!(open().await, []);
    metadata.close().await;
}

/// Silence on one share while others are answered is a refusal.
pub(super) async fn silence_on_one_share_is_a_refusal(metadata: Metadata) {
    join(&metadata, 1).await;
    join(&metadata, 2).await;
    let minutes = async |count: i64| metadata.write(Elapse(count * 60_000)).await.unwrap();
    for after in [11, 31, 0] {
        record(&metadata, vec![piece(1, 1, Audited::Late), piece(2, 1, Audited::Late)]).await;
        record(&metadata, vec![piece(1, 9, Audited::Told(Answer::Right))]).await;
        minutes(after).await;
    }
    let fault = async |node| metadata.read(ListAuditFailures { node }).await.unwrap()[0].fault;
    assert_eq!((fault(1).await, fault(2).await), (Answer::Refused, Answer::Silent));
    let audits = metadata.read(ListAudits).await.unwrap();
    let integrity: Vec<bool> = audits.iter().map(|audit| audit.record.integrity() < 1.0).collect();
    assert_eq!(integrity, [true, false]);
    assert_eq!(audits[1].audited.0, 0, "it has answered nothing");
    metadata.close().await;
}

/// Two workers that audit one node at once: nothing is counted twice or lost.
pub(super) async fn workers_that_audit_at_once_add_up(metadata: Metadata) {
    join(&metadata, 1).await;
    join(&metadata, 2).await;
    let both = || vec![piece(2, 1, Audited::Told(Answer::Right)), piece(1, 2, Audited::Told(Answer::Wrong))];
    let all = (0..20).map(|_| record(&metadata, both()));
    futures_util::future::join_all(all).await;
    let audits = metadata.read(ListAudits).await.unwrap();
    let counts: Vec<_> = audits.iter().map(|audit| (audit.record.audits, audit.record.failed)).collect();
    assert_eq!(counts, [(20, 20), (20, 0)]);
    assert_eq!(metadata.read(ListAuditFailures { node: 1 }).await.unwrap().len(), 40);
    metadata.close().await;
}
