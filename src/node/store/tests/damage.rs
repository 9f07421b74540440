//! Noise over logs and checkpoints: only what was hit is lost, and it is named.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::super::{StoreError, StoreOptions};
use super::{assert_adds_up, body, compact_all, id, open, quick_folder, whole};
use crate::types::Epoch;

const OPTIONS: StoreOptions = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: 20_000 };
const PIECES: u64 = 60;

/// A closed store of 60 pieces, each a record of about 1 KB, in several logs.
async fn filled() -> tempfile::TempDir {
    let dir = quick_folder();
    let (store, _) = open(dir.path(), &OPTIONS);
    for number in 0..PIECES {
        store.put(id(number), Epoch(1), body(number, 1000)).await.unwrap();
    }
    store.close().await.unwrap();
    dir
}

fn logs(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut logs: Vec<_> = std::fs::read_dir(dir.path().join("logs")).unwrap().map(|log| log.unwrap().path()).collect();
    logs.sort();
    logs
}

/// Pieces whose records overlap `hit` in the log with this index.
fn hit_pieces(log: u64, hit: &std::ops::Range<u64>) -> Vec<u64> {
    let per_log = (OPTIONS.log_bytes_max - 64) / 1064;
    let first = log * per_log;
    let overlaps = |slot: &u64| 64 + slot * 1064 < hit.end && hit.start < 64 + (slot + 1) * 1064;
    (0..per_log.min(PIECES - first)).filter(overlaps).map(|slot| first + slot).collect()
}

#[tokio::test]
async fn noise_in_a_log_loses_only_the_records_it_hits() {
    let mut dice = SmallRng::seed_from_u64(1);
    for round in 0..60 {
        let dir = filled().await;
        let logs = logs(&dir);
        let log = dice.random_range(0..logs.len());
        let length = logs[log].metadata().unwrap().len();
        let start = if round % 5 == 0 { 0 } else { dice.random_range(0..length) };
        let end = if round % 7 == 0 { length } else { dice.random_range(start..length) + 1 };
        let mut noise = vec![0; (end - start) as usize];
        dice.fill_bytes(&mut noise);
        File::options().write(true).open(&logs[log]).unwrap().write_all_at(&noise, start).unwrap();
        let remembered = round % 3 != 0;
        if !remembered {
            std::fs::remove_file(dir.path().join("index.checkpoint")).unwrap();
        }
        let (store, report) = open(dir.path(), &OPTIONS);
        let hit = hit_pieces(log as u64, &(start..end));
        for number in 0..PIECES {
            let read = store.get(id(number), 0..1000).await;
            if hit.contains(&number) {
                assert!(matches!(read, Err(StoreError::Damaged { .. } | StoreError::Missing)), "round {round}");
            } else {
                assert_eq!(read.unwrap(), body(number, 1000), "round {round}");
            }
        }
        if remembered {
            let named: Vec<_> = (0..PIECES)
                .filter(|number| report.lost.contains(&id(*number)) || report.torn.contains(&id(*number)))
                .collect();
            assert_eq!(named, hit, "round {round}: {start}..{end} of {log}: {report:?}");
        }
        assert_adds_up(dir.path(), &store);
        store.put(id(100), Epoch(1), body(100, 1000)).await.unwrap();
        compact_all(&store).await;
        drop(store);
        let (store, _) = open(dir.path(), &OPTIONS);
        for number in (0..PIECES).filter(|number| !hit.contains(number)).chain([100]) {
            assert_eq!(whole(&store, id(number)).await.unwrap(), body(number, 1000), "round {round}");
        }
        assert_adds_up(dir.path(), &store);
    }
}

#[tokio::test]
async fn a_checkpoint_is_believed_only_if_it_is_whole_and_fits() {
    let dir = filled().await;
    let path = dir.path().join("index.checkpoint");
    let good = std::fs::read(&path).unwrap();
    let mut dice = SmallRng::seed_from_u64(2);
    for round in 0..200 {
        let mut bad = good.clone();
        match round % 4 {
            0 => bad.truncate(dice.random_range(0..good.len())),
            1 => bad[dice.random_range(0..good.len())] ^= 1 << dice.random_range(0..8),
            2 => dice.fill_bytes(&mut bad),
            // Counts that would ask for all memory there is.
            _ => bad[28..32].fill(0xFF >> (round % 8)),
        }
        std::fs::write(&path, bad).unwrap();
        let (store, report) = open(dir.path(), &OPTIONS);
        assert!(!report.from_checkpoint, "round {round}");
        assert_eq!((report.pieces, report.damaged_records, report.lost.len()), (PIECES, 0, 0), "round {round}");
        drop(store);
    }
    std::fs::write(&path, &good).unwrap();
    assert!(open(dir.path(), &OPTIONS).1.from_checkpoint);
    let shorter = &logs(&dir)[0];
    File::options().write(true).open(shorter).unwrap().set_len(5000).unwrap();
    let (_, report) = open(dir.path(), &OPTIONS);
    assert!(!report.from_checkpoint);
    assert_eq!((report.lost.len(), report.pieces), (14, PIECES - 14));
}

