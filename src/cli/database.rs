//! The metadata database of a process that serves, or of an operator's command
//! where none does.

use super::settings::{Config, Database};
use super::{DataDir, Failure};
use crate::metadata::{
    ClusterRow, Metadata, MetadataError, OpenCluster, PostgresAddress, PostgresOptions, ReleaseAllLeases, SqliteOptions,
};
use crate::seal::ClusterSecret;

/// Page cache of each of SQLite's connections, in KiB.
const CACHE_KIB: u32 = 8 << 10;
/// Connections kept for SQLite's readers.
const READERS: usize = 8;

/// Opens the database and checks that it is this cluster's; a new one becomes
/// it.
pub(super) async fn open(
    config: &Config,
    layout: &DataDir,
    secret: &ClusterSecret,
) -> Result<(Metadata, ClusterRow), Failure> {
    let address = postgres(config)?;
    let metadata = match &address {
        Some(address) => Metadata::open_postgres(PostgresOptions::new(address.clone())).await.map_err(failed)?,
        None => open_sqlite(layout).await?,
    };
    let row = metadata.write(OpenCluster { cluster: secret.cluster_id() }).await.map_err(failed)?;
    if address.is_none() {
        // Whoever took one had this data directory, and so is dead.
        metadata.write(ReleaseAllLeases).await.map_err(failed)?;
    }
    Ok((metadata, row))
}

/// The address of a PostgreSQL, if the metadata is to be there.
pub(super) fn postgres(config: &Config) -> Result<Option<PostgresAddress>, Failure> {
    let text = match (&config.metadata_file, &config.metadata) {
        (Some(file), _) => {
            let unreadable =
                |error| Failure::io("the file with the database's address could not be read", file, &error);
            let text = std::fs::read_to_string(file).map_err(unreadable)?.trim().to_owned();
            if text == "sqlite" {
                return Ok(None);
            }
            text
        }
        (None, Database::Postgres(address)) => address.expose().to_owned(),
        (None, Database::Sqlite) => return Ok(None),
    };
    PostgresAddress::parse(&text).map(Some).map_err(failed)
}

async fn open_sqlite(layout: &DataDir) -> Result<Metadata, Failure> {
    let path = layout.path().join("metadata.db");
    let (nodes, known) = (layout.path().join("nodes"), path.try_exists().unwrap_or(true));
    if !known && nodes.exists() {
        return Err(Failure::start(format!(
            "{} is missing, and without it nothing in {} can be read: restore it from a copy, or start on an empty data \
             directory",
            path.display(),
            nodes.display()
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
