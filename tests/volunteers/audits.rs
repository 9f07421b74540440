//! What an operator does who wants to be sure: every share is asked for, what
//! disks have changed is found, attributed and made good, and scripts are told
//! by the exit code how it stands.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::community::{Gateway, Node, Objects};
use crate::support::poll;
use crate::support::process::Outcome;

/// Bytes of a record's header in a log, and of a full share with its MAC.
const HEADER_BYTES: usize = 64;
const SHARE_BYTES: usize = 65_568;

/// Flips a byte in the first share of every second piece of a node, and in the
/// last one of pieces that have several. Answers how many shares that are.
fn flip(dir: &Path) -> u64 {
    let mut flipped = 0;
    for entry in std::fs::read_dir(dir.join("logs")).expect("a node has logs") {
        let path = entry.expect("a folder entry").path();
        let bytes = std::fs::read(&path).expect("its own file");
        let file = OpenOptions::new().write(true).open(&path).expect("its own file");
        let mut flip = |at: usize| {
            file.write_all_at(&[!bytes[at]], at as u64).expect("within the file");
            flipped += 1;
        };
        let (mut at, mut pieces) = (0, 0);
        while at + HEADER_BYTES <= bytes.len() {
            assert_eq!(bytes[at..at + 4], [0xC1, b'R', b'E', b'C'], "records stand one after the other");
            let length = u32::from_le_bytes(bytes[at + 40..at + 44].try_into().expect("four bytes")) as usize;
            if bytes[at + 5] == 2 {
                pieces += 1;
                if pieces % 2 == 0 {
                    flip(at + HEADER_BYTES + 7);
                    if length >= 2 * SHARE_BYTES && length.is_multiple_of(SHARE_BYTES) {
                        flip(at + HEADER_BYTES + length - SHARE_BYTES + 7);
                    }
                }
            }
            at += HEADER_BYTES + length;
        }
    }
    flipped
}

fn once(gateway: &Gateway, words: &[&str]) -> Outcome {
    let words = [&["worker", "run", "--once", "--json"], words].concat();
    gateway.operator(&words).limit_seconds(120).outcome()
}

fn report(outcome: &Outcome, code: i32) -> Value {
    assert_eq!(outcome.status.code(), Some(code), "{}", outcome.story());
    serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {}", outcome.story()))
}

#[test]
fn every_flipped_share_is_found_attributed_and_repaired() {
    // Every write waits for all pieces: few that lie on disks are not in use.
    let gateway = Gateway::start(&["--scheme", "2/3/5/5"]);
    let mut nodes = gateway.nodes(5);
    let objects = Objects::put(&gateway, "kept", 3);
    let before = report(&once(&gateway, &["--audit-all"]), 0);
    assert_eq!((&before["shares_wrong"], &before["pieces_repaired"]), (&Value::from(0), &Value::from(0)), "{before:#}");
    assert!(before["shares_checked"].as_u64() > Some(5 * 32), "{before:#}");

    let flipped: BTreeMap<String, u64> = nodes[..3].iter().map(|node| (node.id(), flip(node.dir()))).collect();
    let total: u64 = flipped.values().sum();
    assert!(flipped.values().all(|count| *count > 3), "{flipped:?}");
    let ended = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while rounds == 0 || !ended.load(SeqCst) {
                objects.check(&gateway);
                rounds += 1;
            }
            rounds
        });
        let outcome = once(&gateway, &["--audit-all"]);
        ended.store(true, SeqCst);
        assert!(reader.join().expect("every object was right throughout") > 0);
        report(&outcome, 0)
    });
    // A share that a reader met first is known, and its piece is made anew without an audit.
    let wrong = found["shares_wrong"].as_u64().expect("a number");
    let met = gateway.log().contains("a node gave wrong shares");
    assert!(wrong <= total && (wrong > 0 || met), "{found:#}");
    assert_eq!((&found["segments_lost"], &found["segments_degraded"]), (&Value::from(0), &Value::from(0)), "{found:#}");
    let by_node = found["by_node"].as_object().expect("nodes");
    assert!(by_node.keys().all(|node| flipped.contains_key(node)), "only those whose disks changed: {found:#}");
    for (node, found) in by_node {
        let shown = gateway.json(&["nodes", "show", node]);
        let failures = shown["audits"]["failures"].as_array().expect("a list").len() as u64;
        // What readers met is kept there, too.
        assert!(Some(failures) >= found["shares_wrong"].as_u64(), "{shown:#}");
    }
    let told = |node: &Node| (node.status()["standing"]["audits_passed"].as_u64() > Some(0)).then_some(());
    assert!(poll(Duration::from_secs(150), Duration::from_millis(500), || told(&nodes[3])).is_some(), "it is not told");
    let after = report(&once(&gateway, &["--audit-all"]), 0);
    assert_eq!((&after["shares_wrong"], &after["pieces_missing"]), (&Value::from(0), &Value::from(0)), "{after:#}");
    objects.check(&gateway);

    nodes[4].stop(Signal::TERM);
    gateway.wait_status("a node that is away", |status| status["nodes"]["connected"] == 4);
    let away = report(&once(&gateway, &["--audit-all"]), 1);
    assert_eq!(away["nodes_unreachable"], 1, "{away:#}");
    for node in &nodes[..4] {
        gateway.operator(&["nodes", "forget", &node.id(), "--force", "--yes"]).run();
    }
    let lost = once(&gateway, &[]);
    let left = report(&lost, 3);
    assert!(left["segments_lost"].as_u64() > Some(0) && !left["lost"].as_array().expect("ids").is_empty(), "{left:#}");
    let first = left["lost"][0].as_str().expect("an id");
    assert!(lost.stderr.contains(first), "it is named: {}", lost.story());
}

#[test]
fn where_nothing_runs_a_pass_says_so() {
    let mut gateway = Gateway::start(&["--scheme", "1/1/1/1"]);
    gateway.stop(Signal::TERM);
    let outcome = once(&gateway, &[]);
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.story());
    assert!(outcome.stderr.contains("with SQLite the gateway does this work"), "{}", outcome.story());
}
