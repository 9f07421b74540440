//! This process's lease on the epochs in which its uploads began.
//!
//! No upload begins in an epoch before the nodes are known here as they stood
//! when it was handed out: an upload in an epoch that is later than the order
//! to drain a node does not choose that node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::env::Env;
use crate::metadata::{AcquireLease, Holder, Lease, Metadata, MetadataError, ReleaseLease, RenewLease};
use crate::transfer::Fleet;
use crate::types::Epoch;

/// How often the lease is prolonged: a small part of the time it is good for.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// The epochs of this process's uploads. Cheap to clone.
#[derive(Clone)]
pub struct Epochs {
    holder: Holder,
    state: Arc<Mutex<State>>,
    keeping: Arc<OnceLock<AbortHandle>>,
}

struct State {
    current: Epoch,
    active: BTreeMap<Epoch, usize>,
}

impl Epochs {
    /// Takes a lease in the database and keeps it for as long as the process runs.
    pub async fn start(metadata: Metadata, fleet: Fleet, env: &Env) -> Result<Self, MetadataError> {
        let holder = Holder(env.random());
        let current = metadata.write(AcquireLease { holder }).await?;
        fleet.refresh(&metadata).await?;
        let state = Arc::new(Mutex::new(State { current, active: BTreeMap::new() }));
        let epochs = Self { holder, state, keeping: Arc::default() };
        let keeper = epochs.clone();
        let keeping = tokio::spawn(async move { keeper.keep(metadata, fleet).await });
        let _ = epochs.keeping.set(keeping.abort_handle());
        Ok(epochs)
    }

    /// Who holds this process's lease.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// An upload begins: its epoch stays leased until the guard is dropped.
    pub fn begin(&self) -> EpochGuard {
        let mut state = self.lock();
        let epoch = state.current;
        *state.active.entry(epoch).or_default() += 1;
        EpochGuard { epochs: self.clone(), epoch }
    }

    /// Gives the lease back, when no upload goes on any more: whoever waits for
    /// uploads to end need not wait until it has run out. Commits fail from now on.
    pub async fn end(&self, metadata: &Metadata) {
        if let Some(keeping) = self.keeping.get() {
            keeping.abort();
        }
        if let Err(error) = metadata.write(ReleaseLease { holder: self.holder }).await {
            tracing::debug!(%error, "the upload lease could not be given back; it runs out by itself");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(self, metadata: Metadata, fleet: Fleet) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.renew(&metadata, &fleet).await {
                Ok(epoch) => self.lock().current = epoch,
                Err(error) => tracing::warn!(%error, "the upload lease could not be renewed; trying again"),
            }
        }
    }

    async fn renew(&self, metadata: &Metadata, fleet: &Fleet) -> Result<Epoch, MetadataError> {
        // Uploads may still begin in the current epoch until the new one is known here.
        let oldest = {
            let state = self.lock();
            state.active.keys().next().copied().map_or(state.current, |oldest| oldest.min(state.current))
        };
        let epoch = match metadata.write(RenewLease { holder: self.holder, oldest: Some(oldest) }).await {
            Err(MetadataError::LeaseLost) => metadata.write(AcquireLease { holder: self.holder }).await?,
            renewed => renewed?,
        };
        fleet.refresh(metadata).await?;
        Ok(epoch)
    }
}

/// An upload in progress.
pub struct EpochGuard {
    epochs: Epochs,
    epoch: Epoch,
}

impl EpochGuard {
    /// The epoch in which it began.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What its commit has to show.
    pub fn lease(&self) -> Lease {
        Lease { holder: self.epochs.holder, epoch: self.epoch }
    }
}

impl Drop for EpochGuard {
    fn drop(&mut self) {
        let mut state = self.epochs.lock();
        if let Some(count) = state.active.get_mut(&self.epoch) {
            *count -= 1;
            if *count == 0 {
                state.active.remove(&self.epoch);
            }
        }
    }
}
