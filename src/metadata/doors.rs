//! Node doors: where the nodes of this cluster can dial.

use super::codec::{Reader, Writer, text};
use super::epochs::Holder;
use super::tx::{MetadataError, Operation, Tx, params};

/// Milliseconds of the database's clock for which a door that is not
/// registered again stays in the table.
const KEPT_MS: i64 = 24 * 3600 * 1000;

/// Says that a process holds doors open at these addresses, now. To be said
/// again before it is forgotten.
pub struct RegisterDoor {
    /// The process.
    pub holder: Holder,
    /// The doors as `host:port`, as nodes reach them.
    pub addresses: Vec<String>,
}

impl Operation for RegisterDoor {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let mut row = Writer::new(1);
        for address in &self.addresses {
            row.bytes(address.as_bytes());
        }
        let now = tx.now().await?;
        // A process that died does not close its doors.
        let forgotten = now.0.saturating_sub(KEPT_MS);
        tx.execute("DELETE FROM doors WHERE seen_ms < ?1", params![forgotten]).await?;
        let sql = "INSERT INTO doors (holder, addresses, seen_ms) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (holder) DO UPDATE SET addresses = ?2, seen_ms = ?3";
        tx.execute(sql, params![&self.holder.0, &row.finish(), now]).await?;
        Ok(())
    }
}

/// Says that a process has closed its doors.
pub struct CloseDoor {
    /// The process.
    pub holder: Holder,
}

impl Operation for CloseDoor {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        tx.execute("DELETE FROM doors WHERE holder = ?1", params![&self.holder.0]).await.map(drop)
    }
}

/// The addresses of all doors that were registered lately, each once, ascending.
pub struct ListDoors {
    /// Milliseconds of the database's clock after which a door is forgotten.
    pub within_ms: u64,
}

impl Operation for ListDoors {
    type Output = Vec<String>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, MetadataError> {
        let since = tx.now().await?.0.saturating_sub_unsigned(self.within_ms);
        let mut doors = Vec::new();
        for row in tx.query("SELECT addresses FROM doors WHERE seen_ms >= ?1", params![since]).await? {
            let mut addresses = Reader::new("a door's addresses", row.bytes(0)?, 1)?;
            while !addresses.is_empty() {
                doors.push(text(addresses.bytes()?)?);
            }
        }
        doors.sort();
        doors.dedup();
        Ok(doors)
    }
}
