//! The thread that writes: takes what waits, writes it with one call, makes it
//! durable with one fsync, puts it into the index and only then answers.
//!
//! After a write or an fsync that failed, the log is sealed: never written nor
//! synced again. What was not acknowledged is written once more, to a new log.
//! Before acknowledging, the path of the log must still name the file that was
//! written; if it does not, the folder was taken away and the store is failed.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::admit::{Answer, Batch};
use super::checkpoint;
use super::disk::{Disk, no_room, still_names, write_all_at};
use super::index::LogState;
use super::log::{self, LogFile, NO_IDENTITY};
use super::queue::{Draft, Request};
use super::record::{HEADER_BYTES, Header, Kind, Place};
use super::{Shared, StoreError, StoreOptions};
use crate::types::{Epoch, PieceId};

/// Bytes of one batch, at most; so bounds what is verified after a crash.
const BATCH_BYTES_MAX: u64 = 32 << 20;
/// One checkpoint for every so many records, at least: as many as there are
/// pieces of 64 KiB in a log.
const CHECKPOINT_EVERY_BYTES: u64 = 64 << 10;
/// Records between two checkpoints, at least, however small logs are.
const CHECKPOINT_RECORDS_MIN: u64 = 4;
/// A checkpoint is written again when a part of the pieces has changed: a
/// sixty-fourth.
const CHECKPOINT_PART: u64 = 64;

/// The writer's own state; everything shared is in `Shared`.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub options: StoreOptions,
    pub active: Option<Active>,
    /// The log before, if all of it is durable; else 0.
    pub vouched: u32,
    pub next_log: u32,
    pub next_sequence: u64,
    pub since_checkpoint: u64,
    /// Batches in a row that the disk has refused, in two logs each.
    pub refused: u32,
    /// The checkpoint that is being written, and how to make that end.
    pub saving: Option<JoinHandle<()>>,
    pub stop_saving: Arc<AtomicBool>,
    /// Held as long as the folder is in use.
    pub lock: File,
}

/// What writing a checkpoint takes.
struct Saver {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Saver {
    fn save(&self, start: &checkpoint::Start) -> io::Result<()> {
        checkpoint::save(&self.dir, &*self.disk, &self.shared, start, &self.stop)?;
        self.shared.index_mut().remember(start.position);
        Ok(())
    }

    fn save_or_warn(&self, start: &checkpoint::Start) {
        match self.save(start) {
            Err(error) if !self.stop.load(Ordering::Relaxed) => {
                tracing::warn!(%error, "no checkpoint; the next start takes longer");
            }
            _ => {}
        }
    }
}

/// So many batches in a row, refused in two logs each, are no passing fault:
/// what is on such a disk is made anew elsewhere while it can still be read.
const REFUSED_MAX: u32 = 3;

/// The log that is appended to.
pub(super) struct Active {
    pub file: Arc<LogFile>,
    pub length: u64,
}

/// Why a batch was not written.
enum Trouble {
    /// The folder or the file was taken away.
    Gone(String),
    NoRoom,
    Io(String),
}

impl Writer {
    /// Serves requests until the queue is closed or asks to stop.
    pub(super) fn run(mut self) {
        let batch_bytes = BATCH_BYTES_MAX.min(self.options.log_bytes_max);
        let shared = Arc::clone(&self.shared);
        let mut stopped = None;
        while stopped.is_none() {
            let Some(requests) = shared.queue.take(batch_bytes) else { break };
            stopped = self.serve(requests);
        }
        shared.queue.close();
        while shared.queue.take(u64::MAX).is_some() {}
        self.abort_checkpoint();
        // The lock goes before the answer, so that the folder can be opened
        // again by whoever waited for it.
        drop(self);
        if let Some((reply, result)) = stopped {
            let _ = reply.send(result);
        }
    }

