//! One log file: its name, its handle, and reading pieces out of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::StoreError;
use super::index::Entry;
use super::record::{HEADER_BYTES, Header, Kind, body_checksum, decode};
use crate::types::PieceId;

/// An open log. Readers share the handle; it outlives the file's name.
#[derive(Debug)]
pub(super) struct LogFile {
    pub number: u32,
    pub path: PathBuf,
    pub file: File,
}

/// Stands for the identity of a log whose first record is damaged.
pub(super) const NO_IDENTITY: PieceId = PieceId::from_bytes([0; PieceId::BYTES]);

/// The file in a store's folder that is locked while the store is open.
pub(super) const LOCK: &str = "lock";

/// The folder of the logs.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("logs")
}

/// The path of a log.
pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    folder(dir).join(format!("{number:08x}.log"))
}

/// The number in a log's file name.
pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().filter(|number| *number > 0 && format!("{number:08x}") == digits)
}

impl LogFile {
    /// The whole record of a piece: its header and body, with the body's
    /// checksum verified.
    pub(super) fn read_piece(&self, id: &PieceId, entry: &Entry) -> Result<(Header, Bytes), StoreError> {
        let (header, body) = self.read_unverified(id, entry)?;
        if body_checksum(&body) == header.body_checksum { Ok((header, body)) } else { Err(damaged(id)) }
    }

    /// The whole record of a piece, whatever has become of its body.
    pub(super) fn read_unverified(&self, id: &PieceId, entry: &Entry) -> Result<(Header, Bytes), StoreError> {
        let length = HEADER_BYTES + entry.length as usize;
        let record = self.read(u64::from(entry.offset), length).map_err(|_| damaged(id))?;
        let header = decode(&record, entry.place()).map_err(|_| damaged(id))?;
        if header.kind != Kind::Piece || header.id != *id || header.length != entry.length {
            return Err(damaged(id));
        }
        Ok((header, Bytes::from(record).slice(HEADER_BYTES..)))
    }

    /// Some bytes of a piece. Not verified: whoever reads shares has a MAC for
    /// each of them.
    pub(super) fn read_range(&self, id: &PieceId, entry: &Entry, start: u32, end: u32) -> Result<Bytes, StoreError> {
        let offset = u64::from(entry.offset) + HEADER_BYTES as u64 + u64::from(start);
        let bytes = self.read(offset, (end - start) as usize).map_err(|_| damaged(id))?;
        Ok(Bytes::from(bytes))
    }

    /// Exactly `length` bytes, into memory that was not zeroed before: for a
    /// piece of 2 MiB that would cost as much as reading it.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Bytes that the file has now.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

fn damaged(id: &PieceId) -> StoreError {
    StoreError::Damaged { id: *id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_store_gives_are_logs() {
        assert_eq!(number("0000000a.log"), Some(10));
        for other in ["00000000.log", "0000000A.log", "a.log", "0000000a.log.tmp", "+000000a.log", ""] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
