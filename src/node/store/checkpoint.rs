//! The index as of some moment, so that a start need not read every header.
//! It only saves time: without it, or with one that is damaged or that does
//! not fit the logs, everything is found by reading the logs.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `CAIRNIDX` |
//! | 4 | format: 1 |
//! | 4 | number for the next log |
//! | 8 | position: the highest sequence number |
//! | 8, 8, 8 | how many logs, pieces and graves follow |
//! | 48 each | log: number (4), zero (4), identity (16), bytes covered (8), overhead bytes (8), modified, ns since 1970 (8) |
//! | 44 each | piece: id (16), sequence (8), epoch (8), log (4), offset (4), length (4, the highest bit: in the trash) |
//! | 20 each | grave: piece id (16), log (4) |
//! | 8 | CRC-64/NVME of everything before |
//!
//! Integers are little-endian.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, Digest};

use super::PieceState;
use super::disk::Disk;
use super::index::{Entry, Index};
use crate::types::{Epoch, PieceId};

const MAGIC: &[u8; 8] = b"CAIRNIDX";
const FORMAT: u32 = 1;
const FIXED_BYTES: u64 = 48;
const LOG_BYTES: u64 = 48;
const PIECE_BYTES: u64 = 44;
const GRAVE_BYTES: u64 = 20;
const CHECKSUM_BYTES: u64 = 8;
const TRASH_BIT: u32 = 1 << 31;

/// How far a checkpoint covers one log, and how to recognise that log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogMark {
    pub number: u32,
    pub identity: PieceId,
    pub length: u64,
    pub overhead: u64,
    pub modified_ns: i64,
}

/// A checkpoint as read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub next_log: u32,
    pub position: u64,
    pub logs: Vec<LogMark>,
    pub pieces: Vec<(PieceId, Entry)>,
    pub graves: Vec<(PieceId, u32)>,
}

/// The checkpoint's path.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("index.checkpoint")
}

/// When a file was modified, in nanoseconds since 1970.
pub(super) fn modified_ns(file: &File) -> io::Result<i64> {
    let found = file.metadata()?;
    Ok(found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()))
}

/// Writes a checkpoint in place of the last one: whole or not at all.
pub(super) fn save(dir: &Path, disk: &dyn Disk, index: &Index, position: u64, next_log: u32) -> io::Result<()> {
    let temporary = dir.join("index.checkpoint.new");
    let _ = std::fs::remove_file(&temporary);
    let file = disk.create(&temporary)?;
    let mut sink =
        Sink { file: BufWriter::with_capacity(256 << 10, &file), digest: Digest::new(CrcAlgorithm::Crc64Nvme) };
    write(&mut sink, index, position, next_log)?;
    let checksum = sink.digest.finalize();
    sink.file.write_all(&checksum.to_le_bytes())?;
    sink.file.flush()?;
    drop(sink);
    disk.sync(&file)?;
    std::fs::rename(&temporary, path(dir))?;
    disk.sync_folder(dir)
}

fn write(sink: &mut Sink<'_>, index: &Index, position: u64, next_log: u32) -> io::Result<()> {
    sink.put(MAGIC)?;
    sink.put(&FORMAT.to_le_bytes())?;
    sink.put(&next_log.to_le_bytes())?;
    for number in [position, index.logs.len() as u64, index.pieces.len() as u64, index.graves.len() as u64] {
        sink.put(&number.to_le_bytes())?;
    }
    for (number, log) in &index.logs {
        sink.put(&u64::from(*number).to_le_bytes())?;
        sink.put(log.identity.as_bytes())?;
        sink.put(&log.length.to_le_bytes())?;
        sink.put(&log.overhead.to_le_bytes())?;
        sink.put(&modified_ns(&log.file.file)?.to_le_bytes())?;
    }
    for (id, entry) in &index.pieces {
        sink.put(&piece_bytes(id, entry))?;
    }
    for (id, log) in &index.graves {
        sink.put(id.as_bytes())?;
        sink.put(&log.to_le_bytes())?;
    }
    Ok(())
}

