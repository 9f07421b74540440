//! A model and crashes: random operations against a map, with an image of the
//! folder taken before every single thing that is done to the disk. Each image
//! is opened as it is, and as it would be had the disk lost, cut or zeroed
//! what was not synced yet.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::disk::Disk;
use super::super::{LogPosition, PieceState, PieceStore, StoreOptions};
use super::{assert_adds_up, body, compact_all, id, open, quick_folder, whole};
use crate::types::Epoch;

const IDS: u64 = 12;
const OPTIONS: StoreOptions = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: 3000 };

/// What a piece is in the model: its bytes and state, if it is there.
type Piece = Option<(Bytes, PieceState)>;
type Model = BTreeMap<u64, Piece>;

/// The folder's files, and how many bytes of each are durable.
#[derive(Clone, Default)]
struct Image {
    files: BTreeMap<PathBuf, (Vec<u8>, usize)>,
}

#[derive(Default)]
struct Recorded {
    synced: HashMap<u64, u64>,
    /// Checkpoints that were finished while something else went on or at a close.
    checkpoints: usize,
    /// Files whose removal is not durable yet.
    removed: BTreeMap<PathBuf, Vec<u8>>,
    images: Vec<Image>,
}

/// A disk that takes an image before everything that changes it.
struct Recorder {
    dir: PathBuf,
    recorded: Mutex<Recorded>,
    /// One thing at a time, so that an image is of one moment.
    turn: Mutex<()>,
}

impl Recorder {
    /// Takes an image; nothing else is done until the turn is over.
    fn snap(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().unwrap();
        let mut recorded = self.recorded.lock().unwrap();
        let mut image = Image::default();
        for folder in [self.dir.clone(), self.dir.join("logs")] {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
                let inode = path.metadata().unwrap().ino();
                let synced = recorded.synced.get(&inode).copied().unwrap_or(0) as usize;
                let name = path.strip_prefix(&self.dir).unwrap().to_owned();
                image.files.insert(name, (std::fs::read(&path).unwrap(), synced));
            }
        }
        recorded.images.push(image.clone());
        if !recorded.removed.is_empty() {
            let back = recorded.removed.iter().map(|(name, bytes)| (name.clone(), (bytes.clone(), bytes.len())));
            image.files.extend(back);
            recorded.images.push(image);
        }
        drop(recorded);
        turn
    }

    fn take(&self) -> Vec<Image> {
        drop(self.snap());
        std::mem::take(&mut self.recorded.lock().unwrap().images)
    }
}

impl Disk for Recorder {
    fn create(&self, path: &Path) -> io::Result<File> {
        let _turn = self.snap();
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        self.recorded.lock().unwrap().synced.insert(file.metadata()?.ino(), 0);
        Ok(file)
    }

