//! Upload epochs and the leases on them.
//!
//! A gateway or worker holds a lease on the oldest epoch that it still writes
//! in. Reclaim takes the oldest leased epoch first and condemns only older
//! pieces; a lease is given back by a process that ends, and one that has run out
//! is removed by reclaim alone. A commit whose lease is gone fails. So a clock that jumps loses nothing.
//!
//! An epoch is handed out under the lock of its counter, which is held until
//! the lease stands in the table. Who locks the counter first and looks at the
//! leases then misses none that is older than the counter.

use super::dialect::Lock;
use super::tx::{MetadataError, Operation, Tx, params};
use crate::types::{Epoch, UnixMillis};

/// Who holds a lease: random bytes, new at every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub [u8; 16]);

/// What an upload writes under, from its first piece to its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The process that writes.
    pub holder: Holder,
    /// The epoch in which the upload began.
    pub epoch: Epoch,
}

/// Milliseconds of the database's clock for which a lease is good.
const LEASE_MS: i64 = 10 * 60 * 1000;

/// The times, `before` and `after` which a lease ends that has run out at `now`.
/// One that is good for longer than any is was renewed before the clock was set
/// back; its holder, if there is one, renews it within minutes, and until then
/// its commits fail.
pub(super) fn run_out(now: UnixMillis) -> (i64, i64) {
    (now.0, now.0.saturating_add(2 * LEASE_MS))
}

/// Begins a lease at a new epoch.
pub struct AcquireLease {
    /// The process that will write.
    pub holder: Holder,
}

impl Operation for AcquireLease {
    type Output = Epoch;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Epoch, MetadataError> {
        tx.take_turn(true).await;
        let epoch = tx.next("epoch").await?;
        let expires = tx.now().await?.0 + LEASE_MS;
        let insert = "INSERT INTO leases (holder, oldest_epoch, expires_ms) VALUES (?1, ?2, ?3) \
                      ON CONFLICT (holder) DO UPDATE SET oldest_epoch = ?2, expires_ms = ?3";
        tx.execute(insert, params![&self.holder.0, epoch, expires]).await?;
        Ok(Epoch(epoch))
    }
}

/// Prolongs a lease and moves it up, never back, to the oldest epoch that is still written
/// in. Answers a new epoch for uploads that begin from now on.
pub struct RenewLease {
    /// The process that writes.
    pub holder: Holder,
    /// The oldest epoch that it still writes in; the new one without.
    pub oldest: Option<Epoch>,
}

impl Operation for RenewLease {
    type Output = Epoch;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Epoch, MetadataError> {
        tx.take_turn(true).await;
        let epoch = tx.next("epoch").await?;
        let oldest = self.oldest.map_or(epoch, |oldest| oldest.0);
        let expires = tx.now().await?.0 + LEASE_MS;
        let update = "UPDATE leases SET expires_ms = ?3, \
                      oldest_epoch = CASE WHEN oldest_epoch > ?2 THEN oldest_epoch ELSE ?2 END WHERE holder = ?1";
        match tx.execute(update, params![&self.holder.0, oldest, expires]).await? {
            1 => Ok(Epoch(epoch)),
            _ => Err(MetadataError::LeaseLost),
        }
    }
}

/// Gives a lease back: nothing that was begun under it is still being written.
pub struct ReleaseLease {
    /// The process that wrote.
    pub holder: Holder,
}

impl Operation for ReleaseLease {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        tx.take_turn(true).await;
        tx.execute("DELETE FROM leases WHERE holder = ?1", params![&self.holder.0]).await.map(drop)
    }
}

/// Removes the leases of processes that have died, and what they had taken to
/// repair is free. Only for whoever is the
/// database's one user, as the holder of the data directory of SQLite is.
pub struct ReleaseAllLeases;

impl Operation for ReleaseAllLeases {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        tx.take_turn(true).await;
        tx.execute("DELETE FROM leases", &[]).await?;
        super::queue::free_all(tx).await
    }
}

/// Fails unless the lease still covers its epoch. It stays as it is until the
/// transaction's end.
pub(super) async fn check(tx: &mut Tx<'_>, lease: &Lease) -> Result<(), MetadataError> {
    let sql = "SELECT 1 FROM leases WHERE holder = ?1 AND oldest_epoch <= ?2";
    tx.take_turn(false).await;
    match tx.first_locked(Lock::Share, sql, params![&lease.holder.0, lease.epoch.0]).await? {
        Some(_) => Ok(()),
        None => Err(MetadataError::LeaseLost),
    }
}
