//! Commits whose outcome is unknown, because the line broke before the answer.
//!
//! Every transaction that changes something leaves a receipt, a random key, in
//! the table `commits`. Who does not hear how a commit ended puts the same key
//! in, as one that was not committed. If that is possible, the commit neither
//! took place nor ever can: its own receipt would be the second of that key.
//! If it is not, what stands there tells. Should the server still be busy with
//! the commit, the key's index makes the question wait for it. The answer is
//! itself committed: a server that was started again shows what it had on its
//! own disk, although no replica may have it yet.

use std::time::Duration;

use super::super::tx::Param;
use super::failure::Failure;
use super::pool::Pool;

/// How long receipts are kept.
const KEPT_MS: i64 = 6 * 3600 * 1000;
/// How long after the commit somebody may ask: by far less, so that no
/// receipt that is gone counts as one that never was.
const ASKED_WITHIN_MS: i64 = 3600 * 1000;
/// Receipts that one statement removes.
const SWEEP_ROWS: i64 = 5000;
/// How often old ones are removed.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// What proves that a transaction was committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receipt {
    made_ms: i64,
    key: [u8; 16],
}

/// Changes the row in any case: the answer then comes when this, and with it
/// all that was committed before, is on the replicas that commits wait for.
const ASK: &str = "INSERT INTO commits (made_ms, commit_key, committed) VALUES ($1, $2, 0) \
                   ON CONFLICT (made_ms, commit_key) DO UPDATE SET committed = commits.committed \
                   RETURNING committed, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
const SWEEP: &str = "DELETE FROM commits WHERE (made_ms, commit_key) IN (SELECT made_ms, commit_key FROM commits \
                     WHERE made_ms < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - $1 \
                     ORDER BY made_ms LIMIT $2)";

impl Receipt {
    /// Puts it in, or fails.
    pub(super) const LEAVE: &str = "INSERT INTO commits (made_ms, commit_key, committed) VALUES (?1, ?2, 1)";

    pub(super) fn new(made_ms: i64) -> Self {
        Self { made_ms, key: rand::random() }
    }

    pub(super) fn values(&self) -> [Param<'_>; 2] {
        [Param::Int(self.made_ms), Param::Bytes(&self.key)]
    }

    /// Whether it was committed; none if nobody can know any more. May be
    /// asked as often as it takes: the answer stays.
    pub(super) async fn ask(&self, pool: &Pool) -> Result<Option<bool>, Failure> {
        let connection = pool.get().await?;
        let (made_ms, key) = (&self.made_ms, &&self.key[..]);
        let row = connection.client.query_one(ASK, &[made_ms, key]).await?;
        let (committed, now_ms): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let late = now_ms - self.made_ms > ASKED_WITHIN_MS;
        Ok(if committed == 0 && late { None } else { Some(committed == 1) })
    }
}

/// Removes receipts that nobody asks for any more.
pub(super) async fn sweep(pool: &Pool) -> Result<(), Failure> {
    let connection = pool.get().await?;
    while connection.client.execute(SWEEP, &[&KEPT_MS, &SWEEP_ROWS]).await? == SWEEP_ROWS as u64 {}
    Ok(())
}