    fn serve(&mut self, requests: Vec<Request>) -> Option<(super::queue::Reply<()>, Result<(), StoreError>)> {
        let mut batch = Batch::default();
        for request in requests {
            match request {
                Request::Put { draft, replacing, reply } => self.admit_put(&mut batch, draft, replacing, reply),
                Request::Change { change, ids, reply } => self.admit_change(&mut batch, change, &ids, reply),
                Request::Move { log, records, reply } => self.admit_move(&mut batch, log, records, reply),
                Request::Seal { reply } => {
                    self.seal();
                    let _ = reply.send(Ok(()));
                }
                Request::Unlink { log, ids, reply } => {
                    let _ = reply.send(self.unlink(log, &ids));
                }
                Request::Check { reply } => {
                    let _ = reply.send(self.check_folder());
                }
                Request::Close { reply } => return Some((reply, self.save_checkpoint())),
            }
        }
        let Batch { mut drafts, answers, .. } = batch;
        let result = self.commit(&mut drafts);
        let mut rest = result.clone();
        if matches!(result, Err(StoreError::Full { .. })) {
            // Deletes must not fail because puts found no room.
            let mut notes: Vec<Draft> =
                drafts.iter().filter(|draft| draft.header.kind != Kind::Piece).cloned().collect();
            rest = self.commit(&mut notes);
        }
        answers.into_iter().for_each(|answer| match answer {
            Answer::Change { .. } => answer.give(&drafts, &rest),
            Answer::Put { .. } | Answer::Move { .. } => answer.give(&drafts, &result),
        });
        self.checkpoint_if_due();
        None
    }

    /// Makes the records durable and puts them into the index: all or none.
    fn commit(&mut self, drafts: &mut [Draft]) -> Result<(), StoreError> {
        if drafts.is_empty() {
            return Ok(());
        }
        if let Some(reason) = self.shared.failure() {
            return Err(StoreError::Failed(reason));
        }
        let trouble = match self.attempt_twice(drafts) {
            Ok(()) => {
                self.refused = 0;
                return Ok(());
            }
            Err(trouble) => trouble,
        };
        self.abandon(drafts);
        Err(self.refuse(trouble, drafts))
    }

    /// What one log does not take goes into another.
    fn attempt_twice(&mut self, drafts: &mut [Draft]) -> Result<(), Trouble> {
        match self.attempt(drafts) {
            Err(Trouble::Io(first)) => {
                tracing::warn!(error = first, "a log cannot be written; trying another");
                self.abandon(drafts);
                self.attempt(drafts)
            }
            outcome => outcome,
        }
    }

    fn refuse(&mut self, trouble: Trouble, drafts: &[Draft]) -> StoreError {
        match trouble {
            Trouble::Gone(reason) => {
                self.shared.fail(reason.clone());
                StoreError::Failed(reason)
            }
            Trouble::NoRoom => {
                self.shared.room.is_used_up();
                let needed_bytes = drafts.iter().map(|draft| draft.header.record_bytes()).sum();
                StoreError::Full { needed_bytes, writable_bytes: 0 }
            }
            Trouble::Io(reason) => {
                self.refused += 1;
                if self.refused >= REFUSED_MAX {
                    self.shared.fail(format!("its disk takes nothing any more: {reason}"));
                }
                StoreError::Failed(reason)
            }
        }
    }

    fn attempt(&mut self, drafts: &mut [Draft]) -> Result<(), Trouble> {
        let bytes: u64 = drafts.iter().map(|draft| draft.header.record_bytes()).sum();
        if self.active.as_ref().is_some_and(|active| active.length + bytes > self.options.log_bytes_max) {
            self.seal();
        }
        let Some(active) = &self.active else { return self.attempt_new(drafts) };
        let (file, length) = (Arc::clone(&active.file), active.length);
        let found = file.length().map_err(|error| self.trouble(&error))?;
        if found != length {
            return Err(Trouble::Io(format!("{} was changed from outside", file.path.display())));
        }
        self.write(&file, length, None, drafts)
    }

    fn attempt_new(&mut self, drafts: &mut [Draft]) -> Result<(), Trouble> {
        let number = self.next_log;
        self.next_log = number.checked_add(1).ok_or_else(|| Trouble::Io("log numbers are used up".into()))?;
        let path = log::path(&self.dir, number);
        // Another folder may stand where ours was, with another store in it.
        if !still_names(&self.dir.join(log::LOCK), &self.lock, 0).unwrap_or(false) {
            return Err(Trouble::Gone(format!("{} is gone", self.dir.display())));
        }
        let file = match self.disk.create(&path) {
            Ok(file) => Arc::new(LogFile { number, path, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Trouble::Gone(format!("{} is gone", log::folder(&self.dir).display())));
            }
            Err(error) => return Err(self.trouble(&error)),
        };
        self.active = Some(Active { file: Arc::clone(&file), length: 0 });
        let mut identity = [0; PieceId::BYTES];
        aws_lc_rs::rand::fill(&mut identity).map_err(|_| Trouble::Io("no random numbers".into()))?;
        let head = Header {
            kind: Kind::Log,
            first_of_batch: true,
            moved: false,
            in_trash: false,
            id: PieceId::from_bytes(identity),
            epoch: Epoch(u64::from(self.vouched)),
            sequence: 0,
            length: 0,
            body_checksum: super::record::body_checksum(&[]),
        };
        self.write(&file, 0, Some(head), drafts)
    }

