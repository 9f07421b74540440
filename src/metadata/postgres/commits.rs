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

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

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

/// The table, and its name once the database is not in use any more.
const TABLE: &str = "commits";
const TABLE_AWAY: &str = "commits_moved";
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
        let row = match self.ask_in(TABLE, &connection.client).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                self.ask_in(TABLE_AWAY, &connection.client).await?
            }
            answered => answered?,
        };
        let (committed, now_ms): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let late = now_ms - self.made_ms > ASKED_WITHIN_MS;
        Ok(if committed == 0 && late { None } else { Some(committed == 1) })
    }

    /// What stands there, and the time. The row is changed in any case: the
    /// answer then comes when this, and with it all that was committed before,
    /// is on the replicas that commits wait for.
    async fn ask_in(&self, table: &str, client: &Client) -> Result<Row, Error> {
        let ask = format!(
            "INSERT INTO {table} AS kept (made_ms, commit_key, committed) VALUES ($1, $2, 0) \
             ON CONFLICT (made_ms, commit_key) DO UPDATE SET committed = kept.committed \
             RETURNING committed, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        );
        client.query_one(&ask, &[&self.made_ms, &&self.key[..]]).await
    }
}

/// Removes receipts that nobody asks for any more.
pub(super) async fn sweep(pool: &Pool) -> Result<(), Failure> {
    let connection = pool.get().await?;
    while connection.client.execute(SWEEP, &[&KEPT_MS, &SWEEP_ROWS]).await? == SWEEP_ROWS as u64 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::suite::server::Server;
    use super::super::super::tx::{Engine, Metadata};
    use super::super::{PostgresAddress, PostgresOptions};
    use super::*;

    /// A commit whose answer was lost is found also after the database has
    /// been moved away.
    #[tokio::test]
    async fn receipts_tell_after_a_move_what_they_told_before() {
        let server = Server::shared();
        let database = server.database(None);
        let address = PostgresAddress::parse(&server.url(&database)).unwrap();
        let metadata = Metadata::open_postgres(PostgresOptions::new(address)).await.unwrap();
        let Engine::Postgres(engine) = &metadata.engine else { panic!("a PostgreSQL was opened") };
        let now_ms = engine.pool.get().await.ok().unwrap().about_now_ms();
        let (done, lost) = (Receipt::new(now_ms), Receipt::new(now_ms));
        let leave = |table: &str, receipt: &Receipt| {
            let key: String = receipt.key.iter().map(|byte| format!("{byte:02x}")).collect();
            server.try_sql(
                &database,
                &format!("INSERT INTO {table} VALUES ({}, decode('{key}', 'hex'), 1)", receipt.made_ms),
            )
        };
        assert!(leave("commits", &done).status.success());
        server.sql(&database, "ALTER TABLE commits RENAME TO commits_moved");
        assert_eq!(done.ask(&engine.pool).await.ok().flatten(), Some(true));
        assert_eq!(lost.ask(&engine.pool).await.ok().flatten(), Some(false));
        assert!(!leave("commits_moved", &lost).status.success(), "it can never take place");
        server.sql(&database, "ALTER TABLE commits_moved RENAME TO commits");
        assert_eq!(done.ask(&engine.pool).await.ok().flatten(), Some(true));
        assert_eq!(lost.ask(&engine.pool).await.ok().flatten(), Some(false));
    }
}
