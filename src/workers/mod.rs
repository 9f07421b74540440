//! Work in the background. Never sees plaintext.
//!
//! A worker takes steps that should finish, waits that may be cut, and one
//! runner that owns retry and shutdown.
//!
//! What makes volunteers' coming, going and damage harmless: the node watch
//! hears of it, the health loop walks all segments and has repaired what needs
//! it. Any number of processes work on one database: one of them walks, one
//! deletes, as long as its lease on that task is good, and all repair what is
//! in the queue.
//!
//! - `presence`: who counts as there · `census`: what is known of all nodes
//! - `judge`: how a segment is, and what to make anew · `pass`: what one walk counts
//! - `walk`: when passes begin and end · `observer`: who watches them
//! - `crew`, `repair`: how segments are repaired
//! - `audit`: whether nodes have what they were given · `tranquil`: how all of it yields
//! - `inventory`: what a node that came back really has
//! - `once`: the full pass that an operator asks for
//! - `task`: what one process does for all · `share`: what it shows the others

mod audit;
mod census;
mod crew;
mod delete;
mod health;
mod inventory;
mod judge;
mod node_watch;
mod observer;
mod once;
mod pass;
mod presence;
mod release;
mod repair;
mod report;
mod share;
mod task;
#[cfg(test)]
mod tests;
mod tranquil;
mod walk;

use std::time::Duration;

use async_trait::async_trait;

pub use audit::NodeTally;
pub use delete::DeleteWorker;
pub use health::{HealthLoop, HealthTuning};
pub use node_watch::NodeWatch;
pub use once::{OnceView, WorkerReport, ask_once, last_once};
pub use release::ReleaseWorker;
pub use report::{HealthReport, HealthWatch, OneMore};

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

    /// Leaves what it has not finished to other processes.
    async fn end(&mut self) {}
}

/// How long other processes wait for one that may have died.
const LEASE: Duration = Duration::from_secs(15);

/// How long a worker that found nothing waits.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a worker that failed waits.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How long a worker may take to leave its work to others.
const END_TIME: Duration = Duration::from_secs(3);

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
    // A database that is not there must not hold up the end: leases run out by themselves.
    let _ = tokio::time::timeout(END_TIME, worker.end()).await;
}
