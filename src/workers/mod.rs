//! Work in the background. Never sees plaintext.
//!
//! A worker takes steps that should finish, waits that may be cut, and one
//! runner that owns retry and shutdown.

mod delete;
mod release;

use std::time::Duration;

use async_trait::async_trait;

pub use delete::DeleteWorker;
pub use release::ReleaseWorker;

use crate::env::Shutdown;
use crate::metadata::MetadataError;

/// What a step found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something; there may be more at once.
    Busy,
    /// Nothing.
    Idle,
}

/// Work that is done in steps.
#[async_trait]
pub trait Worker: Send + 'static {
    /// What the operator calls it.
    fn name(&self) -> &'static str;

    /// Does a little. Is never cut off by a shutdown.
    async fn step(&mut self) -> Result<Step, MetadataError>;
}

/// How long a worker that found nothing waits.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a worker that failed waits.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Runs a worker until the order to stop.
pub async fn run(mut worker: impl Worker, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        let pause = match worker.step().await {
            Ok(Step::Busy) => continue,
            Ok(Step::Idle) => PAUSE,
            Err(error) => {
                tracing::warn!(worker = worker.name(), %error, "a worker failed; it will try again");
                PAUSE_AFTER_FAILURE
            }
        };
        tokio::select! {
            () = shutdown.requested() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
