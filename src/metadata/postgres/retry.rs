//! When an operation is run again, and when that has been enough.

use std::time::Duration;

use tokio::time::Instant;

use super::super::tx::MetadataError;
use super::failure::{Failure, Remedy};

/// How long an operation is tried: clients wait meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is tried to find out how a commit ended.
const PATIENCE_FOR_COMMITS: Duration = Duration::from_secs(40);
/// Failures that running again seldom helps.
const FEW_TIMES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// The attempts of one operation.
pub(super) struct Retry {
    until: Instant,
    attempts: u32,
    few: u32,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, attempts: 0, few: 0 }
    }

    pub(super) fn for_commits() -> Self {
        Self { until: Instant::now() + PATIENCE_FOR_COMMITS, ..Self::new() }
    }

    /// How long it is still tried.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now()).max(LONGEST_PAUSE)
    }

    /// Waits before the next attempt, longer each time; fails if there is to
    /// be none.
    pub(super) async fn pause(&mut self, failure: Failure) -> Result<(), MetadataError> {
        let Failure { error, remedy } = failure;
        self.few += u32::from(remedy == Remedy::RerunFewTimes);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_PAUSE);
        let pause = pause.mul_f64(rand::random_range(0.5..1.5));
        self.attempts += 1;
        if remedy == Remedy::None || self.few > FEW_TIMES || Instant::now() + pause > self.until {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
