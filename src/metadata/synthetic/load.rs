//! Puts the rows in, as fast as the engine takes them and without its
//! promises: whoever loads has nothing to lose yet.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use super::super::buckets::{CreateBucket, CreatedBucket, FindBucket};
use super::super::postgres::{PostgresAddress, PostgresOptions};
use super::super::sqlite::SqliteOptions;
use super::super::tx::{Engine, Metadata, MetadataError, Value};
use super::rows::{BLOCK_OBJECTS, Rows, Synthetic};
use crate::types::{BucketName, UnixMillis};

/// Which database is filled. Nobody else may use it meanwhile.
#[derive(Debug, Clone)]
pub enum SyntheticPlace {
    /// A file of SQLite's.
    Sqlite(PathBuf),
    /// A database of PostgreSQL's.
    Postgres(Box<PostgresAddress>),
}

/// Blocks that are made and put in at once.
const BLOCKS_AT_ONCE: u64 = 500;
/// The same for SQLite, which goes through its whole file for each time.
const BLOCKS_TO_SORT: u64 = 100_000;
const CACHE_KIB: u32 = 1 << 20;

impl SyntheticPlace {
    /// Opens it as a gateway would, with so much cache where that is told here.
    pub async fn open(&self, cache_kib: u32) -> Result<Metadata, MetadataError> {
        match self {
            Self::Sqlite(path) => Metadata::open_sqlite(SqliteOptions { path: path.clone(), cache_kib, readers: 4 }),
            Self::Postgres(address) => {
                let mut options = PostgresOptions::new(PostgresAddress::clone(address));
                // Checkpoints of a load take their time.
                options.statement_timeout = Duration::from_secs(600);
                Metadata::open_postgres(options).await
            }
        }
    }
}

/// Puts objects of these numbers in, whole blocks of them, with all that they
/// refer to. From the first ones on, bucket and nodes are there, too. Answers what was made.
pub async fn load_synthetic(
    place: &SyntheticPlace,
    seed: u64,
    nodes: u32,
    bucket: &BucketName,
    objects: Range<u64>,
) -> Result<Synthetic, MetadataError> {
    let metadata = place.open(CACHE_KIB).await?;
    let now = metadata.read(super::super::nodes::ReadClock).await?;
    let number = bucket_number(&metadata, bucket, now).await?;
    let made = Synthetic { seed, nodes, bucket: number, now_ms: now.0 };
    let blocks = objects.start / BLOCK_OBJECTS..objects.end / BLOCK_OBJECTS;
    match (place, &metadata.engine) {
        (SyntheticPlace::Sqlite(path), _) => {
            metadata.close().await;
            sqlite(path, &made, blocks).map_err(|error| MetadataError::Failed(error.to_string()))?;
        }
        (_, Engine::Postgres(engine)) => {
            for rows in tables(&made, blocks, BLOCKS_AT_ONCE) {
                engine.copy(rows.table, rows.columns, &rows.rows).await?;
            }
            engine.skip_numbers(objects.end + 1).await?;
            metadata.close().await;
        }
        _ => {}
    }
    Ok(made)
}

async fn bucket_number(metadata: &Metadata, name: &BucketName, now: UnixMillis) -> Result<u64, MetadataError> {
    let made = metadata.write(CreateBucket { name: name.clone(), now }).await?;
    let found = match made {
        CreatedBucket::New(row) => Some(row),
        _ => metadata.read(FindBucket { name: name.clone() }).await?,
    };
    found.map(|row| row.number).ok_or_else(|| MetadataError::Failed("there is no bucket".into()))
}

fn tables(made: &Synthetic, blocks: Range<u64>, at_once: u64) -> impl Iterator<Item = Rows> {
    let nodes = (blocks.start == 0).then(|| made.node_rows());
    let (made, end) = (*made, blocks.end);
    let starts = blocks.step_by(at_once as usize);
    let batches = starts.flat_map(move |start| made.rows(start..end.min(start + at_once)).tables());
    nodes.into_iter().chain(batches)
}

fn sqlite(path: &PathBuf, made: &Synthetic, blocks: Range<u64>) -> rusqlite::Result<()> {
    let last = blocks.end * BLOCK_OBJECTS;
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    connection.set_prepared_statement_cache_capacity(16);
    let transaction = connection.transaction()?;
    for mut rows in tables(made, blocks, BLOCKS_TO_SORT) {
        rows.sort();
        let places = (1..=rows.columns.len()).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", rows.table, rows.columns.join(", "));
        let mut insert = transaction.prepare_cached(&sql)?;
        for row in &rows.rows {
            insert.execute(rusqlite::params_from_iter(row))?;
        }
    }
    transaction.execute(
        "UPDATE counters SET value = ?1 WHERE name IN (CAST('sequence' AS BLOB), CAST('garbage' AS BLOB))",
        [last as i64 + 1],
    )?;
    transaction.commit()
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}
