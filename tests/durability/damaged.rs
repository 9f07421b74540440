//! Bad input: a database with a damaged page, and segments of which fewer
//! pieces than are required can be read. Errors are clear, codes can be acted on, and what
//! is left is never overwritten.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::figures::{Figures, is_whole};
use crate::support::client::{Client, between};
use crate::support::community::{Gateway, Node, Objects};
use crate::support::{poll, seed};

const PAGE_BYTES: u64 = 4096;
const PAGES: u32 = 6;

#[test]
fn a_damaged_page_of_the_database_is_told_and_costs_no_piece() {
    let mut dice = SmallRng::seed_from_u64(seed("damaged page"));
    let mut gateway = Gateway::start(&["--scheme", "3/4/5/6"]);
    let nodes = gateway.nodes(6);
    let objects = Objects::put(&gateway, "kept", 4);
    gateway.stop(Signal::TERM);
    let good = gateway.work().join("good");
    copy(&gateway.data(), &good);
    let pages = std::fs::metadata(good.join("metadata.db")).expect("it was just copied").len() / PAGE_BYTES;
    let (mut refused, mut failed) = (0, 0);
    // The first page is what everything else is found by.
    for page in std::iter::once(0).chain((1..PAGES).map(|_| dice.random_range(1..pages))) {
        std::fs::remove_dir_all(gateway.data()).expect("it is ours");
        copy(&good, &gateway.data());
        spoil(&gateway.data().join("metadata.db"), page);
        gateway.begin_again();
        let limit = Duration::from_secs(60);
        let ended = poll(limit, Duration::from_millis(50), || {
            let log = gateway.log();
            (gateway.daemon().has_ended() || log.contains("AWS_REGION=")).then(|| gateway.daemon().has_ended())
        });
        match ended.expect("it starts or says why not") {
            true => {
                refused += 1;
                is_told(&mut gateway, page);
            }
            false => failed += ask_for_all(&gateway, page),
        }
        gateway.stop(Signal::KILL);
    }
    // Whatever it did with the damaged one: with the good one everything is there.
    std::fs::remove_dir_all(gateway.data()).expect("it is ours");
    copy(&good, &gateway.data());
    gateway.start_again();
    gateway.wait_connected(6);
    objects.check(&gateway);
    gateway.wait_status("a count of all segments", |status| is_whole(status, 0));
    println!(
        "damaged page: of {PAGES} pages {refused} kept it from starting, with the others {failed} requests failed"
    );
    drop(nodes);
}

/// It could not start, and one sentence says why.
fn is_told(gateway: &mut Gateway, page: u64) {
    let ended = gateway.stop(Signal::TERM).expect("it has ended");
    let log = gateway.log();
    let last = log.trim().lines().last().unwrap_or_default();
    assert_eq!(ended.code(), Some(2), "page {page}: {log}");
    assert!(last.contains("metadata database") && !log.contains("panicked"), "page {page}: {last}");
}

/// Every object is right or cannot be read for a reason that is said; none is
/// "not there". How many could not be read.
fn ask_for_all(gateway: &Gateway, page: u64) -> usize {
    let client = gateway.client();
    let mut failed = 0;
    for key in (0..4).flat_map(|round| (0..5).map(move |size| Objects::key(round, size))) {
        let reply = client.get(&format!("/kept/{key}")).expect("an answer");
        let (number, _) = key.split_once('-').expect("number and size");
        match reply.status {
            200 => assert!(Objects::is(number.parse().expect("a number"), &reply.body), "page {page}: {key} is wrong"),
            500 | 503 => {
                failed += 1;
                assert!(!between(&reply.text(), "<Message>", "</Message>").is_empty(), "{}", reply.text());
            }
            status => panic!("page {page}: {key} answers {status}: {}", reply.text()),
        }
    }
    assert!(!gateway.log().contains("panicked"), "page {page}: {}", gateway.log());
    failed
}

fn spoil(database: &Path, page: u64) {
    let file = File::options().write(true).open(database).expect("it is there");
    file.write_all_at(&[0xA5; PAGE_BYTES as usize], page * PAGE_BYTES).expect("the file is ours");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

#[test]
fn fewer_pieces_than_are_required_are_told_and_left_alone() {
    // Every node has a piece of every segment, so that nothing can be made anew on any of them.
    let gateway = Gateway::start(&["--scheme", "3/4/6/6", "--offline-after", "3s"]);
    let mut nodes = gateway.nodes(6);
    let objects = Objects::put(&gateway, "kept", 1);
    let ids: Vec<String> = nodes.iter().map(Node::id).collect();
    let begun = Instant::now();
    for node in &mut nodes[2..] {
        node.stop(Signal::KILL);
    }
    let told = gateway.wait_status("unreadable segments", |status| status["segments"]["unreadable"] != 0);
    assert_eq!(told["segments"]["lost"], 0, "nodes that are away may come back: {told:#}");
    is_refused(&gateway.client());
    let status = gateway.operator(&["status"]).outcome();
    assert_eq!(status.status.code(), Some(1), "{}", status.story());
    assert!(status.text().contains("not readable now: nodes that hold pieces are away"), "{}", status.story());
    for node in &mut nodes[2..] {
        node.start_again();
    }
    gateway.wait_connected(6);
    objects.check(&gateway);
    gateway.wait_status("all is well", |status| is_whole(status, 0));
    let mut figures = Figures { acknowledged: 5, reads: 1, unreadable: 1, ..Figures::default() };
    figures.healthy_after.push(begun.elapsed());
    figures.show("too few pieces", &gateway);

    // Now they are gone for good; what the others have is not touched.
    let left = |id: &String| gateway.row(id)["space"]["pieces"].as_u64();
    let before: Vec<_> = ids[..2].iter().map(left).collect();
    nodes[2..].iter_mut().for_each(|node| node.stop(Signal::KILL));
    for id in &ids[2..] {
        gateway.operator(&["nodes", "forget", id, "--yes", "--force"]).run();
    }
    gateway.wait_status("lost segments", |status| status["segments"]["lost"] != 0);
    is_refused(&gateway.client());
    let status = gateway.operator(&["status"]).outcome();
    assert_eq!(status.status.code(), Some(1), "{}", status.story());
    assert!(status.text().contains("lost: fewer pieces are left than restore one"), "{}", status.story());
    assert!(gateway.log().contains("a segment has fewer pieces left than it takes to read it"), "{}", gateway.log());
    assert_eq!(before, ids[..2].iter().map(left).collect::<Vec<_>>(), "what is left was touched");
    gateway.client().get("/kept/0-1000").expect("it runs").ok("what is in the database can be read");
}

/// The answer names the object.
fn is_refused(client: &Client) {
    let reply = client.get("/kept/2-700000").expect("an answer");
    let text = reply.text();
    assert_eq!((reply.status, between(&text, "<Resource>", "</Resource>")), (503, "/kept/2-700000"), "{text}");
    assert!(between(&text, "<Message>", "</Message>").contains("too many of its pieces"), "{text}");
}
