//! Ranges of a table, read from one database and put into another.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::super::dialect::Lock;
use super::super::tx::{MetadataError, Operation, Param, Row, Tx, Value, params};
use super::tables::{Key, Table, param};
use crate::types::Generation;

/// Rows of a page at most.
const ROWS_MAX: u64 = 1000;
/// Bytes of a page, unless a single row has more.
const BYTES_MAX: u64 = 4 << 20;
/// Rows that are removed at once.
const TRIM_ROWS: u64 = 5000;

/// A range of a table that fits into memory.
#[derive(Debug, Clone)]
pub struct Range {
    pub first: Key,
    /// The first key after it.
    pub end: Key,
    pub rows: u64,
    pub bytes: u64,
}

impl Range {
    /// The parameters of a statement on it, which looks at so many rows.
    fn params(&self, limit: u64) -> Vec<Param<'_>> {
        self.first.iter().chain(&self.end).map(param).chain([limit.into()]).collect()
    }
}

/// How many rows a table has.
pub struct Count(pub &'static Table);

impl Operation for Count {
    type Output = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, MetadataError> {
        tx.first(&self.0.count, &[]).await?.map_or(Ok(0), |row| row.u64(0))
    }
}

/// The next page of a table.
pub struct FindPage {
    pub table: &'static Table,
    pub first: Key,
}

impl Operation for FindPage {
    type Output = Range;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Range, MetadataError> {
        let mut page = Range { first: self.first.clone(), end: self.table.end(), rows: 0, bytes: 0 };
        let width = self.table.key.len();
        let sizes = tx.query(&self.table.sizes, &page.params(ROWS_MAX + 1)).await?;
        for row in sizes {
            let bytes = row.u64(width)?;
            if page.rows == ROWS_MAX || (page.rows > 0 && page.bytes + bytes > BYTES_MAX) {
                page.end = row.0.into_iter().take(width).collect();
                break;
            }
            (page.rows, page.bytes) = (page.rows + 1, page.bytes + bytes);
        }
        Ok(page)
    }
}

/// The rows of a page; none if there are others than this many rows and bytes.
pub struct ReadPage {
    pub table: &'static Table,
    pub range: Range,
}

impl Operation for ReadPage {
    type Output = Option<Vec<Row>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let Range { rows, bytes, .. } = self.range;
        // Looked at without reading it: it may be anything.
        let found = tx.first(&self.table.measure, &self.range.params(rows + 1)).await?;
        let found = found.ok_or_else(|| MetadataError::Failed("a count gave nothing".into()))?;
        if (found.u64(0)?, found.u64(1)?) != (rows, bytes) {
            return Ok(None);
        }
        tx.query(&self.table.rows, &self.range.params(rows)).await.map(Some)
    }
}

/// Makes a range of the database that is filled hold these rows and no others.
/// Answers whether it does: where there is much to remove, a part of that was
/// done, and it is to be called again.
#[derive(Clone)]
pub struct Replace {
    pub table: &'static Table,
    pub range: Range,
    pub rows: Arc<Vec<Row>>,
    /// Under which it is filled.
    pub generation: Generation,
}

impl Operation for Replace {
    type Output = bool;
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        still_filled(tx, self.generation).await?;
        let there = tx.first(&self.table.measure, &self.range.params(TRIM_ROWS)).await?;
        if there.map_or(Ok(0), |there| there.u64(0))? == TRIM_ROWS {
            tx.execute(&self.table.trim, &self.range.params(TRIM_ROWS)).await?;
            return Ok(false);
        }
        let mut range = self.range.params(0);
        range.pop();
        tx.execute(&self.table.clear, &range).await?;
        let rows: Vec<_> = self.rows.iter().map(|row| row.0.iter().map(param).collect::<Vec<_>>()).collect();
        match tx.execute_each(&self.table.insert, &rows).await? {
            inserted if inserted == rows.len() => Ok(true),
            _ => Err(MetadataError::Failed(format!("rows of {} were not taken", self.table.name))),
        }
    }
}

/// Fails once the copy was finished or given up by somebody else.
pub(super) async fn still_filled(tx: &mut Tx<'_>, generation: Generation) -> Result<(), MetadataError> {
    let sql = "SELECT 1 FROM cluster WHERE one = 1 AND moving = 1 AND generation = ?1";
    match tx.first_locked(Lock::Share, sql, params![generation.0]).await? {
        Some(_) => Ok(()),
        None => Err(MetadataError::Unusable(
            "the copy was finished or given up by another `cairn metadata` meanwhile: look at what that one said"
                .into(),
        )),
    }
}

/// A digest of rows, the same on all engines and however they are paged.
pub struct RowsDigest(Context);

impl RowsDigest {
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub fn add(&mut self, rows: &[Row]) {
        for value in rows.iter().flat_map(|row| &row.0) {
            match value {
                Value::Null => self.0.update(&[0]),
                Value::Int(value) => {
                    self.0.update(&[1]);
                    self.0.update(&value.to_le_bytes());
                }
                Value::Bytes(value) => {
                    self.0.update(&[2]);
                    self.0.update(&(value.len() as u64).to_le_bytes());
                    self.0.update(value);
                }
            }
        }
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Of these rows alone.
    pub fn of(rows: &[Row]) -> [u8; 32] {
        let mut digest = Self::new();
        digest.add(rows);
        digest.finish()
    }
}
