//! What operations cost as the database grows: CPU time of this process and
//! of the server's, and median time, with synthetic objects by the million.
//!
//! `cargo bench --bench scale -- --objects 10000,1000000,10000000 --engine sqlite,postgres`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints tables and may fail loudly")]

mod database;
mod measure;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod work;

use database::{Database, Settings};
use measure::Table;
use work::Bench;

/// What the command line says.
struct Arguments {
    objects: Vec<u64>,
    engines: Vec<String>,
    settings: Settings,
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self {
            objects: vec![10_000, 50_000],
            engines: vec!["sqlite".into(), "postgres".into()],
            settings: Settings::default(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut list = || words.next().expect("a value").split(',').map(str::to_owned).collect::<Vec<_>>();
            match word.as_str() {
                "--objects" => arguments.objects = list().iter().map(|word| word.parse().unwrap()).collect(),
                "--engine" => arguments.engines = list(),
                "--cache-kib" => arguments.settings.cache_kib = list()[0].parse().unwrap(),
                "--postgres-conf" => arguments.settings.postgres_conf = list().join("\n"),
                "--explain" => arguments.settings.explain = true,
                "--bench" => {}
                unknown => panic!("{unknown}: known are --objects, --engine, --cache-kib, --postgres-conf, --explain"),
            }
        }
        arguments
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments = Arguments::read();
    for engine in &arguments.engines {
        let settings = &arguments.settings;
        let mut benches = Vec::new();
        for &objects in &arguments.objects {
            benches.push(Bench::new(Database::new(engine, settings.clone()), objects).await);
        }
        println!("## {}\n", benches[0].database.describe());
        let mut table = Table::default();
        work::run(&benches, &mut table).await;
        println!("{table}");
        for bench in benches {
            println!("{}", bench.database.plans());
            bench.metadata.close().await;
        }
    }
}
