//! A node that answers garbage, and believes it itself.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::cluster::turn;
use crate::load::{Load, Plan};

/// See the byte table of `src/node/store/record.rs`.
const HEADER_BYTES: usize = 64;
const PIECE: u8 = 2;

/// No two changed bytes are further apart, so that every share has one.
const EVERY_BYTES: usize = 512;

#[test]
fn a_node_that_answers_garbage() {
    let turn = turn();
    let liar = &turn.nodes_in_the_open()[6];
    let mut load = Load::start(&turn, "garbage", &Plan { pause: Duration::from_millis(50), ..Plan::steady() });
    load.go_on_for(Duration::from_secs(4));
    let before = turn.view()[liar.id()].wrong;
    let falsified = falsify(liar.data());
    assert!(falsified > 10, "only {falsified} pieces of the node were changed");
    load.go_on_for(Duration::from_secs(2));
    // The program ends with an error if a byte is not what was written.
    let ledger = load.finish();
    println!("garbage in {falsified} pieces:{}", ledger.require_no_errors().figures());
    let after = turn.view()[liar.id()].wrong;
    assert!(after > before, "{before} wrong shares were counted before, and {after} after");
    for node in turn.nodes().iter().filter(|node| node.name() != liar.name()) {
        assert_eq!(turn.view()[node.id()].wrong, 0, "{} told the truth", node.name());
    }
}

/// Changes every stored piece of a node, and its checksums with it: the disk
/// looks sound to the node, as it would if the volunteer had changed the
/// program. How many pieces there were.
fn falsify(data: &Path) -> usize {
    let logs = std::fs::read_dir(data.join("logs")).expect("the node has a folder of logs");
    logs.map(|log| falsify_log(&log.expect("a folder entry").path())).sum()
}

fn falsify_log(path: &Path) -> usize {
    let name = path.file_stem().expect("a log has a name").to_string_lossy();
    let Ok(number) = u32::from_str_radix(&name, 16) else { return 0 };
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the log is there");
    let (mut offset, mut count) = (0, 0);
    while let Some((header, mut body)) = record(&file, offset) {
        if header[5] == PIECE {
            body.iter_mut().step_by(EVERY_BYTES).for_each(|byte| *byte ^= 0x55);
            let header = resealed(header, &body, number, offset);
            file.write_all_at(&[&header[..], &body].concat(), offset).expect("the log can be written");
            count += 1;
        }
        offset += (HEADER_BYTES + body.len()) as u64;
    }
    count
}

/// The whole record at an offset; None at the end of what is written.
fn record(file: &File, offset: u64) -> Option<([u8; HEADER_BYTES], Vec<u8>)> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, offset).ok()?;
    let length = u32::from_le_bytes(header[40..44].try_into().expect("four bytes"));
    let mut body = vec![0; length as usize];
    file.read_exact_at(&mut body, offset + HEADER_BYTES as u64).ok()?;
    header.starts_with(&[0xC1, b'R', b'E', b'C']).then_some((header, body))
}

fn resealed(mut header: [u8; HEADER_BYTES], body: &[u8], log: u32, offset: u64) -> [u8; HEADER_BYTES] {
    header[48..56].copy_from_slice(&crc_fast::crc64_nvme(body).to_le_bytes());
    let covered = [&log.to_le_bytes()[..], &offset.to_le_bytes(), &header[..56]].concat();
    header[56..].copy_from_slice(&crc_fast::crc64_nvme(&covered).to_le_bytes());
    header
}
