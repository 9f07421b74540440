//! Operations, transactions and values: what every engine offers.

use std::future::Future;
use std::sync::Arc;

use super::dialect::{self, Lock};
use super::postgres::{Postgres, Session};
use super::sqlite::Sqlite;
use crate::types::{IdError, UnixMillis};

/// Why the database did not do what it was asked. What a caller decides on is
/// in the operations' outputs; these are failures.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MetadataError {
    /// Try again: the engine was busy, restarting or closing.
    #[error("the metadata database is not available: {0}")]
    Unavailable(String),
    /// The line broke in a commit, and nobody could find out how it ended.
    #[error("whether this was stored in the metadata database is not known: look before you try again")]
    OutcomeUnknown,
    /// No room for the database to grow.
    #[error("the metadata database has no room left on its disk")]
    Full,
    /// The writer's lease is gone: what it uploaded may have been reclaimed.
    #[error("the lease of this upload has expired; it must be started again")]
    LeaseLost,
    /// A row that cannot be what was written.
    #[error("the metadata database is damaged: {0}")]
    Corrupt(String),
    /// The database is of another version or cluster, or cannot be opened.
    #[error("{0}")]
    Unusable(String),
    /// Anything else the engine says.
    #[error("the metadata database failed: {0}")]
    Failed(String),
}

impl From<IdError> for MetadataError {
    fn from(error: IdError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// A transaction's worth of work, with everything it needs.
pub trait Operation: Send + Sync + 'static {
    /// What it answers.
    type Output: Send + 'static;

    /// Whether doing it twice comes to the same as doing it once. Then nobody
    /// needs to find out how a commit ended whose answer was lost.
    const IS_REPEATABLE: bool = false;

    /// Does it. May be run again from the start after a conflict.
    fn run<'a>(&'a self, tx: &'a mut Tx<'_>) -> impl Future<Output = Result<Self::Output, MetadataError>> + Send + 'a;
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Metadata {
    pub(super) engine: Engine,
}

/// What keeps the database.
#[derive(Clone)]
pub(super) enum Engine {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

impl Metadata {
    /// Runs an operation and returns when its changes are durable.
    pub async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, MetadataError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.write(operation).await,
            Engine::Postgres(engine) => Box::pin(engine.write(operation)).await,
        }
    }

    /// Runs an operation that changes nothing, on a snapshot.
    pub async fn read<O: Operation>(&self, operation: O) -> Result<O::Output, MetadataError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read(operation).await,
            Engine::Postgres(engine) => Box::pin(engine.read(operation)).await,
        }
    }

    /// Whether other processes may use the database at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Whether the database's disk has room for new objects. Deletes are
    /// possible a little longer.
    pub fn has_room(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(engine) => engine.has_room(),
            Engine::Postgres(engine) => engine.has_room(),
        }
    }

    /// Finishes what was asked for and closes the database, so that a later
    /// start has nothing to recover.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }
}

/// A value bound to a statement's `?1 … ?n`.
#[derive(Debug, Clone, Copy)]
pub enum Param<'a> {
    Null,
    Int(i64),
    Bytes(&'a [u8]),
    /// For `IN (SELECT value FROM rarray(?n))`.
    Many(&'a [&'a [u8]]),
    /// The same, of integers.
    Numbers(&'a [i64]),
}

impl<'a> From<&'a [&'a [u8]]> for Param<'a> {
    fn from(values: &'a [&'a [u8]]) -> Self {
        Self::Many(values)
    }
}

impl<'a> From<&'a [i64]> for Param<'a> {
    fn from(values: &'a [i64]) -> Self {
        Self::Numbers(values)
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Param<'_> {
    fn from(value: u64) -> Self {
        Self::Int(value as i64)
    }
}

impl From<u32> for Param<'_> {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<UnixMillis> for Param<'_> {
    fn from(value: UnixMillis) -> Self {
        Self::Int(value.0)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Param<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Bytes(value.as_bytes())
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Binds values in the order of `?1 … ?n`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::metadata::tx::Param::from($value)),*] };
}
pub(super) use params;

