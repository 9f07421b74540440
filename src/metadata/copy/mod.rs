//! Moves the metadata to another database: `cairn metadata copy`.
//!
//! In this order, so that at no moment two databases can be used, and after a
//! crash at any moment either running it again or giving up gets out:
//!
//! 1. the target is claimed: no gateway may use it until it is complete;
//! 2. the source is fenced, for good (`standing`): it does not change any more;
//! 3. page by page, what differs in the target is replaced. A copy *is* a
//!    comparison, so one that was cut off goes on by itself, without a note of
//!    how far it came;
//! 4. all rows are read once more on both sides and compared by digest;
//! 5. the target is let into use as the next generation, which nodes do not go
//!    back behind.

mod pages;
mod standing;
mod tables;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future;
use tokio::sync::watch;

use super::tx::{Metadata, MetadataError, Operation};
use crate::types::{ClusterId, Generation};
use pages::{Count, FindPage, Range, ReadPage, Replace, RowsDigest};
pub(super) use standing::read as read_standing;
use standing::{Abandon, Claim, Fence, Finish, GiveBack, Moving, ReadSequences, ReadStanding, Standing};
#[cfg(test)]
pub(super) use tables::{ALL as TABLES, Kind, TABLES as DESCRIPTIONS, param};
use tables::{ALL, Table};

/// The table that every request begins at, and its name while the database is
/// not in use.
const FENCED: &str = "buckets";
pub(super) const FENCED_AWAY: &str = "buckets_moved";

/// One of the two databases.
#[derive(Clone)]
pub struct CopySide {
    /// The database.
    pub metadata: Metadata,
    /// What people call it; without any secret.
    pub place: String,
}

/// What a copy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyProgress {
    /// Whether it compares once more what it has copied.
    pub verifying: bool,
    /// The table.
    pub table: &'static str,
    /// Rows of all tables that were looked at in this pass.
    pub rows: u64,
    /// Rows of all tables, once they were counted.
    pub total: Option<u64>,
}

/// A table that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// The digest of all its rows, the same on both sides.
    pub sha256: [u8; 32],
}

/// What a copy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// The generation of the target from now on.
    pub generation: Generation,
    /// Rows that were written: others were there from an earlier attempt.
    pub rows_written: u64,
    /// All tables, as they were compared in the end. None where an earlier
    /// attempt had finished already.
    pub tables: Vec<CopiedTable>,
}

/// Why a copy did not end. Run again, it goes on.
#[derive(Debug, Clone)]
pub enum CopyError {
    /// Something has to be changed first: a sentence.
    Refused(String),
    /// A database failed.
    Failed {
        /// What people call it.
        place: String,
        /// How.
        error: MetadataError,
    },
    /// What was copied is not what is there.
    Differs {
        /// The table.
        table: &'static str,
        /// What people call the target.
        place: String,
    },
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "then run the same command again, and it goes on from here";
        match self {
            Self::Refused(sentence) => f.write_str(sentence),
            Self::Failed { place, error: MetadataError::Full } => {
                write!(f, "the disk of {place} is full: make room, {AGAIN}")
            }
            Self::Failed { place, error } => write!(f, "{place} failed ({error}): see to it, {AGAIN}"),
            Self::Differs { table, place } => {
                write!(f, "rows of {table} in {place} are not what was copied there: see who changes them, {AGAIN}")
            }
        }
    }
}

impl std::error::Error for CopyError {}

fn refused(sentence: String) -> CopyError {
    CopyError::Refused(sentence)
}

impl CopySide {
    async fn tell<T>(&self, work: impl Future<Output = Result<T, MetadataError>>) -> Result<T, CopyError> {
        work.await.map_err(|error| match error {
            MetadataError::Unusable(sentence) => CopyError::Refused(sentence),
            error => CopyError::Failed { place: self.place.clone(), error },
        })
    }

    async fn read<O: Operation>(&self, operation: O) -> Result<O::Output, CopyError> {
        self.tell(self.metadata.read(operation)).await
    }

    async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, CopyError> {
        self.tell(self.metadata.write(operation)).await
    }

    /// Where a database stands that metadata is to be taken from.
    async fn standing(&self) -> Result<Standing, CopyError> {
        let found = self.read(ReadStanding).await?;
        found.ok_or_else(|| refused(format!("{} holds no metadata of a cluster: there is nothing to move", self.place)))
    }
}