#[tokio::test]
async fn a_checkpoint_of_another_folder_does_not_fit() {
    let (mine, other) = (filled().await, filled().await);
    std::fs::copy(other.path().join("index.checkpoint"), mine.path().join("index.checkpoint")).unwrap();
    let (store, report) = open(mine.path(), &OPTIONS);
    assert_eq!((report.from_checkpoint, report.pieces, report.lost.len()), (false, PIECES, 0));
    drop(store);
}

#[tokio::test]
async fn a_log_that_is_gone_is_said_piece_by_piece() {
    let dir = filled().await;
    std::fs::remove_file(&logs(&dir)[1]).unwrap();
    let (store, report) = open(dir.path(), &OPTIONS);
    let lost: Vec<_> = (0..PIECES).filter(|number| report.lost.contains(&id(*number))).collect();
    assert_eq!(lost, (18..36).collect::<Vec<_>>());
    assert_eq!((store.damaged().len(), store.damage_version()), (18, 18));
    let first = store.damaged_page(None, 10);
    let rest = store.damaged_page(first.last().copied(), 10);
    assert_eq!((first.len(), [first, rest].concat()), (10, store.damaged()), "it can be told page by page");
    store.put(id(18), Epoch(1), body(18, 1000)).await.unwrap();
    assert_eq!((store.damaged().len(), store.damage_version()), (17, 18));
}

#[tokio::test]
async fn a_folder_of_pure_noise_opens_empty() {
    let mut dice = SmallRng::seed_from_u64(3);
    for round in 0..10 {
        let dir = filled().await;
        for path in logs(&dir).into_iter().chain([dir.path().join("index.checkpoint"), dir.path().join("lock")]) {
            let length = if round % 2 == 0 { path.metadata().unwrap().len() } else { dice.random_range(0..50_000) };
            let mut noise = vec![0; length as usize];
            dice.fill_bytes(&mut noise);
            std::fs::write(path, noise).unwrap();
        }
        let (store, report) = open(dir.path(), &OPTIONS);
        assert_eq!(report.pieces, 0);
        assert_adds_up(dir.path(), &store);
        store.put(id(1), Epoch(1), body(1, 1000)).await.unwrap();
        compact_all(&store).await;
        assert_eq!((store.usage().dead_bytes, store.usage().pieces), (0, 1));
        assert_adds_up(dir.path(), &store);
    }
}

#[tokio::test]
async fn damage_while_it_runs_is_noticed_by_reads_and_repaired_by_puts() {
    let dir = quick_folder();
    let (store, _) = open(dir.path(), &OPTIONS);
    store.put(id(1), Epoch(1), body(1, 1000)).await.unwrap();
    let log = logs(&dir).remove(0);
    File::options().write(true).open(&log).unwrap().write_all_at(b"noise", 200).unwrap();
    assert_eq!(store.get(id(1), 0..1000).await, Err(StoreError::Damaged { id: id(1) }));
    assert_eq!((store.damaged(), store.damage_version()), (vec![id(1)], 1));
    assert_eq!(store.get(id(1), 500..1000).await.unwrap(), body(1, 1000).slice(500..), "the rest may be of use");
    store.put(id(1), Epoch(1), body(1, 1000)).await.unwrap();
    assert_eq!(whole(&store, id(1)).await.unwrap(), body(1, 1000));
    assert!(store.damaged().is_empty());
    File::options().write(true).open(&log).unwrap().set_len(100).unwrap();
    assert_eq!(store.get(id(1), 5..6).await, Err(StoreError::Damaged { id: id(1) }));
}

