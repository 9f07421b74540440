//! Segments that wait for repair, those nearest to loss first, shared by all
//! processes that repair.
//!
//! Who walks all segments puts them in and takes those out that need nothing
//! any more. Who repairs takes some for a while, and says how it ended; what a
//! process that has died had taken is free when that while is over. Who could
//! not repair a segment leaves it to the others until the next walk has come
//! by. The queue says who tries, and only that: what makes two repairs of one
//! segment harmless is its claim (`repairs.rs`).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::dialect::Lock;
use super::epochs::Holder;
use super::segments::{PiecePlace, decode_pieces, encode_pieces};
use super::tasks::{LATER_MS, Task, holds};
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::types::{SegmentId, UnixMillis};

/// A change of less than this in what is expected to stay is not written, in
/// millionths.
const STEADY_STEP: u64 = 1000;

/// What has to be repaired, as who walks found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRepair {
    /// The segment.
    pub segment: SegmentId,
    /// How near to loss it is.
    pub margin: i64,
    /// Why it waits; the least number is the most urgent.
    pub need: u8,
    /// How much of what its nodes hold is expected to stay, in millionths: of
    /// segments that are equal in all else, the shakiest comes first.
    pub steady: u64,
    /// Pieces that are known to be lost or changed.
    pub lost: Vec<PiecePlace>,
}

/// Brings the queue up to date for a page of segments: what is wanted is in
/// it, and nothing else of that page, but for what somebody repairs just now.
///
/// Answers how many did not fit; none, and changes nothing, if who walks is
/// another by now.
pub struct QueueRepairs {
    /// The process that walks.
    pub holder: Holder,
    /// The page begins after this segment.
    pub after: Option<SegmentId>,
    /// Its last segment; none if there are no more.
    pub last: Option<SegmentId>,
    /// Those of it that have to be repaired.
    pub wanted: Vec<WantedRepair>,
    /// Whether those for which no node was found may find one now.
    pub hope: bool,
    /// How many may wait: the least urgent are forgotten, and found again by
    /// the next walk.
    pub most: u64,
}

/// A row that is free, or about to be.
struct Waiting {
    hopeless: bool,
    margin: i64,
    need: i64,
    steady: u64,
    lost: Vec<u8>,
    tried: bool,
}

impl Operation for QueueRepairs {
    type Output = Option<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, MetadataError> {
        if !holds(tx, Task::Health, self.holder).await? {
            return Ok(None);
        }
        let mut wanted: BTreeMap<SegmentId, &WantedRepair> = BTreeMap::new();
        wanted.extend(self.wanted.iter().map(|repair| (repair.segment, repair)));
        self.correct(tx, &mut wanted).await?;
        match self.insert(tx, &wanted).await? {
            0 => Ok(Some(0)),
            _ => self.forget_some(tx).await.map(Some),
        }
    }
}

impl QueueRepairs {
    /// Corrects what is in the queue; leaves in `wanted` what is not.
    async fn correct(
        &self,
        tx: &mut Tx<'_>,
        wanted: &mut BTreeMap<SegmentId, &WantedRepair>,
    ) -> Result<(), MetadataError> {
        let now = tx.now().await?;
        let after = self.after.as_ref().map_or(&[][..], |id| id.as_bytes());
        let last = self.last.as_ref().map_or(&[0xff; SegmentId::BYTES + 1][..], |id| id.as_bytes());
        let sql = "SELECT segment_id, hopeless, margin, need, lost, tried, taken_until_ms, steady FROM repairs \
                   WHERE segment_id > ?1 AND segment_id <= ?2 ORDER BY segment_id";
        // Rows that somebody is about to take or to finish are that one's.
        let rows = tx.query_locked(Lock::Take, sql, params![after, last]).await?;
        let (mut changed, mut over) = (Vec::new(), Vec::new());
        for row in &rows {
            let segment = SegmentId::from_bytes(row.array(0)?);
            let repair = wanted.remove(&segment);
            if row.maybe_u64(6)?.is_some_and(|until| taken_until(now).contains(&(until as i64))) {
                continue;
            }
            match repair {
                Some(repair) => changed.extend(self.corrected(repair, &waiting(row)?)),
                None => over.push(segment),
            }
        }
        let sql = "UPDATE repairs SET hopeless = ?2, margin = ?3, need = ?4, lost = ?5, steady = ?6, tried = NULL, \
                   holder = NULL, taken_until_ms = NULL WHERE segment_id = ?1";
        let values = changed.iter().map(|(repair, hopeless, lost)| {
            let (id, need) = (repair.segment.as_bytes(), i64::from(repair.need));
            params![id, u32::from(*hopeless), repair.margin, need, lost, repair.steady].to_vec()
        });
        let values: Vec<_> = values.collect();
        tx.execute_each(sql, &values).await?;
        remove(tx, &over).await
    }

