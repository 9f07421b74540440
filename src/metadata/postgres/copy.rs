//! Rows by the thousand, as PostgreSQL takes them fastest: COPY in its binary
//! form. Integers are BIGINT and everything else is bytes, as in all tables.

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Client;

use super::super::tx::{MetadataError, Value};
use super::Postgres;
use super::failure::Failure;

/// Signature, flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xFF\r\n\0\0\0\0\0\0\0\0\0";

impl Postgres {
    /// Puts rows in, all of them or none.
    pub(in crate::metadata) async fn copy(
        &self,
        table: &str,
        columns: &[&str],
        rows: &[Vec<Value>],
    ) -> Result<(), MetadataError> {
        let connection = self.pool.get().await.map_err(|error| Failure::from(error).error)?;
        let copied = send(&connection.client, table, columns, encode(rows)).await;
        copied.map_err(|error| Failure::from(error).error)
    }

    /// Makes the sequences go on behind a number.
    pub(in crate::metadata) async fn skip_numbers(&self, to: u64) -> Result<(), MetadataError> {
        let connection = self.pool.get().await.map_err(|error| Failure::from(error).error)?;
        let sql = format!("SELECT setval('object_sequence', {to}), setval('garbage_sequence', {to})");
        connection.client.batch_execute(&sql).await.map_err(|error| Failure::from(error).error)
    }
}

async fn send(client: &Client, table: &str, columns: &[&str], rows: Bytes) -> Result<(), tokio_postgres::Error> {
    let sql = format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", columns.join(", "));
    let sink = client.copy_in::<_, Bytes>(&sql).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(rows).await?;
    sink.finish().await.map(drop)
}

fn encode(rows: &[Vec<Value>]) -> Bytes {
    let mut out = HEADER.to_vec();
    for row in rows {
        out.extend((row.len() as i16).to_be_bytes());
        for value in row {
            match value {
                Value::Null => out.extend((-1_i32).to_be_bytes()),
                Value::Int(value) => {
                    out.extend(8_i32.to_be_bytes());
                    out.extend(value.to_be_bytes());
                }
                Value::Bytes(value) => {
                    out.extend((value.len() as i32).to_be_bytes());
                    out.extend(value);
                }
            }
        }
    }
    out.extend((-1_i16).to_be_bytes());
    out.into()
}
