//! PostgreSQL, and what speaks its protocol: many gateways on one database.
//!
//! An operation is a transaction; it is run again when another one was in its
//! way or the line broke, within a few seconds, and after that the database
//! is not available. A write that was handed over goes on even if nobody waits
//! for it any more, as on SQLite.
//!
//! Used is only what PostgreSQL 15, CockroachDB and YugabyteDB all document:
//! row locks, `ON CONFLICT`, `RETURNING`, sequences, arrays. No LISTEN, no
//! advisory locks, no procedures.

mod address;
mod commits;
mod copy;
mod failure;
mod migrate;
mod pool;
mod retry;
mod session;
mod tls;
mod values;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::Timeouts;
use tokio::sync::{RwLock, Semaphore};
use tokio::time::Instant;

pub use address::PostgresAddress;
use commits::Receipt;
use failure::{Failure, Remedy};
use pool::{Maker, Pool, Refused};
use retry::Retry;
pub(super) use session::Session;
use session::{Commit, Purpose};

use super::tx::{Engine, Metadata, MetadataError, On, Operation, Tx};

/// Which database and how much of it.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where it is.
    pub address: PostgresAddress,
    /// A file that holds the password, if the address does not.
    pub password_file: Option<PathBuf>,
    /// Connections at most.
    pub connections: usize,
    /// How long making one may take.
    pub connect_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// What suits a gateway.
    pub fn new(address: PostgresAddress) -> Self {
        Self {
            address,
            password_file: None,
            connections: 16,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(10),
        }
    }
}

/// Writes that may be under way or wait for a connection.
const WRITES_MAX: u32 = 4096;
/// How long the disk counts as full after the server said so.
const FULL_FOR: Duration = Duration::from_secs(5);

/// The engine.
pub(super) struct Postgres {
    pool: Pool,
    /// How long a statement is waited for: the server has cut it off before,
    /// if it is there.
    patience: Duration,
    writes: Semaphore,
    /// Of those that hold this process's lease.
    turns: Arc<RwLock<()>>,
    opened: Instant,
    /// When the server's disk was full last, in milliseconds since `opened`, plus one.
    full_ms: AtomicU64,
}

impl Metadata {
    /// Opens the database, which must be there, and brings its schema up to
    /// this program's version. Not available is what may be there later.
    pub async fn open_postgres(options: PostgresOptions) -> Result<Self, MetadataError> {
        let maker = Maker::new(&options)?;
        let connection = maker.connect().await.map_err(|refused| match refused {
            Refused::Unusable(error) => error,
            Refused::Replica => failure::read_only(&maker.place()),
            Refused::Failure(failure) => failure::not_yet(failure, &maker.place()),
        })?;
        migrate::migrate(&connection.client, maker.place()).await?;
        drop(connection);
        let timeouts =
            Timeouts { wait: Some(retry::PATIENCE), create: Some(options.connect_timeout * 2), recycle: None };
        let pool = Pool::builder(maker)
            .max_size(options.connections.max(2))
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| MetadataError::Unusable(error.to_string()))?;
        let engine = Arc::new(Postgres {
            pool,
            patience: options.statement_timeout + Duration::from_secs(2),
            writes: Semaphore::new(WRITES_MAX as usize),
            turns: Arc::default(),
            opened: Instant::now(),
            full_ms: AtomicU64::new(0),
        });
        tokio::spawn(sweep(Arc::downgrade(&engine)));
        Ok(Self { engine: Engine::Postgres(engine) })
    }
}

async fn sweep(engine: Weak<Postgres>) {
    loop {
        tokio::time::sleep(commits::SWEEP_EVERY).await;
        let Some(engine) = engine.upgrade().filter(|engine| !engine.pool.is_closed()) else { return };
        if let Err(failure) = commits::sweep(&engine.pool).await {
            tracing::debug!(error = %failure.error, "old receipts of commits were not removed; later");
        }
    }
}

