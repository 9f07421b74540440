//! SQLite: one writer thread with group commit, readers on snapshots.
//!
//! WAL with synchronous=FULL: a commit returns after the log is synced. The
//! writer takes every operation that waits, runs each in a savepoint of one
//! transaction, commits once and only then answers. A failed commit answers
//! each of them with the failure; SQLite has rolled all of them back.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tokio::sync::{Semaphore, oneshot};

use super::schema::MIGRATIONS;
use super::tx::{Engine, Metadata, MetadataError, On, Operation, Param, Row, Tx, Value};

/// Where the database is and how much it may use.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The database's file.
    pub path: PathBuf,
    /// Page cache of each connection, in KiB.
    pub cache_kib: u32,
    /// Connections kept for readers.
    pub readers: usize,
}

/// Operations that one transaction takes at most.
const BATCH_MAX: usize = 256;
/// Operations that may wait for the writer before callers do.
const QUEUE_MAX: usize = 4096;

/// Room on the disk below which no new objects are taken, so that deletes can
/// still be written.
const ROOM_MIN_BYTES: u64 = 32 << 20;

/// An operation that waits for the writer: runs in its transaction, and later
/// hears how the commit went.
type Job = Box<dyn FnOnce(&mut Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), MetadataError>) + Send>;

pub(super) struct Sqlite {
    jobs: Mutex<Option<mpsc::SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Readers>,
    /// As many reads at once as there are connections.
    reading: Semaphore,
}

struct Readers {
    options: SqliteOptions,
    idle: Mutex<Vec<Connection>>,
}

impl Metadata {
    /// Opens (and makes, where there is none) the database and brings its
    /// schema up to this program's version.
    pub fn open_sqlite(options: SqliteOptions) -> Result<Self, MetadataError> {
        let mut connection = connect(&options, OpenFlags::default())?;
        migrate(&mut connection, &options)?;
        let (jobs, queue) = mpsc::sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("cairn-metadata".into())
            .spawn(move || write_loop(&mut connection, &queue))
            .map_err(|error| MetadataError::Unusable(format!("cannot start the metadata writer: {error}")))?;
        let reading = Semaphore::new(options.readers);
        let readers = Arc::new(Readers { options, idle: Mutex::default() });
        let engine = Sqlite { jobs: Mutex::new(Some(jobs)), writer: Mutex::new(Some(writer)), readers, reading };
        Ok(Self { engine: Engine::Sqlite(Arc::new(engine)) })
    }
}

impl Sqlite {
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, MetadataError> {
        let closed = || MetadataError::Unavailable("it is shutting down".into());
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = savepoint(connection, &operation);
            Box::new(move |commit| {
                let _ = sender.send(commit.and(outcome));
            })
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        if let Err(mpsc::TrySendError::Full(job)) = jobs.try_send(job) {
            // The queue is long: wait for room away from the reactor.
            let sent = tokio::task::spawn_blocking(move || jobs.send(job)).await;
            sent.map_err(|_| closed())?.map_err(|_| closed())?;
        }
        receiver.await.map_err(|_| closed())?
    }

    pub(super) async fn read<O: Operation>(&self, operation: O) -> Result<O::Output, MetadataError> {
        let _turn = self.reading.acquire().await.map_err(|_| MetadataError::Unavailable("it is closed".into()))?;
        let readers = self.readers.clone();
        let work = tokio::task::spawn_blocking(move || readers.run(&operation));
        work.await.map_err(|_| MetadataError::Failed("a read was cut off".into()))?
    }

    pub(super) fn has_room(&self) -> bool {
        let folder = self.readers.options.path.parent().unwrap_or(Path::new("."));
        // A file system that does not tell will say so when it is written to.
        !rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < ROOM_MIN_BYTES)
    }

    pub(super) async fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

impl Readers {
    fn run<O: Operation>(&self, operation: &O) -> Result<O::Output, MetadataError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.options, OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE))?,
        };
        let outcome = snapshot(&mut connection, operation);
        if !matches!(outcome, Err(MetadataError::Failed(_) | MetadataError::Corrupt(_))) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < self.options.readers {
                idle.push(connection);
            }
        }
        outcome
    }
}

fn snapshot<O: Operation>(connection: &mut Connection, operation: &O) -> Result<O::Output, MetadataError> {
    connection.prepare_cached("BEGIN DEFERRED").and_then(|mut begin| begin.execute([])).map_err(failure)?;
    let outcome = run(connection, operation);
    connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([])).map_err(failure)?;
    outcome
}