    /// What a row shall be, if it is not.
    fn corrected<'r>(&self, repair: &'r WantedRepair, row: &Waiting) -> Option<(&'r WantedRepair, bool, Vec<u8>)> {
        let (hopeless, lost) = (row.hopeless && !self.hope, encode_pieces(&repair.lost));
        let is_so = row.hopeless == hopeless && row.margin == repair.margin && row.need == i64::from(repair.need);
        // What is expected changes a little all the time, and is no reason to write by itself.
        let same_risk = row.steady.abs_diff(repair.steady) < STEADY_STEP;
        (row.tried || !is_so || !same_risk || row.lost != lost).then_some((repair, hopeless, lost))
    }

    async fn insert(
        &self,
        tx: &mut Tx<'_>,
        wanted: &BTreeMap<SegmentId, &WantedRepair>,
    ) -> Result<usize, MetadataError> {
        let lost: Vec<Vec<u8>> = wanted.values().map(|repair| encode_pieces(&repair.lost)).collect();
        let mut rows = Vec::with_capacity(lost.len());
        for (repair, lost) in wanted.values().zip(&lost) {
            let need = i64::from(repair.need);
            rows.push(params![repair.segment.as_bytes(), repair.margin, need, lost, repair.steady].to_vec());
        }
        let sql = "INSERT INTO repairs (segment_id, hopeless, margin, need, lost, steady) VALUES (?1, 0, ?2, ?3, ?4, ?5) \
                   ON CONFLICT DO NOTHING";
        tx.execute_each(sql, &rows).await
    }

    async fn forget_some(&self, tx: &mut Tx<'_>) -> Result<u64, MetadataError> {
        let row = tx.first("SELECT COUNT(*) FROM repairs", &[]).await?;
        let count = row.ok_or_else(|| MetadataError::Failed("no count".into()))?.u64(0)?;
        let over = count.saturating_sub(self.most);
        if over > 0 {
            let sql = "DELETE FROM repairs WHERE segment_id IN (SELECT segment_id FROM repairs \
                       WHERE taken_until_ms IS NULL ORDER BY hopeless DESC, margin DESC, need DESC, steady DESC LIMIT ?1)";
            tx.execute(sql, params![over]).await?;
        }
        Ok(over)
    }
}

fn waiting(row: &Row) -> Result<Waiting, MetadataError> {
    Ok(Waiting {
        hopeless: row.int(1)? != 0,
        margin: row.int(2)?,
        need: row.int(3)?,
        steady: row.u64(7)?,
        lost: row.optional(4)?.unwrap_or_default().to_vec(),
        tried: row.optional(5)?.is_some(),
    })
}

async fn remove(tx: &mut Tx<'_>, segments: &[SegmentId]) -> Result<(), MetadataError> {
    if segments.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = segments.iter().map(|id| &id.as_bytes()[..]).collect();
    let sql = "DELETE FROM repairs WHERE segment_id IN (SELECT value FROM rarray(?1))";
    tx.execute(sql, params![&ids[..]]).await.map(drop)
}

/// The times until which a segment may be taken that is taken now. A later one
/// was written before the clock was set back.
fn taken_until(now: UnixMillis) -> RangeInclusive<i64> {
    now.0.saturating_add(1)..=now.0.saturating_add(LATER_MS)
}

/// Takes the segments that are nearest to loss, of those that nobody has and
/// this process has not tried in vain.
pub struct TakeRepairs {
    /// The process.
    pub holder: Holder,
    /// At most so many.
    pub limit: u32,
    /// Milliseconds of the database's clock until they are free again.
    pub for_ms: u64,
}

