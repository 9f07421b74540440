//! A gateway that was down for longer than nodes may be away: when it is back
//! it repairs nothing because of that. Hours are seconds here: nodes count as away
//! after thirty-five of them, and it is down for longer. Less would be another case:
//! nodes try the door ever more seldom, and so come back about as long after
//! it as it was away, though never later than half a minute.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::figures::{Figures, is_whole};
use crate::support::community::{Gateway, Objects};

const AWAY: Duration = Duration::from_secs(35);

#[test]
fn a_gateway_that_was_away_for_long_starts_no_storm_of_repairs() {
    let mut gateway = Gateway::start(&["--scheme", "3/4/5/6", "--offline-after", "35s"]);
    let nodes = gateway.nodes(8);
    let objects = Objects::put(&gateway, "kept", 2);
    let mut figures = Figures { acknowledged: 10, ..Figures::default() };
    gateway.wait_status("a count of all segments", |status| is_whole(status, 0));
    gateway.stop(Signal::KILL);
    // The time itself is what it is about.
    std::thread::sleep(AWAY + Duration::from_secs(2));
    let begun = Instant::now();
    gateway.start_again();
    gateway.wait_connected(8);
    objects.check(&gateway);
    figures.healthy_after.push(begun.elapsed());
    // Longer than nodes may be away, and a pass.
    std::thread::sleep(AWAY + Duration::from_secs(5));
    let status = gateway.wait_status("a count of all segments", |status| is_whole(status, 0));
    assert_eq!(status["segments"]["pieces_repaired"], 0, "a storm of repairs: {status:#}");
    figures.show("a gateway that was away", &gateway);
    assert_eq!(gateway.complaints(&[]), Vec::<String>::new());
    drop(nodes);
}
