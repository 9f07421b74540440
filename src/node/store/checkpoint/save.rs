//! Writing a checkpoint, page by page: nobody waits for longer than a page.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Bound::{Excluded, Unbounded};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crc_fast::{CrcAlgorithm, Digest};

use super::{FORMAT, LogMark, MAGIC, PAGE_ENTRIES_MAX, Page, TRASH_BIT, modified_ns, path, unfinished_path};
use crate::node::store::PieceState;
use crate::node::store::disk::{Disk, write_all_at};
use crate::node::store::index::{Entry, Index};
use crate::node::store::shared::Shared;
use crate::types::PieceId;

/// Bytes written before they are synced: an fsync of a log may have to wait
/// for as much of what others wrote.
const SYNC_BYTES: u64 = 16 << 20;

/// The moment that a checkpoint stands for: what came later is read from the logs.
pub(in crate::node::store) struct Start {
    pub position: u64,
    next_log: u32,
    logs: Vec<LogMark>,
}

impl Start {
    /// This moment. Only the writer may ask, between two batches.
    pub(in crate::node::store) fn of(index: &Index, position: u64, next_log: u32) -> io::Result<Start> {
        let mark = |(number, log): (&u32, &crate::node::store::index::LogState)| {
            Ok(LogMark {
                number: *number,
                identity: log.identity,
                length: log.length,
                overhead: log.overhead,
                modified_ns: modified_ns(&log.file.file)?,
            })
        };
        let logs = index.logs.iter().map(mark).collect::<io::Result<_>>()?;
        Ok(Start { position, next_log, logs })
    }
}

/// Writes a checkpoint in place of the last one: whole or not at all. Gives up
/// when `stop` is set.
pub(in crate::node::store) fn save(
    dir: &Path,
    disk: &dyn Disk,
    shared: &Shared,
    start: &Start,
    stop: &AtomicBool,
) -> io::Result<()> {
    let unfinished = unfinished_path(dir);
    let _ = std::fs::remove_file(&unfinished);
    let saved = disk.create(&unfinished).and_then(|file| {
        let digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        write(Sink { disk, file: &file, shared, stop, digest, end: 0, synced: 0 }, start)?;
        disk.rename(&unfinished, &path(dir))?;
        disk.sync_folder(dir)
    });
    if saved.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    shared.checkpoint_bytes.store(super::bytes(dir), Ordering::Relaxed);
    saved
}

fn write(mut sink: Sink<'_>, start: &Start) -> io::Result<()> {
    sink.put(&head(start))?;
    for marks in start.logs.chunks(PAGE_ENTRIES_MAX) {
        sink.page(Page::Logs, marks.iter().map(mark_bytes))?;
    }
    pieces(&mut sink)?;
    graves(&mut sink)?;
    damaged(&mut sink)?;
    sink.page(Page::End, std::iter::empty::<[u8; 0]>())?;
    let checksum = sink.digest.finalize();
    sink.put(&checksum.to_le_bytes())?;
    sink.disk.sync(sink.file)
}

fn head(start: &Start) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(FORMAT.to_le_bytes());
    head.extend(start.next_log.to_le_bytes());
    head.extend(start.position.to_le_bytes());
    head
}

fn pieces(sink: &mut Sink<'_>) -> io::Result<()> {
    let mut from = Unbounded;
    loop {
        let page: Vec<(PieceId, Entry)> = {
            let index = sink.shared.index();
            index.pieces.range((from, Unbounded)).take(PAGE_ENTRIES_MAX).map(|(id, entry)| (*id, *entry)).collect()
        };
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = Excluded(*last);
        sink.page(Page::Pieces, page.iter().map(|(id, entry)| piece_bytes(id, entry)))?;
    }
}

fn graves(sink: &mut Sink<'_>) -> io::Result<()> {
    let mut from = Unbounded;
    loop {
        let page: Vec<(PieceId, u32)> =
            sink.shared.index().graves.range((from, Unbounded)).take(PAGE_ENTRIES_MAX).copied().collect();
        let Some(last) = page.last() else { return Ok(()) };
        from = Excluded(*last);
        sink.page(Page::Graves, page.iter().map(|(id, log)| grave_bytes(id, *log)))?;
    }
}

fn damaged(sink: &mut Sink<'_>) -> io::Result<()> {
    let mut after = None;
    loop {
        let page = sink.shared.damage.page(after, PAGE_ENTRIES_MAX);
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(*last);
        sink.page(Page::Damaged, page.iter().map(|id| *id.as_bytes()))?;
    }
}

fn mark_bytes(mark: &LogMark) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..4].copy_from_slice(&mark.number.to_le_bytes());
    bytes[8..24].copy_from_slice(mark.identity.as_bytes());
    bytes[24..32].copy_from_slice(&mark.length.to_le_bytes());
    bytes[32..40].copy_from_slice(&mark.overhead.to_le_bytes());
    bytes[40..48].copy_from_slice(&mark.modified_ns.to_le_bytes());
    bytes
}

fn piece_bytes(id: &PieceId, entry: &Entry) -> [u8; 44] {
    let trash = if entry.state == PieceState::Trash { TRASH_BIT } else { 0 };
    let mut bytes = [0; 44];
    bytes[..16].copy_from_slice(id.as_bytes());
    bytes[16..24].copy_from_slice(&entry.sequence.to_le_bytes());
    bytes[24..32].copy_from_slice(&entry.epoch.0.to_le_bytes());
    bytes[32..36].copy_from_slice(&entry.log.to_le_bytes());
    bytes[36..40].copy_from_slice(&entry.offset.to_le_bytes());
    bytes[40..44].copy_from_slice(&(entry.length | trash).to_le_bytes());
    bytes
}

fn grave_bytes(id: &PieceId, log: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(id.as_bytes());
    bytes[16..].copy_from_slice(&log.to_le_bytes());
    bytes
}

struct Sink<'a> {
    disk: &'a dyn Disk,
    file: &'a File,
    shared: &'a Shared,
    stop: &'a AtomicBool,
    digest: Digest,
    end: u64,
    synced: u64,
}

impl Sink<'_> {
    fn page<const N: usize>(&mut self, page: Page, entries: impl ExactSizeIterator<Item = [u8; N]>) -> io::Result<()> {
        debug_assert!(N == page.entry_bytes() && entries.len() <= PAGE_ENTRIES_MAX);
        let mut bytes = Vec::with_capacity(super::PAGE_HEAD_BYTES + entries.len() * N);
        bytes.extend(page.code().to_le_bytes());
        bytes.extend((entries.len() as u32).to_le_bytes());
        entries.for_each(|entry| bytes.extend(entry));
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.digest.update(bytes);
        write_all_at(self.disk, self.file, &mut [IoSlice::new(bytes)], self.end)?;
        self.end += bytes.len() as u64;
        self.shared.checkpoint_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.end - self.synced >= SYNC_BYTES {
            self.disk.sync(self.file)?;
            self.synced = self.end;
        }
        Ok(())
    }
}
