//! Nodes that stop, creep or are full: uploads go on without them.

use std::time::{Duration, SystemTime};

use crate::cluster::turn;
use crate::faults::{Frozen, Thin};
use crate::load::{Load, Plan};

/// Uploads that are in flight when a node stops.
const UPLOADS: u32 = 64;

/// What an upload may take beside 63 others on two cores while one node of
/// sixteen is stopped. Twelve of the fifteen other pieces are enough, so the
/// stopped node should hold up nobody; 15 s is how long a silent path may go
/// unnoticed, and whoever takes longer has waited for it: where the machine
/// does not take that long by itself.
const SLOWEST: Duration = Duration::from_secs(15);
/// For what a slow machine takes a minute or two for.
const SOON: Duration = Duration::from_secs(240);

#[test]
fn a_node_that_stops_amid_sixty_four_uploads() {
    let turn = turn();
    let node = &turn.nodes_in_the_open()[2];
    let usual = Load::burst(&turn, "all-go", UPLOADS, 2 << 20).wait().slowest();
    let mut load = Load::burst(&turn, "stopped", UPLOADS, 2 << 20);
    load.wait_for("the first upload", SOON, |ledger| ledger.acknowledged().count() >= 1);
    let frozen = Frozen::new(node.pid());
    let done = load.so_far().records.len();
    assert!(done + 8 <= UPLOADS as usize, "{done} uploads were done already when the node stopped");
    let ledger = load.wait();
    println!("stopped after {done} of {UPLOADS}: the slowest took {:?}, {usual:?} before", ledger.slowest());
    assert_eq!(ledger.require_no_errors().acknowledged().count(), UPLOADS as usize);
    assert!(ledger.slowest() < SLOWEST.max(3 * usual), "the slowest took {:?}, {usual:?} before", ledger.slowest());
    drop(frozen);
}

#[test]
fn a_node_at_ten_kilobytes_a_second() {
    let turn = turn();
    let node = &turn.nodes_in_the_open()[4];
    let thin = Thin::new(node.host(), 10_000);
    let mut load = Load::start(&turn, "creeping", &Plan::steady());
    load.go_on_for(Duration::from_secs(12));
    let ledger = load.finish();
    println!("10 KB/s:{}", ledger.require_no_errors().figures());
    assert!(ledger.slowest() < SLOWEST, "the slowest took {:?}", ledger.slowest());
    drop(thin);
}

/// It has promised little and keeps to it.
#[test]
fn a_node_that_fills_up() {
    const CAPACITY: u64 = 32_000_000;
    let turn = turn();
    let small = turn.guest("small", &["--capacity", "32MB"]);
    small.join(&turn.gateway().token(&[]));
    turn.wait_seen([&small], true, SOON);
    let plan = Plan { sizes: vec![(9 << 20, 1)], pause: Duration::ZERO, ..Plan::steady() };
    let mut load = Load::start(&turn, "full", &plan);
    load.wait_for("the small node to be full", SOON, |_| {
        std::thread::sleep(Duration::from_millis(400));
        // A piece of these objects takes 1.5 MiB.
        disk_use(small.data()) > CAPACITY - 4_000_000
    });
    let then = SystemTime::now();
    load.go_on_for(Duration::from_secs(3));
    load.wait_for("requests when it is full", SOON, |ledger| ledger.good_since(then) > 5);
    let ledger = load.finish();
    println!("full:{}", ledger.require_no_errors().figures());
    assert!(disk_use(small.data()) <= CAPACITY, "{} bytes of {CAPACITY}", disk_use(small.data()));
    assert!(small.runs(), "{}", small.story());
}

/// Bytes that the files of a node take.
fn disk_use(data: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => sum += metadata.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    sum
}