/// Whose metadata it is.
///
/// # Errors
/// When there is none.
pub async fn cluster_of(side: &CopySide) -> Result<ClusterId, CopyError> {
    side.standing().await.map(|standing| standing.cluster)
}

/// Moves the metadata from one database to another one.
///
/// # Errors
/// What was refused has changed nothing. After anything else, it goes on when
/// it is run again, or can be given up by [`cancel`].
pub async fn copy(
    source: &CopySide,
    target: &CopySide,
    progress: &watch::Sender<CopyProgress>,
) -> Result<CopyReport, CopyError> {
    let standing = source.standing().await?;
    check_source(&standing, source, target)?;
    let there = target.read(ReadStanding).await?;
    if let Some(there) = there.filter(|there| standing.moving == Moving::Away && there.follows(&standing)) {
        return Ok(CopyReport { generation: there.generation, rows_written: 0, tables: Vec::new() });
    }
    let generation = standing.generation;
    target.write(Claim { source: standing, place: target.place.clone() }).await?;
    let fence = || Fence { generation, moved_to: target.place.clone() };
    source.write(fence()).await?;
    let mut copying = Copying { source, target, generation, rows_written: 0, progress };
    copying.count().await;
    for table in ALL.iter() {
        copying.fill(table).await?;
    }
    let mut tables = Vec::with_capacity(ALL.len());
    progress.send_modify(|progress| (progress.verifying, progress.rows) = (true, 0));
    for table in ALL.iter() {
        tables.push(copying.verify(table).await?);
    }
    let rows_written = copying.rows_written;
    let sequences = source.read(ReadSequences).await?;
    // Nobody has taken the source back meanwhile.
    source.write(fence()).await?;
    let generation = target.write(Finish { generation, sequences }).await?;
    Ok(CopyReport { generation, rows_written, tables })
}

fn check_source(standing: &Standing, source: &CopySide, target: &CopySide) -> Result<(), CopyError> {
    let place = &source.place;
    match (standing.moving, &standing.moved_to) {
        (Moving::Filled, _) => Err(refused(format!(
            "{place} holds a copy that is not complete, and no metadata that is in use: copy from where it is in use"
        ))),
        (Moving::Away, Some(to)) if *to != target.place => Err(refused(format!(
            "{place} was moved to {to}, or is being moved there, and not to {}: go on with that, or take it back with \
             `cairn metadata cancel`",
            target.place
        ))),
        _ => Ok(()),
    }
}

/// Takes back a move that was not finished. Without its target nobody can know
/// whether it was: then the source goes on as a generation that is ahead of
/// what the target would be, and nodes refuse that one. Answers whether there
/// was anything to take back.
///
/// # Errors
/// When the move is complete, nothing is changed.
pub async fn cancel(source: &CopySide, target: Option<&CopySide>) -> Result<bool, CopyError> {
    let standing = source.standing().await?;
    let generation = standing.generation;
    let was_fenced = standing.moving == Moving::Away;
    if let Some(target) = target {
        check_source(&standing, source, target)?;
        target.write(Abandon { source: standing, place: target.place.clone() }).await?;
    }
    if was_fenced {
        let next = if target.is_some() { generation } else { Generation(generation.0 + 2) };
        source.write(GiveBack { generation, next }).await?;
    }
    Ok(was_fenced)
}

/// A copy under way.
struct Copying<'a> {
    source: &'a CopySide,
    target: &'a CopySide,
    generation: Generation,
    rows_written: u64,
    progress: &'a watch::Sender<CopyProgress>,
}