fn connect(options: &SqliteOptions, flags: OpenFlags) -> Result<Connection, MetadataError> {
    let unusable = |error: rusqlite::Error| {
        MetadataError::Unusable(format!("cannot open the metadata database {}: {error}", options.path.display()))
    };
    let connection = Connection::open_with_flags(&options.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|connection| {
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.set_prepared_statement_cache_capacity(128);
            rusqlite::vtab::array::load_module(&connection)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "secure_delete", "ON")?;
            connection.pragma_update(None, "foreign_keys", "ON")?;
            connection.pragma_update(None, "cache_size", -i64::from(options.cache_kib))?;
            connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
            connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
            Ok(connection)
        })
        .map_err(unusable)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, options: &SqliteOptions) -> Result<(), MetadataError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failure)?;
    let version = version as usize;
    if version > MIGRATIONS.len() {
        return Err(MetadataError::Unusable(format!(
            "{} has schema version {version}; this program knows versions up to {}: use the newer program",
            options.path.display(),
            MIGRATIONS.len()
        )));
    }
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
        transaction.execute_batch(migration.both).map_err(failure)?;
        transaction.pragma_update(None, "user_version", number as u32 + 1).map_err(failure)?;
        transaction.commit().map_err(failure)?;
    }
    Ok(())
}

fn write_loop(connection: &mut Connection, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let batch = std::iter::once(first).chain(queue.try_iter().take(BATCH_MAX - 1));
        let begun = statement(connection, "BEGIN IMMEDIATE");
        let answers: Vec<Answer> = batch.map(|job| job(connection)).collect();
        let committed = begun.and_then(|()| statement(connection, "COMMIT"));
        if let Err(error) = &committed {
            tracing::error!(%error, "a commit failed; nothing of it was stored");
            // Where SQLite has not rolled back by itself already.
            let _ = statement(connection, "ROLLBACK");
        }
        answers.into_iter().for_each(|answer| answer(committed.clone()));
    }
    let _ = connection.pragma_update(None, "optimize", "");
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}

fn statement(connection: &Connection, sql: &str) -> Result<(), MetadataError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(|_| ()).map_err(failure)
}

fn savepoint<O: Operation>(connection: &mut Connection, operation: &O) -> Result<O::Output, MetadataError> {
    // Without a transaction (it could not begin, or SQLite rolled it back on
    // an error) a savepoint would commit by itself.
    if connection.is_autocommit() {
        return Err(MetadataError::Unavailable("its transaction was rolled back".into()));
    }
    statement(connection, "SAVEPOINT operation")?;
    let outcome = run(connection, operation);
    if outcome.is_err() && !connection.is_autocommit() {
        statement(connection, "ROLLBACK TO operation")?;
    }
    if !connection.is_autocommit() {
        statement(connection, "RELEASE operation")?;
    }
    outcome
}

/// Runs an operation to its end. SQLite never waits for anything outside of
/// itself, so neither does the future.
fn run<O: Operation>(connection: &mut Connection, operation: &O) -> Result<O::Output, MetadataError> {
    let mut tx = Tx { engine: On::Sqlite(connection) };
    let outcome = operation.run(&mut tx).now_or_never();
    outcome.expect("an operation awaits nothing but its transaction, which is always ready on SQLite")
}

pub(super) fn execute(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<usize, MetadataError> {
    let mut statement = connection.prepare_cached(sql).map_err(failure)?;
    statement.execute(rusqlite::params_from_iter(params)).map_err(failure)
}

pub(super) fn query(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, MetadataError> {
    let mut statement = connection.prepare_cached(sql).map_err(failure)?;
    let columns = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failure)?;
    let mut collected = Vec::new();
    while let Some(row) = rows.next().map_err(failure)? {
        let values = (0..columns).map(|column| value(row.get_ref(column).map_err(failure)?)).collect::<Result<_, _>>();
        collected.push(Row(values?));
    }
    Ok(collected)
}

fn value(value: ValueRef<'_>) -> Result<Value, MetadataError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(value) => Ok(Value::Int(value)),
        ValueRef::Blob(value) | ValueRef::Text(value) => Ok(Value::Bytes(value.to_vec())),
        ValueRef::Real(_) => Err(MetadataError::Corrupt("a column has a fraction".into())),
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let array = |values: Vec<rusqlite::types::Value>| {
            let values: rusqlite::vtab::array::Array = Rc::new(values);
            Ok(ToSqlOutput::from_rc(values, c"rarray"))
        };
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Bytes(value) => ValueRef::Blob(value),
            Self::Many(values) => return array(values.iter().map(|value| value.to_vec().into()).collect()),
            Self::Numbers(values) => return array(values.iter().map(|value| (*value).into()).collect()),
        }))
    }
}

fn failure(error: rusqlite::Error) -> MetadataError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => MetadataError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => MetadataError::Unavailable(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => MetadataError::Corrupt(error.to_string()),
        _ => MetadataError::Failed(error.to_string()),
    }
}