/// A value of a row that came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
}

/// A row that came back.
#[derive(Debug)]
pub struct Row(pub Vec<Value>);

impl Row {
    fn wrong(&self, column: usize) -> MetadataError {
        MetadataError::Corrupt(format!("column {column} has an unexpected type"))
    }

    pub fn int(&self, column: usize) -> Result<i64, MetadataError> {
        match self.0.get(column) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(self.wrong(column)),
        }
    }

    pub fn u64(&self, column: usize) -> Result<u64, MetadataError> {
        u64::try_from(self.int(column)?).map_err(|_| self.wrong(column))
    }

    pub fn u32(&self, column: usize) -> Result<u32, MetadataError> {
        u32::try_from(self.int(column)?).map_err(|_| self.wrong(column))
    }

    pub fn maybe_u64(&self, column: usize) -> Result<Option<u64>, MetadataError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.u64(column).map(Some),
        }
    }

    pub fn bytes(&self, column: usize) -> Result<&[u8], MetadataError> {
        match self.0.get(column) {
            Some(Value::Bytes(value)) => Ok(value),
            _ => Err(self.wrong(column)),
        }
    }

    pub fn optional(&self, column: usize) -> Result<Option<&[u8]>, MetadataError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.bytes(column).map(Some),
        }
    }

    pub fn maybe_text(&self, column: usize) -> Result<Option<String>, MetadataError> {
        self.optional(column)?.map(super::codec::text).transpose()
    }

    pub fn text(&self, column: usize) -> Result<String, MetadataError> {
        super::codec::text(self.bytes(column)?)
    }

    pub fn array<const N: usize>(&self, column: usize) -> Result<[u8; N], MetadataError> {
        self.bytes(column)?.try_into().map_err(|_| self.wrong(column))
    }
}

/// A transaction in progress.
pub struct Tx<'c> {
    pub(super) engine: On<'c>,
}