impl Copying<'_> {
    /// Only for those who watch: who cannot count goes on without.
    async fn count(&self) {
        let mut total = 0;
        for table in ALL.iter() {
            match self.source.metadata.read(Count(table)).await {
                Ok(rows) => total += rows,
                Err(_) => return,
            }
        }
        self.progress.send_modify(|progress| progress.total = Some(total));
    }

    /// Makes the target's table the source's.
    async fn fill(&mut self, table: &'static Table) -> Result<(), CopyError> {
        let mut first = table.start();
        while first != table.end() {
            let range = self.source.read(FindPage { table, first }).await?;
            first = range.end.clone();
            self.fill_page(table, range).await?;
        }
        Ok(())
    }

    async fn fill_page(&mut self, table: &'static Table, range: Range) -> Result<(), CopyError> {
        let (rows, there) = self.read_both(table, &range).await?;
        if there.is_none_or(|there| RowsDigest::of(&there) != RowsDigest::of(&rows)) {
            let (rows, generation) = (Arc::new(rows), self.generation);
            self.rows_written += range.rows;
            let replace = Replace { table, range, rows, generation };
            while !self.target.write(replace.clone()).await? {}
        }
        Ok(())
    }

    /// Compares all rows of a table, and that there are no others.
    async fn verify(&self, table: &'static Table) -> Result<CopiedTable, CopyError> {
        let differs = || CopyError::Differs { table: table.name, place: self.target.place.clone() };
        let (mut first, mut rows) = (table.start(), 0);
        let (mut ours, mut theirs) = (RowsDigest::new(), RowsDigest::new());
        while first != table.end() {
            let range = self.source.read(FindPage { table, first }).await?;
            let (read, there) = self.read_both(table, &range).await?;
            ours.add(&read);
            theirs.add(&there.ok_or_else(differs)?);
            (first, rows) = (range.end, rows + range.rows);
        }
        match (ours.finish(), theirs.finish()) {
            (sha256, other) if sha256 == other => Ok(CopiedTable { table: table.name, rows, sha256 }),
            _ => Err(differs()),
        }
    }

    /// A page's rows in the source, and in the target if there are as many.
    async fn read_both(&self, table: &'static Table, range: &Range) -> Result<(Rows, Option<Rows>), CopyError> {
        let read = || ReadPage { table, range: range.clone() };
        let (rows, there) = future::try_join(self.source.read(read()), self.target.read(read())).await?;
        self.progress.send_modify(|progress| {
            progress.table = table.name;
            progress.rows += range.rows;
        });
        let changed = || refused(format!("{} was changed while it was copied", self.source.place));
        Ok((rows.ok_or_else(changed)?, there))
    }
}

type Rows = Vec<super::tx::Row>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{CreateBucket, OpenCluster, SqliteOptions};
    use crate::types::{BucketName, UnixMillis};

    fn side(folder: &std::path::Path, name: &str) -> CopySide {
        let options = SqliteOptions { path: folder.join(name), cache_kib: 1024, readers: 2 };
        CopySide { metadata: Metadata::open_sqlite(options).unwrap(), place: name.to_owned() }
    }

    async fn furnish(side: &CopySide) {
        side.metadata.write(OpenCluster { cluster: ClusterId::from_bytes([1; 32]) }).await.unwrap();
        for name in ["one", "two"] {
            let name = BucketName::new(name).unwrap();
            side.metadata.write(CreateBucket { name, now: UnixMillis(1) }).await.unwrap();
        }
    }

    #[tokio::test]
    async fn every_change_of_the_copy_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (side(folder.path(), "source.db"), side(folder.path(), "target.db"));
        furnish(&source).await;
        let standing = source.standing().await.unwrap();
        let generation = standing.generation;
        target.write(Claim { source: standing, place: "target.db".into() }).await.unwrap();
        source.write(Fence { generation, moved_to: "target.db".into() }).await.unwrap();
        let progress = watch::Sender::default();
        let mut copying =
            Copying { source: &source, target: &target, generation, rows_written: 0, progress: &progress };
        let buckets = ALL.iter().find(|table| table.name == "buckets").unwrap();
        let other = rusqlite::Connection::open(folder.path().join("target.db")).unwrap();
        for sql in [
            "UPDATE buckets_moved SET created_ms = 2 WHERE bucket_no = 2",
            "UPDATE buckets_moved SET name = CAST('owt' AS BLOB) WHERE bucket_no = 2",
            "DELETE FROM buckets_moved WHERE bucket_no = 1",
            "INSERT INTO buckets_moved (bucket_no, name, created_ms) VALUES (9, CAST('x' AS BLOB), 1)",
        ] {
            copying.fill(buckets).await.unwrap();
            assert_eq!(copying.verify(buckets).await.unwrap().rows, 2);
            assert_eq!(other.execute(sql, []).unwrap(), 1);
            let found = copying.verify(buckets).await;
            assert!(matches!(found, Err(CopyError::Differs { table: "buckets", .. })), "{sql}: {found:?}");
        }
        let report = copy(&source, &target, &progress).await.unwrap();
        assert_eq!(report.generation, Generation(2));
        assert_eq!(report.tables.iter().find(|copied| copied.table == "buckets").unwrap().rows, 2);
    }
}
