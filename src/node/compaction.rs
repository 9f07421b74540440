//! Gives the space of what was purged back, as long as the node runs.
//!
//! The store knows which log is worth rewriting and how to make way for reads
//! and puts; here is only when: at once while there is something to gain, and
//! otherwise a look now and then, sooner when room is short.

use std::time::Duration;

use tokio::sync::watch;

use super::store::{PieceStore, StoreError};

/// How long until the next look after nothing was worth it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same where puts may soon find no room.
const LOOK_EVERY_SHORT: Duration = Duration::from_secs(1);
/// How long until the next try after one failed.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Compacts until the order to stop comes. A step may be cut off anywhere.
pub(super) async fn run(store: PieceStore, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = compact(store) => {}
    }
}

async fn compact(store: PieceStore) {
    loop {
        let pause = match store.compact_gently().await {
            Ok(report) if report.log.is_some() => {
                let (log, freed_bytes, moved_bytes) = (report.log, report.freed_bytes, report.moved_bytes);
                tracing::debug!(log, freed_bytes, moved_bytes, "a log was compacted");
                continue;
            }
            Ok(_) if store.short_of_room() => LOOK_EVERY_SHORT,
            Ok(_) => LOOK_EVERY,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::debug!(%error, "the store could not be compacted; it is tried again");
                RETRY_AFTER
            }
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::node::store::StoreOptions;
    use crate::types::{Epoch, PieceId};

    const PIECES: u64 = 768;
    const PIECE_BYTES: usize = 64 << 10;

    fn id(number: u64) -> PieceId {
        let mut bytes = [0; PieceId::BYTES];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        PieceId::from_bytes(bytes)
    }

    /// A store of 48 MiB in many logs.
    async fn filled() -> (tempfile::TempDir, PieceStore) {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: 4 << 20 };
        let (store, _) = PieceStore::open(dir.path(), options).unwrap();
        let puts = (0..PIECES).map(|number| store.put(id(number), Epoch(1), Bytes::from(vec![7; PIECE_BYTES])));
        for stored in futures_util::future::join_all(puts).await {
            stored.unwrap();
        }
        (dir, store)
    }

    async fn delete_every_other(store: &PieceStore) {
        let ids: Vec<PieceId> = (0..PIECES).step_by(2).map(id).collect();
        assert_eq!(store.trash(&ids).await, Ok(ids.len()));
        assert_eq!(store.purge(&ids).await, Ok(ids.len()));
    }

    /// Waits until less than a quarter is dead: more than that is always worth it.
    async fn until_compact(store: &PieceStore) {
        let dead = || store.usage().dead_bytes * 4 > store.usage().live_bytes;
        let began = Instant::now();
        while dead() {
            assert!(began.elapsed() < Duration::from_secs(180), "{:?}", store.usage());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_deleted_comes_back_as_free_space() {
        let (dir, store) = filled().await;
        let full = store.usage();
        delete_every_other(&store).await;
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(run(store.clone(), stop.subscribe()));
        until_compact(&store).await;
        stop.send_replace(true);
        task.await.unwrap();
        let usage = store.usage();
        assert!(usage.free_bytes >= full.free_bytes + full.live_bytes / 3, "{full:?} became {usage:?}");
        let on_disk = || -> u64 {
            let logs = std::fs::read_dir(dir.path().join("logs")).unwrap();
            logs.filter_map(|log| Some(log.unwrap().metadata().ok()?.len())).sum()
        };
        // A step that was cut off by the stop ends in the background.
        let gone = || on_disk() <= usage.capacity_bytes - store.usage().free_bytes;
        for _ in 0..1200 {
            if gone() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(gone(), "the files are gone, not only counted off");
        for number in (1..PIECES).step_by(2) {
            assert_eq!(store.get(id(number), 0..PIECE_BYTES as u64).await.unwrap().len(), PIECE_BYTES);
        }
    }

    /// Reads until `over` says so, at least 500; returns the slowest but one percent.
    async fn p99(store: &PieceStore, over: impl Fn() -> bool) -> Duration {
        let mut took = Vec::new();
        while took.len() < 500 || !over() {
            let number = 2 * (took.len() as u64 * 7 % (PIECES / 2)) + 1;
            let began = Instant::now();
            store.get(id(number), 0..PIECE_BYTES as u64).await.unwrap();
            took.push(began.elapsed());
        }
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    /// A log is rewritten in a second or so: reads that had to wait for that
    /// would be a hundred times slower. The bound leaves room for a busy machine.
    #[tokio::test(flavor = "multi_thread")]
    async fn reads_go_on_beside_it() {
        let (_dir, store) = filled().await;
        let without = p99(&store, || true).await;
        delete_every_other(&store).await;
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(run(store.clone(), stop.subscribe()));
        let beside = p99(&store, || store.usage().dead_bytes * 4 <= store.usage().live_bytes).await;
        assert!(beside < without * 10 + Duration::from_millis(200), "p99 of reads rose from {without:?} to {beside:?}");
        stop.send_replace(true);
        task.await.unwrap();
    }
}
