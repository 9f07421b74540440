//! CPU time and medians, and the table that they go into.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use super::database::Database;

/// What an operation costs at one size.
#[derive(Clone, Copy)]
struct Cost {
    /// CPU of this process and of the server's, and median time, in µs.
    client: f64,
    server: f64,
    median: f64,
    /// Bytes of the server's log.
    log: f64,
}

impl Cost {
    fn all(&self) -> f64 {
        self.client + self.server
    }
}

/// Costs of each round, by operation and number of objects.
#[derive(Default)]
pub struct Table {
    names: Vec<&'static str>,
    costs: BTreeMap<(&'static str, u64), Vec<Cost>>,
}

/// CPU seconds of this process.
fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Adds up what goes on between its calls.
pub struct Meter<'a> {
    database: &'a Database,
    client: f64,
    server: f64,
    log: f64,
    times: Vec<Duration>,
}

impl<'a> Meter<'a> {
    pub fn new(database: &'a Database) -> Self {
        Self { database, client: 0.0, server: 0.0, log: 0.0, times: Vec::new() }
    }

    /// Does it for each of these numbers.
    pub async fn each<F: Future<Output = ()>>(&mut self, numbers: impl Iterator<Item = u64>, work: impl Fn(u64) -> F) {
        // Looking at the log costs, too, and who looked ends a moment later.
        let log = self.database.log_bytes();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (client, server) = (own_cpu_seconds(), self.database.cpu_seconds());
        for number in numbers {
            let begun = Instant::now();
            work(number).await;
            self.times.push(begun.elapsed());
        }
        self.client += own_cpu_seconds() - client;
        self.server += self.database.cpu_seconds() - server;
        self.log += self.database.log_bytes() - log;
    }
}

impl Table {
    /// Keeps what was measured in a round, for each time that it was done.
    pub fn enter(&mut self, name: &'static str, objects: u64, mut meter: Meter<'_>) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        meter.times.sort();
        let count = meter.times.len() as f64;
        let median = meter.times[meter.times.len() / 2].as_secs_f64() * 1e6;
        let each = |seconds: f64| seconds * 1e6 / count;
        let cost = Cost { client: each(meter.client), server: each(meter.server), median, log: meter.log / count };
        self.costs.entry((name, objects)).or_default().push(cost);
    }

    /// Says how far it is.
    #[allow(clippy::print_stderr, reason = "progress of a long run")]
    pub fn tell(&self, name: &'static str) {
        eprintln!("{}", self.row(name));
    }

    fn sizes(&self) -> BTreeSet<u64> {
        self.costs.keys().map(|(_, objects)| *objects).collect()
    }

    fn row(&self, name: &'static str) -> String {
        let sizes = self.sizes();
        let least = sizes.first().and_then(|size| self.costs.get(&(name, *size)));
        let cell = |size: &u64| {
            let (costs, least) = (self.costs.get(&(name, *size))?, least?);
            let of = |value: fn(&Cost) -> f64| middle(costs.iter().map(value).collect());
            let ratios: Vec<f64> = costs.iter().zip(least).map(|(cost, least)| cost.all() / least.all()).collect();
            let (low, high) = ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), at| (low.min(*at), high.max(*at)));
            Some(format!(
                " {:.0} ({:.0}) ×{:.2} ({low:.2} to {high:.2}) [{:.0}] {:.0} |",
                of(Cost::all),
                of(|cost| cost.server),
                middle(ratios),
                of(|cost| cost.median),
                of(|cost| cost.log)
            ))
        };
        format!("| {name} |{}", sizes.iter().filter_map(cell).collect::<String>())
    }
}

/// The median.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "CPU µs for each operation: all, of which the server's; × the smallest in the same round (the least and the \
             most of the rounds); [median µs]; log bytes. Medians of the rounds.\n"
        )?;
        let heads: Vec<String> = self.sizes().iter().map(|size| format!(" {size} objects |")).collect();
        writeln!(f, "| operation |{}", heads.concat())?;
        writeln!(f, "|---|{}", "---:|".repeat(heads.len()))?;
        self.names.iter().try_for_each(|name| writeln!(f, "{}", self.row(name)))
    }
}
