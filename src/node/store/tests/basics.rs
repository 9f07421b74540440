//! The store's promises, one by one.

use bytes::Bytes;

use super::super::{PieceState, PieceStore, StoreError, StoreOptions};
use super::{ROOMY, assert_adds_up, body, compact_all, id, open, own_figures, whole};
use crate::types::Epoch;

#[tokio::test]
async fn what_is_put_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, report) = open(dir.path(), &ROOMY);
    assert_eq!((report.pieces, store.position().0), (0, 0));
    let bytes = body(1, 100_000);
    let position = store.put(id(1), Epoch(7), bytes.clone()).await.unwrap();
    assert_eq!(store.position(), position);
    assert_eq!(whole(&store, id(1)).await.unwrap(), bytes);
    assert_eq!(store.get(id(1), 10..20).await.unwrap(), bytes.slice(10..20));
    assert_eq!(store.get(id(1), 5..5).await.unwrap(), Bytes::new());
    assert_eq!(store.get(id(1), 5..100_001).await, Err(StoreError::OutOfRange { length: 100_000 }));
    assert_eq!(store.get(id(1), 0..u64::MAX).await, Err(StoreError::OutOfRange { length: 100_000 }));
    assert_eq!(store.get(id(2), 0..1).await, Err(StoreError::Missing));
    let info = store.stat(&id(1)).unwrap();
    assert_eq!((info.length, info.epoch, info.state), (100_000, Epoch(7), PieceState::Live));
    assert_adds_up(dir.path(), &store);
}

#[tokio::test]
async fn a_put_can_be_repeated_but_not_contradicted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &ROOMY);
    let first = store.put(id(1), Epoch(1), body(1, 500)).await.unwrap();
    assert_eq!(store.put(id(1), Epoch(1), body(1, 500)).await.unwrap(), first);
    assert_eq!(store.put(id(1), Epoch(1), body(2, 500)).await, Err(StoreError::Conflict));
    assert_eq!(store.put(id(1), Epoch(1), body(1, 501)).await, Err(StoreError::Conflict));
    assert_eq!(store.usage().pieces, 1);
    let large = Bytes::from(vec![0; (16 << 20) + 1]);
    assert_eq!(store.put(id(2), Epoch(1), large).await, Err(StoreError::TooLarge { length: (16 << 20) + 1 }));
    store.trash(&[id(1)]).await.unwrap();
    store.put(id(1), Epoch(1), body(1, 500)).await.unwrap();
    assert_eq!(store.stat(&id(1)).unwrap().state, PieceState::Live);
}

#[tokio::test]
async fn one_of_several_puts_of_one_id_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &ROOMY);
    let puts = (0..16).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.put(id(1), Epoch(1), body(number % 2, 5000)).await })
    });
    let mut stored = 0;
    for put in puts.collect::<Vec<_>>() {
        match put.await.unwrap() {
            Ok(_) => stored += 1,
            Err(error) => assert_eq!(error, StoreError::Conflict),
        }
    }
    assert_eq!((stored, store.usage().pieces), (8, 1));
}

#[tokio::test]
async fn trash_is_readable_until_it_is_purged() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &ROOMY);
    store.put(id(1), Epoch(1), body(1, 500)).await.unwrap();
    assert_eq!(store.purge(&[id(1)]).await, Ok(0), "live pieces are never purged");
    assert_eq!(store.trash(&[id(1), id(2), id(1)]).await, Ok(1));
    assert_eq!(store.trash(&[id(1)]).await, Ok(0));
    assert_eq!(store.stat(&id(1)).unwrap().state, PieceState::Trash);
    assert_eq!(whole(&store, id(1)).await.unwrap(), body(1, 500));
    assert_eq!((store.usage().live_bytes, store.usage().trash_bytes, store.usage().trashed), (0, 564, 1));
    assert_eq!(store.restore(&[id(1)]).await, Ok(1));
    assert_eq!(store.usage().trashed, 0);
    store.trash(&[id(1)]).await.unwrap();
    assert_eq!(store.purge(&[id(1)]).await, Ok(1));
    assert_eq!(store.get(id(1), 0..1).await, Err(StoreError::Missing));
    assert_eq!((store.usage().dead_bytes, store.usage().pieces), (564, 0));
    assert_adds_up(dir.path(), &store);
}

