//! Walks the records of a log and survives whatever else is in it: where no
//! record begins, it looks for the next one that does.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::StoreError;
use super::log::LogFile;
use super::record::{HEADER_BYTES, Header, MAGIC, Place, RecordError, decode};
use crate::types::PieceId;

/// Bytes read at once while records follow each other.
const WINDOW_BYTES: usize = 16 << 10;
/// Bytes read at once while looking for the next record.
const SEARCH_BYTES: usize = 256 << 10;

/// What stands at some place of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A record whose body, too, is within the log.
    Record { header: Header, offset: u64 },
    /// Bytes that are no record, up to the next one or the end.
    Damage { offset: u64, length: u64 },
}

/// A walk through one log. Reads headers and skips bodies.
pub(super) struct Scan {
    log: Arc<LogFile>,
    length: u64,
    offset: u64,
    window: Vec<u8>,
    window_at: u64,
    /// Pieces whose header is there and whose body the end of the log cuts off.
    pub cut: Vec<PieceId>,
}

impl Scan {
    pub(super) fn new(log: Arc<LogFile>, offset: u64, length: u64) -> Scan {
        Scan { log, length, offset, window: Vec::new(), window_at: 0, cut: Vec::new() }
    }

    pub(super) fn log(&self) -> &LogFile {
        &self.log
    }

    pub(super) fn number(&self) -> u32 {
        self.log.number
    }

    /// The next record or damaged stretch; `None` at the end. Fails only on an
    /// intact record of a format that is not known.
    pub(super) fn next(&mut self) -> Result<Option<Found>, StoreError> {
        if self.offset >= self.length {
            return Ok(None);
        }
        let offset = self.offset;
        if let Some(header) = self.record_at(offset)? {
            self.offset += header.record_bytes();
            return Ok(Some(Found::Record { header, offset }));
        }
        self.offset = self.search(offset + 1)?;
        Ok(Some(Found::Damage { offset, length: self.offset - offset }))
    }

    fn record_at(&mut self, offset: u64) -> Result<Option<Header>, StoreError> {
        let place = Place { log: self.log.number, offset };
        let inside = offset >= self.window_at && offset + HEADER_BYTES as u64 <= self.window_end();
        if !inside {
            self.fill(offset, WINDOW_BYTES);
        }
        let bytes = &self.window[(offset - self.window_at) as usize..];
        match decode(bytes, place) {
            Ok(header) if offset + header.record_bytes() <= self.length => Ok(Some(header)),
            Ok(header) => {
                self.cut.push(header.id);
                Ok(None)
            }
            Err(RecordError::Format(found)) => Err(StoreError::Version { found }),
            Err(_) => Ok(None),
        }
    }

    fn search(&mut self, from: u64) -> Result<u64, StoreError> {
        let mut at = from;
        while at + HEADER_BYTES as u64 <= self.length {
            self.fill(at, SEARCH_BYTES);
            let starts: Vec<u64> = positions(&self.window).map(|position| at + position as u64).collect();
            let next = self.window_end() - (MAGIC.len() as u64 - 1);
            for start in starts {
                if self.record_at(start)?.is_some() {
                    return Ok(start);
                }
            }
            at = next;
        }
        Ok(self.length)
    }

    fn window_end(&self) -> u64 {
        self.window_at + self.window.len() as u64
    }

    /// Reads a window. What the disk does not give counts as zeros, which are
    /// no record.
    fn fill(&mut self, offset: u64, bytes: usize) {
        let bytes = (self.length - offset).min(bytes as u64) as usize;
        self.window.clear();
        self.window.resize(bytes, 0);
        self.window_at = offset;
        if self.log.file.read_exact_at(&mut self.window, offset).is_err() {
            self.window.fill(0);
        }
    }
}

fn positions(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC).map(|(position, _)| position)
}
