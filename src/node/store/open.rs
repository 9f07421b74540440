//! Opening a folder: the checkpoint where it fits, the logs where it does not
//! reach, and an account of what was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoint::{self, Checkpoint};
use super::disk::{Disk, no_room};
use super::index::{Index, LogState};
use super::log::{self, LogFile, NO_IDENTITY};
use super::record::{HEADER_BYTES, Kind, Place, RecordError, decode};
use super::replay::{LogEnd, Replay, Trust};
use super::{OpenReport, StoreError};
use crate::types::PieceId;

/// Bytes of logs that were changed from outside whose bodies are read at open,
/// so that damage is known at once; beyond that, reads and audits find it.
const VERIFIED_BYTES_MAX: u64 = 4 << 30;

/// A folder that was opened.
pub(super) struct Opened {
    pub index: Index,
    pub report: OpenReport,
    pub lock: File,
    /// The log to append to, if the newest one can be trusted.
    pub active: Option<Arc<LogFile>>,
    /// The newest log, if all of it is durable.
    pub vouched: u32,
    pub next_log: u32,
    pub position: u64,
}

/// Opens a folder, or makes it.
pub(super) fn open(dir: &Path, log_bytes_max: u64, disk: &dyn Disk) -> Result<Opened, StoreError> {
    make_folders(dir, disk)?;
    let lock = take_lock(dir)?;
    let mut index = Index { logs: open_logs(dir, disk)?, ..Index::default() };
    let checkpoint = checkpoint::load(dir);
    let mut report = OpenReport::default();
    let misfits = checkpoint.as_ref().map(|checkpoint| misfits(checkpoint, &index));
    let fits = misfits.as_ref().is_some_and(|misfits| misfits.is_empty());
    report.from_checkpoint = fits;
    let (mut next_log, mut position) = (1, 0);
    let (mut expected, mut damaged) = (Vec::new(), Vec::new());
    let mut starts = BTreeMap::new();
    if let Some(mut checkpoint) = checkpoint {
        (next_log, position) = (checkpoint.next_log, checkpoint.position);
        index.remembered = Some(position);
        damaged = std::mem::take(&mut checkpoint.damaged);
        if fits {
            starts = checkpoint.logs.iter().map(|mark| (mark.number, mark.length)).collect();
            adopt(&mut index, checkpoint);
        } else {
            expected = checkpoint.pieces;
        }
    }
    let mut replay = Replay::new(&mut index, &mut report, disk, position);
    let last = replay_logs(&mut replay, &starts, &misfits.unwrap_or_default())?;
    let remembered = position;
    position = replay.position;
    let (purged, suspects) = (std::mem::take(&mut replay.purged), std::mem::take(&mut replay.suspects));
    let known = expected.iter().map(|(id, _)| *id).filter(|id| !purged.contains(id)).chain(suspects);
    let stored_anew = |id: &PieceId| index.pieces.get(id).is_some_and(|entry| entry.sequence > remembered);
    damaged.retain(|id| !purged.contains(id) && !stored_anew(id));
    report.lost.append(&mut damaged);
    find_lost(&mut index, &mut report, known);
    next_log = next_log.max(index.logs.keys().next_back().map_or(0, |newest| *newest) + 1);
    let (active, vouched) = resume(&mut index, &mut report, last, log_bytes_max, disk);
    report.pieces = index.pieces.len() as u64;
    let _ = std::fs::remove_file(checkpoint::unfinished_path(dir));
    Ok(Opened { index, report, lock, active, vouched, next_log, position })
}

fn make_folders(dir: &Path, disk: &dyn Disk) -> Result<(), StoreError> {
    let logs = log::folder(dir);
    let known = logs.is_dir();
    std::fs::create_dir_all(&logs).map_err(|error| StoreError::io("making", &logs, &error))?;
    match disk.sync_folder(dir) {
        // A full disk can give the pieces that it has.
        Err(error) if known && no_room(&error) => Ok(()),
        synced => synced.map_err(|error| StoreError::io("syncing", dir, &error)),
    }
}

/// How long a folder that is just being given free is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(log::LOCK);
    let failed = |error| StoreError::io("locking", &path, &error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A child that is being started holds its parent's locks until its program begins.
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_PATIENCE / 20),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

fn open_logs(dir: &Path, disk: &dyn Disk) -> Result<BTreeMap<u32, LogState>, StoreError> {
    let folder = log::folder(dir);
    let failed = |error| StoreError::io("reading", &folder, &error);
    let mut logs = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(number) = name.to_str().and_then(log::number) else { continue };
        let path = log::path(dir, number);
        let doing = |error| StoreError::io("opening", &path, &error);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(doing)?;
        let length = file.metadata().map_err(doing)?.len();
        if length == 0 {
            match disk.remove(&path) {
                // Some file systems need room for that, too. The next log gets another number.
                Err(error) if !no_room(&error) => return Err(doing(error)),
                _ => continue,
            }
        }
        let identity = identity(&file, number)?;
        let file = Arc::new(LogFile { number, path: path.clone(), file });
        logs.insert(number, LogState::new(file, identity, length));
    }
    Ok(logs)
}

/// The identity of a log, or zeros where its first record is damaged.
fn identity(file: &File, number: u32) -> Result<PieceId, StoreError> {
    Ok(head(file, number)?.map_or(NO_IDENTITY, |header| header.id))
}

