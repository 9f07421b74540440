//! How long a node with many pieces takes to start, and how much memory it
//! needs: after a clean end, and after it was killed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn::node::store::PieceStore;
use cairn::types::Epoch;
use futures_util::StreamExt;

use crate::meter::{MIB, Meter, resident_bytes};
use crate::store::{id, options};

/// Bytes of a piece here: only how many there are matters.
const PIECE_BYTES: usize = 16;
/// Puts that wait for the same fsyncs.
const TOGETHER: usize = 8192;

/// Fills a store and has other processes open it.
pub fn run(dir: &Path, pieces: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let began = Instant::now();
    let (store, _) = PieceStore::open(dir, options()).unwrap();
    let empty = resident_bytes().0;
    // Unconstrained: so many puts in one task would use up its budget, and wait for their turn instead of the store.
    let longest = runtime.block_on(tokio::task::unconstrained(fill(&store, 0..pieces as usize)));
    println!(
        "{pieces} pieces put in {:.1} s, the slowest put took {:.0} ms; {} bytes resident per piece",
        began.elapsed().as_secs_f64(),
        longest.as_secs_f64() * 1e3,
        resident_bytes().0.saturating_sub(empty) / pieces
    );
    // Dropping a store writes no checkpoint: so ends a process that is killed.
    drop(store);
    again(dir, "after a kill");
    let (store, _) = PieceStore::open(dir, options()).unwrap();
    let began = Instant::now();
    runtime.block_on(store.close()).unwrap();
    println!("closing took {:.2} s", began.elapsed().as_secs_f64());
    drop(store);
    again(dir, "after a clean end");
    std::fs::remove_file(dir.join("index.checkpoint")).unwrap();
    again(dir, "without a checkpoint");
    println!("{} MiB of logs", bytes_of(&dir.join("logs")) / MIB);
}

async fn fill(store: &PieceStore, numbers: std::ops::Range<usize>) -> Duration {
    let body = Bytes::from(vec![7; PIECE_BYTES]);
    let body = &body;
    let puts = futures_util::stream::iter(numbers).map(|number| async move {
        let began = Instant::now();
        store.put(id(number), Epoch(1), body.clone()).await.unwrap();
        began.elapsed()
    });
    let puts = puts.buffer_unordered(TOGETHER);
    puts.fold(Duration::ZERO, |longest, took| async move { longest.max(took) }).await
}

/// In a process of its own, so that its memory is only what the start took.
fn again(dir: &Path, what: &str) {
    let checkpoint = dir.join("index.checkpoint");
    if checkpoint.exists() {
        println!("a checkpoint of {} MiB", checkpoint.metadata().unwrap().len() / MIB);
        crate::files::forget(&checkpoint);
    }
    for log in std::fs::read_dir(dir.join("logs")).unwrap() {
        crate::files::forget(&log.unwrap().path());
    }
    let output = Command::new(std::env::current_exe().unwrap()).arg("--measure-start").arg(dir).output().unwrap();
    print!("{what}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn bytes_of(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Opens the store, says what that took, and ends without closing it.
pub fn measure(dir: &Path) {
    let (empty, meter) = (resident_bytes().0, Meter::start());
    let (store, report) = PieceStore::open(dir, options()).unwrap();
    let (took, (resident, most)) = (meter.stop(0, 0), resident_bytes());
    println!(
        "{} pieces open in {:.2} s, {:.2} s of processor time ({}), {} MiB resident, {} at most, {} bytes per piece",
        report.pieces,
        took.seconds,
        took.cpu_seconds,
        if report.from_checkpoint { "checkpoint" } else { "all logs read" },
        resident / MIB,
        most / MIB,
        resident.saturating_sub(empty) / report.pieces.max(1)
    );
    drop(store);
}
