//! Reading the logs back into the index.
//!
//! The last batch of a log may never have been acknowledged, and then its
//! bodies may not have reached the disk although its headers did. So the bodies
//! of that batch are verified, from the disk and not from the page cache,
//! unless the next log says that the batch is durable.

use std::collections::HashSet;
use std::sync::Arc;

use super::disk::{Disk, no_room};
use super::index::{Entry, Index};
use super::log::LogFile;
use super::record::{Header, Kind, Place};
use super::scan::{Found, Scan};
use super::{OpenReport, PieceState, StoreError};
use crate::types::PieceId;

/// Which bodies of a log need not be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// All: the log is known to be durable.
    Everything,
    /// The last batch may be torn.
    AllButLastBatch,
    /// The log was changed from outside.
    Nothing,
}

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogEnd {
    /// Where the last good record ends.
    pub good: u64,
    /// A record with a bad body stands before a good one of the last batch.
    pub unclean: bool,
    /// After the last record there is something that is none.
    pub noisy: bool,
}

/// Reading in progress.
pub(super) struct Replay<'a> {
    pub index: &'a mut Index,
    pub report: &'a mut OpenReport,
    disk: &'a dyn Disk,
    /// The highest sequence number seen.
    pub position: u64,
    /// Pieces that a purge record named.
    pub purged: HashSet<PieceId>,
    /// Pieces whose records end badly in logs that are not the newest.
    pub suspects: Vec<PieceId>,
}

type Pending = Vec<(Header, u64)>;

impl<'a> Replay<'a> {
    pub(super) fn new(
        index: &'a mut Index,
        report: &'a mut OpenReport,
        disk: &'a dyn Disk,
        position: u64,
    ) -> Replay<'a> {
        Replay { index, report, disk, position, purged: HashSet::new(), suspects: Vec::new() }
    }

    /// Applies a log's records from `start` on.
    pub(super) fn log(&mut self, number: u32, start: u64, trust: Trust) -> Result<LogEnd, StoreError> {
        let (file, length) = (Arc::clone(&self.index.logs[&number].file), self.index.logs[&number].length);
        if start >= length {
            return Ok(LogEnd { good: length, unclean: false, noisy: false });
        }
        if trust != Trust::Everything {
            self.settle(&file)?;
        }
        let mut scan = Scan::new(Arc::clone(&file), start, length);
        let mut pending = Pending::new();
        let mut good = start;
        let mut damage = None;
        while let Some(found) = scan.next()? {
            match found {
                Found::Damage { offset, length } => damage = Some((offset, length)),
                Found::Record { header, offset } => {
                    self.report.damaged_records += u64::from(damage.take().is_some());
                    self.report.records_read += 1;
                    if header.first_of_batch {
                        good = self.flush(&file, &mut pending, trust).unwrap_or(good);
                    }
                    pending.push((header, offset));
                }
            }
        }
        self.report.torn.append(&mut scan.cut);
        let end = self.finish(&file, pending, trust, good);
        Ok(LogEnd { noisy: damage.is_some(), ..end })
    }

    /// Makes what the file holds durable and drops it from the page cache: after
    /// a failed fsync the cache may show what the disk never got. What a full
    /// disk had no room for is read as it is there, and so not taken for whole.
    fn settle(&self, file: &LogFile) -> Result<(), StoreError> {
        match self.disk.sync(&file.file) {
            Err(error) if !no_room(&error) => return Err(StoreError::io("syncing", &file.path, &error)),
            _ => {}
        }
        let _ = rustix::fs::fadvise(&file.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    }

    fn flush(&mut self, file: &LogFile, pending: &mut Pending, trust: Trust) -> Option<u64> {
        let mut end = None;
        for (header, offset) in pending.drain(..) {
            if trust == Trust::Nothing && !intact(file, &header, offset) {
                self.report.damaged_records += 1;
                self.report.lost.push(header.id);
            }
            end = Some(offset + header.record_bytes());
            self.apply(file, &header, offset);
        }
        end
    }

    fn finish(&mut self, file: &LogFile, mut pending: Pending, trust: Trust, good: u64) -> LogEnd {
        if trust == Trust::Everything {
            let good = self.flush(file, &mut pending, trust).unwrap_or(good);
            return LogEnd { good, unclean: false, noisy: false };
        }
        let mut end = LogEnd { good, unclean: false, noisy: false };
        let mut bad = false;
        for (header, offset) in pending {
            let intact = intact(file, &header, offset);
            if !intact && self.only_copy(&header) {
                self.report.damaged_records += 1;
                self.report.lost.push(header.id);
            }
            if intact || self.only_copy(&header) {
                end = LogEnd { good: offset + header.record_bytes(), unclean: bad, noisy: false };
                self.apply(file, &header, offset);
            } else {
                bad = true;
                self.report.torn.push(header.id);
            }
        }
        end
    }

    /// Whether this is what compaction kept of a piece, which has no other
    /// record. It was durable before the other one went, so if its body is bad
    /// now, it was when it was moved: not torn, and some of it may be good.
    fn only_copy(&self, header: &Header) -> bool {
        let known = self.index.pieces.get(&header.id);
        let elsewhere = known.is_some_and(|entry| self.index.logs.contains_key(&entry.log));
        header.moved && !elsewhere && !self.purged.contains(&header.id)
    }

    fn apply(&mut self, file: &LogFile, header: &Header, offset: u64) {
        self.position = self.position.max(header.sequence);
        if header.kind == Kind::Purge {
            self.purged.insert(header.id);
        }
        self.index.apply(header, Place { log: file.number, offset });
    }
}

fn intact(file: &LogFile, header: &Header, offset: u64) -> bool {
    let Ok(offset) = u32::try_from(offset) else { return false };
    let entry = Entry {
        sequence: header.sequence,
        epoch: header.epoch,
        log: file.number,
        offset,
        length: header.length,
        state: PieceState::Live,
    };
    header.kind != Kind::Piece || file.read_piece(&header.id, &entry).is_ok()
}