/// A segment that this process repairs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenRepair {
    /// The segment.
    pub segment: SegmentId,
    /// Pieces that are known to be lost or changed.
    pub lost: Vec<PiecePlace>,
    /// How near to loss it is.
    pub margin: i64,
    /// Who could not repair it.
    tried: Vec<u8>,
}

impl Operation for TakeRepairs {
    type Output = Vec<TakenRepair>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<TakenRepair>, MetadataError> {
        let now = tx.now().await?;
        let (first, last) = taken_until(now).into_inner();
        let sql = "SELECT segment_id, lost, tried, margin FROM repairs \
                   WHERE (taken_until_ms IS NULL OR taken_until_ms NOT BETWEEN ?1 AND ?4) \
                   AND (tried IS NULL OR instr(tried, ?2) = 0) ORDER BY hopeless, margin, need, steady LIMIT ?3";
        let rows = tx.query_locked(Lock::Take, sql, params![first, &self.holder.0, self.limit, last]).await?;
        let taken: Vec<TakenRepair> = rows.iter().map(taken).collect::<Result<_, _>>()?;
        let segments: Vec<SegmentId> = taken.iter().map(|taken| taken.segment).collect();
        set_taken(tx, &segments, self.holder, now.0.saturating_add_unsigned(self.for_ms)).await?;
        Ok(taken)
    }
}

fn taken(row: &Row) -> Result<TakenRepair, MetadataError> {
    Ok(TakenRepair {
        segment: SegmentId::from_bytes(row.array(0)?),
        lost: row.optional(1)?.map(decode_pieces).transpose()?.unwrap_or_default(),
        tried: row.optional(2)?.unwrap_or_default().to_vec(),
        margin: row.int(3)?,
    })
}

async fn set_taken(
    tx: &mut Tx<'_>,
    segments: &[SegmentId],
    holder: Holder,
    until_ms: i64,
) -> Result<(), MetadataError> {
    if segments.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = segments.iter().map(|id| &id.as_bytes()[..]).collect();
    let sql = "UPDATE repairs SET holder = ?2, taken_until_ms = ?3 WHERE segment_id IN (SELECT value FROM rarray(?1))";
    tx.execute(sql, params![&ids[..], &holder.0, until_ms]).await.map(drop)
}

/// Keeps segments for longer: their repair goes on.
pub struct RenewRepairs {
    /// The process.
    pub holder: Holder,
    /// Which ones; those that others have by now stay theirs.
    pub segments: Vec<SegmentId>,
    /// Milliseconds of the database's clock until they are free.
    pub for_ms: u64,
}

impl Operation for RenewRepairs {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let until = tx.now().await?.0.saturating_add_unsigned(self.for_ms);
        let ids: Vec<&[u8]> = self.segments.iter().map(|id| &id.as_bytes()[..]).collect();
        let sql = "UPDATE repairs SET taken_until_ms = ?3 WHERE segment_id IN (SELECT value FROM rarray(?1)) \
                   AND holder = ?2 AND taken_until_ms IS NOT NULL";
        tx.execute(sql, params![&ids[..], &self.holder.0, until]).await.map(drop)
    }
}

/// How it stands with a segment that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairEnd {
    /// It need not wait any more.
    Over,
    /// It waits for others, and for the next walk.
    Again {
        /// Whether that is for want of nodes: others come first.
        hopeless: bool,
    },
}

/// A segment that was taken, and how it stands with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRepair {
    /// What was taken.
    pub taken: TakenRepair,
    /// How it ended.
    pub end: RepairEnd,
}

/// Says how repairs have ended, and adds to what all processes have done.
/// What another has taken since, because this one was too slow, is left to it.
pub struct FinishRepairs {
    /// The process.
    pub holder: Holder,
    /// The segments.
    pub finished: Vec<FinishedRepair>,
    /// Pieces that were made anew because they were lost.
    pub repaired: u64,
    /// Pieces that were moved away from nodes that are being emptied.
    pub moved: u64,
    /// Repairs that failed.
    pub failed: u64,
}

