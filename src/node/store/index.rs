//! Where every piece is: the map that is kept in memory, and the one rule by
//! which records change it. Reading the logs anew and serving requests apply
//! the same records in the same order, so both arrive at the same map.
//!
//! The rule: records are applied in the order in which they stand (log number,
//! then offset), which is the order in which they were written. The record with
//! the highest sequence number decides about a piece; of two records with the
//! same number (a piece and the copy that compaction made of it) the later one
//! is used. A copy carries the number and the state that the piece had when it
//! was copied, so no older record can change it back.
//!
//! A piece record that no longer counts is a *grave* in its log until that log
//! is unlinked. A purge record must be kept as long as any log but its own has
//! a grave of its piece: without it, reading that log anew would bring the
//! piece back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::log::LogFile;
use super::record::{HEADER_BYTES, Header, Kind, Place};
use super::{PieceInfo, PieceState};
use crate::types::{Epoch, PieceId};

/// Where one piece is, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub sequence: u64,
    pub epoch: Epoch,
    pub log: u32,
    pub offset: u32,
    pub length: u32,
    pub state: PieceState,
}

/// One log and the bytes in it.
pub(super) struct LogState {
    pub file: Arc<LogFile>,
    pub identity: PieceId,
    /// Bytes of the file.
    pub length: u64,
    pub live: u64,
    pub trash: u64,
    /// Bytes of records that are not pieces.
    pub overhead: u64,
    /// Compaction looked at it, to no avail, when it had this many dead bytes.
    pub futile_at: Option<u64>,
}

/// All pieces and all logs.
#[derive(Default)]
pub(super) struct Index {
    pub pieces: BTreeMap<PieceId, Entry>,
    pub logs: BTreeMap<u32, LogState>,
    pub graves: BTreeSet<(PieceId, u32)>,
    pub trashed: u64,
    /// Up to which sequence number the checkpoint on disk knows of everything,
    /// if there is one. It may list pieces that were purged later, so these
    /// purge records are kept, too.
    pub remembered: Option<u64>,
}

impl Entry {
    pub(super) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.length)
    }

    pub(super) fn place(&self) -> Place {
        Place { log: self.log, offset: u64::from(self.offset) }
    }

    pub(super) fn info(&self) -> PieceInfo {
        PieceInfo { length: u64::from(self.length), epoch: self.epoch, state: self.state }
    }
}

impl LogState {
    pub(super) fn new(file: Arc<LogFile>, identity: PieceId, length: u64) -> LogState {
        LogState { file, identity, length, live: 0, trash: 0, overhead: 0, futile_at: None }
    }

    /// Bytes that compaction gives back for certain.
    pub(super) fn dead(&self) -> u64 {
        self.length.saturating_sub(self.live + self.trash + self.overhead)
    }
}

impl Index {
    /// Applies one record that stands at `place`. The log must be known.
    pub(super) fn apply(&mut self, header: &Header, place: Place) {
        if header.kind != Kind::Piece
            && let Some(log) = self.logs.get_mut(&place.log)
        {
            log.overhead += HEADER_BYTES as u64;
        }
        match header.kind {
            Kind::Log => {}
            Kind::Piece => self.apply_piece(header, place),
            Kind::Trash => self.set_state(header, PieceState::Trash),
            Kind::Restore => self.set_state(header, PieceState::Live),
            Kind::Purge => self.apply_purge(header),
        }
    }

    fn apply_piece(&mut self, header: &Header, place: Place) {
        let state = if header.in_trash { PieceState::Trash } else { PieceState::Live };
        let Ok(offset) = u32::try_from(place.offset) else { return };
        let entry = Entry {
            sequence: header.sequence,
            epoch: header.epoch,
            log: place.log,
            offset,
            length: header.length,
            state,
        };
        match self.pieces.get(&header.id) {
            Some(known) if known.place() == place => {}
            Some(known) if known.sequence > header.sequence => {
                self.graves.insert((header.id, place.log));
            }
            _ => {
                self.remove(&header.id);
                self.insert(header.id, entry);
            }
        }
    }

    fn set_state(&mut self, header: &Header, state: PieceState) {
        let Some(entry) = self.pieces.get(&header.id).copied() else { return };
        if header.sequence >= entry.sequence {
            self.count(&entry, false);
            let changed = Entry { state, sequence: header.sequence, ..entry };
            self.count(&changed, true);
            self.pieces.insert(header.id, changed);
        }
    }

    fn apply_purge(&mut self, header: &Header) {
        if self.pieces.get(&header.id).is_some_and(|entry| header.sequence >= entry.sequence) {
            self.remove(&header.id);
        }
    }

    /// Adds a piece that is not there.
    pub(super) fn insert(&mut self, id: PieceId, entry: Entry) {
        self.count(&entry, true);
        self.pieces.insert(id, entry);
    }

    /// Takes a piece out; its record becomes a grave, unless its log is gone.
    pub(super) fn remove(&mut self, id: &PieceId) {
        if let Some(entry) = self.pieces.remove(id) {
            self.count(&entry, false);
            if self.logs.contains_key(&entry.log) {
                self.graves.insert((*id, entry.log));
            }
        }
    }

    /// Adds a piece's bytes to its log, or takes them off.
    pub(super) fn count(&mut self, entry: &Entry, add: bool) {
        count(&mut self.logs, &mut self.trashed, entry, add);
    }

    /// Whether a log other than `except` has a record of this piece that no
    /// longer counts.
    pub(super) fn buried_elsewhere(&self, id: &PieceId, except: u32) -> bool {
        self.graves.range((*id, 0)..=(*id, u32::MAX)).any(|(_, log)| *log != except)
    }

    /// Forgets an unlinked log, in which these pieces had records.
    pub(super) fn forget_log(&mut self, number: u32, ids: &[PieceId]) {
        self.logs.remove(&number);
        for id in ids {
            self.graves.remove(&(*id, number));
        }
        // What was kept because of this log may be droppable now.
        self.logs.values_mut().for_each(|log| log.futile_at = None);
    }

    /// Takes note of the checkpoint that is on disk now.
    pub(super) fn remember(&mut self, position: u64) {
        self.remembered = Some(position);
        self.logs.values_mut().for_each(|log| log.futile_at = None);
    }
}

/// Adds a piece's bytes to its log, or takes them off.
pub(super) fn count(logs: &mut BTreeMap<u32, LogState>, trashed: &mut u64, entry: &Entry, add: bool) {
    let in_trash = entry.state == PieceState::Trash;
    if in_trash {
        *trashed = if add { *trashed + 1 } else { *trashed - 1 };
    }
    if let Some(log) = logs.get_mut(&entry.log) {
        let bytes = if in_trash { &mut log.trash } else { &mut log.live };
        *bytes = if add { *bytes + entry.record_bytes() } else { bytes.saturating_sub(entry.record_bytes()) };
    }
}