#[tokio::test]
async fn everything_survives_a_restart() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), &ROOMY);
        for number in 0..50 {
            store.put(id(number), Epoch(number), body(number, 1000 + number as usize)).await.unwrap();
        }
        store.trash(&[id(3), id(4), id(5)]).await.unwrap();
        store.restore(&[id(4)]).await.unwrap();
        store.purge(&[id(5)]).await.unwrap();
        let (position, inventory) = (store.position(), store.inventory(None, 100));
        if clean {
            store.close().await.unwrap();
            assert_eq!(store.put(id(99), Epoch(1), body(1, 1)).await, Err(StoreError::Closed));
        }
        let usage = own_figures(&store);
        drop(store);
        let (store, report) = open(dir.path(), &ROOMY);
        assert_eq!((report.from_checkpoint, report.pieces, report.damaged_records), (clean, 49, 0));
        assert_eq!((own_figures(&store), store.position(), store.inventory(None, 100)), (usage, position, inventory));
        assert_eq!(whole(&store, id(7)).await.unwrap(), body(7, 1007));
        assert!(store.put(id(99), Epoch(1), body(1, 1)).await.unwrap() > position);
        assert_eq!(std::fs::read_dir(dir.path().join("logs")).unwrap().count(), 1, "it appends to the same log");
    }
}

/// A checkpoint takes nothing from the figures of the logs, and is paid for by
/// what was kept back for it.
#[tokio::test]
async fn a_checkpoint_costs_what_was_kept_back_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { capacity_bytes: 16 << 20, log_bytes_max: 1 << 20 };
    let (store, _) = open(dir.path(), &options);
    for number in 0..50 {
        store.put(id(number), Epoch(1), body(number, 1000)).await.unwrap();
    }
    let before = own_figures(&store);
    store.close().await.unwrap();
    assert!(dir.path().join("index.checkpoint").metadata().unwrap().len() > 50 * 44);
    assert_eq!(own_figures(&store), before);
    assert_adds_up(dir.path(), &store);
}

#[tokio::test]
async fn the_inventory_comes_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &ROOMY);
    for number in 0..25 {
        store.put(id(number), Epoch(1), body(number, 10)).await.unwrap();
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.inventory(after, 10);
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        seen.extend(page.into_iter().map(|(id, _)| id));
    }
    let mut expected: Vec<_> = (0..25).map(id).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_folder_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &ROOMY);
    assert!(matches!(PieceStore::open(dir.path(), ROOMY), Err(StoreError::Locked)));
    let clone = store.clone();
    store.close().await.unwrap();
    let (again, _) = open(dir.path(), &ROOMY);
    drop((clone, again));
    open(dir.path(), &ROOMY);
}

#[tokio::test]
async fn capacity_is_a_promise_and_deletes_always_work() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { capacity_bytes: 1 << 20, log_bytes_max: 1 << 30 };
    let (store, _) = open(dir.path(), &options);
    let mut stored = Vec::new();
    let refused = loop {
        let number = stored.len() as u64;
        match store.put(id(number), Epoch(1), body(number, 10_000)).await {
            Ok(_) => stored.push(id(number)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { needed_bytes: 10_064, .. }), "{refused:?}");
    assert!(stored.len() > 85, "{}", stored.len());
    assert_eq!(store.trash(&stored).await, Ok(stored.len()));
    assert_eq!(store.purge(&stored[10..]).await, Ok(stored.len() - 10));
    compact_all(&store).await;
    assert_adds_up(dir.path(), &store);
    let usage = store.usage();
    assert!(usage.free_bytes > 900_000 && usage.dead_bytes < 30_000, "{usage:?}");
    assert_eq!(usage.capacity_bytes - usage.free_bytes, usage.trash_bytes + usage.dead_bytes + usage.overhead_bytes);
    store.put(id(1000), Epoch(1), body(1, 10_000)).await.unwrap();
}

#[tokio::test]
async fn compaction_returns_all_space_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { log_bytes_max: 50_000, ..ROOMY };
    let (store, _) = open(dir.path(), &options);
    let ids: Vec<_> = (0..200).map(id).collect();
    for number in 0..200 {
        store.put(id(number), Epoch(1), body(number, 2000)).await.unwrap();
    }
    store.trash(&ids).await.unwrap();
    store.purge(&ids).await.unwrap();
    compact_all(&store).await;
    assert_eq!(store.usage().dead_bytes, 0);
    // Until the next checkpoint, it is kept in mind that they were purged.
    store.close().await.unwrap();
    drop(store);
    let (store, _) = open(dir.path(), &options);
    compact_all(&store).await;
    let usage = store.usage();
    assert_eq!((usage.live_bytes, usage.trash_bytes, usage.dead_bytes), (0, 0, 0));
    assert!(usage.overhead_bytes < 1000, "no tombstone outlives what it stands for: {usage:?}");
    assert_eq!(store.compact().await.unwrap().log, None);
    assert_adds_up(dir.path(), &store);
}

