//! Concurrent puts share fsyncs; says how fast that is here.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::super::PieceStore;
use super::super::disk::Disk;
use super::{ROOMY, body, id};
use crate::types::Epoch;

const CONCURRENT: u64 = 16;

/// A real disk that counts its fsyncs.
#[derive(Default)]
struct Counting(AtomicU64);

impl Disk for Counting {
    fn sync(&self, file: &File) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        file.sync_data()
    }
}

async fn puts(store: &PieceStore, first: u64, count: u64, bytes: &Bytes) {
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|task| {
            let (store, bytes) = (store.clone(), bytes.clone());
            tokio::spawn(async move {
                for number in (task..count).step_by(CONCURRENT as usize) {
                    store.put(id(first + number), Epoch(1), bytes.clone()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_puts_share_an_fsync() {
    for (length, count) in [(64 << 10, 512), (2 << 20, 48)] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Counting::default());

        let (store, _) = PieceStore::open_on(disk.clone(), dir.path(), ROOMY).unwrap();
        let bytes = body(1, length);
        let start = Instant::now();
        puts(&store, 0, count, &bytes).await;
        let (elapsed, syncs) = (start.elapsed().as_secs_f64(), disk.0.load(Ordering::Relaxed));
        let mib = (count as usize * length) as f64 / (1 << 20) as f64;
        let (pieces_per_s, mib_per_s) = (count as f64 / elapsed, mib / elapsed);
        println!("{length} bytes: {pieces_per_s:.0} pieces/s, {mib_per_s:.0} MiB/s, {count} puts in {syncs} fsyncs");
        assert!(syncs * 2 < count, "{syncs} fsyncs for {count} puts");
        assert_eq!(store.usage().pieces, count);
    }
}
