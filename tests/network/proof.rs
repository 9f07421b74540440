//! The network of these tests is what it claims to be: otherwise nothing that
//! they show about Cairn would mean anything.

use std::net::Ipv4Addr;
use std::sync::MutexGuard;
use std::time::Duration;

use crate::cluster::alone;
use crate::faults::{Cut, LongLine, Loss, Thin};
use crate::hosts::{Host, KIND, Lab, Namespace, Switch, namespaces, remove_stale};
use crate::machine::PYTHON;
use crate::nat::Nat;
use crate::support::process::{Daemon, Outcome};
use crate::support::workdir::WorkDir;

const PORT: &str = "7000";

/// For what takes a moment.
const SOON: Duration = Duration::from_secs(60);

/// Two hosts on a switch, the first of which answers. Other tests wait: what is
/// measured here is not to depend on what they do.
struct Pair {
    server: Host,
    client: Host,
    _answers: Daemon,
    switch: Switch,
    lab: Lab,
    work: WorkDir,
    _alone: MutexGuard<'static, ()>,
}

impl Pair {
    fn new() -> Self {
        let alone = alone();
        let lab = Lab::new();
        let switch = Switch::new(&lab, "net", [10, 78, 0]);
        let work = WorkDir::new("network");
        let server = switch.host(&lab, "server", 1);
        let client = switch.host(&lab, "client", 2);
        let answers = serve(&server, "serve", &work);
        Self { server, client, _answers: answers, switch, lab, work, _alone: alone }
    }

    fn ask(&self, from: &Host, what: &str, count: u64) -> f64 {
        let outcome = probe(from, &self.work, &[what, &self.server.address().to_string(), PORT, &count.to_string()]);
        assert!(outcome.status.success(), "{}", outcome.story());
        outcome.text().trim().parse().expect("the probe prints a number")
    }

    fn reaches(&self, from: &Host) -> bool {
        probe(from, &self.work, &["rtt", &self.server.address().to_string(), PORT, "1"]).status.success()
    }
}

fn serve(host: &Host, how: &str, work: &WorkDir) -> Daemon {
    let log = work.join(format!("{how}-{}.log", host.address()));
    let mut daemon = host
        .space()
        .invoke(PYTHON, work.path())
        .arg(script())
        .args([how, &host.address().to_string(), PORT])
        .start(&log);
    daemon.wait_until("the probe listens", SOON, || {
        std::fs::read_to_string(&log).ok().filter(|text| text.contains("ready"))
    });
    daemon
}

fn probe(from: &Host, work: &WorkDir, arguments: &[&str]) -> Outcome {
    from.space().invoke(PYTHON, work.path()).arg(script()).args(arguments).limit_seconds(400).outcome()
}

