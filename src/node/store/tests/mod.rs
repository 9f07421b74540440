//! The store under test: what it promises one by one, then a model, crashes
//! and faults.

mod basics;
mod crashes;
mod damage;
mod faults;
mod throughput;

use std::path::Path;

use bytes::Bytes;

use super::{OpenReport, PieceStore, StoreOptions, Usage};
use crate::types::PieceId;

pub(super) const ROOMY: StoreOptions = StoreOptions { capacity_bytes: 1 << 40, log_bytes_max: 1 << 30 };

pub(super) fn id(number: u64) -> PieceId {
    // Spread like real ids, so that the order of ids is not that of numbers.
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = [0; PieceId::BYTES];
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    PieceId::from_bytes(bytes)
}

pub(super) fn body(number: u64, length: usize) -> Bytes {
    let mut state = number.wrapping_mul(0xD134_2543_DE82_EF95) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 11).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// A folder in memory where there is one: these tests sync a lot.
pub(super) fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn open(dir: &Path, options: &StoreOptions) -> (PieceStore, OpenReport) {
    PieceStore::open(dir, options.clone()).unwrap()
}

pub(super) async fn whole(store: &PieceStore, id: PieceId) -> Option<Bytes> {
    let info = store.stat(&id)?;
    Some(store.get(id, 0..info.length).await.unwrap())
}

/// Bytes of a store's logs.
pub(super) fn bytes_on_disk(dir: &Path) -> u64 {
    let logs = std::fs::read_dir(dir.join("logs")).unwrap();
    logs.map(|log| log.unwrap().metadata().unwrap().len()).sum()
}

/// Asserts that usage is exactly what the logs take.
pub(super) fn assert_adds_up(dir: &Path, store: &PieceStore) {
    let usage = store.usage();
    let sum = usage.live_bytes + usage.trash_bytes + usage.dead_bytes + usage.overhead_bytes;
    assert_eq!(usage.free_bytes, usage.capacity_bytes.saturating_sub(sum));
    assert_eq!(sum, bytes_on_disk(dir), "{usage:?}");
}

/// What a store says of itself, without what the disk says.
pub(super) fn own_figures(store: &PieceStore) -> Usage {
    Usage { writable_bytes: 0, disk_free_bytes: 0, ..store.usage() }
}

/// Compacts as long as that frees something.
pub(super) async fn compact_all(store: &PieceStore) {
    while store.compact().await.unwrap().log.is_some() {}
}
