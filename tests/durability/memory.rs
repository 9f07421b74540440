//! Memory: large and slow transfers at the same time stay within the bound,
//! and the slow ones do not stop the others.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::support::client::{Body, Call, Client};
use crate::support::data::{MIB, random};
use crate::support::workdir::WorkDir;

/// What the whole process may have resident, its eight nodes included.
const RESIDENT_KIB_MAX: u64 = 512 << 10;
const READERS: u64 = 64;
const READ_BYTES: u64 = 64 * MIB;
/// Of the PUT where `CAIRN_TEST_FULL` is not set; 5 GiB where it is.
const PUT_BYTES: u64 = 1536 * MIB;
const PUT_BYTES_FULL: u64 = 5120 * MIB;
const SLOW: usize = 100;

/// A sequence that repeats with a prime period, so that bytes out of place show.
struct Pattern {
    block: Vec<u8>,
    at: usize,
}

impl Pattern {
    fn new(seed: u64) -> Self {
        Self { block: random(seed, 1_048_573), at: 0 }
    }

    fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            let take = out.len().min(self.block.len() - self.at);
            out[..take].copy_from_slice(&self.block[self.at..self.at + take]);
            self.at = (self.at + take) % self.block.len();
            out = &mut out[take..];
        }
    }

    /// Whether these bytes come next.
    fn continues(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let take = bytes.len().min(self.block.len() - self.at);
            if bytes[..take] != self.block[self.at..self.at + take] {
                return false;
            }
            self.at = (self.at + take) % self.block.len();
            bytes = &bytes[take..];
        }
        true
    }
}

fn put(client: &Client, path: &str, seed: u64, length: u64) {
    let mut pattern = Pattern::new(seed);
    let mut make = |out: &mut [u8]| pattern.fill(out);
    let call = Call::new("PUT", path).body(Body::Made(length, &mut make));
    client.send(call).expect("it runs").ok("put");
}

fn check(client: &Client, path: &str, seed: u64, length: u64) {
    let mut pattern = Pattern::new(seed);
    let (mut same, mut seen) = (true, 0);
    let mut look = |bytes: &[u8]| {
        same = same && pattern.continues(bytes);
        seen += bytes.len() as u64;
    };
    client.stream(Call::new("GET", path), &mut look).expect("it runs to its end").ok("get");
    assert!(same && seen == length, "{path}: {seen} bytes, the same: {same}");
}

/// One large PUT and 64 GETs of 64 MiB at the same time. The full 5 GiB:
/// `CAIRN_TEST_FULL=1 cargo test --release --test durability memory`.
#[test]
fn one_large_put_and_64_gets_stay_within_512_mib() {
    let full = std::env::var_os("CAIRN_TEST_FULL").is_some();
    let length = if full { PUT_BYTES_FULL } else { PUT_BYTES };
    let work = WorkDir::new("memory");
    let cluster = Cluster::start(work.path(), &work.join("data"), &[]);
    let client = cluster.client();
    client.put("/memory", b"").expect("it runs").ok("create the bucket");
    for number in 0..4 {
        put(&client, &format!("/memory/source-{number}"), number, READ_BYTES);
    }
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| put(&client, "/memory/large", 99, length));
        for number in 0..READERS {
            let client = &client;
            scope.spawn(move || check(client, &format!("/memory/source-{}", number % 4), number % 4, READ_BYTES));
        }
    });
    let took = begun.elapsed();
    check(&client, "/memory/large", 99, length);
    let peak_kib = cluster.status_kib("VmHWM");
    println!("memory: {} MiB in and 4096 MiB out in {took:?}; VmHWM {} MiB", length / MIB, peak_kib >> 10);
    cluster.check_log(&[]);
    assert!(cluster.stop().0.success());
    assert!(peak_kib < RESIDENT_KIB_MAX, "{peak_kib} KiB were resident");
}

/// A hundred clients that send some KiB a second each hold little, and others
/// go on at their own speed. The slow ones get there too.
#[test]
fn slow_uploads_do_not_stop_others() {
    let work = WorkDir::new("slow");
    let cluster = Cluster::start(work.path(), &work.join("data"), &[]);
    let client = cluster.client();
    client.put("/slow", b"").expect("it runs").ok("create the bucket");
    put(&client, "/slow/source", 7, READ_BYTES);
    let trickle = Duration::from_secs(20);
    let mut body = vec![0; 3 << 20];
    Pattern::new(5).fill(&mut body);
    let (begun, ended) = (Barrier::new(SLOW + 1), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..SLOW {
            let (client, begun, ended, body) = (&client, &begun, &ended, &body);
            scope.spawn(move || {
                begun.wait();
                let path = format!("/slow/slow-{number}");
                let call = Call::new("PUT", &path).body(Body::Trickled(body, trickle));
                client.send(call).expect("it runs").ok("a slow put");
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        begun.wait();
        std::thread::sleep(Duration::from_secs(2));
        for number in 0..8 {
            let begun = Instant::now();
            put(&client, &format!("/slow/quick-{number}"), number, 20 * MIB);
            put(&client, &format!("/slow/small-{number}"), number, 50_000);
            check(&client, "/slow/source", 7, READ_BYTES);
            assert!(begun.elapsed() < Duration::from_secs(60), "slow uploads hold others up: {:?}", begun.elapsed());
            // They would be done no sooner than the slow ones, if they had to wait for them.
            assert!(number > 0 || ended.load(Ordering::Relaxed) == 0, "slow uploads hold others up");
        }
    });
    for number in 0..SLOW {
        check(&client, &format!("/slow/slow-{number}"), 5, 3 * MIB);
    }
    println!("slow: VmHWM {} MiB", cluster.status_kib("VmHWM") >> 10);
    assert!(cluster.status_kib("VmHWM") < RESIDENT_KIB_MAX);
    cluster.check_log(&[]);
    assert!(cluster.stop().0.success());
}
