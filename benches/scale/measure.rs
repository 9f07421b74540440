//! CPU time and medians, and the table that they go into.

use std::collections::BTreeMap;
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

/// Costs by operation and number of objects, in the order of the first size.
#[derive(Default)]
pub struct Table {
    names: Vec<String>,
    costs: BTreeMap<(usize, u64), Cost>,
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
    /// Keeps what was measured, for each time that it was done.
    pub fn enter(&mut self, name: &str, objects: u64, mut meter: Meter<'_>) {
        let at = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        meter.times.sort();
        let count = meter.times.len() as f64;
        let median = meter.times[meter.times.len() / 2].as_secs_f64() * 1e6;
        let each = |seconds: f64| seconds * 1e6 / count;
        let cost = Cost { client: each(meter.client), server: each(meter.server), median, log: meter.log / count };
        let Cost { client, server, log, .. } = cost;
        eprintln(&format!("{objects:>9} {name:<34} {client:>10.1} {server:>10.1} {median:>10.1} {log:>9.0}"));
        self.costs.insert((at, objects), cost);
    }
}

#[allow(clippy::print_stderr, reason = "progress of a long run")]
fn eprintln(line: &str) {
    eprintln!("{line}");
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "CPU µs for each operation: all, of which the server's; × the smallest; [median µs]; log bytes\n")?;
        let sizes: std::collections::BTreeSet<u64> = self.costs.keys().map(|(_, objects)| *objects).collect();
        let heads: Vec<String> = sizes.iter().map(|size| format!(" {size} objects |")).collect();
        writeln!(f, "| operation |{}", heads.concat())?;
        writeln!(f, "|---|{}", "---:|".repeat(sizes.len()))?;
        for (at, name) in self.names.iter().enumerate() {
            write!(f, "| {name} |")?;
            let mut least = None;
            for size in &sizes {
                let Some(cost) = self.costs.get(&(at, *size)) else { continue };
                let all = cost.client + cost.server;
                let ratio = all / *least.get_or_insert(all);
                write!(f, " {all:.0} ({:.0}) ×{ratio:.2} [{:.0}] {:.0} |", cost.server, cost.median, cost.log)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
