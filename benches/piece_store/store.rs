//! The store itself, through the functions that the node calls.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cairn::node::store::{PieceStore, StoreOptions};
use cairn::types::{Epoch, PieceId};

use crate::files::{self, forget, noise};
use crate::meter::Figure;
use crate::{Load, RANGE_BYTES, TOGETHER, metered};

/// What is measured. All but the last have a counterpart with files.
pub const ROWS: [&str; 7] = [
    "put, 1 at once",
    "put, 16 at once",
    "get, cold",
    "get, warm",
    "get one share, warm",
    "trash and purge",
    "compaction, half dead",
];
/// Ids in one order to trash or purge.
const IDS: usize = 1000;

/// A store that is large enough for everything here.
pub fn options() -> StoreOptions {
    StoreOptions { capacity_bytes: 64 << 30, log_bytes_max: 1 << 30 }
}

/// A piece id as it would be: nothing about it follows an order.
pub fn id(number: usize) -> PieceId {
    let mixed = |salt: u64| {
        let mut value = (number as u64 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        value = (value ^ (value >> 31)).wrapping_mul(0xD134_2543_DE82_EF95);
        value ^ (value >> 29)
    };
    let mut bytes = [0; PieceId::BYTES];
    bytes[..8].copy_from_slice(&mixed(1).to_be_bytes());
    bytes[8..].copy_from_slice(&mixed(1 << 40).to_be_bytes());
    PieceId::from_bytes(bytes)
}

/// All rows for one piece size.
pub fn measure(dir: &Path, load: &Load) -> Vec<Figure> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = dir.join("store");
    let (store, _) = PieceStore::open(&dir, options()).unwrap();
    let body = Bytes::from(noise(load.piece_bytes));
    let (piece, all) = (load.piece_bytes as u64, load.together);
    let total = piece * all as u64;
    let put = |store: PieceStore, number: usize| {
        let body = body.clone();
        async move {
            store.put(id(number), Epoch(1), body).await.unwrap();
        }
    };
    let get = |bytes: u64| {
        let start = (piece - bytes) / 2;
        move |store: PieceStore, number: usize| async move {
            drop(store.get(id(number), start..start + bytes).await.unwrap());
        }
    };
    files::warm(&dir, piece * load.alone as u64);
    let alone =
        metered(load.alone, piece * load.alone as u64, || spread(&runtime, &store, 1, all..all + load.alone, put));
    runtime.block_on(delete(&store, all..all + load.alone));
    files::warm(&dir, total);
    let together = metered(all, total, || spread(&runtime, &store, TOGETHER, 0..all, put));
    logs(&dir).for_each(|log| forget(&log));
    let cold = metered(all, total, || spread(&runtime, &store, TOGETHER, 0..all, get(piece)));
    let warm = metered(all, total, || spread(&runtime, &store, TOGETHER, 0..all, get(piece)));
    let range = RANGE_BYTES.min(piece);
    let ranged = metered(all, range * all as u64, || spread(&runtime, &store, TOGETHER, 0..all, get(range)));
    let half = metered(all / 2, 0, || runtime.block_on(delete(&store, (0..all).step_by(2))));
    let mut freed = 0;
    files::warm(&dir, total / 2);
    let mut compaction = metered(all / 2, 0, || {
        while let Ok(report) = runtime.block_on(store.compact())
            && report.log.is_some()
        {
            freed += report.freed_bytes;
        }
    });
    // Pieces moved, bytes freed: as many of each, as every other piece is dead.
    compaction.bytes = freed;
    runtime.block_on(store.close()).unwrap();
    drop(store);
    std::fs::remove_dir_all(&dir).unwrap();
    vec![alone, together, cold, warm, ranged, half, compaction]
}

async fn delete(store: &PieceStore, numbers: impl Iterator<Item = usize>) {
    let ids: Vec<PieceId> = numbers.map(id).collect();
    for ids in ids.chunks(IDS) {
        store.trash(ids).await.unwrap();
        store.purge(ids).await.unwrap();
    }
}

/// Does something with every number, `together` at once.
fn spread<F: Future<Output = ()> + Send + 'static>(
    runtime: &tokio::runtime::Runtime,
    store: &PieceStore,
    together: usize,
    numbers: std::ops::Range<usize>,
    work: impl Fn(PieceStore, usize) -> F + Clone + Send + Sync,
) {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    runtime.block_on(async {
        let one = || async {
            loop {
                match next.fetch_add(1, Ordering::Relaxed) {
                    number if number < numbers.end => tokio::spawn(work(store.clone(), number)).await.unwrap(),
                    _ => return,
                }
            }
        };
        futures_util::future::join_all((0..together).map(|_| one())).await;
    });
}

fn logs(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir(dir.join("logs")).unwrap().map(|log| log.unwrap().path())
}
