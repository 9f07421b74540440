//! What a piece costs on its way: measured by hand.

use std::time::Instant;

use super::{Pair, id, piece};
use crate::transport::Tuning;
use crate::types::Epoch;

/// CPU seconds per GiB: both ends, the store's checksums and reads included.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: run it by hand, alone, with --nocapture"]
async fn cpu_per_gibibyte() {
    let pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    let body = piece(1, 2 << 20);
    for get in [false, true] {
        let (cpu, begun) = (cpu_seconds(), Instant::now());
        let workers = (0..64u16).map(|worker| {
            let (nodes, body) = (nodes.clone(), body.clone());
            tokio::spawn(async move {
                for turn in 0..8 {
                    let id = id(worker * 8 + turn);
                    match get {
                        true => assert_eq!(nodes.get_piece(node, id, 0..2 << 20).await.unwrap().len(), 2 << 20),
                        false => nodes.put_piece(node, id, Epoch(1), body.clone()).await.unwrap(),
                    }
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
        let name = if get { "get" } else { "put" };
        println!("{name}: {:.2} CPU s/GiB in {:.2} s", cpu_seconds() - cpu, begun.elapsed().as_secs_f64());
    }
}

/// Of all threads but the piece store's writer, whose cost is the disk's.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let seconds = tasks.map(|task| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, fields)) = stat.rsplit_once(')') else { return 0.0 };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        if name.ends_with("(piece-store") { 0.0 } else { ticks / 100.0 }
    });
    seconds.sum()
}
