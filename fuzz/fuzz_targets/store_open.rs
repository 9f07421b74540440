//! A whole store, opened over logs of arbitrary bytes: intact records in any
//! order and state, records that were hit, and noise between them. It opens,
//! its bytes add up, what it says it has can be read, purged and compacted,
//! and the next start finds the same.

#![no_main]

use std::path::{Path, PathBuf};

use cairn::node::store::record::{Header, Kind, Place, body_checksum};
use cairn::node::store::{PieceState, PieceStore, StoreError, StoreOptions};
use cairn::types::{Epoch, PieceId};
use libfuzzer_sys::fuzz_target;

const OPTIONS: StoreOptions = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: 1 << 20 };
const KINDS: [Kind; 5] = [Kind::Log, Kind::Piece, Kind::Trash, Kind::Restore, Kind::Purge];

fuzz_target!(|input: (Vec<(u8, u8, u8, u8)>, &[u8])| {
    let (records, noise) = input;
    let folder = Folder::new();
    for (number, log) in logs(&records, noise) {
        std::fs::write(folder.0.join(format!("logs/{number:08x}.log")), log).expect("writes");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("builds");
    runtime.block_on(check(&folder.0));
});

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let memory = Path::new("/dev/shm");
        let parent = if memory.exists() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = parent.join(format!("cairn-fuzz-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("logs")).expect("makes a folder");
        Folder(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Each record is four bytes: kind and flags, piece and new log, sequence
/// number, and what happens to it.
fn logs(records: &[(u8, u8, u8, u8)], noise: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut logs = vec![(1, Vec::new())];
    for (kind, piece, sequence, fate) in records {
        if piece & 0x80 != 0 && logs.len() < 8 {
            logs.push((logs.len() as u32 + 1, Vec::new()));
        }
        let Some((number, log)) = logs.last_mut() else { return Vec::new() };
        let kind_of = if log.is_empty() && kind & 0x80 == 0 { Kind::Log } else { KINDS[usize::from(kind % 5)] };
        let body = if kind_of == Kind::Piece { vec![*piece; usize::from(fate & 0x3f)] } else { Vec::new() };
        let header = Header {
            kind: kind_of,
            first_of_batch: kind & 8 != 0,
            moved: kind & 16 != 0,
            in_trash: kind & 32 != 0,
            id: PieceId::from_bytes([piece & 7; PieceId::BYTES]),
            epoch: Epoch(u64::from(sequence % 4)),
            sequence: u64::from(*sequence),
            length: body.len() as u32,
            body_checksum: body_checksum(&body),
        };
        let start = log.len();
        log.extend(header.encode(Place { log: *number, offset: start as u64 }));
        log.extend(body);
        match fate >> 6 {
            1 => log[start + usize::from(*sequence) % 64] ^= 1,
            2 => *log.last_mut().expect("has a header") ^= 1,
            3 => log.extend(noise),
            _ => {}
        }
    }
    logs
}

async fn check(dir: &Path) {
    let (store, _) = match PieceStore::open(dir, OPTIONS) {
        Ok(opened) => opened,
        Err(StoreError::Version { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    adds_up(dir, &store);
    let found = store.inventory(None, usize::MAX);
    for (id, info) in &found {
        match store.get(*id, 0..info.length).await {
            Ok(bytes) => assert_eq!(bytes.len() as u64, info.length),
            Err(error) => assert_eq!(error, StoreError::Damaged { id: *id }),
        }
    }
    let trashed: Vec<PieceId> =
        found.iter().filter(|(_, info)| info.state == PieceState::Trash).map(|(id, _)| *id).collect();
    assert_eq!(store.purge(&trashed).await, Ok(trashed.len()));
    while store.compact().await.expect("compacts").log.is_some() {}
    adds_up(dir, &store);
    let kept = store.inventory(None, usize::MAX);
    assert_eq!(kept.len(), found.len() - trashed.len());
    drop(store);
    let (store, _) = PieceStore::open(dir, OPTIONS).expect("opens again");
    assert_eq!(store.inventory(None, usize::MAX), kept);
    adds_up(dir, &store);
}

fn adds_up(dir: &Path, store: &PieceStore) {
    let usage = store.usage();
    let sum = usage.live_bytes + usage.trash_bytes + usage.dead_bytes + usage.overhead_bytes;
    let logs = std::fs::read_dir(dir.join("logs")).expect("reads");
    let bytes: u64 = logs.map(|log| log.expect("reads").metadata().expect("reads").len()).sum();
    assert_eq!(sum, bytes, "{usage:?}");
}