fn head(file: &File, number: u32) -> Result<Option<super::record::Header>, StoreError> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; HEADER_BYTES];
    if file.read_exact_at(&mut bytes, 0).is_err() {
        return Ok(None);
    }
    match decode(&bytes, Place { log: number, offset: 0 }) {
        Ok(header) if header.kind == Kind::Log => Ok(Some(header)),
        Err(RecordError::Format(found)) => Err(StoreError::Version { found }),
        _ => Ok(None),
    }
}

/// The logs that a checkpoint does not fit: another identity, shorter than
/// what it covers, or changed since. Empty if it fits all of them.
fn misfits(checkpoint: &Checkpoint, index: &Index) -> BTreeSet<u32> {
    let newest = checkpoint.logs.last().map_or(0, |mark| mark.number);
    let marked: BTreeSet<u32> = checkpoint.logs.iter().map(|mark| mark.number).collect();
    let unknown = |number: &u32| !marked.contains(number);
    let mut misfits: BTreeSet<u32> = index.logs.range(..newest).map(|(number, _)| *number).filter(unknown).collect();
    for mark in &checkpoint.logs {
        let Some(log) = index.logs.get(&mark.number) else { continue };
        let grown = mark.number == newest && log.length > mark.length;
        let unchanged = log.length == mark.length
            && checkpoint::modified_ns(&log.file.file).is_ok_and(|modified| modified == mark.modified_ns);
        if log.identity == NO_IDENTITY || log.identity != mark.identity || !(grown || unchanged) {
            misfits.insert(mark.number);
        }
    }
    misfits
}

fn adopt(index: &mut Index, checkpoint: Checkpoint) {
    for mark in &checkpoint.logs {
        if let Some(log) = index.logs.get_mut(&mark.number) {
            log.overhead = mark.overhead;
        }
    }
    index.pieces = checkpoint.pieces.into_iter().collect();
    let Index { pieces, logs, trashed, .. } = index;
    for entry in pieces.values() {
        super::index::count(logs, trashed, entry, true);
    }
    index.graves = checkpoint.graves.into_iter().filter(|(_, log)| index.logs.contains_key(log)).collect();
}

/// Reads every log from where the checkpoint ends; returns how the newest ends.
fn replay_logs(
    replay: &mut Replay<'_>,
    starts: &BTreeMap<u32, u64>,
    misfits: &BTreeSet<u32>,
) -> Result<Option<(u32, LogEnd)>, StoreError> {
    let numbers: Vec<u32> = replay.index.logs.keys().copied().collect();
    let mut budget = VERIFIED_BYTES_MAX;
    let mut last = None;
    for (at, &number) in numbers.iter().enumerate() {
        let length = replay.index.logs[&number].length;
        let start = starts.get(&number).copied().unwrap_or(0);
        let trust = if misfits.contains(&number) && length <= budget {
            budget -= length;
            Trust::Nothing
        } else if vouched(replay.index, number, numbers.get(at + 1).copied())? {
            Trust::Everything
        } else {
            Trust::AllButLastBatch
        };
        if last.is_some_and(|(_, end): (u32, LogEnd)| end.noisy) {
            replay.report.damaged_records += 1;
        }
        replay.suspects.append(&mut replay.report.torn);
        last = Some((number, replay.log(number, start, trust)?));
    }
    Ok(last)
}

/// Whether the next log's first record says that all of this one is durable.
fn vouched(index: &Index, number: u32, next: Option<u32>) -> Result<bool, StoreError> {
    let Some(next) = next else { return Ok(false) };
    let header = head(&index.logs[&next].file.file, next)?;
    Ok(header.is_some_and(|header| header.epoch.0 == u64::from(number)))
}

/// Pieces that the checkpoint or a damaged log knew and that are nowhere now.
fn find_lost(index: &mut Index, report: &mut OpenReport, known: impl Iterator<Item = PieceId>) {
    let gone = |log: &u32| !index.logs.contains_key(log);
    let dangling: Vec<PieceId> = index.pieces.iter().filter(|(_, entry)| gone(&entry.log)).map(|(id, _)| *id).collect();
    for id in dangling {
        if let Some(entry) = index.pieces.remove(&id) {
            index.count(&entry, false);
        }
        report.lost.push(id);
    }
    report.lost.extend(known.filter(|id| !index.pieces.contains_key(id)));
    report.lost.sort_unstable();
    report.lost.dedup();
    report.torn.retain(|id| !index.pieces.contains_key(id));
}

/// Goes on with the newest log, if its end can be made clean.
fn resume(
    index: &mut Index,
    report: &mut OpenReport,
    last: Option<(u32, LogEnd)>,
    log_bytes_max: u64,
    disk: &dyn Disk,
) -> (Option<Arc<LogFile>>, u32) {
    let Some((number, end)) = last else { return (None, 0) };
    let Some(log) = index.logs.get_mut(&number) else { return (None, 0) };
    if end.unclean || end.good < HEADER_BYTES as u64 || log.identity == NO_IDENTITY {
        report.damaged_records += u64::from(end.noisy);
        return (None, 0);
    }
    if end.good < log.length {
        let cut = disk.truncate(&log.file.file, end.good).and_then(|()| disk.sync(&log.file.file));
        if cut.is_err() || log.file.length().ok() != Some(end.good) {
            log.length = log.file.length().unwrap_or(log.length);
            return (None, 0);
        }
        report.torn_bytes = log.length - end.good;
        log.length = end.good;
    }
    let active = (log.length < log_bytes_max).then(|| Arc::clone(&log.file));
    (active, number)
}
