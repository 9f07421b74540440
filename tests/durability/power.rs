//! Power cuts: the gateway, the worker in it and nodes are killed where they
//! stand, alone and together, and with each of them goes what its disk was
//! given and did not sync (docs/decisions/0023 says how, and what that does not
//! show). Nothing that was acknowledged is lost, and nothing is half there.
//!
//! `CAIRN_TEST_POWER_CUTS` says how many; 500 is the long form.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rustix::process::Signal;

use super::figures::Figures;
use super::writer::{BUCKET, Done, Race, Writer, settle_race, verify};
use crate::support::cairn::tell;
use crate::support::community::{Gateway, Node};
use crate::support::disk::{Disk, cut};
use crate::support::workdir::WorkDir;
use crate::support::{rounds, seed};

const NODES: usize = 6;
const WRITERS: usize = 4;
/// What cuts may log: a node that is told that it was not stopped well, a
/// gateway that has too few nodes.
const EXPECTED: [&str; 3] = ["503", "store did not close cleanly", "conflict"];

#[test]
fn what_was_acknowledged_outlives_power_cuts() {
    let cuts = rounds("CAIRN_TEST_POWER_CUTS", 15);
    let mut drill = Drill::new();
    for round in 0..cuts {
        let victims = drill.victims();
        drill.cut_during_writes(round, &victims);
        drill.power_up(&victims);
        verify(&mut drill.writers, &drill.gateway.client(), round % 20 == 19 || round + 1 == cuts);
        drill.figures.healthy_after.push(drill.dark_since.elapsed());
    }
    drill.end();
}

struct Drill {
    dice: SmallRng,
    // Ended before their disks go.
    gateway: Gateway,
    nodes: Vec<Node>,
    writers: Vec<Writer>,
    disks: Vec<Disk>,
    figures: Figures,
    refused: u64,
    dark_since: Instant,
}

/// Those that lose power: the gateway, and nodes by number.
struct Victims {
    gateway: bool,
    nodes: Vec<usize>,
}

impl Drill {
    fn new() -> Self {
        let mut dice = SmallRng::seed_from_u64(seed("power"));
        let work = WorkDir::new("power");
        let mut disks: Vec<Disk> = (0..NODES).map(|number| Disk::new(&work, &format!("node-{number}"), 1000)).collect();
        disks.push(Disk::new(&work, "data", 300));
        let gateway = Gateway::start_on(work, &["--scheme", "3/4/5/6"]);
        let nodes = gateway.nodes_of(NODES, "800MB");
        gateway.client().put(BUCKET, b"").expect("it runs").ok("create the bucket");
        let writers = (0..WRITERS).map(|number| Writer::new(number, dice.next_u64())).collect();
        let (figures, dark_since) = (Figures::default(), Instant::now());
        Self { dice, gateway, nodes, writers, disks, figures, refused: 0, dark_since }
    }

    fn victims(&mut self) -> Victims {
        let all: Vec<usize> = (0..NODES).collect();
        let (gateway, nodes) = match self.dice.random_range(0..5) {
            0 => (true, 0),
            1 => (false, 1),
            2 => (false, self.dice.random_range(2..=NODES)),
            3 => (true, self.dice.random_range(1..NODES)),
            _ => (true, NODES),
        };
        Victims { gateway, nodes: all.choose_multiple(&mut self.dice, nodes).copied().collect() }
    }

    /// Lets clients write, and cuts the victims' power in the middle of it.
    fn cut_during_writes(&mut self, round: u32, victims: &Victims) {
        let (race, over, client) = (Race::new(round), AtomicBool::new(false), self.gateway.client());
        let before = Duration::from_millis(self.dice.random_range(5..600));
        let after = Duration::from_millis(self.dice.random_range(0..300));
        let mut writers = std::mem::take(&mut self.writers);
        let done: Vec<Done> = std::thread::scope(|scope| {
            let running: Vec<_> = writers
                .iter_mut()
                .map(|writer| {
                    let (client, race, over) = (client.clone(), &race, &over);
                    scope.spawn(move || writer.write(&client, race, over))
                })
                .collect();
            std::thread::sleep(before);
            self.cut(victims);
            // Those that still run go on without the others.
            std::thread::sleep(after);
            over.store(true, Ordering::Relaxed);
            running.into_iter().map(|thread| thread.join().expect("a writer found a fault")).collect()
        });
        settle_race(&mut writers, race);
        self.writers = writers;
        self.figures.acknowledged += done.iter().map(|done| done.acknowledged as usize).sum::<usize>();
        self.refused += done.iter().map(|done| done.refused).sum::<u64>();
    }

    /// First they stand still, so that none of them sees its disk fail: in a
    /// power cut nobody does.
    fn cut(&mut self, victims: &Victims) {
        victims.nodes.iter().for_each(|node| self.nodes[*node].daemon().freeze());
        if victims.gateway {
            self.gateway.daemon().freeze();
        }
        let gateways = self.disks.last().filter(|_| victims.gateway);
        cut(victims.nodes.iter().map(|node| &self.disks[*node]).chain(gateways));
        self.dark_since = Instant::now();
        victims.nodes.iter().for_each(|node| self.nodes[*node].stop(Signal::KILL));
        if victims.gateway {
            self.gateway.stop(Signal::KILL);
        }
    }

    fn power_up(&mut self, victims: &Victims) {
        if victims.gateway {
            self.disks[NODES].mount_again();
            self.gateway.begin_again();
        }
        for node in &victims.nodes {
            self.disks[*node].mount_again();
            self.nodes[*node].start_again();
        }
        if victims.gateway {
            self.gateway.wait_ready();
        }
        self.gateway.wait_connected(NODES);
    }

    fn end(self) {
        let Self { gateway, mut nodes, figures, refused, disks, .. } = self;
        figures.show("power", &gateway);
        tell(&format!("power: {refused} writes were refused or not answered"));
        for row in gateway.rows() {
            assert_eq!(row["rollbacks"], 0, "a node went behind what it had shown: {row:#}");
        }
        let repaired = gateway.json(&["status"])["segments"]["pieces_repaired"].clone();
        assert_eq!(repaired, 0, "a node had lost a piece that it had acknowledged");
        assert_eq!(gateway.complaints(&EXPECTED), Vec::<String>::new());
        nodes.iter_mut().for_each(|node| node.stop(Signal::KILL));
        drop(gateway);
        drop(disks);
    }
}
