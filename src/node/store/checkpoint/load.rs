//! Reading a checkpoint. What is not exactly one is none at all.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crc_fast::{CrcAlgorithm, Digest};

use super::{
    CHECKSUM_BYTES, Checkpoint, FIXED_BYTES, FORMAT, LogMark, MAGIC, PAGE_ENTRIES_MAX, PAGE_HEAD_BYTES, Page,
    TRASH_BIT, path,
};
use crate::node::store::PieceState;
use crate::node::store::index::Entry;
use crate::types::{Epoch, PieceId};

/// Reads the checkpoint of a folder; `None` if there is none that can be believed.
pub(in crate::node::store) fn load(dir: &Path) -> Option<Checkpoint> {
    let file = File::open(path(dir)).ok()?;
    let length = file.metadata().ok()?.len();
    read(BufReader::with_capacity(256 << 10, file), length).ok().flatten()
}

/// Reads a checkpoint of `length` bytes. Takes no more memory than a small
/// multiple of that, whatever the bytes are.
pub(in crate::node::store) fn read(reader: impl Read, length: u64) -> io::Result<Option<Checkpoint>> {
    let mut source = Source { reader, digest: Digest::new(CrcAlgorithm::Crc64Nvme), page: Vec::new() };
    let Some(mut checkpoint) = source.head()? else { return Ok(None) };
    // Nearly all of it is pieces; one allocation for them instead of doublings.
    checkpoint.pieces.reserve_exact((length / Page::Pieces.entry_bytes() as u64) as usize);
    loop {
        let Some(page) = source.page()? else { return Ok(None) };
        let entries = source.page.chunks_exact(page.entry_bytes().max(1));
        match page {
            Page::End => break,
            Page::Logs => checkpoint.logs.extend(entries.map(mark)),
            Page::Pieces => checkpoint.pieces.extend(entries.map(piece)),
            Page::Graves => checkpoint.graves.extend(entries.map(|bytes| (id(bytes), u32_at(bytes, 16)))),
            Page::Damaged => checkpoint.damaged.extend(entries.map(id)),
        }
    }
    let computed = source.digest.finalize();
    let mut checksum = [0; CHECKSUM_BYTES];
    source.reader.read_exact(&mut checksum)?;
    let whole = u64::from_le_bytes(checksum) == computed && source.reader.read(&mut [0])? == 0;
    Ok(whole.then_some(checkpoint))
}

struct Source<R> {
    reader: R,
    digest: Digest,
    /// The entries of the page that was read last.
    page: Vec<u8>,
}

impl<R: Read> Source<R> {
    fn head(&mut self) -> io::Result<Option<Checkpoint>> {
        let mut head = [0; FIXED_BYTES];
        self.take(&mut head)?;
        let known = head[..8] == *MAGIC && u32_at(&head, 8) == FORMAT;
        let (next_log, position) = (u32_at(&head, 12), u64_at(&head, 16));
        Ok(known.then(|| Checkpoint { next_log, position, ..Checkpoint::default() }))
    }

    fn page(&mut self) -> io::Result<Option<Page>> {
        let mut head = [0; PAGE_HEAD_BYTES];
        self.take(&mut head)?;
        let (code, count) = (u32_at(&head, 0), u32_at(&head, 4) as usize);
        let page = Page::ALL.into_iter().find(|page| page.code() == code);
        let fits = |page: &Page| count <= PAGE_ENTRIES_MAX && (*page == Page::End) == (count == 0);
        let Some(page) = page.filter(fits) else { return Ok(None) };
        let mut bytes = std::mem::take(&mut self.page);
        bytes.resize(count * page.entry_bytes(), 0);
        self.take(&mut bytes)?;
        self.page = bytes;
        Ok(Some(page))
    }

    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(bytes)?;
        self.digest.update(bytes);
        Ok(())
    }
}

fn mark(bytes: &[u8]) -> LogMark {
    LogMark {
        number: u32_at(bytes, 0),
        identity: id(&bytes[8..]),
        length: u64_at(bytes, 24),
        overhead: u64_at(bytes, 32),
        modified_ns: u64_at(bytes, 40) as i64,
    }
}

fn piece(bytes: &[u8]) -> (PieceId, Entry) {
    let length = u32_at(bytes, 40);
    let entry = Entry {
        sequence: u64_at(bytes, 16),
        epoch: Epoch(u64_at(bytes, 24)),
        log: u32_at(bytes, 32),
        offset: u32_at(bytes, 36),
        length: length & !TRASH_BIT,
        state: if length & TRASH_BIT == 0 { PieceState::Live } else { PieceState::Trash },
    };
    (id(bytes), entry)
}

fn id(bytes: &[u8]) -> PieceId {
    let mut id = [0; PieceId::BYTES];
    id.copy_from_slice(&bytes[..PieceId::BYTES]);
    PieceId::from_bytes(id)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}
