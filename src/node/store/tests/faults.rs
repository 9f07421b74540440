//! Disks that fail, fill up or are taken away.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use super::super::disk::Disk;
use super::super::{PieceStore, StoreError, StoreOptions};
use super::{ROOMY, assert_adds_up, body, id, open, quick_folder, whole};
use crate::types::Epoch;

const OPTIONS: StoreOptions = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: 4000 };

/// Longer than what is known of the disk is believed.
const SEEN_FOR: std::time::Duration = std::time::Duration::from_millis(1100);

/// Fails some calls: those numbered `from` to `from + count - 1`.
struct Faulty {
    calls: AtomicI64,
    from: AtomicI64,
    count: i64,
    errno: rustix::io::Errno,
    /// Bytes that the disk says are free.
    free: AtomicU64,
}

impl Faulty {
    fn new(from: i64, count: i64, errno: rustix::io::Errno) -> Faulty {
        Faulty { calls: AtomicI64::new(0), from: AtomicI64::new(from), count, errno, free: AtomicU64::new(1 << 40) }
    }

    fn call(&self) -> io::Result<()> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let from = self.from.load(Ordering::SeqCst);
        let fails = (from..from.saturating_add(self.count)).contains(&number);
        if fails { Err(self.errno.into()) } else { Ok(()) }
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.call()?;
        File::options().read(true).write(true).create_new(true).open(path)
    }

    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if let Err(error) = self.call() {
            // A write that fails may have written something.
            let _ = rustix::io::pwritev(file, &slices[..slices.len().min(2)], offset);
            return Err(error);
        }
        // Short writes happen, too.
        Ok(rustix::io::pwritev(file, &slices[..slices.len().min(3)], offset)?)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        self.call()
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.call()
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.call()?;
        file.set_len(length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        std::fs::remove_file(path)
    }

    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((self.free.load(Ordering::SeqCst), 1 << 40))
    }
}

/// Puts, deletes and compacts; returns which pieces must be there and which
/// must not, by what was acknowledged.
async fn busy(store: &PieceStore) -> (Vec<u64>, Vec<u64>) {
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let numbers: Vec<u64> = (round * 4..round * 4 + 4).collect();
        let puts = numbers.iter().map(|number| store.put(id(*number), Epoch(1), body(*number, 400)));
        let stored = futures_util::future::join_all(puts).await;
        there.extend(numbers.iter().zip(stored).filter(|(_, stored)| stored.is_ok()).map(|(number, _)| *number));
        let victim = round * 4 + 1;
        if there.contains(&victim) {
            let trashed = store.trash(&[id(victim)]).await;
            if trashed.is_ok() && store.purge(&[id(victim)]).await.is_ok() {
                gone.push(victim);
            }
            // A purge that failed may or may not have happened.
            there.retain(|number| *number != victim);
        }
        let _ = store.compact().await;
    }
    // A log whose removal failed is removed by a later step.
    for _ in 0..10 {
        let _ = store.compact().await;
    }
    (there, gone)
}

async fn assert_holds(store: &PieceStore, there: &[u64], gone: &[u64], context: &str) {
    for number in there {
        assert_eq!(whole(store, id(*number)).await, Some(body(*number, 400)), "{context}: piece {number}");
    }
    for number in gone {
        assert_eq!(store.stat(&id(*number)), None, "{context}: piece {number} came back");
    }
}

