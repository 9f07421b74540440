//! SIGTERM: what is in flight ends well, nothing is left to recover.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::support::client::{Body, Call, Client};
use crate::support::data::{MIB, random};
use crate::support::poll;
use crate::support::workdir::WorkDir;

const BUCKET: &str = "/stop";

fn put(client: &Client, key: &str, body: &[u8], trickle: Duration) -> std::io::Result<u16> {
    let path = format!("{BUCKET}/{key}");
    Ok(client.send(Call::new("PUT", &path).body(Body::Trickled(body, trickle)))?.status)
}

fn wait(what: &str, ready: impl Fn() -> bool) {
    poll(Duration::from_secs(60), Duration::from_millis(20), || ready().then_some(())).expect(what);
}

#[test]
fn uploads_in_flight_are_finished() {
    let work = WorkDir::new("stop");
    let data = work.join("data");
    let cluster = Cluster::start(work.path(), &data, &[]);
    let client = cluster.client();
    client.put(BUCKET, b"").expect("it runs").ok("create the bucket");
    // Inline, sharing a segment, several segments.
    let bodies = [random(1, 10_000), random(2, 200_000), random(3, 3 * MIB), random(4, 20 * MIB)];
    let log = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..8)
            .map(|number| {
                let (client, body) = (&client, &bodies[number % bodies.len()]);
                scope.spawn(move || put(client, &format!("in-flight-{number}"), body, Duration::from_secs(3)))
            })
            .collect();
        // The smallest may have ended, where others begin late.
        let ended = || uploads.iter().filter(|upload| upload.is_finished()).count();
        wait("eight uploads", || ended() + cluster.in_flight() >= 8);
        cluster.ask_to_stop();
        for (number, upload) in uploads.into_iter().enumerate() {
            let status = upload.join().expect("no panic").unwrap_or_else(|error| panic!("upload {number}: {error}"));
            assert_eq!(status, 200, "upload {number}");
        }
        cluster.log()
    });
    assert!(!log.contains(" WARN "), "{log}");
    let (status, took) = cluster.ended();
    // Well before the ten seconds are over that it would give uploads.
    assert!(status.success() && took < Duration::from_secs(7), "{status} {took:?}");
    let cluster = Cluster::start(work.path(), &data, &[]);
    for number in 0..8 {
        let reply = cluster.client().get(&format!("{BUCKET}/in-flight-{number}")).expect("it runs").ok("get");
        assert!(reply.body == bodies[number % bodies.len()], "in-flight-{number} differs");
    }
    cluster.check_log(&[]);
    assert!(cluster.stop().0.success());
}

#[test]
fn what_takes_longer_than_ten_seconds_is_cut_and_leaves_nothing() {
    let work = WorkDir::new("cut");
    let data = work.join("data");
    let cluster = Cluster::start(work.path(), &data, &[]);
    let client = cluster.client();
    client.put(BUCKET, b"").expect("it runs").ok("create the bucket");
    let body = random(1, 3 * MIB);
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| put(&client, "too-slow", &body, Duration::from_secs(30)));
        wait("an upload", || cluster.in_flight() == 1);
        let begun = Instant::now();
        let (status, _) = cluster.stop();
        let took = begun.elapsed();
        assert!(status.success(), "{status}");
        // Ten seconds, and what a disk may stall; the upload would go on for half a minute.
        assert!((8..20).contains(&took.as_secs()), "it took {took:?}");
        let answer = upload.join().expect("no panic");
        assert!(!matches!(answer, Ok(200)), "what was cut was acknowledged");
    });
    let cluster = Cluster::start(work.path(), &data, &[]);
    assert_eq!(cluster.client().get(&format!("{BUCKET}/too-slow")).expect("it runs").status, 404);
    cluster.check_log(&[]);
    let (status, took) = cluster.stop();
    assert!(status.success() && took < Duration::from_secs(7), "an idle one took {took:?} to stop: {status}");
}