fn piece_bytes(id: &PieceId, entry: &Entry) -> [u8; PIECE_BYTES as usize] {
    let trash = if entry.state == PieceState::Trash { TRASH_BIT } else { 0 };
    let mut bytes = [0; PIECE_BYTES as usize];
    bytes[..16].copy_from_slice(id.as_bytes());
    bytes[16..24].copy_from_slice(&entry.sequence.to_le_bytes());
    bytes[24..32].copy_from_slice(&entry.epoch.0.to_le_bytes());
    bytes[32..36].copy_from_slice(&entry.log.to_le_bytes());
    bytes[36..40].copy_from_slice(&entry.offset.to_le_bytes());
    bytes[40..44].copy_from_slice(&(entry.length | trash).to_le_bytes());
    bytes
}

/// Reads the checkpoint; `None` if there is none that can be believed.
pub(super) fn load(dir: &Path) -> Option<Checkpoint> {
    let file = File::open(path(dir)).ok()?;
    let length = file.metadata().ok()?.len();
    let reader = BufReader::with_capacity(256 << 10, file);
    read(&mut Source { reader, digest: Digest::new(CrcAlgorithm::Crc64Nvme) }, length).ok().flatten()
}

fn read(source: &mut Source<impl Read>, length: u64) -> io::Result<Option<Checkpoint>> {
    if &source.take::<8>()? != MAGIC || source.u32()? != FORMAT {
        return Ok(None);
    }
    let next_log = source.u32()?;
    let (position, logs, pieces, graves) = (source.u64()?, source.u64()?, source.u64()?, source.u64()?);
    // The counts are believed only if they explain the file's length, so that
    // noise cannot ask for memory.
    let expected = [(LOG_BYTES, logs), (PIECE_BYTES, pieces), (GRAVE_BYTES, graves)]
        .iter()
        .try_fold(FIXED_BYTES + CHECKSUM_BYTES, |sum, (each, count)| sum.checked_add(each.checked_mul(*count)?));
    if expected != Some(length) {
        return Ok(None);
    }
    let mut checkpoint = Checkpoint { next_log, position, ..Checkpoint::default() };
    checkpoint.logs = (0..logs).map(|_| source.log()).collect::<io::Result<_>>()?;
    checkpoint.pieces = (0..pieces).map(|_| source.piece()).collect::<io::Result<_>>()?;
    checkpoint.graves = (0..graves).map(|_| Ok((source.id()?, source.u32()?))).collect::<io::Result<_>>()?;
    let computed = source.digest.finalize();
    Ok((source.u64()? == computed).then_some(checkpoint))
}

struct Sink<'a> {
    file: BufWriter<&'a File>,
    digest: Digest,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)
    }
}

struct Source<R> {
    reader: R,
    digest: Digest,
}

impl<R: Read> Source<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn id(&mut self) -> io::Result<PieceId> {
        Ok(PieceId::from_bytes(self.take()?))
    }

    fn log(&mut self) -> io::Result<LogMark> {
        Ok(LogMark {
            number: self.u64()? as u32,
            identity: self.id()?,
            length: self.u64()?,
            overhead: self.u64()?,
            modified_ns: i64::from_le_bytes(self.take()?),
        })
    }

    fn piece(&mut self) -> io::Result<(PieceId, Entry)> {
        let id = self.id()?;
        let (sequence, epoch) = (self.u64()?, Epoch(self.u64()?));
        let (log, offset, length) = (self.u32()?, self.u32()?, self.u32()?);
        let state = if length & TRASH_BIT == 0 { PieceState::Live } else { PieceState::Trash };
        Ok((id, Entry { sequence, epoch, log, offset, length: length & !TRASH_BIT, state }))
    }
}