#[tokio::test]
async fn a_disk_that_fails_at_any_call_loses_nothing_acknowledged() {
    for count in [1, 2, 3, 6] {
        for from in 2..110 {
            let context = format!("calls {from} to {}", from + count - 1);
            let dir = quick_folder();
            let disk = Arc::new(Faulty::new(from, count, rustix::io::Errno::IO));
            let (store, _) = PieceStore::open_on(disk.clone(), dir.path(), OPTIONS).unwrap();
            let (there, gone) = busy(&store).await;
            if count == 1 {
                assert!(there.len() + gone.len() == 24, "{context}: one fault is made good by another log");
            }
            assert_holds(&store, &there, &gone, &context).await;
            assert_adds_up(dir.path(), &store);
            drop(store);
            let (store, report) = open(dir.path(), &OPTIONS);
            assert_holds(&store, &there, &gone, &context).await;
            assert!(there.iter().all(|number| !report.lost.contains(&id(*number))), "{context}: {report:?}");
            assert_adds_up(dir.path(), &store);
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_puts_and_goes_on() {
    let dir = quick_folder();
    let disk = Arc::new(Faulty::new(i64::MAX - 10, 1, rustix::io::Errno::NOSPC));
    let (store, _) = PieceStore::open_on(disk.clone(), dir.path(), OPTIONS).unwrap();
    store.put(id(1), Epoch(1), body(1, 400)).await.unwrap();
    let before = store.usage();
    assert_eq!(before.writable_bytes, before.promised_bytes);
    disk.free.store(64 << 20, Ordering::SeqCst);
    std::thread::sleep(SEEN_FOR);
    let usage = store.usage();
    assert_eq!((usage.writable_bytes, usage.disk_free_bytes), (0, 64 << 20), "what is kept back is not for puts");
    assert_eq!((usage.promised_bytes, usage.free_bytes), (before.promised_bytes, before.free_bytes));
    assert!(matches!(store.put(id(2), Epoch(1), body(2, 400)).await, Err(StoreError::Full { writable_bytes: 0, .. })));
    assert_eq!(whole(&store, id(1)).await, Some(body(1, 400)));
    assert_eq!(store.trash(&[id(1)]).await, Ok(1), "what is kept back is for deletes");
    disk.free.store((64 << 20) + 5000, Ordering::SeqCst);
    std::thread::sleep(SEEN_FOR);
    assert_eq!(store.usage().writable_bytes, 5000);
    store.put(id(2), Epoch(1), body(2, 400)).await.unwrap();
}

/// A quota is seen by no `statvfs`: only a write finds it.
#[tokio::test]
async fn a_write_without_room_shows_before_the_disk_does() {
    let dir = quick_folder();
    let disk = Arc::new(Faulty::new(i64::MAX - 10, 1, rustix::io::Errno::DQUOT));
    let (store, _) = PieceStore::open_on(disk.clone(), dir.path(), OPTIONS).unwrap();
    assert!(store.usage().writable_bytes > 0);
    disk.from.store(disk.calls.load(Ordering::SeqCst), Ordering::SeqCst);
    assert!(matches!(store.put(id(1), Epoch(1), body(1, 400)).await, Err(StoreError::Full { .. })));
    assert_eq!(store.usage().writable_bytes, 0);
}

#[tokio::test]
async fn a_full_disk_is_opened_and_gives_what_it_has() {
    let dir = quick_folder();
    let (store, _) = open(dir.path(), &OPTIONS);
    let (there, gone) = busy(&store).await;
    drop(store);
    // What a crash leaves: a last log that ends within a record, and an empty one.
    let last = std::fs::read_dir(dir.path().join("logs")).unwrap().map(|log| log.unwrap().path()).max().unwrap();
    let mut torn = File::options().append(true).open(last).unwrap();
    io::Write::write_all(&mut torn, &[7; 30]).unwrap();
    File::create(dir.path().join("logs/000000ff.log")).unwrap();
    let disk = Arc::new(Faulty::new(0, i64::MAX, rustix::io::Errno::NOSPC));
    disk.free.store(0, Ordering::SeqCst);
    let (store, report) = PieceStore::open_on(disk.clone(), dir.path(), OPTIONS).unwrap();
    assert_eq!(report.lost, []);
    assert_holds(&store, &there, &gone, "full").await;
    assert!(matches!(store.put(id(99), Epoch(1), body(1, 400)).await, Err(StoreError::Full { .. })));
    disk.from.store(i64::MAX, Ordering::SeqCst);
    disk.free.store(1 << 40, Ordering::SeqCst);
    store.put(id(99), Epoch(1), body(99, 400)).await.unwrap();
    drop(store);
    let (store, _) = open(dir.path(), &OPTIONS);
    assert_holds(&store, &[there, vec![99]].concat(), &gone, "with room again").await;
    assert_adds_up(dir.path(), &store);
}

/// Although the store may be putting files in.
fn remove_folder(path: &Path) {
    while path.exists() {
        let _ = std::fs::remove_dir_all(path);
    }
}

/// Nobody need put anything for that.
#[tokio::test]
async fn a_folder_taken_away_is_noticed_by_looking() {
    for what in ["nothing", "the folder", "the logs", "one log", "another store"] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), &OPTIONS);
        for number in 0..20 {
            store.put(id(number), Epoch(1), body(number, 400)).await.unwrap();
        }
        store.trash(&[id(0)]).await.unwrap();
        store.purge(&[id(0)]).await.unwrap();
        store.compact().await.unwrap();
        let logs = dir.path().join("logs");
        match what {
            "the folder" | "another store" => remove_folder(dir.path()),
            "the logs" => remove_folder(&logs),
            "one log" => std::fs::remove_file(&store.inner.shared.find(&id(7)).unwrap().0.path).unwrap(),
            _ => {}
        }
        let _other = (what == "another store").then(|| open(dir.path(), &OPTIONS));
        assert_eq!(store.check_folder().await.is_err(), what != "nothing", "{what}");
        assert_eq!(store.failure().is_some(), what != "nothing", "{what}");
        assert_eq!(whole(&store, id(7)).await, Some(body(7, 400)), "{what}: what is open can be read");
    }
}

