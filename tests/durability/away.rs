//! A gateway that was down, or stood still, for longer than nodes may be away:
//! when it is back it repairs nothing because of that. Hours are seconds here:
//! nodes count as away after twelve of them, which is longer than they need to
//! find the gateway again, and it is away for half as long again.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::figures::{Figures, is_whole};
use crate::support::community::{Gateway, Objects};

const AWAY: Duration = Duration::from_secs(12);

#[test]
fn a_gateway_that_was_away_for_long_starts_no_storm_of_repairs() {
    let mut gateway = Gateway::start(&["--scheme", "3/4/5/6", "--offline-after", "12s"]);
    let nodes = gateway.nodes(8);
    let objects = Objects::put(&gateway, "kept", 2);
    let mut figures = Figures { acknowledged: 10, ..Figures::default() };
    gateway.wait_status("a count of all segments", |status| is_whole(status, 0));
    for how in ["killed", "frozen"] {
        match how {
            "frozen" => gateway.daemon().freeze(),
            _ => drop(gateway.stop(Signal::KILL)),
        }
        // The time itself is what it is about.
        std::thread::sleep(AWAY * 3 / 2);
        let begun = Instant::now();
        match how {
            "frozen" => gateway.daemon().send(Signal::CONT),
            _ => gateway.start_again(),
        }
        objects_are_there(&gateway, &objects, &mut figures, begun);
        // Longer than nodes may be away, and a pass.
        let before = gateway.json(&["status"])["now_ms"].as_i64();
        std::thread::sleep(AWAY + Duration::from_secs(5));
        let status = gateway.json(&["status"]);
        assert!(status["now_ms"].as_i64() > before && is_whole(&status, 0), "{how}: {status:#}");
        assert_eq!(status["segments"]["pieces_repaired"], 0, "{how}: a storm of repairs: {status:#}");
    }
    figures.show("a gateway that was away", &gateway);
    assert_eq!(gateway.complaints(&[]), Vec::<String>::new());
    drop(nodes);
}

fn objects_are_there(gateway: &Gateway, objects: &Objects, figures: &mut Figures, begun: Instant) {
    gateway.wait_connected(8);
    objects.check(gateway);
    gateway.wait_status("a count of all segments", |status| is_whole(status, 0));
    figures.healthy_after.push(begun.elapsed());
}
