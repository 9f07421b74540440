//! A disk that is full or read-only: a clear answer, nothing lost, and work
//! goes on when there is space again. Mounts small file systems, as root.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, invocation};
use crate::support::client::{Body, Call, Client, between};
use crate::support::data::random;
use crate::support::ledger::{Ledger, TOKEN, Version};
use crate::support::mount::{Mount, fill};
use crate::support::poll;
use crate::support::workdir::WorkDir;

const BUCKET: &str = "/disk";
/// What a full disk may log.
const EXPECTED: [&str; 5] = ["a commit failed", "full", "No space left", "has no room left on its disk", "503"];

fn put(client: &Client, ledger: &mut Ledger, key: &str, size: u64) -> Result<(), String> {
    let version = Version::new(std::sync::Arc::new(random(size, size)), format!("{key}-{size}"));
    ledger.begin(key, Some(version.clone()));
    let path = format!("{BUCKET}/{key}");
    let call = Call::new("PUT", &path).header(TOKEN, version.token.clone()).body(Body::Bytes(&version.body));
    let reply = client.send(call).expect("it runs");
    if reply.status == 200 {
        ledger.done(key, Some(reply.etag()));
        return Ok(());
    }
    ledger.refused(key);
    let text = reply.text();
    assert!(reply.status >= 500, "{} {text}", reply.status);
    let message = between(&text, "<Message>", "</Message>").to_owned();
    assert!(message.split(' ').count() > 3, "no sentence in {text}");
    Err(format!("{} {message}", between(&text, "<Code>", "</Code>")))
}

/// A delete is a commit, which needs room as well where somebody else took
/// the last of it; then it is refused and nothing has changed.
fn delete(client: &Client, ledger: &mut Ledger, key: &str) {
    ledger.begin(key, None);
    let reply = client.delete(&format!("{BUCKET}/{key}")).expect("it runs");
    match reply.status {
        204 => ledger.done(key, None),
        _ => {
            assert!(reply.status == 503 && reply.text().contains("no room left"), "{} {}", reply.status, reply.text());
            ledger.refused(key);
        }
    }
}

/// A gateway hears of it when it asks the nodes for the next sign of life.
fn wait_for_room(client: &Client) {
    let probe = format!("{BUCKET}/probe");
    let again = || client.put(&probe, &random(1, 3_000_000)).is_ok_and(|reply| reply.status == 200);
    let heard = poll(Duration::from_secs(60), Duration::from_millis(500), || again().then_some(()));
    heard.expect("there is space again");
    client.delete(&probe).expect("it runs").ok("a delete");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let work = WorkDir::new("disk");
    let mount = Mount::new(work.join("mount"), 300);
    let data = mount.path.join("data");
    let cluster = Cluster::start(work.path(), &data, &[]);
    let client = cluster.client();
    client.put(BUCKET, b"").expect("it runs").ok("create the bucket");
    let mut ledger = Ledger::default();
    for number in 0..6 {
        for size in [1_000, 50_000, 3_000_000] {
            put(&client, &mut ledger, &format!("before-{size}-{number}"), size + number).expect("there is space");
        }
    }
    let ballast = mount.path.join("ballast");
    fill(&ballast);
    let mut refused = Vec::new();
    for number in 0..4 {
        for size in [1_000, 50_000, 3_000_000, 20_000_000] {
            let key = format!("full-{size}-{number}");
            refused.extend(put(&client, &mut ledger, &key, size + number).err());
        }
    }
    refused.sort();
    refused.dedup();
    println!("disk: refused with {refused:#?}");
    assert!(!refused.is_empty(), "a full disk took everything");
    ledger.verify(&client, BUCKET, "", true).expect("it runs");
    for number in 0..3 {
        let key = format!("before-3000000-{number}");
        delete(&client, &mut ledger, &key);
    }
    ledger.verify(&client, BUCKET, "", true).expect("it runs");
    fs::remove_file(&ballast).expect("it is ours");
    wait_for_room(&client);
    for size in [1_000, 50_000, 3_000_000, 20_000_000] {
        put(&client, &mut ledger, &format!("after-{size}"), size).expect("there is space again");
    }
    ledger.verify(&client, BUCKET, "", true).expect("it runs");
    cluster.check_log(&EXPECTED);
    fill(&ballast);
    let _ = put(&client, &mut ledger, "at-the-end", 50_000);
    cluster.kill();
    // It starts on the full disk as well, so that all can be read.
    let cluster = Cluster::start(work.path(), &data, &[]);
    ledger.verify(&cluster.client(), BUCKET, "", true).expect("it runs");
    let refused = put(&cluster.client(), &mut ledger, "no-room", 3_000_000).expect_err("there is none");
    assert!(refused.contains("SlowDown"), "{refused}");
    fs::remove_file(&ballast).expect("it is ours");
    wait_for_room(&cluster.client());
    put(&cluster.client(), &mut ledger, "anew", 3_000_000).expect("there is space");
    cluster.check_log(&[EXPECTED.as_slice(), &["a worker failed; it will try again", "the disk of"]].concat());
    assert!(cluster.stop().0.success());
}

/// Puts alone cannot fill the disk so far that the database finds no room.
#[test]
fn puts_stop_before_the_disk_is_full() {
    let work = WorkDir::new("brim");
    let mount = Mount::new(work.join("mount"), 800);
    let data = mount.path.join("data");
    let cluster = Cluster::start(work.path(), &data, &[]);
    let client = cluster.client();
    client.put(BUCKET, b"").expect("it runs").ok("create the bucket");
    let mut ledger = Ledger::default();
    let mut refusal = None;
    for number in 0..100 {
        if let Err(message) = put(&client, &mut ledger, &format!("object-{number}"), 9_000_000 + number) {
            refusal = Some(message);
            break;
        }
    }
    let refusal = refusal.expect("900 MB do not fit");
    println!("brim: {} objects, then {refusal}", ledger.present().len());
    ledger.verify(&client, BUCKET, "", true).expect("it runs");
    ledger.begin("object-0", None);
    client.delete(&format!("{BUCKET}/object-0")).expect("it runs").ok("a delete");
    ledger.done("object-0", None);
    put(&client, &mut ledger, "inline", 1_000).expect("the database has room");
    cluster.check_log(&EXPECTED);
    assert!(cluster.stop().0.success());
    let cluster = Cluster::start(work.path(), &data, &[]);
    ledger.verify(&cluster.client(), BUCKET, "", true).expect("it runs");
    assert!(cluster.stop().0.success());
}

#[test]
fn a_read_only_or_full_disk_at_the_start_is_told_in_one_sentence() {
    let work = WorkDir::new("read-only");
    let mount = Mount::new(work.join("mount"), 300);
    let data = mount.path.join("data");
    assert!(Cluster::start(work.path(), &data, &[]).stop().0.success());
    let told = |data: &Path, word: &str| {
        let outcome = invocation(work.path(), data, &[]).limit_seconds(60).outcome();
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.story());
        let last = outcome.stderr.trim().lines().last().unwrap_or_default().to_lowercase();
        assert!(last.contains(word) && !outcome.stderr.contains("panicked"), "{}", outcome.story());
    };
    let ballast = mount.path.join("ballast");
    fill(&ballast);
    told(&mount.path.join("other"), "disk is full");
    fs::remove_file(&ballast).expect("it is ours");
    mount.read_only();
    told(&data, "read-only");
    told(&mount.path.join("other"), "read-only");
}