#[tokio::test]
async fn a_disk_without_room_at_any_call_loses_nothing_acknowledged() {
    for from in 2..60 {
        let dir = quick_folder();
        let disk = Arc::new(Faulty::new(from, 3, rustix::io::Errno::NOSPC));
        let (store, _) = PieceStore::open_on(disk, dir.path(), OPTIONS).unwrap();
        let (there, gone) = busy(&store).await;
        assert!(store.failure().is_none());
        assert_holds(&store, &there, &gone, &format!("from {from}")).await;
        assert_adds_up(dir.path(), &store);
        drop(store);
        let (store, _) = open(dir.path(), &OPTIONS);
        assert_holds(&store, &there, &gone, &format!("from {from}")).await;
    }
}

#[tokio::test]
async fn a_disk_that_stays_broken_refuses_puts_and_serves_reads() {
    let dir = quick_folder();
    let disk = Arc::new(Faulty::new(20, i64::MAX / 2, rustix::io::Errno::IO));
    let (store, _) = PieceStore::open_on(disk, dir.path(), OPTIONS).unwrap();
    let (there, gone) = busy(&store).await;
    assert!(!there.is_empty());
    assert!(matches!(store.put(id(99), Epoch(1), body(1, 400)).await, Err(StoreError::Failed(_))));
    assert_eq!(store.stat(&id(99)), None);
    assert_holds(&store, &there, &gone, "broken").await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_any_more_is_told_of_and_a_passing_fault_is_not() {
    let dir = quick_folder();
    let disk = Arc::new(Faulty::new(i64::MAX - 100, 50, rustix::io::Errno::IO));
    let (store, _) = PieceStore::open_on(disk.clone(), dir.path(), OPTIONS).unwrap();
    store.put(id(1), Epoch(1), body(1, 400)).await.unwrap();
    let fail = |from| disk.from.store(from, Ordering::SeqCst);
    for number in 2..10 {
        fail(disk.calls.load(Ordering::SeqCst));
        assert!(store.put(id(number), Epoch(1), body(number, 400)).await.is_err());
        fail(i64::MAX - 100);
        store.put(id(number), Epoch(1), body(number, 400)).await.unwrap();
    }
    assert_eq!(store.failure(), None, "it took something in between");
    fail(disk.calls.load(Ordering::SeqCst));
    for number in 10..13 {
        assert!(store.put(id(number), Epoch(1), body(number, 400)).await.is_err());
    }
    let failure = store.failure().expect("nothing was taken three times");
    assert!(failure.contains("takes nothing any more"), "{failure}");
    assert_eq!(whole(&store, id(1)).await, Some(body(1, 400)), "what is there can be read");
}

#[tokio::test]
async fn a_folder_taken_away_while_it_runs_acknowledges_nothing() {
    for used in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), &ROOMY);
        if used {
            store.put(id(1), Epoch(1), body(1, 400)).await.unwrap();
        }
        remove_folder(dir.path());
        assert!(matches!(store.put(id(2), Epoch(1), body(2, 400)).await, Err(StoreError::Failed(_))));
        assert_eq!(store.stat(&id(2)), None);
        assert!(store.failure().is_some());
        if used {
            assert!(matches!(store.put(id(1), Epoch(1), body(1, 400)).await, Err(StoreError::Failed(_))));
            assert!(matches!(store.trash(&[id(1)]).await, Err(StoreError::Failed(_))));
        }
        // Another store in its place is left alone, and fails nothing.
        let (other, _) = open(dir.path(), &ROOMY);
        assert!(matches!(store.put(id(3), Epoch(1), body(3, 400)).await, Err(StoreError::Failed(_))));
        assert!(matches!(store.close().await, Err(StoreError::Failed(_))));
        other.put(id(4), Epoch(1), body(4, 400)).await.unwrap();
        assert_adds_up(dir.path(), &other);
    }
}

