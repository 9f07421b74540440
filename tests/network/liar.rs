//! A node that answers garbage, and believes it itself.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use cairn::node::store::record::{HEADER_BYTES, Header, Kind, Place, body_checksum, decode};
use cairn::node::store::{PieceStore, StoreOptions};
use cairn::types::{Epoch, PieceId};

use crate::cluster::turn;
use crate::load::{Load, Plan};
use crate::support::poll;
use crate::support::workdir::WorkDir;

const WRITTEN_WITHIN: Duration = Duration::from_secs(120);

/// No two changed bytes are further apart, so that every share has one.
const EVERY_BYTES: usize = 512;

#[test]
fn a_node_that_answers_garbage() {
    let turn = turn();
    let liar = &turn.nodes_in_the_open()[6];
    let empty = liar.pieces();
    let mut load = Load::start(&turn, "garbage", &Plan { pause: Duration::from_millis(50), ..Plan::steady() });
    load.wait_for("pieces on it", Duration::from_secs(120), |_| {
        std::thread::sleep(Duration::from_millis(400));
        // Two of five are read; none of so many only once in a million times.
        liar.pieces() > empty + 40
    });
    let before = turn.view()[liar.id()].wrong_shares;
    let falsified = falsify(liar.data());
    assert!(falsified > 10, "only {falsified} pieces of the node were changed");
    load.go_on_for(Duration::from_secs(2));
    // The program ends with an error if a byte is not what was written.
    let ledger = load.finish();
    println!("garbage in {falsified} pieces:{}", ledger.require_no_errors().figures());
    // What was counted is written down at the gateway's next look at its nodes.
    let counted = poll(WRITTEN_WITHIN, Duration::from_millis(250), || {
        (turn.view()[liar.id()].wrong_shares > before).then_some(())
    });
    assert!(counted.is_some(), "no wrong share was counted within {WRITTEN_WITHIN:?}; {before} were before");
    for node in turn.nodes().iter().filter(|node| node.name() != liar.name()) {
        assert_eq!(turn.view()[node.id()].wrong_shares, 0, "{} told the truth", node.name());
    }
}

/// Changes every stored piece of a node, and its checksums with it: the disk
/// looks sound to the node, as it would if the volunteer had changed the
/// program. How many pieces there were.
fn falsify(store: &Path) -> usize {
    let logs = std::fs::read_dir(store.join("logs")).expect("the node has a folder of logs");
    logs.map(|log| falsify_log(&log.expect("a folder entry").path())).sum()
}

fn falsify_log(path: &Path) -> usize {
    let name = path.file_stem().expect("a log has a name").to_string_lossy();
    let log = u32::from_str_radix(&name, 16).expect("a log's name is its number");
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the log is there");
    let (mut place, mut count) = (Place { log, offset: 0 }, 0);
    while let Some((header, mut body)) = record_at(&file, place) {
        if header.kind == Kind::Piece {
            body.iter_mut().step_by(EVERY_BYTES).for_each(|byte| *byte ^= 0x55);
            let header = Header { body_checksum: body_checksum(&body), ..header };
            let record = [&header.encode(place)[..], &body].concat();
            file.write_all_at(&record, place.offset).expect("the log can be written");
            count += 1;
        }
        place.offset += header.record_bytes();
    }
    count
}

/// The whole record at a place; None at the end of what is written.
fn record_at(file: &File, place: Place) -> Option<(Header, Vec<u8>)> {
    let mut bytes = vec![0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, place.offset).ok()?;
    let header = decode(&bytes, place).ok()?;
    let mut body = vec![0; header.length as usize];
    file.read_exact_at(&mut body, place.offset + HEADER_BYTES as u64).ok()?;
    Some((header, body))
}

/// The node would not notice: its own checksums fit what was changed.
#[tokio::test]
async fn a_falsified_piece_looks_sound_to_its_node() {
    let work = WorkDir::new("liar");
    let options = StoreOptions { capacity_bytes: 1 << 30, log_bytes_max: 64 << 20 };
    let (store, _) = PieceStore::open(work.path(), options).expect("an empty folder");
    let (id, body) = (PieceId::from_bytes([7; 16]), vec![1; 5000]);
    store.put(id, Epoch(1), body.clone().into()).await.expect("there is room");
    assert_eq!(falsify(work.path()), 1);
    let now = store.get(id, 0..5000).await.expect("the node finds nothing wrong with it");
    assert_eq!(now.len(), body.len());
    assert_eq!(now.iter().filter(|byte| **byte != 1).count(), 10);
}
