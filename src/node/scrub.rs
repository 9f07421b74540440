//! Reads every piece once in two weeks, so that rot is found and told before
//! the piece is needed. Slow on purpose: a terabyte is 0.8 MB/s.
//!
//! It begins at a random piece and keeps its progress in memory: a node that
//! is started every day still reads all of its pieces in the long run.

use std::time::Duration;

use tokio::sync::watch;

use super::store::{PieceStore, StoreError};
use crate::types::PieceId;

/// How long one round over all pieces takes.
const ROUND: Duration = Duration::from_secs(14 * 24 * 3600);
/// Bytes read in one step.
const STEP_BYTES: u64 = 4 << 20;
/// A pause between steps: at least, so that a huge store does not use the
/// disk up, and at most, so that one that has just grown is noticed.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Scrubs until the order to stop comes.
pub(super) async fn run(store: PieceStore, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = scrub(store) => {}
    }
}

async fn scrub(store: PieceStore) {
    let mut after = anywhere();
    loop {
        let usage = store.usage();
        tokio::time::sleep(pause(usage.live_bytes + usage.trash_bytes)).await;
        match store.verify(after, STEP_BYTES).await {
            Ok(verified) => {
                for id in &verified.damaged {
                    tracing::warn!(%id, "a piece is damaged; the doors are told, and it is repaired from others");
                }
                after = verified.last;
            }
            Err(StoreError::Closed) => return,
            Err(error) => tracing::debug!(%error, "pieces could not be verified; it is tried again"),
        }
    }
}

/// How long to wait before each step, so that a round takes its time.
fn pause(bytes: u64) -> Duration {
    let steps = (bytes / STEP_BYTES).clamp(1, u64::from(u32::MAX)) as u32;
    (ROUND / steps).clamp(PAUSE_MIN, PAUSE_MAX)
}

fn anywhere() -> Option<PieceId> {
    let mut bytes = [0; PieceId::BYTES];
    // Without random numbers it begins at the first piece, which is fine too.
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(PieceId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_two_weeks_whatever_the_store_holds() {
        for bytes in [100_u64 << 30, 1 << 40, 8 << 40] {
            let round = pause(bytes) * (bytes / STEP_BYTES) as u32;
            assert!(round.abs_diff(ROUND) < ROUND / 100, "{bytes}: {round:?}");
        }
        assert_eq!((pause(0), pause(u64::MAX)), (PAUSE_MAX, PAUSE_MIN));
    }
}
