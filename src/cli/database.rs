//! The metadata database: of a process that serves, or of an operator's command
//! that asks it itself.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::data_dir::DATABASE;
use super::progress::Progress;
use super::settings::{Config, Database};
use super::{DataDir, Failure, cluster_key, secret_file};
use crate::admin::Stage;
use crate::env::Env;
use crate::metadata::{
    ClusterRow, FindCluster, Metadata, MetadataError, OpenCluster, PostgresAddress, PostgresOptions, ReleaseAllLeases,
    SqliteOptions,
};
use crate::seal::ClusterSecret;

/// Page cache of each of SQLite's connections, in KiB.
const CACHE_KIB: u32 = 8 << 10;
/// How often a PostgreSQL that is not there yet is tried.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// Connections kept for SQLite's readers.
const READERS: usize = 8;

/// A cluster's secret and its database.
pub(super) struct Opened {
    pub(super) secret: ClusterSecret,
    pub(super) metadata: Metadata,
    pub(super) row: ClusterRow,
}

/// Who hears what a start waits for: people, and orchestrators.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) progress: &'a Progress,
    pub(super) stage: &'a Stage,
}

/// Opens the database and checks that it is this cluster's; a new one becomes
/// it, and so does a new data directory.
pub(super) async fn open(config: &Config, layout: &DataDir, env: &Env, told: Told<'_>) -> Result<Opened, Failure> {
    let given = config.cluster_key_file.as_deref();
    let shared = postgres(config)?;
    let (secret, metadata) = match shared.clone() {
        // Whose it is decides whether a secret may be made here.
        Some(address) => {
            let metadata = wait_for_postgres(address, config.start_wait.0, told).await?;
            let owner = metadata.read(FindCluster).await.map_err(failed)?;
            (cluster_key::of(given, layout, owner, env)?, metadata)
        }
        None => (cluster_key::of(given, layout, None, env)?, open_sqlite(layout).await?),
    };
    let row = metadata.write(OpenCluster { cluster: secret.cluster_id() }).await.map_err(failed)?;
    if shared.is_none() {
        // Whoever took one had this data directory, and so is dead.
        metadata.write(ReleaseAllLeases).await.map_err(failed)?;
    }
    let mut people = io::stderr();
    let watched = people.is_terminal();
    cluster_key::introduce(&secret, given, layout, watched.then_some(&mut people as &mut dyn io::Write))?;
    Ok(Opened { secret, metadata, row })
}

/// Opens a database that other processes may use too, as soon as it is there.
async fn wait_for_postgres(address: PostgresAddress, patience: Duration, told: Told<'_>) -> Result<Metadata, Failure> {
    let (began, mut waits) = (Instant::now(), false);
    loop {
        let error = match Metadata::open_postgres(PostgresOptions::new(address.clone())).await {
            Err(MetadataError::Unavailable(error)) => error,
            opened => return opened.map_err(failed),
        };
        let waited = began.elapsed();
        if waited >= patience {
            let tried = if patience.is_zero() { String::new() } else { format!(" (tried for {} s)", waited.as_secs()) };
            return Err(Failure::start(format!("{error}{tried}")));
        }
        if !std::mem::replace(&mut waits, true) {
            tracing::info!("waiting for the metadata database, for {} s at most: {error}", patience.as_secs());
        }
        told.progress.step(format!("waiting for the metadata database: {error}"));
        told.stage.waits_for(&format!("the metadata database: {error}"));
        sleep(TRY_EVERY.min(patience - waited)).await;
    }
}

/// Opens a database that other processes may use too.
pub(super) async fn open_postgres(address: PostgresAddress) -> Result<Metadata, Failure> {
    Metadata::open_postgres(PostgresOptions::new(address)).await.map_err(failed)
}

/// The address of a PostgreSQL, if the metadata is to be there.
pub(super) fn postgres(config: &Config) -> Result<Option<PostgresAddress>, Failure> {
    let text = match (&config.metadata_file, &config.metadata) {
        (Some(file), _) => {
            let text = secret_file::text("the file with the database's address", file)?;
            if text.expose() == "sqlite" {
                return Ok(None);
            }
            text
        }
        (None, Database::Postgres(address)) => address.clone(),
        (None, Database::Sqlite) => return Ok(None),
    };
    PostgresAddress::parse(text.expose()).map(Some).map_err(failed)
}

async fn open_sqlite(layout: &DataDir) -> Result<Metadata, Failure> {
    let path = layout.path().join(DATABASE);
    let begun = layout.cluster()?.is_some() || layout.path().join("nodes").exists();
    if begun && !path.try_exists().unwrap_or(true) {
        return Err(Failure::start(format!(
            "{} is missing, and without it nothing of this cluster can be read: restore it from a copy; if it is a \
             PostgreSQL, name it with --metadata; or start on an empty data directory",
            path.display()
        )));
    }
    let options = SqliteOptions { path, cache_kib: CACHE_KIB, readers: READERS };
    let opened = tokio::task::spawn_blocking(move || Metadata::open_sqlite(options)).await;
    opened.map_err(|_| Failure::start("the start was cut off"))?.map_err(failed)
}

/// The database's own sentence.
pub(super) fn failed(error: MetadataError) -> Failure {
    Failure::start(error.to_string())
}
