//! The memory that all transfers share.
//!
//! Three purses of one budget, so that none can starve the others: ciphertext
//! that is being filled, pieces on their way to nodes, and data on its way to
//! readers. Whoever finds a purse empty waits, and gives up after a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for memory before it is refused.
const PATIENCE: Duration = Duration::from_secs(30);
/// Unit of a permit: semaphores count in 32 bits.
const UNIT_BYTES: usize = 1024;

/// All of the memory is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for transfers is in use")]
pub struct BudgetError;

/// The memory that all transfers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Ciphertext that is being filled.
    pub fill: Purse,
    /// Pieces on their way to nodes.
    pub pieces: Purse,
    /// Data on its way to readers.
    pub read: Purse,
}

impl Budget {
    /// Divides so many bytes.
    pub fn new(total_bytes: usize) -> Self {
        let share = |percent: usize| Purse::new(total_bytes / 100 * percent);
        Self { fill: share(30), pieces: share(40), read: share(30) }
    }
}

/// A part of the budget.
#[derive(Clone, Debug)]
pub struct Purse {
    units: Arc<Semaphore>,
    total: usize,
}

/// Memory that is in use until this is dropped.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

impl Reserved {
    /// Takes another reservation along.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }
}

impl Purse {
    fn new(bytes: usize) -> Self {
        let total = (bytes / UNIT_BYTES).max(1);
        Self { units: Arc::new(Semaphore::new(total)), total }
    }

    /// Bytes that it has in all.
    pub fn total_bytes(&self) -> usize {
        self.total * UNIT_BYTES
    }

    /// Bytes of it that are reserved.
    pub fn used_bytes(&self) -> usize {
        (self.total - self.units.available_permits()) * UNIT_BYTES
    }

    /// Whether less than half of it is free.
    pub fn is_half_used(&self) -> bool {
        self.units.available_permits() < self.total / 2
    }

    /// Reserves so many bytes at once, or not at all. A reservation larger
    /// than the purse takes the whole purse.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reserved> {
        self.units.clone().try_acquire_many_owned(self.count(bytes)).ok().map(Reserved)
    }

    /// Reserves so many bytes, waiting for them. A reservation larger than
    /// the purse takes the whole purse.
    pub async fn reserve(&self, bytes: usize) -> Result<Reserved, BudgetError> {
        self.reserve_within(bytes, PATIENCE).await
    }

    async fn reserve_within(&self, bytes: usize, patience: Duration) -> Result<Reserved, BudgetError> {
        let acquire = self.units.clone().acquire_many_owned(self.count(bytes));
        match tokio::time::timeout(patience, acquire).await {
            Ok(Ok(permit)) => Ok(Reserved(permit)),
            _ => Err(BudgetError),
        }
    }

    fn count(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES).min(self.total)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_reserved_comes_back() {
        let purse = Purse::new(10 * UNIT_BYTES);
        let most = purse.reserve(8 * UNIT_BYTES).await.unwrap();
        assert!(purse.try_reserve(3 * UNIT_BYTES).is_none());
        assert_eq!((purse.used_bytes(), purse.total_bytes()), (8 * UNIT_BYTES, 10 * UNIT_BYTES));
        drop(most);
        assert!(purse.try_reserve(3 * UNIT_BYTES).is_some());
    }

    #[tokio::test]
    async fn waiting_ends() {
        let purse = Purse::new(UNIT_BYTES);
        let _all = purse.reserve(usize::MAX / 2).await.unwrap();
        let refused = purse.reserve_within(1, Duration::from_millis(5)).await;
        assert_eq!(refused.unwrap_err(), BudgetError);
    }
}
