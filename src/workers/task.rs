//! A task that one process at a time does. Where there is one process, it
//! does all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::metadata::{self, Holder, Metadata, MetadataError, ReadTask, ReleaseTask, StoreTask, TakeTask};

/// So many times within a lease it is renewed, or asked for.
const TRIES: u32 = 4;

/// Something that goes on until this is dropped.
pub(super) struct Keeper(AbortHandle);

impl Keeper {
    pub(super) fn begin(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }

    /// Whether it has come to its own end.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One process's hold on a task.
///
/// It is believed for as long as the lease, measured here from before it was
/// asked for: others may have the task later than that, never sooner, but for
/// clocks that stand still. What must hold even then is checked in the
/// transaction.
pub(super) struct Task {
    metadata: Metadata,
    task: metadata::Task,
    holder: Holder,
    lease: Duration,
    good_until: Arc<Mutex<Option<Instant>>>,
    not_before: Instant,
    keeper: Option<Keeper>,
}

fn lock(time: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    time.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Task {
    pub(super) fn new(metadata: Metadata, task: metadata::Task, holder: Holder, lease: Duration) -> Self {
        let (good_until, not_before) = (Arc::default(), Instant::now());
        Self { metadata, task, holder, lease, good_until, not_before, keeper: None }
    }

    /// Whether there may be others to do it.
    pub(super) fn is_shared(&self) -> bool {
        self.metadata.is_shared()
    }

    fn is_good(&self) -> bool {
        lock(&self.good_until).is_some_and(|until| Instant::now() < until)
    }

    /// Whether this process is to do it. Takes it if nobody does.
    pub(super) async fn is_ours(&mut self) -> Result<bool, MetadataError> {
        if !self.metadata.is_shared() || self.is_good() {
            return Ok(true);
        }
        let now = Instant::now();
        if now < self.not_before {
            return Ok(false);
        }
        self.not_before = now + self.lease / TRIES;
        self.keeper = None;
        if !self.metadata.write(self.take()).await? {
            return Ok(false);
        }
        *lock(&self.good_until) = Some(now + self.lease);
        let (task, good_until) = (self.take(), self.good_until.clone());
        self.keeper = Some(Keeper::begin(keep(self.metadata.clone(), task, self.lease, good_until)));
        Ok(true)
    }

    fn take(&self) -> TakeTask {
        TakeTask { task: self.task, holder: self.holder, for_ms: self.lease.as_millis() as u64 }
    }

    /// Leaves it to others, if there are any, for so long.
    pub(super) async fn leave(&mut self, pause: Duration) {
        self.keeper = None;
        if lock(&self.good_until).take().is_none() {
            return;
        }
        self.not_before = Instant::now() + pause;
        if let Err(error) = self.metadata.write(ReleaseTask { task: self.task, holder: self.holder }).await {
            tracing::debug!(%error, "a task could not be given back; others have it when its lease is over");
        }
    }

    /// Shows the other processes how it stands.
    pub(super) async fn store(&mut self, state: Vec<u8>) -> Result<(), MetadataError> {
        let stored = StoreTask { task: self.task, holder: self.holder, state };
        if !self.metadata.write(stored).await? {
            self.lost();
        }
        Ok(())
    }

    /// Another has it by now.
    pub(super) fn lost(&mut self) {
        self.keeper = None;
        lock(&self.good_until).take();
    }

    /// How it stands, as the process says that does it.
    pub(super) async fn state(&self) -> Result<Option<Vec<u8>>, MetadataError> {
        self.metadata.read(ReadTask { task: self.task }).await
    }
}

/// Renews it until another has it, or it has run out.
async fn keep(metadata: Metadata, take: TakeTask, lease: Duration, good_until: Arc<Mutex<Option<Instant>>>) {
    loop {
        sleep(lease / TRIES).await;
        let now = Instant::now();
        let renewed = metadata.write(take).await;
        let mut until = lock(&good_until);
        match renewed {
            _ if until.is_none_or(|until| until < now) => return,
            Ok(true) => *until = Some(now + lease),
            Ok(false) => *until = None,
            Err(error) => tracing::debug!(%error, "a task could not be renewed; trying again"),
        }
    }
}