    fn write_at(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let _turn = self.snap();
        Ok(rustix::io::pwritev(file, slices, offset)?)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let _turn = self.snap();
        let found = file.metadata()?;
        self.recorded.lock().unwrap().synced.insert(found.ino(), found.len());
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let _turn = self.snap();
        self.recorded.lock().unwrap().removed.clear();
        Ok(())
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        let _turn = self.snap();
        file.set_len(length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _turn = self.snap();
        self.recorded.lock().unwrap().checkpoints += 1;
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let _turn = self.snap();
        let name = path.strip_prefix(&self.dir).unwrap().to_owned();
        self.recorded.lock().unwrap().removed.insert(name, std::fs::read(path)?);
        std::fs::remove_file(path)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Puts(Vec<(u64, Bytes)>),
    Trash(Vec<u64>),
    Restore(Vec<u64>),
    Purge(Vec<u64>),
    Compact,
    Reopen { clean: bool },
}

fn step(dice: &mut SmallRng, model: &Model) -> Step {
    let some = |dice: &mut SmallRng| (0..dice.random_range(1..4)).map(|_| dice.random_range(0..IDS)).collect();
    match dice.random_range(0..100) {
        0..40 => {
            let mut ids: Vec<u64> = some(dice);
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|number| model.get(number).is_none_or(Option::is_none));
            Step::Puts(ids.into_iter().map(|number| (number, body(dice.random(), dice.random_range(0..600)))).collect())
        }
        40..55 => Step::Trash(some(dice)),
        55..62 => Step::Restore(some(dice)),
        62..75 => Step::Purge(some(dice)),
        75..92 => Step::Compact,
        choice => Step::Reopen { clean: choice % 2 == 0 },
    }
}

/// What the step makes of the model.
fn after(model: &Model, step: &Step) -> Model {
    let mut model = model.clone();
    let mut change = |ids: &[u64], from: PieceState, to: Option<PieceState>| {
        for number in ids {
            if let Some(piece) = model.get_mut(number)
                && piece.as_ref().is_some_and(|(_, state)| *state == from)
            {
                *piece = to.and_then(|to| piece.take().map(|(bytes, _)| (bytes, to)));
            }
        }
    };
    match step {
        Step::Trash(ids) => change(ids, PieceState::Live, Some(PieceState::Trash)),
        Step::Restore(ids) => change(ids, PieceState::Trash, Some(PieceState::Live)),
        Step::Purge(ids) => change(ids, PieceState::Trash, None),
        Step::Puts(puts) => {
            model.extend(puts.iter().map(|(number, bytes)| (*number, Some((bytes.clone(), PieceState::Live)))));
        }
        Step::Compact | Step::Reopen { .. } => {}
    }
    model
}

async fn take(store: &PieceStore, step: &Step) {
    let ids = |numbers: &[u64]| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
    match step {
        Step::Trash(numbers) => drop(store.trash(&ids(numbers)).await.unwrap()),
        Step::Restore(numbers) => drop(store.restore(&ids(numbers)).await.unwrap()),
        Step::Purge(numbers) => drop(store.purge(&ids(numbers)).await.unwrap()),
        Step::Compact => drop(store.compact().await.unwrap()),
        Step::Reopen { .. } => {}
        Step::Puts(puts) => {
            let puts = puts.iter().map(|(number, bytes)| store.put(id(*number), Epoch(*number), bytes.clone()));
            for stored in futures_util::future::join_all(puts).await {
                stored.unwrap();
            }
        }
    }
}

async fn contents(store: &PieceStore) -> Model {
    let mut model = Model::new();
    for number in 0..IDS {
        let state = store.stat(&id(number)).map(|info| info.state);
        let piece = whole(store, id(number)).await.zip(state);
        model.insert(number, piece);
    }
    model
}

/// Loses some of what was not synced.
fn crash(image: &Image, dice: &mut SmallRng) -> Image {
    let mut image = image.clone();
    let way = dice.random_range(0..5);
    for (bytes, synced) in image.files.values_mut().filter(|(bytes, synced)| bytes.len() > *synced) {
        let cut = dice.random_range(*synced..=bytes.len());
        match way {
            0 => {}
            1 => bytes.truncate(*synced),
            2 => bytes.truncate(cut),
            3 => bytes[cut..].fill(0),
            _ => {
                let end = dice.random_range(cut..=bytes.len());
                bytes[cut..end].fill(0);
            }
        }
    }
    if dice.random_bool(0.5) {
        image.files.remove(Path::new("index.checkpoint"));
    }
    image
}

/// Opens an image: every piece is as before or as after the step, byte for
/// byte, and stays that way through compaction and another start.
async fn check(image: &Image, before: &Model, after: &Model, acknowledged: LogPosition, context: &str) {
    let dir = quick_folder();
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    for (name, (bytes, _)) in &image.files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let (store, report) = open(dir.path(), &OPTIONS);
    let found = contents(&store).await;
    let same = |number: u64, model: &Model| found[&number] == model.get(&number).cloned().flatten();
    for number in 0..IDS {
        let fine = same(number, before) || same(number, after);
        assert!(
            fine,
            "{context}: piece {number} is {:?}",
            found[&number].as_ref().map(|(bytes, state)| (bytes.len(), state))
        );
    }
    assert!(report.lost.iter().all(|lost| store.stat(lost).is_none()), "{context}: {report:?}");
    assert!(store.position() >= acknowledged, "{context}: the position fell");
    assert_adds_up(dir.path(), &store);
    let extra = body(1, 100);
    store.put(id(IDS), Epoch(1), extra.clone()).await.unwrap();
    compact_all(&store).await;
    assert_eq!(contents(&store).await, found, "{context}: after compaction");
    drop(store);
    let _ = std::fs::remove_file(dir.path().join("index.checkpoint"));
    let (store, _) = open(dir.path(), &OPTIONS);
    assert_eq!(contents(&store).await, found, "{context}: after another start");
    assert_eq!(whole(&store, id(IDS)).await, Some(extra), "{context}");
    assert_adds_up(dir.path(), &store);
}

/// Returns how many checkpoints there were besides those of a clean end.
async fn run(seed: u64, steps: usize) -> usize {
    let mut dice = SmallRng::seed_from_u64(seed);
    let dir = quick_folder();
    let disk = Arc::new(Recorder { dir: dir.path().to_owned(), recorded: Mutex::default(), turn: Mutex::default() });
    let reopen = || PieceStore::open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path(), OPTIONS).unwrap().0;
    let mut store = reopen();
    let mut clean_ends = 0;
    let mut model: Model = (0..IDS).map(|number| (number, None)).collect();
    for number in 0..steps {
        let step = step(&mut dice, &model);
        let next = after(&model, &step);
        let position = store.position();
        disk.take();
        take(&store, &step).await;
        if let Step::Reopen { clean } = step {
            if clean {
                clean_ends += 1;
                store.close().await.unwrap();
            }
            drop(store);
            store = reopen();
        }
        let context = format!("seed {seed}, step {number}: {step:?}");
        for image in &disk.take() {
            check(&crash(image, &mut dice), &model, &next, position, &context).await;
        }
        model = next;
        assert_eq!(contents(&store).await, model, "{context}");
        assert_adds_up(dir.path(), &store);
    }
    let checkpoints = disk.recorded.lock().unwrap().checkpoints;
    checkpoints - clean_ends
}

