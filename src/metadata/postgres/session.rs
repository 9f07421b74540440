//! One transaction on one connection.
//!
//! A read sees one snapshot. A write runs in READ COMMITTED: what it relies on
//! it locks when it reads it, and each statement sees all that was committed
//! before it. Where the engine is always serializable, the locks say nothing
//! new and conflicts are failures; either way the operation is run again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, future};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::super::dialect::Lock;
use super::super::tx::{MetadataError, Param, Row};
use super::commits::Receipt;
use super::failure::{self, Failure, Remedy};
use super::pool::Pooled;
use super::values::{self, Column};

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

impl Purpose {
    fn begin(self) -> &'static str {
        match self {
            Self::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }
}

/// How a commit ended.
pub(super) enum Commit {
    Done,
    Failed(Failure),
    /// The line broke: only the database knows.
    Unknown(Receipt, Failure),
}

/// Statements that are under way at once.
const PIPELINE_MAX: usize = 200;

/// Holds its process's lease until the transaction's end.
enum Turn {
    Shared { _guard: OwnedRwLockReadGuard<()> },
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

/// A transaction in progress. Dropped before its end, it is rolled back.
pub(in crate::metadata) struct Session {
    /// None once the connection is of no more use.
    connection: Option<Pooled>,
    purpose: Purpose,
    begun: bool,
    changed: bool,
    /// What the last failure asks for.
    remedy: Remedy,
    /// How long the server is waited for.
    patience: Duration,
    turns: Arc<RwLock<()>>,
    turn: Option<Turn>,
}

fn silent() -> Failure {
    Failure::unavailable("it did not answer in time", Remedy::Reconnect)
}

type Params<'a> = Vec<&'a (dyn ToSql + Sync)>;

fn borrowed<'a>(params: &'a [Param<'a>]) -> Params<'a> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

impl Session {
    pub(super) fn new(connection: Pooled, purpose: Purpose, patience: Duration, turns: Arc<RwLock<()>>) -> Self {
        let connection = Some(connection);
        Self { connection, purpose, begun: false, changed: false, remedy: Remedy::None, patience, turns, turn: None }
    }

    pub(in crate::metadata) async fn query(
        &mut self,
        lock: Lock,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, MetadataError> {
        let reads = sql.starts_with("SELECT") || sql.starts_with("WITH");
        let lock = if self.purpose == Purpose::Read { Lock::None } else { lock };
        let statement = self.prepare(lock, sql, reads).await?;
        let begin = (!self.begun).then(|| self.purpose.begin());
        self.begun = true;
        let params = borrowed(params);
        let client = &self.connection()?.client;
        let rows = client.query(&statement, &params);
        let rows = timeout(self.patience, async {
            match begin {
                None => rows.await,
                // Sent in one go. It cannot do harm should there be no transaction: it only reads.
                Some(begin) => {
                    let (begun, rows) = future::join(client.batch_execute(begin), rows).await;
                    begun.and(rows)
                }
            }
        });
        let rows = rows.await;
        self.judged(rows)?.iter().map(values::row).collect()
    }

    pub(in crate::metadata) async fn execute(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<usize, MetadataError> {
        let statement = self.prepare(Lock::None, sql, false).await?;
        let params = borrowed(params);
        let changed = timeout(self.patience, self.connection()?.client.execute(&statement, &params)).await;
        self.judged(changed).map(|rows| rows as usize)
    }

    /// Does it for all rows, in one statement where that is possible.
    pub(in crate::metadata) async fn execute_each(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Param<'_>>],
    ) -> Result<usize, MetadataError> {
        match rows {
            [] => return Ok(0),
            [row] => return self.execute(sql, row).await,
            _ => {}
        }
        let Some(columns) = values::columns(rows) else { return self.execute_in_turn(sql, rows).await };
        // Begins the transaction, too.
        self.prepare(Lock::None, sql, false).await?;
        let (patience, connection) = (self.patience, self.connection_mut()?);
        let prepared = timeout(patience, connection.prepared_rows(sql, &columns)).await;
        let statement = self.judged(prepared)?;
        let params: Vec<_> = columns.iter().map(Column::as_param).collect();
        let params = borrowed(&params);
        let changed = timeout(patience, self.connection()?.client.execute(&statement, &params)).await;
        self.judged(changed).map(|rows| rows as usize)
    }

    /// Does it for one row after the other, without waiting in between: rows
    /// with gaps make no columns.
    async fn execute_in_turn(&mut self, sql: &'static str, rows: &[Vec<Param<'_>>]) -> Result<usize, MetadataError> {
        let statement = self.prepare(Lock::None, sql, false).await?;
        let mut changed = 0;
        for rows in rows.chunks(PIPELINE_MAX) {
            let client = &self.connection()?.client;
            let all = rows.iter().map(|row| async { client.execute(&statement, &borrowed(row)).await });
            let all = timeout(self.patience, future::join_all(all)).await;
            changed += self.judged(all.map(|all| all.into_iter().sum::<Result<u64, _>>()))? as usize;
        }
        Ok(changed)
    }

    async fn prepare(&mut self, lock: Lock, sql: &'static str, reads: bool) -> Result<Statement, MetadataError> {
        let patience = self.patience;
        let prepared = timeout(patience, self.connection_mut()?.prepared(lock, sql)).await;
        let statement = self.judged(prepared)?;
        self.changed |= !reads;
        if !self.begun && !reads {
            self.begun = true;
            let begun = timeout(patience, self.connection()?.client.batch_execute(self.purpose.begin())).await;
            self.judged(begun)?;
        }
        Ok(statement)
    }

    fn connection(&self) -> Result<&Pooled, MetadataError> {
        self.connection.as_ref().ok_or_else(|| MetadataError::Unavailable("its connection is gone".into()))
    }

    fn connection_mut(&mut self) -> Result<&mut Pooled, MetadataError> {
        self.connection.as_mut().ok_or_else(|| MetadataError::Unavailable("its connection is gone".into()))
    }

    /// What came of a statement; a failure's remedy is kept for the end.
    fn judged<T>(&mut self, outcome: Result<Result<T, tokio_postgres::Error>, Elapsed>) -> Result<T, MetadataError> {
        let failure = match outcome {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(error)) => error.into(),
            Err(_) => silent(),
        };
        self.remedy = failure.remedy;
        Err(failure.error)
    }

    pub(in crate::metadata) fn overtaken(&mut self) -> MetadataError {
        self.remedy = Remedy::Rerun;
        MetadataError::Unavailable("too many others change the same".into())
    }

    pub(in crate::metadata) async fn take_turn(&mut self, alone: bool) {
        // A second turn behind somebody who waits to be alone would never come.
        if self.turn.is_none() {
            let turns = self.turns.clone();
            self.turn = Some(match alone {
                true => Turn::Alone { _guard: turns.write_owned().await },
                false => Turn::Shared { _guard: turns.read_owned().await },
            });
        }
    }

    /// Ends a transaction whose operation failed.
    pub(super) fn give_up(mut self, error: MetadataError) -> Failure {
        if self.remedy == Remedy::Reconnect {
            self.discard();
        }
        Failure::new(error, self.remedy)
    }

    /// Ends a transaction that only read.
    pub(super) fn end(self) {}

    pub(super) async fn commit(mut self, is_repeatable: bool) -> Commit {
        let (begun, changed) = (self.begun, self.changed);
        if !begun {
            return Commit::Done;
        }
        match changed && !is_repeatable {
            true => self.commit_changes().await,
            false => self.commit_plainly().await,
        }
    }

    /// Nothing was changed, or nothing that may not as well be done again.
    async fn commit_plainly(&mut self) -> Commit {
        let Ok(connection) = self.connection() else { return Commit::Done };
        let failure = match timeout(self.patience, connection.client.batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.begun = false;
                return Commit::Done;
            }
            Ok(Err(error)) => error.into(),
            Err(_) => silent(),
        };
        self.discard();
        Commit::Failed(failure)
    }

    /// The receipt and the commit go in one go: where the receipt is refused,
    /// the server makes a rollback of the commit.
    async fn commit_changes(&mut self) -> Commit {
        let patience = self.patience;
        let Ok(connection) = self.connection_mut() else { return Commit::Failed(silent()) };
        let receipt = Receipt::new(connection.about_now_ms());
        let statement = match timeout(patience, connection.prepared(Lock::None, Receipt::LEAVE)).await {
            Ok(Ok(statement)) => statement,
            Ok(Err(error)) => return Commit::Failed(error.into()),
            Err(_) => {
                self.discard();
                return Commit::Failed(silent());
            }
        };
        let values = receipt.values();
        let values = borrowed(&values);
        let client = &connection.client;
        let both = future::join(client.execute(&statement, &values), client.batch_execute("COMMIT"));
        let failure = match timeout(patience, both).await {
            Ok((left, Ok(()))) => {
                self.begun = false;
                return left.map_or_else(|error| Commit::Failed(error.into()), |_| Commit::Done);
            }
            Ok((Ok(_), Err(error))) if failure::refuses_commit(&error) => return Commit::Failed(error.into()),
            Ok((_, Err(error))) => error.into(),
            Err(_) => silent(),
        };
        self.discard();
        Commit::Unknown(receipt, failure)
    }

    /// Lets the connection go for good.
    fn discard(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Pooled::take(connection));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Sent, not waited for: whoever has the connection next speaks after it.
        if let Some(connection) = self.connection.as_ref().filter(|_| self.begun) {
            let _ = connection.client.batch_execute("ROLLBACK").now_or_never();
        }
    }
}
