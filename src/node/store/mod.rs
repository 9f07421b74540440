//! The piece store: pieces in append-only logs, an index in memory.
//!
//! A piece is written once, whole, and acknowledged after an fsync that
//! concurrent pieces share. Logs hold self-describing records (`record` has the
//! byte table), so the index can be rebuilt from them; a checkpoint saves most
//! of that work. Deletes move a piece to the trash, where it stays readable
//! until it is purged; compaction gives the space back. Knows ids and bytes.
//!
//! ```text
//! DIR/lock               held while the store is open
//! DIR/index.checkpoint   the index as of some moment
//! DIR/logs/0000002a.log  records, appended; at most 1 GiB
//! ```

mod admit;
mod checkpoint;
mod compact;
mod damage;
mod disk;
mod error;
#[cfg(fuzzing)]
pub mod fuzz;
mod index;
mod log;
mod open;
mod queue;
pub mod record;
mod replay;
mod report;
mod room;
mod scan;
mod shared;
mod usage;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;

use self::damage::Damage;
use self::disk::{Disk, RealDisk};
pub use self::error::StoreError;
use self::index::Entry;
use self::log::LogFile;
use self::queue::{Change, Draft, Queue, Request, Stored};
use self::record::{BODY_BYTES_MAX, Header, Kind, body_checksum};
pub use self::report::{CompactReport, LogPosition, OpenReport, PieceInfo, PieceState, StoreOptions, Usage, Verified};
use self::room::{Room, Space};
use self::shared::Shared;
use self::writer::{Active, Writer};
use crate::types::{Epoch, PieceId};

/// Ids in one request to the writer, at most.
const CHANGE_IDS_MAX: usize = 4096;

