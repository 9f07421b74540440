//! Wall clocks that jump by a day and back, on the gateway and on a node, while
//! both run: nothing is lost, repaired or purged because of it, and nobody is
//! turned away for it.
//!
//! The programs are the real ones: `wrong_clock.py` answers their questions for
//! the time. The monotonic clock goes on as it did, as it does on a machine whose
//! clock is set.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::figures::{Figures, is_whole};
use crate::support::client::{Call, Client, between};
use crate::support::community::{Gateway, Objects};
use crate::support::workdir::WorkDir;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Sizes that [`Objects`] has.
const SIZES: usize = 5;

/// The file that says how wrong a clock is; it is right at first.
fn clock(work: &WorkDir, name: &str) -> PathBuf {
    let file = work.join(format!("{name}.clock"));
    set(&file, Duration::ZERO);
    file
}

fn set(clock: &PathBuf, ahead: Duration) {
    std::fs::write(clock, ahead.as_secs().to_string()).expect("a file of our own");
}

/// A client whose clock is right has to be told; one whose clock is as wrong is served.
fn refused_for_its_clock(client: &Client) {
    let reply = client.send(Call::new("GET", "/")).expect("it answers");
    assert_eq!((reply.status, between(&reply.text(), "<Code>", "</Code>")), (403, "RequestTimeTooSkewed"));
}

#[test]
fn a_gateway_whose_clock_jumps_by_a_day_and_back_loses_nothing() {
    let work = WorkDir::new("clock");
    let clock = clock(&work, "gateway");
    let mut gateway = Gateway::start_on(work, &["--scheme", "3/4/5/6", "--offline-after", "60s"]);
    let mut nodes = gateway.nodes(6);
    let (right, wrong) = (gateway.client(), gateway.client().ahead(DAY));
    let mut objects = Objects::put_by(right.clone(), "before", 2);
    right.put("/before/gone", &[7; 100_000]).expect("it runs").ok("put");
    right.delete("/before/gone").expect("it runs").ok("delete");
    let mut figures = Figures { acknowledged: 2 * SIZES + 1, ..Figures::default() };
    for (ahead, client, other) in [(DAY, &wrong, &right), (Duration::ZERO, &right, &wrong)] {
        let begun = Instant::now();
        set(&clock, ahead);
        refused_for_its_clock(other);
        objects.check_by(client);
        objects.more_by(client, 1);
        // A node that comes back is let in, and believes the door.
        nodes[0].restart(Signal::TERM);
        gateway.wait_connected(6);
        objects.more_by(client, 1);
        objects.check_by(client);
        // And so does a gateway that starts with the wrong time.
        assert!(gateway.stop(Signal::TERM).is_some_and(|status| status.success()), "{}", gateway.log());
        gateway.start_again();
        gateway.wait_connected(6);
        objects.more_by(client, 1);
        objects.check_by(client);
        let status = gateway.wait_status("a count of all segments", |status| is_whole(status, 0));
        assert_eq!(status["segments"]["pieces_repaired"], 0, "{status:#}");
        figures.healthy_after.push(begun.elapsed());
        figures.acknowledged += 3 * SIZES;
    }
    figures.show("the gateway's clock", &gateway);
    assert_eq!(gateway.complaints(&[]), Vec::<String>::new());
}

#[test]
fn a_node_whose_clock_jumps_by_a_day_and_back_serves_on() {
    let work = WorkDir::new("clock");
    let clock = clock(&work, "node-0");
    let gateway = Gateway::start_on(work, &["--scheme", "3/4/5/6", "--offline-after", "60s"]);
    let mut nodes = gateway.nodes(6);
    let client = gateway.client();
    let mut objects = Objects::put_by(client.clone(), "kept", 2);
    let mut figures = Figures { acknowledged: 2 * SIZES, ..Figures::default() };
    for ahead in [DAY, Duration::ZERO] {
        let begun = Instant::now();
        set(&clock, ahead);
        objects.more_by(&client, 1);
        nodes[0].restart(Signal::TERM);
        gateway.wait_connected(6);
        objects.more_by(&client, 1);
        objects.check_by(&client);
        figures.healthy_after.push(begun.elapsed());
        figures.acknowledged += 2 * SIZES;
    }
    let row = gateway.row(&nodes[0].id());
    assert_eq!((&row["rollbacks"], &row["state"]), (&0.into(), &"active".into()), "{row:#}");
    let status = gateway.wait_status("a count of all segments", |status| is_whole(status, 0));
    assert_eq!(status["segments"]["pieces_repaired"], 0, "{status:#}");
    figures.show("a node's clock", &gateway);
    assert_eq!(gateway.complaints(&[]), Vec::<String>::new());
}
