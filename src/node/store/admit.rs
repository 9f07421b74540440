//! What goes into a batch: each request is judged against the index, as the
//! only one that changes it, before anything is written.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::queue::{Change, Draft, Keep, Reply, Stored};
use super::record::{HEADER_BYTES, Header, Kind, body_checksum};
use super::room::Space;
use super::usage::{self, writable_bytes};
use super::writer::{LOG_HEAD_BYTES, Writer};
use super::{LogPosition, PieceState, StoreError};
use crate::types::{Epoch, PieceId};

/// Records to write together, and who waits for them.
#[derive(Default)]
pub(super) struct Batch {
    pub drafts: Vec<Draft>,
    pub answers: Vec<Answer>,
    bytes: u64,
    /// What puts may still take, as of the beginning of the batch.
    room: Option<u64>,
}

/// Someone who waits for a batch.
pub(super) enum Answer {
    Put { draft: usize, reply: Reply<Stored> },
    Change { count: usize, reply: Reply<usize> },
    Move { bytes: u64, reply: Reply<u64> },
}

impl Answer {
    /// Tells how the batch ended.
    pub(super) fn give(self, drafts: &[Draft], result: &Result<(), StoreError>) {
        // Whoever no longer listens has given up waiting.
        let _ = match self {
            Answer::Put { draft, reply } => {
                let position = LogPosition(drafts[draft].header.sequence);
                reply.send(result.clone().map(|()| Stored::At(position))).is_ok()
            }
            Answer::Change { count, reply } => reply.send(result.clone().map(|()| count)).is_ok(),
            Answer::Move { bytes, reply } => reply.send(result.clone().map(|()| bytes)).is_ok(),
        };
    }
}

impl Batch {
    fn push(&mut self, draft: Draft) {
        self.bytes += draft.header.record_bytes();
        self.drafts.push(draft);
    }
}

impl Writer {
    pub(super) fn admit_put(
        &mut self,
        batch: &mut Batch,
        draft: Draft,
        replacing: Option<(u32, u32)>,
        reply: Reply<Stored>,
    ) {
        // A put that was given up before its turn costs no disk.
        if reply.is_closed() {
            return;
        }
        let known = self.shared.index().pieces.get(&draft.header.id).map(|entry| (entry.log, entry.offset));
        if known.is_some() && known != replacing {
            let _ = reply.send(Ok(Stored::Raced));
            return;
        }
        let needed_bytes = draft.header.record_bytes();
        let room = *batch.room.get_or_insert_with(|| self.room());
        let taken = batch.bytes + needed_bytes + usage::KEPT_BYTES * (batch.drafts.len() as u64 + 1);
        if taken > room {
            let writable_bytes = room.saturating_sub(batch.bytes);
            let _ = reply.send(Err(StoreError::Full { needed_bytes, writable_bytes }));
            return;
        }
        batch.answers.push(Answer::Put { draft: batch.drafts.len(), reply });
        batch.push(draft);
    }

    /// Bytes that puts may take now: of the promised capacity, and of the disk.
    fn room(&self) -> u64 {
        if self.shared.room.was_used_up() {
            return 0;
        }
        let promised =
            writable_bytes(&self.shared.index(), self.shared.checkpoint_bytes.load(Ordering::Relaxed), &self.options);
        promised.min(Space::of(&*self.disk, &self.dir).for_puts).saturating_sub(LOG_HEAD_BYTES)
    }

    pub(super) fn admit_change(&mut self, batch: &mut Batch, change: Change, ids: &[PieceId], reply: Reply<usize>) {
        let (needed, kind) = match change {
            Change::Trash => (PieceState::Live, Kind::Trash),
            Change::Restore => (PieceState::Trash, Kind::Restore),
            Change::Purge => (PieceState::Trash, Kind::Purge),
        };
        let mut seen = HashSet::new();
        let before = batch.drafts.len();
        for id in ids.iter().filter(|id| seen.insert(**id)) {
            let applies = self.shared.index().pieces.get(id).is_some_and(|entry| entry.state == needed);
            if applies {
                batch.push(note(kind, *id));
            }
        }
        batch.answers.push(Answer::Change { count: batch.drafts.len() - before, reply });
    }

    /// Takes over from compaction what still counts, as it is now.
    pub(super) fn admit_move(&mut self, batch: &mut Batch, log: u32, records: Vec<Keep>, reply: Reply<u64>) {
        let before = batch.bytes;
        for keep in records {
            if let Some(draft) = self.still_needed(log, keep) {
                batch.push(draft);
            }
        }
        batch.answers.push(Answer::Move { bytes: batch.bytes - before, reply });
    }

    fn still_needed(&self, log: u32, keep: Keep) -> Option<Draft> {
        let index = self.shared.index();
        let mut draft = keep.draft;
        if !index.needs(&draft.header, log, keep.offset) {
            return None;
        }
        draft.header.moved = true;
        if let Some(entry) = index.pieces.get(&draft.header.id)
            && draft.header.kind == Kind::Piece
        {
            draft.header.sequence = entry.sequence;
            draft.header.in_trash = entry.state == PieceState::Trash;
        }
        Some(draft)
    }
}

fn note(kind: Kind, id: PieceId) -> Draft {
    let header = Header {
        kind,
        first_of_batch: false,
        moved: false,
        in_trash: false,
        id,
        epoch: Epoch(0),
        sequence: 0,
        length: 0,
        body_checksum: body_checksum(&[]),
    };
    debug_assert_eq!(header.record_bytes(), HEADER_BYTES as u64);
    Draft { header, body: Default::default() }
}