    /// Writes a batch at the end of a log; `head` begins a new log.
    fn write(
        &mut self,
        file: &Arc<LogFile>,
        offset: u64,
        head: Option<Header>,
        drafts: &mut [Draft],
    ) -> Result<(), Trouble> {
        let mut head = head.map(|header| Draft { header, body: Default::default() });
        let mut end = offset;
        let mut headers = Vec::with_capacity(drafts.len() + 1);
        for draft in head.iter_mut().chain(drafts.iter_mut()) {
            draft.header.first_of_batch = end == offset;
            if !draft.header.moved {
                draft.header.sequence = self.next_sequence;
                self.next_sequence += 1;
            }
            headers.push(draft.header.encode(Place { log: file.number, offset: end }));
            end += draft.header.record_bytes();
        }
        let bodies = head.iter().chain(drafts.iter()).map(|draft| &draft.body);
        let mut slices: Vec<IoSlice<'_>> =
            headers.iter().zip(bodies).flat_map(|(header, body)| [IoSlice::new(header), IoSlice::new(body)]).collect();
        write_all_at(&*self.disk, &file.file, &mut slices, offset).map_err(|error| self.trouble(&error))?;
        self.make_durable(file, end, head.is_some())?;
        self.publish(file, offset, end, head.iter().chain(drafts.iter()));
        Ok(())
    }