/// The engine's side of a transaction.
pub(super) enum On<'c> {
    Sqlite(&'c mut rusqlite::Connection),
    Postgres(&'c mut Session),
}

impl Tx<'_> {
    /// Runs a statement; answers how many rows it changed.
    pub(super) async fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<usize, MetadataError> {
        match &mut self.engine {
            On::Sqlite(connection) => super::sqlite::execute(connection, sql, params),
            On::Postgres(session) => Box::pin(session.execute(sql, params)).await,
        }
    }

    /// Does a statement for many rows, none of which has a NULL: one statement
    /// with arrays in PostgreSQL, and in SQLite, where asking costs nothing,
    /// one after the other. Two rows must not change the same.
    pub(super) async fn execute_each(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Param<'_>>],
    ) -> Result<usize, MetadataError> {
        match &mut self.engine {
            On::Sqlite(connection) => rows.iter().map(|row| super::sqlite::execute(connection, sql, row)).sum(),
            On::Postgres(session) => Box::pin(session.execute_each(sql, rows)).await,
        }
    }

    /// Runs a statement and collects its rows.
    pub(super) async fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, MetadataError> {
        self.query_locked(Lock::None, sql, params).await
    }

    /// The same; whoever else would change the rows waits for this transaction.
    pub(super) async fn query_locked(
        &mut self,
        lock: Lock,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, MetadataError> {
        match &mut self.engine {
            On::Sqlite(connection) => super::sqlite::query(connection, sql, params),
            On::Postgres(session) => Box::pin(session.query(lock, sql, params)).await,
        }
    }

    /// Runs a statement that answers at most one row.
    pub(super) async fn first(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, MetadataError> {
        self.first_locked(Lock::None, sql, params).await
    }

    /// The same; whoever else would change the row waits for this transaction.
    pub(super) async fn first_locked(
        &mut self,
        lock: Lock,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, MetadataError> {
        Ok(self.query_locked(lock, sql, params).await?.into_iter().next())
    }

    /// Puts a row in that was not there when this transaction looked. Where
    /// another one was quicker, the operation is run again from its start.
    pub(super) async fn insert_new(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<(), MetadataError> {
        match self.execute(sql, params).await? {
            0 => Err(self.overtaken()),
            _ => Ok(()),
        }
    }

    /// What an operation fails with in order to be run again, because another
    /// transaction was quicker.
    pub(super) fn overtaken(&mut self) -> MetadataError {
        match &mut self.engine {
            On::Sqlite(_) => MetadataError::Failed("a row was there that was not there before".into()),
            On::Postgres(session) => session.overtaken(),
        }
    }

    /// Whether transactions run beside each other.
    pub(super) fn is_concurrent(&self) -> bool {
        matches!(self.engine, On::Postgres(_))
    }

    /// Lets this transaction hold its process's lease, together with others
    /// or (`alone`) without them. In turns: a row that is share-locked all the
    /// time is never free for who wants it alone.
    pub(super) async fn take_turn(&mut self, alone: bool) {
        if let On::Postgres(session) = &mut self.engine {
            Box::pin(session.take_turn(alone)).await;
        }
    }

    /// The database's clock.
    pub(super) async fn now(&mut self) -> Result<UnixMillis, MetadataError> {
        let sql = match &self.engine {
            On::Sqlite(_) => dialect::CLOCK_SQLITE,
            On::Postgres(_) => dialect::CLOCK_POSTGRES,
        };
        let row = self.first(sql, &[]).await?;
        row.ok_or_else(|| MetadataError::Failed("no clock".into()))?.int(0).map(UnixMillis)
    }

    /// The next value of a counter, within this transaction. Others wait for
    /// its end, so that whoever sees a value also sees what was done with
    /// those before it.
    pub(super) async fn next(&mut self, counter: &'static str) -> Result<u64, MetadataError> {
        let sql = "UPDATE counters SET value = value + 1 WHERE name = ?1 RETURNING value";
        let row = self.first(sql, params![counter]).await?;
        row.ok_or_else(|| MetadataError::Corrupt(format!("the counter {counter} is missing")))?.u64(0)
    }

    /// A counter's value. Who locks it waits for all that was done with it.
    pub(super) async fn counter(&mut self, counter: &'static str, lock: Lock) -> Result<u64, MetadataError> {
        let row = self.first_locked(lock, "SELECT value FROM counters WHERE name = ?1", params![counter]).await?;
        row.ok_or_else(|| MetadataError::Corrupt(format!("the counter {counter} is missing")))?.u64(0)
    }

    /// A number that no other transaction gets. Nobody waits for anybody.
    pub(super) async fn draw(&mut self, sequence: dialect::Sequence) -> Result<u64, MetadataError> {
        if let On::Sqlite(_) = &self.engine {
            return self.next(sequence.counter()).await;
        }
        let row = self.first(sequence.draw(), &[]).await?;
        row.ok_or_else(|| MetadataError::Failed("a sequence gave nothing".into()))?.u64(0)
    }

    /// The number that was drawn last.
    pub(super) async fn drawn(&mut self, sequence: dialect::Sequence) -> Result<u64, MetadataError> {
        if let On::Sqlite(_) = &self.engine {
            return self.counter(sequence.counter(), Lock::None).await;
        }
        let row = self.first(sequence.drawn(), &[]).await?;
        row.ok_or_else(|| MetadataError::Failed("a sequence gave nothing".into()))?.u64(0)
    }

    /// Takes care that only larger numbers are drawn from now on.
    pub(super) async fn raise(&mut self, sequence: dialect::Sequence, to: u64) -> Result<(), MetadataError> {
        if let On::Postgres(_) = &self.engine {
            return self.first(sequence.raise(), params![to]).await.map(drop);
        }
        let sql = "UPDATE counters SET value = ?2 WHERE name = ?1 AND value < ?2";
        self.execute(sql, params![sequence.counter(), to]).await.map(drop)
    }
}