#[tokio::test]
async fn no_crash_loses_what_was_acknowledged_or_brings_back_what_was_deleted() {
    let mut beside = 0;
    for seed in 0..12 {
        beside += run(seed, 60).await;
    }
    assert!(beside > 12, "only {beside} checkpoints were written while something else went on");
}

/// A log that ends at every possible byte of its last records keeps exactly
/// the records that are whole.
#[tokio::test]
async fn a_torn_tail_loses_only_what_was_torn() {
    let dir = quick_folder();
    let (store, _) = open(dir.path(), &OPTIONS);
    let mut ends = Vec::new();
    for number in 0..4 {
        store.put(id(number), Epoch(1), body(number, 50 + number as usize)).await.unwrap();
        ends.push(store.usage().live_bytes as usize + 64);
    }
    store.trash(&[id(0)]).await.unwrap();
    drop(store);
    let log = std::fs::read(dir.path().join("logs/00000001.log")).unwrap();
    for cut in ends[1]..log.len() {
        for zeros in [false, true] {
            let copy = quick_folder();
            let mut torn = log[..cut].to_vec();
            torn.resize(if zeros { log.len() } else { cut }, 0);
            std::fs::create_dir(copy.path().join("logs")).unwrap();
            std::fs::write(copy.path().join("logs/00000001.log"), torn).unwrap();
            let (store, report) = open(copy.path(), &OPTIONS);
            let whole_ones = ends.iter().filter(|end| **end <= cut).count() as u64;
            assert_eq!((store.usage().pieces, report.damaged_records), (whole_ones, 0), "cut at {cut}");
            assert_eq!(store.stat(&id(0)).unwrap().state, PieceState::Live);
            assert_adds_up(copy.path(), &store);
            store.put(id(9), Epoch(1), body(9, 70)).await.unwrap();
            drop(store);
            let (store, report) = open(copy.path(), &OPTIONS);
            assert_eq!((store.usage().pieces, report.damaged_records), (whole_ones + 1, 0), "cut at {cut}");
            for number in 0..whole_ones {
                assert_eq!(whole(&store, id(number)).await.unwrap(), body(number, 50 + number as usize));
            }
        }
    }
}
