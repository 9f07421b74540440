//! Brings the schema up to this program's version: one step in one
//! transaction, under the lock of the row that holds the version, so that
//! several gateways may start at once.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::super::dialect::postgres_schema;
use super::super::schema::MIGRATIONS;
use super::super::tx::MetadataError;
use super::failure::{self, Failure};

const MAKE: &str =
    "CREATE TABLE IF NOT EXISTS schema_version (one BIGINT PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL)";
const BEGIN: &str = "INSERT INTO schema_version (one, version) VALUES (1, 0) ON CONFLICT DO NOTHING";
const READ_ONLY: &str = "SHOW transaction_read_only";
/// Others that speak the protocol keep rows in the order of their key.
const IS_HEAP: &str = "SELECT version() LIKE 'PostgreSQL %' AND version() NOT LIKE '%-YB-%'";
const VERSION: &str = "SELECT version FROM schema_version WHERE one = 1";

/// How often another gateway may be in the way.
const ATTEMPTS: usize = 20;

pub(super) async fn migrate(client: &Client, place: &str) -> Result<(), MetadataError> {
    for _ in 0..ATTEMPTS {
        match try_to_migrate(client, place).await {
            Ok(outcome) => return outcome,
            Err(error) if is_race(&error) => {
                let _ = client.batch_execute("ROLLBACK").await;
                tokio::time::sleep(std::time::Duration::from_millis(rand::random_range(20..200))).await;
            }
            Err(error) => {
                return Err(failure::at_open(&error, &place).unwrap_or_else(|| Failure::from(error).error));
            }
        }
    }
    Err(MetadataError::Unusable(format!(
        "the schema of the PostgreSQL at {place} could not be brought up to date: others change it all the time"
    )))
}

/// Somebody else made the same, or changed the version.
fn is_race(error: &tokio_postgres::Error) -> bool {
    let races = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    error.code().is_some_and(|code| races.contains(code))
}

/// The outer failure may be that another gateway does the same.
async fn try_to_migrate(client: &Client, place: &str) -> Result<Result<(), MetadataError>, tokio_postgres::Error> {
    // A replica may have the newest schema; nothing can be done with it all the same.
    if client.query_one(READ_ONLY, &[]).await?.get::<_, &str>(0) == "on" {
        return Ok(Err(failure::read_only(&place)));
    }
    // Looked at first without changing anything: who may not make tables need not.
    let known = match client.query_opt(VERSION, &[]).await {
        Ok(row) => row.map(|row| row.get(0)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => None,
        Err(error) => return Err(error),
    };
    let newest = MIGRATIONS.len() as i64;
    match known {
        Some(version) if version == newest => return Ok(Ok(())),
        Some(version) if version > newest => return Ok(Err(too_new(place, version))),
        Some(_) => {}
        None => {
            client.batch_execute(MAKE).await?;
            client.batch_execute(BEGIN).await?;
        }
    }
    let is_heap: bool = client.query_one(IS_HEAP, &[]).await?.get(0);
    loop {
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        let row = client.query_one(&format!("{VERSION} FOR UPDATE"), &[]).await?;
        let version: i64 = row.get(0);
        let step = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version));
        let Some(step) = step else {
            client.batch_execute("ROLLBACK").await?;
            return Ok(if version > newest { Err(too_new(place, version)) } else { Ok(()) });
        };
        client.batch_execute(&postgres_schema(step.both)).await?;
        client.batch_execute(&postgres_schema(step.postgres)).await?;
        if is_heap {
            client.batch_execute(step.heap).await?;
        }
        client.execute("UPDATE schema_version SET version = $1 WHERE one = 1", &[&(version + 1)]).await?;
        client.batch_execute("COMMIT").await?;
    }
}

fn too_new(place: &str, version: i64) -> MetadataError {
    MetadataError::Unusable(format!(
        "the PostgreSQL at {place} has schema version {version}; this program knows versions up to {}: use the newer program",
        MIGRATIONS.len()
    ))
}