#[tokio::test]
async fn a_folder_replaced_by_another_store_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let (old, _) = open(dir.path(), &ROOMY);
    remove_folder(dir.path());
    let (new, _) = open(dir.path(), &ROOMY);
    assert!(matches!(old.put(id(1), Epoch(1), body(1, 400)).await, Err(StoreError::Failed(_))));
    new.put(id(2), Epoch(1), body(2, 400)).await.unwrap();
    assert_adds_up(dir.path(), &new);
}

#[tokio::test]
async fn a_log_overwritten_while_it_runs_is_left_for_another() {
    let mut dice = SmallRng::seed_from_u64(4);
    for length in [None, Some(100), Some(9000)] {
        let dir = quick_folder();
        let (store, _) = open(dir.path(), &ROOMY);
        store.put(id(1), Epoch(1), body(1, 400)).await.unwrap();
        let log = dir.path().join("logs/00000001.log");
        let mut noise = vec![0; length.unwrap_or(log.metadata().unwrap().len()) as usize];
        dice.fill_bytes(&mut noise);
        std::fs::write(&log, noise).unwrap();
        assert_eq!(store.get(id(1), 0..400).await, Err(StoreError::Damaged { id: id(1) }));
        store.put(id(2), Epoch(1), body(2, 400)).await.unwrap();
        assert_eq!(whole(&store, id(2)).await, Some(body(2, 400)));
        drop(store);
        let (store, _) = open(dir.path(), &ROOMY);
        assert_eq!(whole(&store, id(2)).await, Some(body(2, 400)), "{length:?}");
        assert_adds_up(dir.path(), &store);
    }
}

/// A put whose fsync failed and that could not be cut off stays in the sealed
/// log; its piece was stored in another log, purged and compacted away there.
#[tokio::test]
async fn what_a_failed_fsync_left_behind_does_not_come_back() {
    let dir = quick_folder();
    let disk = Arc::new(Faulty::new(i64::MAX - 10, 2, rustix::io::Errno::IO));
    let (store, _) = PieceStore::open_on(disk.clone(), dir.path(), ROOMY).unwrap();
    for number in 0..8 {
        store.put(id(number), Epoch(1), body(number, 400)).await.unwrap();
    }
    // The next call writes; the fsync and the cut after it fail.
    disk.from.store(disk.calls.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
    store.put(id(8), Epoch(1), body(8, 400)).await.unwrap();
    assert_eq!(store.usage().dead_bytes, 464, "it stands in the sealed log, too");
    store.trash(&[id(8)]).await.unwrap();
    store.purge(&[id(8)]).await.unwrap();
    assert_eq!(store.compact().await.unwrap().log, Some(2));
    drop(store);
    let (store, report) = open(dir.path(), &ROOMY);
    assert!(!report.from_checkpoint);
    assert_eq!((store.stat(&id(8)), report.pieces), (None, 8));
    assert_adds_up(dir.path(), &store);
}