#[tokio::test]
async fn readers_go_on_while_compaction_moves_their_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { log_bytes_max: 200_000, ..ROOMY };
    let (store, _) = open(dir.path(), &options);
    for number in 0..100 {
        store.put(id(number), Epoch(1), body(number, 5000)).await.unwrap();
    }
    let reader = store.clone();
    let reads = tokio::spawn(async move {
        for round in 0..2000_u64 {
            let number = 2 * (round % 50);
            assert_eq!(whole(&reader, id(number)).await.unwrap(), body(number, 5000));
        }
    });
    for number in 0..50 {
        store.trash(&[id(2 * number + 1)]).await.unwrap();
        store.purge(&[id(2 * number + 1)]).await.unwrap();
        store.compact().await.unwrap();
    }
    reads.await.unwrap();
    assert_adds_up(dir.path(), &store);
}

/// What a start costs does not grow with the store, only with what happened
/// since the last checkpoint.
#[tokio::test]
async fn a_start_with_a_checkpoint_reads_only_what_came_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &ROOMY);
    let puts = (0..3000).map(|number| store.put(id(number), Epoch(1), body(number, 100)));
    futures_util::future::join_all(puts).await.into_iter().for_each(|stored| assert!(stored.is_ok()));
    store.close().await.unwrap();
    drop(store);
    let (store, report) = open(dir.path(), &ROOMY);
    assert_eq!((report.from_checkpoint, report.pieces, report.records_read), (true, 3000, 0));
    store.put(id(3000), Epoch(1), body(3000, 100)).await.unwrap();
    store.trash(&[id(1), id(2)]).await.unwrap();
    drop(store);
    let (store, report) = open(dir.path(), &ROOMY);
    assert_eq!((report.from_checkpoint, report.pieces, report.records_read), (true, 3001, 3));
    assert_eq!(whole(&store, id(2999)).await.unwrap(), body(2999, 100));
    drop(store);
    std::fs::remove_file(dir.path().join("index.checkpoint")).unwrap();
    let (_, report) = open(dir.path(), &ROOMY);
    assert_eq!((report.from_checkpoint, report.pieces, report.records_read), (false, 3001, 3004));
}

/// A node that is never closed cleanly gets checkpoints, too.
#[tokio::test]
async fn checkpoints_are_written_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { log_bytes_max: 1 << 20, ..ROOMY };
    let (store, _) = open(dir.path(), &options);
    let mut number = 0;
    while !dir.path().join("index.checkpoint").exists() {
        assert!(number < 10_000, "no checkpoint after {number} puts");
        store.put(id(number), Epoch(1), body(number, 100)).await.unwrap();
        number += 1;
    }
    drop(store);
    let (store, report) = open(dir.path(), &options);
    assert_eq!((report.from_checkpoint, report.pieces), (true, number));
    assert!(report.records_read < number, "{report:?}");
    assert_adds_up(dir.path(), &store);
}

/// What `du` says is what usage says, but for started blocks and folders.
#[tokio::test]
async fn usage_adds_up_to_what_du_says() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: 1 << 20 };
    let (store, _) = open(dir.path(), &options);
    let all: Vec<_> = (0..200).map(id).collect();
    let puts = (0..200).map(|number| store.put(id(number), Epoch(1), body(number, 30_000 + 7 * number as usize)));
    futures_util::future::join_all(puts).await.into_iter().for_each(|stored| assert!(stored.is_ok()));
    for what in ["full", "half deleted", "compacted", "closed"] {
        match what {
            "half deleted" => {
                store.trash(&all[..150]).await.unwrap();
                store.purge(&all[..100]).await.unwrap();
            }
            "compacted" => compact_all(&store).await,
            "closed" => store.close().await.unwrap(),
            _ => {}
        }
        while dir.path().join("index.checkpoint.new").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_adds_up(dir.path(), &store);
        let usage = store.usage();
        let said = usage.live_bytes + usage.trash_bytes + usage.dead_bytes + usage.overhead_bytes;
        let output = std::process::Command::new("du").args(["-s", "-k"]).arg(dir.path()).output().unwrap();
        let du = String::from_utf8(output.stdout).unwrap();
        let du: u64 = du.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024;
        let du = du - dir.path().join("index.checkpoint").metadata().map_or(0, |checkpoint| checkpoint.len());
        let files = std::fs::read_dir(dir.path().join("logs")).unwrap().count() as u64 + 4;
        let block = dir.path().metadata().unwrap().blksize();
        assert!(du >= said && du - said <= files * 2 * block, "{what}: du {du}, {usage:?} is {said}");
        assert_eq!(usage.free_bytes, usage.capacity_bytes - said);
    }
}
