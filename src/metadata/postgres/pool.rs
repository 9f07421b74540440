//! Connections to PostgreSQL, a bounded number of them: made when they are
//! needed, on whichever host is fit, and kept with their prepared statements.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use tokio::time::Instant;
use tokio_postgres::{Client, Config, Statement};

use super::super::dialect::{self, Lock};
use super::super::tx::MetadataError;
use super::PostgresOptions;
use super::failure::{self, Failure, Remedy};
use super::tls::Tls;
use super::values::Column;

pub(super) type Pool = managed::Pool<Maker>;
pub(super) type Pooled = managed::Object<Maker>;

/// Makes connections.
pub(super) struct Maker {
    config: Config,
    password_file: Option<PathBuf>,
    tls: Tls,
    settings: String,
    limit: Duration,
    place: String,
}

/// Why there is no connection.
pub(super) enum Refused {
    /// The operator has to change something.
    Unusable(MetadataError),
    /// It is one that takes no writes and may be behind.
    Replica,
    /// It may go better later.
    Failure(Failure),
}

impl Maker {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, MetadataError> {
        let mut address = options.address.clone();
        address.set_default_timeouts(options.connect_timeout, options.statement_timeout);
        let statement_ms = options.statement_timeout.as_millis();
        // Sessions whose gateway is gone must not hold locks for long.
        let settings = format!(
            "SET statement_timeout = {statement_ms}; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = {statement_ms}",
            statement_ms / 2
        );
        Ok(Self {
            tls: Tls::new(&address)?,
            config: address.config.clone(),
            password_file: options.password_file.clone(),
            settings,
            limit: options.connect_timeout * 2,
            place: address.to_string(),
        })
    }

    /// The database as people know it.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Connects to the first host that is fit.
    pub(super) async fn connect(&self) -> Result<Connection, Refused> {
        let late = || Failure::unavailable("it did not answer in time", Remedy::Reconnect);
        let made = tokio::time::timeout(self.limit, self.connect_now());
        made.await.unwrap_or_else(|_| Err(Refused::Failure(late())))
    }

    async fn connect_now(&self) -> Result<Connection, Refused> {
        let refused = |error: tokio_postgres::Error| match failure::at_open(&error, &self.place) {
            Some(error) => Refused::Unusable(error),
            None => Refused::Failure(error.into()),
        };
        let config = self.with_password().await.map_err(Refused::Unusable)?;
        let (client, line) = config.connect(self.tls.clone()).await.map_err(refused)?;
        tokio::spawn(async move {
            if let Err(error) = line.await {
                tracing::debug!(%error, "a connection to the metadata database ended");
            }
        });
        client.batch_execute(&self.settings).await.map_err(refused)?;
        if is_replica(&client).await.map_err(refused)? {
            return Err(Refused::Replica);
        }
        let clock = client.query_one(dialect::CLOCK_POSTGRES, &[]).await.map_err(refused)?;
        let clock = (clock.try_get(0).map_err(refused)?, Instant::now());
        Ok(Connection { client, statements: HashMap::new(), for_rows: HashMap::new(), clock })
    }

    /// The password's file is read anew each time: it may be changed.
    async fn with_password(&self) -> Result<Config, MetadataError> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password_file {
            let password = tokio::fs::read_to_string(file).await.map_err(|error| {
                MetadataError::Unusable(format!("the password file {} cannot be read: {error}", file.display()))
            })?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        Ok(config)
    }
}

/// A replica, also one that was the primary before, shows what was true a
/// moment ago. A primary that takes no writes shows what is.
async fn is_replica(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let read_only = client.query_one("SHOW transaction_read_only", &[]).await?;
    match read_only.get::<_, &str>(0) {
        "on" => Ok(client.query_one("SELECT pg_is_in_recovery()", &[]).await?.get(0)),
        _ => Ok(false),
    }
}

impl managed::Manager for Maker {
    type Type = Connection;
    type Error = Failure;

    async fn create(&self) -> Result<Connection, Failure> {
        self.connect().await.map_err(|refused| match refused {
            Refused::Failure(failure) => failure,
            // Of hosts that share an address, another one may take its place.
            Refused::Replica => Failure::unavailable("the server is a replica", Remedy::Reconnect),
            // While the program runs it is not for the client to hear.
            Refused::Unusable(error) => Failure::unavailable(error.to_string(), Remedy::None),
        })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Failure> {
        match connection.client.is_closed() {
            false => Ok(()),
            true => Err(RecycleError::message("closed")),
        }
    }
}

/// A connection and what is prepared on it.
pub(super) struct Connection {
    pub(super) client: Client,
    statements: HashMap<(&'static str, Lock), Statement>,
    /// The same for many rows at once.
    for_rows: HashMap<&'static str, Statement>,
    /// The database's clock when it was made, in milliseconds.
    clock: (i64, Instant),
}

impl Connection {
    /// The statement, prepared once for each connection.
    pub(super) async fn prepared(&mut self, lock: Lock, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(&(sql, lock)) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&dialect::postgres(sql, lock)).await?;
        self.statements.insert((sql, lock), statement.clone());
        Ok(statement)
    }

    /// The statement as it does many rows at once.
    pub(super) async fn prepared_rows(
        &mut self,
        sql: &'static str,
        columns: &[Column<'_>],
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.for_rows.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<_> = columns.iter().map(Column::type_name).collect();
        let statement = self.client.prepare(&dialect::postgres_rows(sql, &types)).await?;
        self.for_rows.insert(sql, statement.clone());
        Ok(statement)
    }

    /// About what the database's clock shows.
    pub(super) fn about_now_ms(&self) -> i64 {
        self.clock.0 + i64::try_from(self.clock.1.elapsed().as_millis()).unwrap_or(i64::MAX / 2)
    }
}