    fn make_durable(&self, file: &LogFile, end: u64, new: bool) -> Result<(), Trouble> {
        self.disk.sync(&file.file).map_err(|error| self.trouble(&error))?;
        if new {
            self.disk.sync_folder(&log::folder(&self.dir)).map_err(|error| self.trouble(&error))?;
        }
        match still_names(&file.path, &file.file, end) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Trouble::Gone(format!("{} was replaced or cut", file.path.display()))),
            Err(error) => Err(Trouble::Gone(format!("{}: {error}", file.path.display()))),
        }
    }

    /// Puts what is durable now into the index.
    fn publish<'a>(&mut self, file: &Arc<LogFile>, offset: u64, end: u64, drafts: impl Iterator<Item = &'a Draft>) {
        let mut place = Place { log: file.number, offset };
        let mut position = self.shared.position.load(Ordering::Acquire);
        {
            let mut index = self.shared.index_mut();
            for draft in drafts {
                if draft.header.kind == Kind::Log {
                    index.logs.insert(file.number, LogState::new(Arc::clone(file), draft.header.id, 0));
                }
                if let Some(log) = index.logs.get_mut(&file.number) {
                    log.length = end;
                }
                index.apply(&draft.header, place);
                place.offset += draft.header.record_bytes();
                self.since_checkpoint += 1;
                position = position.max(draft.header.sequence);
            }
        }
        self.active = Some(Active { file: Arc::clone(file), length: end });
        self.shared.position.store(position, Ordering::Release);
    }

    /// Appends to another log from now on.
    fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            self.vouched = active.file.number;
        }
    }

    /// Seals a log whose end cannot be trusted. Cutting it is worth a try, but
    /// nothing relies on it: what may remain of the records are graves.
    fn abandon(&mut self, drafts: &[Draft]) {
        let Some(active) = self.active.take() else { return };
        self.vouched = 0;
        let file = &active.file;
        if active.length == 0 {
            let ours = still_names(&file.path, &file.file, 0).unwrap_or(false);
            if !ours || self.disk.remove(&file.path).is_ok() {
                return;
            }
        }
        let _ = self.disk.truncate(&file.file, active.length);
        let length = file.length().unwrap_or(active.length);
        let mut index = self.shared.index_mut();
        let unknown = || LogState::new(Arc::clone(file), NO_IDENTITY, 0);
        index.logs.entry(file.number).or_insert_with(unknown).length = length;
        if length > active.length {
            let pieces = drafts.iter().filter(|draft| draft.header.kind == Kind::Piece);
            index.graves.extend(pieces.map(|draft| (draft.header.id, file.number)));
        }
    }

    /// Whether the folder and the logs that pieces are in still have their names.
    fn check_folder(&self) -> Result<(), StoreError> {
        if let Some(reason) = self.shared.failure() {
            return Err(StoreError::Failed(reason));
        }
        let lock = self.dir.join(log::LOCK);
        let gone = if is_gone(&lock, &self.lock) { Some(self.dir.clone()) } else { self.lost_log() };
        let Some(gone) = gone else { return Ok(()) };
        let reason = format!("{} is gone", gone.display());
        self.shared.fail(reason.clone());
        Err(StoreError::Failed(reason))
    }

    fn lost_log(&self) -> Option<PathBuf> {
        // One without pieces may have been unlinked by a compaction that could not end.
        let holds = |log: &&LogState| log.live + log.trash > 0;
        let used: Vec<Arc<LogFile>> =
            self.shared.index().logs.values().filter(holds).map(|log| Arc::clone(&log.file)).collect();
        used.iter().find(|log| is_gone(&log.path, &log.file)).map(|log| log.path.clone())
    }

    fn unlink(&mut self, number: u32, ids: &[PieceId]) -> Result<bool, StoreError> {
        let path = {
            let index = self.shared.index();
            match index.logs.get(&number) {
                Some(log) if log.live + log.trash == 0 => log.file.path.clone(),
                _ => return Ok(false),
            }
        };
        if self.active.as_ref().is_some_and(|active| active.file.number == number) {
            return Ok(false);
        }
        let folder = log::folder(&self.dir);
        let removed = match self.disk.remove(&path) {
            // Removed before, when the folder could not be synced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        // Until its absence is durable, the log counts: it could come back.
        let removed = removed.and_then(|()| self.disk.sync_folder(&folder));
        removed.map_err(|error| StoreError::io("removing", &path, &error))?;
        self.shared.index_mut().forget_log(number, ids);
        Ok(true)
    }

    /// Begins a checkpoint beside what goes on, when enough has changed.
    fn checkpoint_if_due(&mut self) {
        let few = (self.options.log_bytes_max / CHECKPOINT_EVERY_BYTES).max(CHECKPOINT_RECORDS_MIN);
        let due = few.max(self.shared.index().pieces.len() as u64 / CHECKPOINT_PART);
        if self.since_checkpoint < due || self.saving.as_ref().is_some_and(|saving| !saving.is_finished()) {
            return;
        }
        self.since_checkpoint = 0;
        let begun = self.begin_checkpoint().and_then(|start| {
            let saver = self.saver();
            std::thread::Builder::new().name("piece-store-checkpoint".into()).spawn(move || saver.save_or_warn(&start))
        });
        match begun {
            Ok(thread) => self.saving = Some(thread),
            Err(error) => tracing::warn!(%error, "no checkpoint; the next start takes longer"),
        }
    }

    /// The last checkpoint, which covers everything.
    fn save_checkpoint(&mut self) -> Result<(), StoreError> {
        self.abort_checkpoint();
        if let Some(reason) = self.shared.failure() {
            return Err(StoreError::Failed(reason));
        }
        self.stop_saving.store(false, Ordering::Relaxed);
        let saved = self.begin_checkpoint().and_then(|start| self.saver().save(&start));
        saved.map_err(|error| StoreError::io("writing", &checkpoint::path(&self.dir), &error))
    }

    fn begin_checkpoint(&self) -> io::Result<checkpoint::Start> {
        checkpoint::Start::of(&self.shared.index(), self.shared.position.load(Ordering::Acquire), self.next_log)
    }

    /// Makes the checkpoint that is being written end, and waits for that: it
    /// must not go on in a folder that somebody else has opened.
    fn abort_checkpoint(&mut self) {
        self.stop_saving.store(true, Ordering::Relaxed);
        if let Some(saving) = self.saving.take() {
            let _ = saving.join();
        }
    }

    fn saver(&self) -> Saver {
        Saver {
            shared: Arc::clone(&self.shared),
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            stop: Arc::clone(&self.stop_saving),
        }
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        if no_room(error) { Trouble::NoRoom } else { Trouble::Io(error.to_string()) }
    }
}

/// Whether a file has lost its name for certain: a disk that does not answer
/// has not said so.
fn is_gone(path: &Path, file: &File) -> bool {
    match still_names(path, file, 0) {
        Ok(named) => !named,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Bytes that a log's first record takes.
pub(super) const LOG_HEAD_BYTES: u64 = HEADER_BYTES as u64;