/// A node's pieces. Cheap to clone; all clones are one store. Dropping the
/// last one stops it without a checkpoint; [`PieceStore::close`] is kinder.
#[derive(Clone)]
pub struct PieceStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    options: StoreOptions,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    compaction: tokio::sync::Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl PieceStore {
    /// Opens the store in a folder, or makes one. Blocks: with a checkpoint for
    /// as long as it takes to read it, without for a walk over all headers.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(PieceStore, OpenReport), StoreError> {
        Self::open_on(Arc::new(RealDisk), dir, options)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        mut options: StoreOptions,
    ) -> Result<(PieceStore, OpenReport), StoreError> {
        options.log_bytes_max = usage::log_bytes_max(&options);
        let opened = open::open(dir, options.log_bytes_max, &*disk)?;
        let active = opened.active.map(|file| {
            let length = opened.index.logs.get(&file.number).map_or(0, |log| log.length);
            Active { file, length }
        });
        let shared = Arc::new(Shared {
            index: RwLock::new(opened.index),
            queue: Queue::default(),
            position: AtomicU64::new(opened.position),
            failure: Mutex::default(),
            room: Room::default(),
            damage: Damage::of(opened.report.lost.iter().chain(&opened.report.torn).copied()),
            checkpoint_bytes: AtomicU64::new(checkpoint::bytes(dir)),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            disk: Arc::clone(&disk),
            dir: dir.to_owned(),
            options: options.clone(),
            active,
            vouched: opened.vouched,
            next_log: opened.next_log,
            next_sequence: opened.position + 1,
            since_checkpoint: 0,
            refused: 0,
            saving: None,
            stop_saving: Arc::default(),
            lock: opened.lock,
        };
        let thread = std::thread::Builder::new()
            .name("piece-store".into())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::io("starting the writer of", dir, &error))?;
        let (compaction, thread) = (tokio::sync::Mutex::new(()), Mutex::new(Some(thread)));
        let inner = Inner { shared, options, disk, dir: dir.to_owned(), compaction, thread };
        Ok((PieceStore { inner: Arc::new(inner) }, opened.report))
    }

    /// Stores a piece and returns once it is durable. The same id with the same
    /// bytes again is fine (and takes it out of the trash); with other bytes it
    /// is a conflict. A damaged piece is written anew.
    pub async fn put(&self, id: PieceId, epoch: Epoch, body: Bytes) -> Result<LogPosition, StoreError> {
        let length = body.len() as u64;
        let record_length = u32::try_from(length).ok().filter(|length| *length <= BODY_BYTES_MAX);
        let record_length = record_length.ok_or(StoreError::TooLarge { length })?;
        let header = Header {
            kind: Kind::Piece,
            first_of_batch: false,
            moved: false,
            in_trash: false,
            id,
            epoch,
            sequence: 0,
            length: record_length,
            body_checksum: body_checksum(&body),
        };
        loop {
            let mut replacing = None;
            if let Some((file, entry)) = self.inner.shared.find(&id) {
                match self.compare(id, &body, file, entry).await {
                    Ok(()) => return Ok(LogPosition(entry.sequence)),
                    Err(StoreError::Damaged { .. }) => replacing = Some((entry.log, entry.offset)),
                    Err(error) => return Err(error),
                }
            }
            let draft = Draft { header, body: body.clone() };
            match self.ask(|reply| Request::Put { draft, replacing, reply }).await? {
                Stored::At(position) => {
                    self.inner.shared.damage.forget(&id);
                    return Ok(position);
                }
                Stored::Raced => {}
            }
        }
    }

    /// Whether the piece that is stored has these bytes; takes it out of the trash.
    async fn compare(&self, id: PieceId, body: &Bytes, file: Arc<LogFile>, entry: Entry) -> Result<(), StoreError> {
        if entry.length as usize != body.len() {
            return Err(StoreError::Conflict);
        }
        let (_, stored) = blocking(move || file.read_piece(&id, &entry)).await?;
        if stored != *body {
            return Err(StoreError::Conflict);
        }
        if entry.state == PieceState::Trash {
            self.restore(&[id]).await?;
        }
        match self.inner.shared.failure() {
            Some(reason) => Err(StoreError::Failed(reason)),
            None => Ok(()),
        }
    }

    /// Bytes `range` of a piece, live or in the trash. The whole piece is
    /// checked against its checksum; a part of one is not, as its reader has a
    /// MAC for every share.
    pub async fn get(&self, id: PieceId, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (file, entry) = self.inner.shared.find(&id).ok_or(StoreError::Missing)?;
        let outside = StoreError::OutOfRange { length: u64::from(entry.length) };
        let (Ok(start), Ok(end)) = (u32::try_from(range.start), u32::try_from(range.end)) else {
            return Err(outside);
        };
        if start > end || end > entry.length {
            return Err(outside);
        }
        let whole = start == 0 && end == entry.length;
        let read = blocking(move || match whole {
            true => file.read_piece(&id, &entry).map(|(_, body)| body),
            false => file.read_range(&id, &entry, start, end),
        });
        let result = read.await;
        if matches!(result, Err(StoreError::Damaged { .. })) {
            self.inner.shared.note_damaged(id, &entry);
        }
        result
    }

    /// What is known of a piece.
    pub fn stat(&self, id: &PieceId) -> Option<PieceInfo> {
        self.inner.shared.index().pieces.get(id).map(Entry::info)
    }

    /// Moves live pieces to the trash; durable on return. Returns how many were
    /// moved: unknown ones and those already there are fine.
    pub async fn trash(&self, ids: &[PieceId]) -> Result<usize, StoreError> {
        self.change(Change::Trash, ids).await
    }

    /// Takes pieces out of the trash; durable on return. Returns how many.
    pub async fn restore(&self, ids: &[PieceId]) -> Result<usize, StoreError> {
        self.change(Change::Restore, ids).await
    }

    /// Forgets pieces that are in the trash, and no others; durable on return.
    /// Returns how many. Compaction gives their space back.
    pub async fn purge(&self, ids: &[PieceId]) -> Result<usize, StoreError> {
        let purged = self.change(Change::Purge, ids).await?;
        let gone: Vec<&PieceId> = ids.iter().filter(|id| self.stat(id).is_none()).collect();
        gone.into_iter().for_each(|id| self.inner.shared.damage.forget(id));
        Ok(purged)
    }

    async fn change(&self, change: Change, ids: &[PieceId]) -> Result<usize, StoreError> {
        let mut changed = 0;
        for ids in ids.chunks(CHANGE_IDS_MAX) {
            let ids = ids.to_vec();
            changed += self.ask(|reply| Request::Change { change, ids, reply }).await?;
        }
        Ok(changed)
    }

    /// Where the bytes are.
    pub fn usage(&self) -> Usage {
        let Inner { shared, options, .. } = &*self.inner;
        let (checkpoint_bytes, space) = (shared.checkpoint_bytes.load(Ordering::Relaxed), self.space());
        usage::usage(&shared.index(), checkpoint_bytes, space, options)
    }

    fn space(&self) -> Space {
        self.inner.shared.room.recent(&*self.inner.disk, &self.inner.dir)
    }

    /// Looks whether the folder and its logs are still there. If not, the store
    /// is failed: what it holds can be read until it is closed, and no longer.
    pub async fn check_folder(&self) -> Result<(), StoreError> {
        self.ask(|reply| Request::Check { reply }).await
    }

    /// The durable log position.
    pub fn position(&self) -> LogPosition {
        LogPosition(self.inner.shared.position.load(Ordering::Acquire))
    }

    /// Up to `limit` pieces in the order of their ids, those after `after`.
    pub fn inventory(&self, after: Option<PieceId>, limit: usize) -> Vec<(PieceId, PieceInfo)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let index = self.inner.shared.index();
        index.pieces.range((from, Unbounded)).take(limit).map(|(id, entry)| (*id, entry.info())).collect()
    }

    /// Pieces found damaged or gone since the folder was opened: by opening it,
    /// by reads, by compaction. They stay listed until they are stored anew or purged.
    pub fn damaged(&self) -> Vec<PieceId> {
        self.damaged_page(None, usize::MAX)
    }

    /// Up to `limit` of the damaged pieces in the order of their ids, those
    /// after `after`.
    pub fn damaged_page(&self, after: Option<PieceId>, limit: usize) -> Vec<PieceId> {
        self.inner.shared.damage.page(after, limit)
    }

    /// Rises with every piece that is newly found damaged, and never falls
    /// while the store is open; a store that is opened begins with the number
    /// of those that opening found. Whoever told the list at this version has
    /// told everything.
    pub fn damage_version(&self) -> u64 {
        self.inner.shared.damage.version()
    }

    /// Why the store takes no more puts, if it was found to be gone.
    pub fn failure(&self) -> Option<String> {
        self.inner.shared.failure()
    }

    /// Finishes what is in flight, writes a checkpoint and gives the folder
    /// free. Reads still work; everything else is refused from then on.
    pub async fn close(&self) -> Result<(), StoreError> {
        let closed = self.ask(|reply| Request::Close { reply }).await;
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = blocking(move || Ok(thread.join().is_ok())).await;
        }
        match closed {
            Err(StoreError::Closed) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Runs what reads files on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::Io(error.to_string())))
}