fn script() -> String {
    format!("{}/tests/network/probe.py", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn hosts_reach_each_other_until_they_are_cut_off() {
    let pair = Pair::new();
    assert!(pair.ask(&pair.client, "rtt", 20) < 20.0);
    let cut = Cut::new(&pair.client);
    assert!(!pair.reaches(&pair.client), "a host that is cut off reaches nobody");
    drop(cut);
    assert!(pair.reaches(&pair.client), "the cut has healed");
}

#[test]
fn a_router_lets_out_and_not_in() {
    let pair = Pair::new();
    let nat = Nat::new(&pair.lab, "nat", &pair.switch, 10, [192, 168, 1]);
    let carrier = Nat::new(&pair.lab, "cgn", &pair.switch, 11, [100, 64, 0]);
    let home = Nat::new(&pair.lab, "home", carrier.inside(), 10, [192, 168, 2]);
    let (behind, deep) = (nat.host(&pair.lab, "behind", 5), home.host(&pair.lab, "deep", 5));
    assert!(pair.reaches(&behind) && pair.reaches(&deep), "whoever is behind a router reaches the world");

    let _inside = serve(&behind, "serve", &pair.work);
    pair.client.space().ip(&format!("route add 192.168.1.0/24 via {}", nat.address()));
    let inwards = probe(&pair.client, &pair.work, &["rtt", &behind.address().to_string(), PORT, "1"]);
    assert!(!inwards.status.success(), "the world reaches nobody behind a router");
    let neighbour = nat.host(&pair.lab, "neighbour", 6);
    let within = probe(&neighbour, &pair.work, &["rtt", &behind.address().to_string(), PORT, "1"]);
    assert!(within.status.success(), "the one behind the router does answer: {}", within.story());
}

#[test]
fn a_long_line_has_its_delay_and_carries_a_hundred_megabits() {
    let pair = Pair::new();
    let line = LongLine::new(&pair.client, Duration::from_millis(40), pair.work.path());
    let rtt = pair.ask(&pair.client, "rtt", 10);
    assert!((79.0..110.0).contains(&rtt), "a round trip of {rtt} ms");
    // What it can carry is what it has carried at its best: the machine has other things to do.
    let rate = (0..3).map(|_| pair.ask(&pair.client, "rate", 64 << 20)).fold(0.0, f64::max);
    println!("long line: {rtt:.1} ms there and back, {rate:.0} Mbit/s");
    assert!(rate > 100.0, "{rate} Mbit/s");
    drop(line);
    let rtt = pair.ask(&pair.client, "rtt", 10);
    assert!(rtt < 20.0, "a round trip of {rtt} ms when the long line is gone");
}

#[test]
fn a_thin_line_is_thin_and_a_lossy_one_loses() {
    let pair = Pair::new();
    let thin = Thin::new(&pair.client, 100_000);
    let rate = pair.ask(&pair.client, "rate", 300_000);
    assert!((0.1..1.4).contains(&rate), "{rate} Mbit/s through 0.8");
    drop(thin);

    let mut count = serve(&pair.client, "udp-serve", &pair.work);
    let loss = Loss::new(&pair.client, Some(pair.server.address()), 2.0);
    let sent = probe(&pair.server, &pair.work, &["udp-send", &pair.client.address().to_string(), PORT, "5000"]);
    assert!(sent.status.success(), "{}", sent.story());
    let counted = || count.log().lines().nth(1).and_then(|line| line.parse::<u32>().ok());
    let arrived = crate::support::poll(SOON, Duration::from_millis(20), counted);
    let arrived = arrived.expect("the count is printed at the end");
    assert!((4_840..=4_960).contains(&arrived), "{arrived} of 5000 arrived with 2 % loss");
    drop(loss);
    assert!(count.stop(rustix::process::Signal::CONT, SOON).is_some());
}

#[test]
fn a_new_address_answers_and_the_old_one_does_not() {
    let pair = Pair::new();
    let old = pair.client.address();
    pair.client.renumber(pair.switch.address(77));
    assert!(pair.reaches(&pair.client));
    let _answers = serve(&pair.client, "serve", &pair.work);
    let dial = |address: Ipv4Addr| probe(&pair.server, &pair.work, &["rtt", &address.to_string(), PORT, "1"]);
    assert!(dial(pair.client.address()).status.success());
    assert!(!dial(old).status.success(), "nobody answers where it was");
}

#[test]
fn nothing_is_left_behind() {
    let pair = Pair::new();
    let prefix = pair.lab.prefix().to_owned();
    let left = |prefix: &str| namespaces().into_iter().filter(|name| name.starts_with(prefix)).count();
    assert_eq!(left(&prefix), 3);
    drop(pair);
    assert_eq!(left(&prefix), 0, "the network is gone");

    // A process id that no process has: the kernel's largest plus one.
    let stale = format!("cairn-{}-0-left", (1 << 22) + 1);
    let made = std::process::Command::new("ip").args(["netns", "add", &stale]).status();
    assert!(made.is_ok_and(|status| status.success()));
    remove_stale(KIND);
    assert!(!namespaces().contains(&stale), "what a killed run left behind is taken away");
    let lab = Lab::new();
    let _space = Namespace::new(&lab, "alive");
    remove_stale(KIND);
    assert_eq!(left(lab.prefix()), 1, "what a running test uses is not");
}