impl Postgres {
    pub(super) async fn write<O: Operation>(self: &Arc<Self>, operation: O) -> Result<O::Output, MetadataError> {
        let engine = self.clone();
        // Goes on when the caller is gone: what it was about to commit must not be cut in two.
        let work = tokio::spawn(async move {
            let permit = engine.writes.acquire().await;
            let _permit = permit.map_err(|_| MetadataError::Unavailable("it is shutting down".into()))?;
            let outcome = engine.write_again_and_again(&operation).await;
            if matches!(outcome, Err(MetadataError::Full)) {
                engine.full_ms.store(engine.opened.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
            }
            outcome
        });
        match work.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(MetadataError::Unavailable("it is shutting down".into())),
        }
    }

    async fn write_again_and_again<O: Operation>(&self, operation: &O) -> Result<O::Output, MetadataError> {
        let mut retry = Retry::new();
        loop {
            match self.write_once(operation, &retry).await {
                Ok(output) => return Ok(output),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    async fn write_once<O: Operation>(&self, operation: &O, retry: &Retry) -> Result<O::Output, Failure> {
        let mut session = self.session(Purpose::Write, retry).await?;
        let outcome = operation.run(&mut Tx { engine: On::Postgres(&mut session) }).await;
        let output = match outcome {
            Ok(output) => output,
            Err(error) => return Err(session.give_up(error)),
        };
        match session.commit(O::IS_REPEATABLE).await {
            Commit::Done => Ok(output),
            Commit::Failed(failure) => Err(failure),
            Commit::Unknown(receipt, failure) => match self.find_out(&receipt).await? {
                true => Ok(output),
                false => Err(failure),
            },
        }
    }

    /// Whether a commit took place whose answer was lost. Tried for longer
    /// than other things are: nobody else can find out.
    async fn find_out(&self, receipt: &Receipt) -> Result<bool, Failure> {
        let mut retry = Retry::for_commits();
        loop {
            let asked = tokio::time::timeout(retry.left(), receipt.ask(&self.pool)).await;
            let failure = match asked {
                Ok(Ok(Some(committed))) => return Ok(committed),
                Ok(Ok(None)) => break,
                Ok(Err(failure)) => failure,
                Err(_) => Failure::unavailable("it did not answer in time", Remedy::Reconnect),
            };
            // Whatever it is: it may pass, and then there is an answer.
            if retry.pause(Failure { remedy: Remedy::Reconnect, ..failure }).await.is_err() {
                break;
            }
        }
        tracing::error!("whether a commit was stored in the metadata database is not known");
        Err(Failure::new(MetadataError::OutcomeUnknown, Remedy::None))
    }

    pub(super) async fn read<O: Operation>(&self, operation: O) -> Result<O::Output, MetadataError> {
        let mut retry = Retry::new();
        loop {
            match self.read_once(&operation, &retry).await {
                Ok(output) => return Ok(output),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    async fn read_once<O: Operation>(&self, operation: &O, retry: &Retry) -> Result<O::Output, Failure> {
        let mut session = self.session(Purpose::Read, retry).await?;
        match operation.run(&mut Tx { engine: On::Postgres(&mut session) }).await {
            Ok(output) => {
                session.end();
                Ok(output)
            }
            Err(error) => Err(session.give_up(error)),
        }
    }

    async fn session(&self, purpose: Purpose, retry: &Retry) -> Result<Session, Failure> {
        let timeouts = Timeouts { wait: Some(retry.left()), ..self.pool.timeouts() };
        let connection = self.pool.timeout_get(&timeouts).await?;
        Ok(Session::new(connection, purpose, self.patience, self.turns.clone()))
    }

    pub(super) fn has_room(&self) -> bool {
        let full_ms = self.full_ms.load(Ordering::Relaxed);
        full_ms == 0 || self.opened.elapsed().as_millis() as u64 > full_ms + FULL_FOR.as_millis() as u64
    }

    pub(super) async fn close(&self) {
        let all = self.writes.acquire_many(WRITES_MAX).await;
        self.writes.close();
        drop(all);
        self.pool.close();
    }
}
