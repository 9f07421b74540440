//! Compaction: what still counts in a log is written again, then the log is
//! unlinked.
//!
//! A crash in between leaves two copies of some pieces, with equal sequence
//! numbers and states; the rule of the index uses the later one and the other
//! is a grave. The log goes only once everything moved is durable, and its
//! graves are forgotten only once its absence is. Readers keep the handle of a
//! log that they read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::index::{Entry, Index, LogState};
use super::log::LogFile;
use super::queue::{Draft, Keep, Request};
use super::record::{HEADER_BYTES, Header, Kind, Place};
use super::scan::{Found, Scan};
use super::{CompactReport, PieceState, PieceStore, StoreError, blocking};
use crate::types::PieceId;

/// Bytes moved at once, at most, so that users' puts come in between.
const MOVE_BYTES: u64 = 4 << 20;
/// A log is worth rewriting when this share of it, in percent, comes back.
const WORTH_PERCENT: u64 = 25;
/// The same in a store that is nearly full.
const WORTH_PERCENT_FULL: u64 = 5;

/// Without hurry, compaction rests this many times as long as it worked: reads
/// and puts have the disk for the rest. A busy disk makes it slower by itself.
const REST: u32 = 3;
/// A rest lasts this long at most, however long the work took.
const REST_MAX: Duration = Duration::from_secs(2);

/// Whether compaction makes way for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Gentle,
    Fast,
}

/// A log to rewrite.
struct Victim {
    file: Arc<LogFile>,
    length: u64,
    /// Whether enough of it is known to be dead, or must be looked for.
    certain: bool,
    wanted: u64,
}

impl Index {
    /// Whether compaction of `log` must keep the record that stands there.
    pub(super) fn needs(&self, header: &Header, log: u32, offset: u64) -> bool {
        let entry = self.pieces.get(&header.id);
        match header.kind {
            Kind::Log => false,
            Kind::Piece => entry.is_some_and(|entry| entry.place() == Place { log, offset }),
            // A piece in this log takes its state with it.
            Kind::Trash | Kind::Restore => {
                entry.is_some_and(|entry| entry.log != log && entry.sequence == header.sequence)
            }
            Kind::Purge => {
                let newer = self.remembered.is_some_and(|position| header.sequence > position);
                entry.is_none() && (newer || self.buried_elsewhere(&header.id, log))
            }
        }
    }

    /// The log that gives back most, if it is worth the work.
    fn victim(&self, percent: u64) -> Option<Victim> {
        let wanted = |log: &LogState| (log.length * percent).div_ceil(100).max(1);
        let hoped = |log: &LogState| log.dead() + log.overhead.saturating_sub(HEADER_BYTES as u64);
        let candidates =
            self.logs.values().filter(|log| log.futile_at != Some(log.dead()) && hoped(log) >= wanted(log));
        let log = candidates.max_by_key(|log| (log.dead() >= wanted(log), log.dead(), hoped(log)))?;
        let certain = log.dead() >= wanted(log);
        Some(Victim { file: Arc::clone(&log.file), length: log.length, certain, wanted: wanted(log) })
    }
}

impl PieceStore {
    /// One step of compaction: rewrites the log that gives back most, if that
    /// is worth it (a quarter of the log, less in a full store). Call it again
    /// while the report says that space was freed. Giving up waiting for it is
    /// fine: what was moved until then is dead where it stood.
    pub async fn compact(&self) -> Result<CompactReport, StoreError> {
        self.compact_at(Pace::Fast).await
    }

    /// The same at a quarter of the speed, so that reads and puts keep theirs,
    /// unless room is short.
    pub async fn compact_gently(&self) -> Result<CompactReport, StoreError> {
        self.compact_at(Pace::Gentle).await
    }

    /// Whether puts may soon find no room: an eighth of the capacity is left,
    /// or less than compaction could give back.
    pub fn short_of_room(&self) -> bool {
        let usage = self.usage();
        let (room, disk) = (usage.writable_bytes, self.space().for_puts);
        room < usage.capacity_bytes.min(disk) / 8 || room < usage.dead_bytes
    }

    async fn compact_at(&self, pace: Pace) -> Result<CompactReport, StoreError> {
        let _one_at_a_time = self.inner.compaction.lock().await;
        let percent = if self.short_of_room() { WORTH_PERCENT_FULL } else { WORTH_PERCENT };
        let mut report = CompactReport::default();
        loop {
            let victim = self.inner.shared.index().victim(percent);
            let Some(victim) = victim else { break };
            if victim.certain || self.gain(&victim).await? >= victim.wanted {
                self.rewrite(&victim, pace, &mut report).await?;
                break;
            }
            self.give_up(&victim);
        }
        Ok(report)
    }

