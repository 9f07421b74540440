//! How fast the piece store is, next to what it could be replaced by (a file
//! per piece) and to what the disk does at best (one long sequential write), in
//! one run on one disk. `docs/piece-store.md` says what the figures mean.
//!
//! ```text
//! cargo bench --bench piece_store                      the table, the medians of five rounds, up to 2 GiB of disk
//! cargo bench --bench piece_store -- --quick           the same with less, under 30 s
//! cargo bench --bench piece_store -- --start 10000000  how long a start takes with that many pieces
//! cargo bench --bench piece_store -- --dir /mnt/disk   on another disk than that of the build
//! ```
#![allow(clippy::print_stdout, reason = "a benchmark is a program that prints")]
#![allow(clippy::unwrap_used, reason = "whatever goes wrong ends a benchmark")]

#[path = "piece_store/files.rs"]
mod files;
#[path = "piece_store/meter.rs"]
mod meter;
#[path = "piece_store/start.rs"]
mod start;
#[path = "piece_store/store.rs"]
mod store;

use std::path::{Path, PathBuf};

use crate::meter::{Figure, MIB, Meter};

/// What is measured with one piece size.
struct Load {
    name: &'static str,
    piece_bytes: usize,
    /// Pieces put by a single writer, and by sixteen.
    alone: usize,
    together: usize,
}

const FULL: [Load; 2] = [
    Load { name: "64 KiB", piece_bytes: 64 << 10, alone: 1024, together: 8192 },
    Load { name: "2 MiB", piece_bytes: 2 << 20, alone: 64, together: 320 },
];
const QUICK: [Load; 2] = [
    Load { name: "64 KiB", piece_bytes: 64 << 10, alone: 128, together: 1024 },
    Load { name: "2 MiB", piece_bytes: 2 << 20, alone: 16, together: 48 },
];
/// Puts, gets and deletes that go on at once where it is more than one.
const TOGETHER: usize = 16;
/// Bytes of the range of a ranged get: one share and its MAC.
const RANGE_BYTES: u64 = 65_552 + 16;

/// What the command line asks for.
struct Asked {
    dir: PathBuf,
    quick: bool,
    start: Option<u64>,
}

fn asked() -> Asked {
    let mut asked = Asked { dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), quick: false, start: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--quick" => asked.quick = true,
            "--start" => asked.start = Some(arguments.next().and_then(|count| count.parse().ok()).expect("--start N")),
            "--dir" => asked.dir = arguments.next().expect("--dir DIR").into(),
            "--measure-start" => {
                start::measure(Path::new(&arguments.next().expect("--measure-start DIR")));
                std::process::exit(0);
            }
            other => panic!("{other} is not known"),
        }
    }
    asked
}

fn main() {
    let asked = asked();
    // Removed when it goes out of scope, whatever happens.
    let dir = tempfile::tempdir_in(&asked.dir).unwrap();
    match asked.start {
        Some(pieces) => start::run(dir.path(), pieces),
        None if asked.quick => table(dir.path(), &QUICK, 1),
        None => table(dir.path(), &FULL, 5),
    }
}

fn table(dir: &Path, loads: &[Load], rounds: usize) {
    let bytes = loads.iter().map(|load| load.piece_bytes * load.together).max().unwrap() as u64;
    let mut disk = Rounds::default();
    let mut rows: Vec<Rounds> = loads.iter().map(|_| Rounds::default()).collect();
    // Round by round, so that what else goes on in the machine hits everybody.
    for _ in 0..rounds {
        disk.add(files::sequential(dir, bytes));
        for (load, rows) in loads.iter().zip(&mut rows) {
            rows.add(store::measure(dir, load).into_iter().chain(files::measure(dir, load)).collect());
        }
    }
    let [write, read] = &disk.medians()[..] else { unreachable!("two rows") };
    println!("medians of {rounds}; the disk, sequentially, {} MiB at once with one fdatasync:", bytes / MIB);
    println!("  write {write}\n  read  {read}\n");
    println!(
        "{:<7} {:<22} | {:>33} | {:>33} | {:>7} {:>7}",
        "pieces", "what", "store: pieces/s MiB/s CPU s/GiB", "files: pieces/s MiB/s CPU s/GiB", "/files", "/disk"
    );
    for (load, rows) in loads.iter().zip(rows) {
        let medians = rows.medians();
        let (store, files) = medians.split_at(store::ROWS.len());
        for (row, what) in store::ROWS.iter().enumerate() {
            line(load.name, what, &store[row], files.get(row), if what.starts_with("get") { read } else { write });
        }
    }
}

/// The same rows, measured several times.
#[derive(Default)]
struct Rounds(Vec<Vec<Figure>>);

impl Rounds {
    fn add(&mut self, rows: Vec<Figure>) {
        self.0.push(rows);
    }

    /// Of each row the measurement that half of the others were slower than.
    fn medians(&self) -> Vec<Figure> {
        let median = |row: usize| {
            let mut figures: Vec<Figure> = self.0.iter().map(|round| round[row]).collect();
            figures.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
            figures[figures.len() / 2]
        };
        (0..self.0[0].len()).map(median).collect()
    }
}

fn line(name: &str, what: &str, store: &Figure, files: Option<&Figure>, disk: &Figure) {
    let files_text = files.map_or_else(|| "-".to_owned(), Figure::to_string);
    let ratio = files.map_or_else(|| "-".to_owned(), |files| format!("{:.2}", store.per_second() / files.per_second()));
    let of_disk =
        if store.bytes == 0 { "-".to_owned() } else { format!("{:.2}", store.mib_per_s() / disk.mib_per_s()) };
    println!("{name:<7} {what:<22} | {:>33} | {files_text:>33} | {ratio:>7} {of_disk:>7}", store.to_string());
}

/// Runs something and says what it cost.
fn metered(pieces: usize, bytes: u64, work: impl FnOnce()) -> Figure {
    let meter = Meter::start();
    work();
    meter.stop(pieces, bytes)
}
