//! A hundred kill -9 at random moments during mixed writes: nothing that was
//! acknowledged is lost, and nothing is half there.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use super::cluster::Cluster;
use super::writer::{BUCKET, Race, Writer, settle_race, verify};
use crate::support::seed;
use crate::support::workdir::WorkDir;

const KILLS: u32 = 100;
const WRITERS: usize = 6;
/// They end when the server does.
static OVER_NEVER: AtomicBool = AtomicBool::new(false);

#[test]
fn a_hundred_kills_lose_nothing() {
    let seed = seed("kill");
    let mut dice = SmallRng::seed_from_u64(seed);
    let work = WorkDir::new("kill");
    let data = work.join("data");
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, dice.next_u64())).collect();
    let mut writes = 0;
    let begun = Instant::now();
    for round in 0..KILLS {
        if dice.random_ratio(1, 10) {
            let cluster = Cluster::launch(work.path(), &data, &[]);
            std::thread::sleep(Duration::from_millis(dice.random_range(0..300)));
            cluster.kill();
        }
        let cluster = Cluster::start(work.path(), &data, &[]);
        let client = cluster.client();
        if round == 0 {
            client.put(BUCKET, b"").expect("it runs").ok("create the bucket");
        }
        let all = round % 20 == 19;
        verify(&mut writers, &client, all);
        let race = Race::new(round);
        std::thread::scope(|scope| {
            let running: Vec<_> = writers
                .iter_mut()
                .map(|writer| {
                    let (client, race) = (client.clone(), &race);
                    scope.spawn(move || writer.write(&client, race, &OVER_NEVER).acknowledged)
                })
                .collect();
            std::thread::sleep(Duration::from_millis(dice.random_range(5..500)));
            cluster.check_log(&[]);
            cluster.kill();
            writes += running.into_iter().map(|thread| thread.join().expect("a writer found a fault")).sum::<u64>();
        });
        settle_race(&mut writers, race);
    }
    let cluster = Cluster::start(work.path(), &data, &[]);
    verify(&mut writers, &cluster.client(), true);
    cluster.check_log(&[]);
    assert!(cluster.stop().0.success());
    println!("kill: {KILLS} kills, {writes} acknowledged writes, {:?}", begun.elapsed());
}
