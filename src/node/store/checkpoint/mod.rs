//! The index as of some moment, so that a start need not read every header.
//! It only saves time: without it, or with one that is damaged or that does
//! not fit the logs, everything is found by reading the logs.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `CAIRNIDX` |
//! | 4 | format: 2 |
//! | 4 | number for the next log |
//! | 8 | position: the highest sequence number |
//! | 8 + n each | page: kind (4), how many entries (4, at most 4096), entries |
//! | 8 | the last page: kind 0, no entries |
//! | 8 | CRC-64/NVME of everything before |
//!
//! | kind | bytes | entry |
//! |---|---|---|
//! | 1 | 48 | log: number (4), zero (4), identity (16), bytes covered (8), overhead bytes (8), modified, ns since 1970 (8) |
//! | 2 | 44 | piece: id (16), sequence (8), epoch (8), log (4), offset (4), length (4, the highest bit: in the trash) |
//! | 3 | 20 | grave: piece id (16), log (4) |
//! | 4 | 16 | damaged piece: id (16) |
//!
//! Integers are little-endian.
//!
//! It is written while puts and deletes go on. Position and logs are those of
//! the moment when it was begun; pieces and graves are as they were when their
//! page was written, so some of them already are as later records say. Applying
//! these records once more changes nothing.

mod load;
mod save;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(super) use self::load::load;
#[cfg(fuzzing)]
pub(super) use self::load::read;
pub(super) use self::save::{Start, save};
use super::index::Entry;
use crate::types::PieceId;

const MAGIC: &[u8; 8] = b"CAIRNIDX";
const FORMAT: u32 = 2;
const FIXED_BYTES: usize = 24;
const PAGE_HEAD_BYTES: usize = 8;
const PAGE_ENTRIES_MAX: usize = 4096;
const CHECKSUM_BYTES: usize = 8;
const TRASH_BIT: u32 = 1 << 31;

/// What the entries of a page are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    End,
    Logs,
    Pieces,
    Graves,
    Damaged,
}

impl Page {
    const ALL: [Page; 5] = [Page::End, Page::Logs, Page::Pieces, Page::Graves, Page::Damaged];

    fn code(self) -> u32 {
        match self {
            Page::End => 0,
            Page::Logs => 1,
            Page::Pieces => 2,
            Page::Graves => 3,
            Page::Damaged => 4,
        }
    }

    fn entry_bytes(self) -> usize {
        match self {
            Page::End => 0,
            Page::Logs => 48,
            Page::Pieces => 44,
            Page::Graves => 20,
            Page::Damaged => 16,
        }
    }
}

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
    pub damaged: Vec<PieceId>,
}

/// The checkpoint's path.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("index.checkpoint")
}

/// Where a checkpoint is until it is whole.
pub(super) fn unfinished_path(dir: &Path) -> PathBuf {
    dir.join("index.checkpoint.new")
}

/// Bytes of the checkpoint; 0 where there is none.
pub(super) fn bytes(dir: &Path) -> u64 {
    path(dir).metadata().map_or(0, |found| found.len())
}

/// When a file was modified, in nanoseconds since 1970.
pub(super) fn modified_ns(file: &File) -> io::Result<i64> {
    let found = file.metadata()?;
    Ok(found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()))
}