    /// Bytes that rewriting would give back.
    async fn gain(&self, victim: &Victim) -> Result<u64, StoreError> {
        let (shared, file, length) = (Arc::clone(&self.inner.shared), Arc::clone(&victim.file), victim.length);
        blocking(move || {
            let mut kept = HEADER_BYTES as u64;
            let mut scan = Scan::new(Arc::clone(&file), 0, length);
            while let Some(found) = scan.next()? {
                if let Found::Record { header, offset } = found
                    && shared.index().needs(&header, file.number, offset)
                {
                    kept += header.record_bytes();
                }
            }
            Ok(length.saturating_sub(kept))
        })
        .await
    }

    /// Leaves a log alone until something in it, or another log, has gone.
    fn give_up(&self, victim: &Victim) {
        if let Some(log) = self.inner.shared.index_mut().logs.get_mut(&victim.file.number) {
            log.futile_at = Some(log.dead());
        }
    }

    async fn rewrite(&self, victim: &Victim, pace: Pace, report: &mut CompactReport) -> Result<(), StoreError> {
        let number = victim.file.number;
        let newest = self.inner.shared.index().logs.keys().next_back() == Some(&number);
        if newest {
            self.ask(|reply| Request::Seal { reply }).await?;
        }
        // What was appended before the log was sealed counts too.
        let length = self.inner.shared.index().logs.get(&number).map_or(victim.length, |log| log.length);
        let mut scan = Scan::new(Arc::clone(&victim.file), 0, length);
        let mut ids = Vec::new();
        loop {
            let began = Instant::now();
            let part = self.read_part(scan, report, &mut ids).await?;
            scan = part.scan;
            if part.records.is_empty() && part.ended {
                break;
            }
            let records = part.records;
            report.moved_bytes += self.ask(|reply| Request::Move { log: number, records, reply }).await?;
            if pace == Pace::Gentle && !self.short_of_room() {
                tokio::time::sleep((began.elapsed() * REST).min(REST_MAX)).await;
            }
        }
        if self.ask(|reply| Request::Unlink { log: number, ids, reply }).await? {
            report.log = Some(number);
            report.freed_bytes = length.saturating_sub(report.moved_bytes);
        } else {
            self.give_up(victim);
            report.lost.extend(self.stranded(number));
        }
        Ok(())
    }

    async fn read_part(
        &self,
        scan: Scan,
        report: &mut CompactReport,
        ids: &mut Vec<PieceId>,
    ) -> Result<Part, StoreError> {
        let shared = Arc::clone(&self.inner.shared);
        let mut part = blocking(move || {
            let mut part = Part { ids: Vec::new(), records: Vec::new(), lost: Vec::new(), ended: false, scan };
            let mut bytes = 0;
            while bytes < MOVE_BYTES {
                let Some(found) = part.scan.next()? else {
                    part.ended = true;
                    break;
                };
                let Found::Record { header, offset } = found else { continue };
                if header.kind == Kind::Piece {
                    part.ids.push(header.id);
                }
                if shared.index().needs(&header, part.scan.number(), offset) {
                    bytes += header.record_bytes();
                    part.keep(header, offset);
                }
            }
            Ok(part)
        })
        .await?;
        ids.append(&mut part.ids);
        self.inner.shared.damage.note(part.lost.iter().copied());
        report.lost.append(&mut part.lost);
        Ok(part)
    }

    /// Pieces of a log that could not be moved because it is damaged.
    fn stranded(&self, log: u32) -> Vec<PieceId> {
        let index = self.inner.shared.index();
        let ids: Vec<PieceId> = index.pieces.iter().filter(|(_, entry)| entry.log == log).map(|(id, _)| *id).collect();
        drop(index);
        self.inner.shared.damage.note(ids.iter().copied());
        ids
    }

    /// Sends the writer a request and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        request: impl FnOnce(super::queue::Reply<T>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.inner.shared.queue.push(request(reply));
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Some records of a victim.
struct Part {
    scan: Scan,
    ids: Vec<PieceId>,
    records: Vec<Keep>,
    lost: Vec<PieceId>,
    ended: bool,
}

impl Part {
    /// Reads a record's body. A body that does not match its checksum moves as
    /// it is, checksum included: some of its shares may still be good.
    fn keep(&mut self, header: Header, offset: u64) {
        let body = match header.kind {
            Kind::Piece => self.read(&header, offset),
            _ => Some(Bytes::new()),
        };
        match body {
            Some(body) => self.records.push(Keep { draft: Draft { header, body }, offset }),
            None => self.lost.push(header.id),
        }
    }

    fn read(&mut self, header: &Header, offset: u64) -> Option<Bytes> {
        let entry = Entry {
            sequence: header.sequence,
            epoch: header.epoch,
            log: self.scan.number(),
            offset: u32::try_from(offset).ok()?,
            length: header.length,
            state: PieceState::Live,
        };
        let (_, body) = self.scan.log().read_unverified(&header.id, &entry).ok()?;
        if super::record::body_checksum(&body) != header.body_checksum {
            self.lost.push(header.id);
        }
        Some(body)
    }
}