#[tokio::test]
async fn compaction_keeps_what_is_left_of_damaged_pieces() {
    let dir = filled().await;
    let (mut store, _) = open(dir.path(), &OPTIONS);
    let log = logs(&dir).remove(0);
    File::options().write(true).open(&log).unwrap().write_all_at(b"noise", 64 + 64 + 10).unwrap();
    let rest: Vec<_> = (1..10).map(id).collect();
    store.trash(&rest).await.unwrap();
    store.purge(&rest).await.unwrap();
    let report = store.compact().await.unwrap();
    assert_eq!((report.log, report.lost), (Some(1), vec![id(0)]));
    for remembered in [true, true, false] {
        assert_eq!(store.get(id(0), 0..1000).await, Err(StoreError::Damaged { id: id(0) }));
        assert_eq!(store.get(id(0), 500..1000).await.unwrap(), body(0, 1000).slice(500..));
        // A kill: its record may be the last that was written, and is not taken for torn.
        drop(store);
        if !remembered {
            std::fs::remove_file(dir.path().join("index.checkpoint")).unwrap();
        }
        store = open(dir.path(), &OPTIONS).0;
        assert_eq!(store.damaged(), [id(0)]);
    }
}

#[tokio::test]
async fn verification_finds_rot_that_nobody_read() {
    let dir = filled().await;
    let (store, _) = open(dir.path(), &OPTIONS);
    let mut ids: Vec<_> = (0..PIECES).map(id).collect();
    ids.sort_unstable();
    let rotten = [(0, 64 + 64 + 10), (1, 64 + 5 * 1064 + 3), (2, 64 + 7 * 1064 + 1063)];
    for (log, offset) in rotten {
        File::options().write(true).open(&logs(&dir)[log]).unwrap().write_all_at(b"rot!", offset - 3).unwrap();
    }
    let (mut after, mut steps, mut pieces) = (None, 0, 0);
    loop {
        let verified = store.verify(after, 5000).await.unwrap();
        assert!(verified.bytes <= 5000 + 1064 && verified.pieces > 0, "{verified:?}");
        (steps, pieces) = (steps + 1, pieces + verified.pieces);
        after = verified.last;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pieces, steps), (PIECES, PIECES.div_ceil(5)));
    let mut hit = vec![id(0), id(18 + 5), id(36 + 7)];
    hit.sort_unstable();
    assert_eq!((store.damaged(), store.damage_version()), (hit, 3));
    assert_eq!(store.verify(ids.last().copied(), 1).await.unwrap().last, None, "a round ends after the last piece");
}

#[tokio::test]
async fn a_start_does_not_forget_what_is_damaged() {
    let dir = filled().await;
    let (store, _) = open(dir.path(), &OPTIONS);
    File::options().write(true).open(&logs(&dir)[0]).unwrap().write_all_at(b"noise", 64 + 64 + 10).unwrap();
    assert!(store.get(id(0), 0..1000).await.is_err());
    store.close().await.unwrap();
    drop(store);
    std::fs::remove_file(&logs(&dir)[1]).unwrap();
    let mut expected: Vec<_> = [0].into_iter().chain(18..36).map(id).collect();
    expected.sort_unstable();
    for clean in [true, false, true] {
        let (store, report) = open(dir.path(), &OPTIONS);
        assert_eq!((store.damaged(), report.lost), (expected.clone(), expected.clone()));
        if clean {
            store.close().await.unwrap();
        }
    }
    let (store, _) = open(dir.path(), &OPTIONS);
    store.put(id(0), Epoch(1), body(0, 1000)).await.unwrap();
    store.put(id(18), Epoch(1), body(18, 1000)).await.unwrap();
    drop(store);
    let (store, _) = open(dir.path(), &OPTIONS);
    expected.retain(|piece| ![id(0), id(18)].contains(piece));
    assert_eq!(store.damaged(), expected, "what was stored anew is whole");
}

/// A checkpoint lists a piece that is purged and compacted away afterwards.
#[tokio::test]
async fn what_was_purged_after_a_checkpoint_is_not_taken_for_lost() {
    let dir = filled().await;
    let (store, _) = open(dir.path(), &OPTIONS);
    let all: Vec<_> = (0..PIECES).map(id).collect();
    store.trash(&all).await.unwrap();
    store.purge(&all).await.unwrap();
    compact_all(&store).await;
    assert_eq!(store.usage().dead_bytes, 0);
    drop(store);
    let (store, report) = open(dir.path(), &OPTIONS);
    assert_eq!((report.pieces, report.lost, store.damaged()), (0, vec![], vec![]));
}