const DONE: [&str; 3] = ["moved", "repaired", "repairs failed"];

impl Operation for FinishRepairs {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let mut finished: Vec<&FinishedRepair> = self.finished.iter().collect();
        finished.sort_by_key(|finished| finished.taken.segment);
        for FinishedRepair { taken, end } in finished {
            let (id, holder) = (taken.segment.as_bytes(), &self.holder.0);
            match end {
                RepairEnd::Over => {
                    tx.execute("DELETE FROM repairs WHERE segment_id = ?1 AND holder = ?2", params![id, holder]).await?
                }
                RepairEnd::Again { hopeless } => {
                    let tried = [&taken.tried[..], holder].concat();
                    let sql = "UPDATE repairs SET hopeless = CASE WHEN ?3 > 0 THEN 1 ELSE hopeless END, tried = ?4, \
                               holder = NULL, taken_until_ms = NULL WHERE segment_id = ?1 AND holder = ?2";
                    tx.execute(sql, params![id, holder, u32::from(*hopeless), &tried]).await?
                }
            };
        }
        for (name, count) in DONE.into_iter().zip([self.moved, self.repaired, self.failed]) {
            if count > 0 {
                let sql = "UPDATE counters SET value = value + ?2 WHERE name = ?1";
                tx.execute(sql, params![name, count]).await?;
            }
        }
        Ok(())
    }
}

/// How the queue is, and what was repaired since the cluster began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepairCounts {
    /// Segments in it, those that are being repaired too.
    pub waiting: u64,
    /// Those for which there were too few nodes.
    pub hopeless: u64,
    /// Those that are being repaired.
    pub taken: u64,
    /// Those that nobody has tried since they were put in.
    pub untried: u64,
    /// Those that the asking process may take.
    pub free: u64,
    /// Pieces that were made anew because they were lost.
    pub repaired: u64,
    /// Pieces that were moved away from nodes that are being emptied.
    pub moved: u64,
    /// Repairs that failed.
    pub failed: u64,
}

/// Counts what is in the queue.
pub struct CountRepairs {
    /// The process that asks.
    pub holder: Holder,
}

impl Operation for CountRepairs {
    type Output = RepairCounts;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<RepairCounts, MetadataError> {
        let (first, last) = taken_until(tx.now().await?).into_inner();
        let sql = "SELECT COUNT(*), COUNT(CASE WHEN hopeless > 0 THEN 1 END), \
                   COUNT(CASE WHEN taken_until_ms BETWEEN ?1 AND ?3 THEN 1 END), \
                   COUNT(CASE WHEN tried IS NULL \
                   AND (taken_until_ms IS NULL OR taken_until_ms NOT BETWEEN ?1 AND ?3) THEN 1 END), \
                   COUNT(CASE WHEN (tried IS NULL OR instr(tried, ?2) = 0) \
                   AND (taken_until_ms IS NULL OR taken_until_ms NOT BETWEEN ?1 AND ?3) THEN 1 END) FROM repairs";
        let row = tx.first(sql, params![first, &self.holder.0, last]).await?;
        let row = row.ok_or_else(|| MetadataError::Failed("no count".into()))?;
        let names = DONE.map(str::as_bytes);
        let sql = "SELECT value FROM counters WHERE name IN (SELECT value FROM rarray(?1)) ORDER BY name";
        let [moved, repaired, failed] = &tx.query(sql, params![&names[..]]).await?[..] else {
            return Err(MetadataError::Corrupt("the counters of repairs are missing".into()));
        };
        Ok(RepairCounts {
            waiting: row.u64(0)?,
            hopeless: row.u64(1)?,
            taken: row.u64(2)?,
            untried: row.u64(3)?,
            free: row.u64(4)?,
            repaired: repaired.u64(0)?,
            moved: moved.u64(0)?,
            failed: failed.u64(0)?,
        })
    }
}

/// Has everything count as taken by nobody.
pub(super) async fn free_all(tx: &mut Tx<'_>) -> Result<(), MetadataError> {
    let sql = "UPDATE repairs SET holder = NULL, taken_until_ms = NULL WHERE holder IS NOT NULL";
    tx.execute(sql, &[]).await.map(drop)
}
