//! boto3 writes and reads while something happens, and afterwards everything
//! that was acknowledged is read again: see `load.py`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::support::process::{Daemon, Invocation};

/// Small, middling, and larger than one segment takes.
pub const SIZES: [u64; 3] = [4 << 10, 300 << 10, 9 << 20];

/// Longer than a request may take with all of boto3's attempts.
const LAST_REQUESTS: Duration = Duration::from_secs(400);

/// How hard the load is.
pub struct Plan {
    pub threads: u32,
    /// What a thread rests between a write with its read and the next.
    pub pause: Duration,
    /// Size in bytes and how often it comes.
    pub sizes: Vec<(u64, u32)>,
}

impl Plan {
    /// All three sizes, at a pace that leaves the machine some air.
    pub fn steady() -> Self {
        let sizes = SIZES.into_iter().zip([8, 8, 1]).collect();
        Self { threads: 4, pause: Duration::from_millis(250), sizes }
    }

    /// One size, as fast as it goes.
    pub fn fast(threads: u32, size: u64) -> Self {
        Self { threads, pause: Duration::ZERO, sizes: vec![(size, 1)] }
    }
}

/// A load program at work.
pub struct Load<'a> {
    cluster: &'a Cluster,
    daemon: Daemon,
    bucket: String,
    path: PathBuf,
}

impl<'a> Load<'a> {
    /// Starts to write and read in a new bucket, until [`Load::finish`].
    pub fn start(cluster: &'a Cluster, bucket: &str, plan: &Plan) -> Self {
        let sizes = plan.sizes.iter().map(|(size, weight)| format!("{size}:{weight}"));
        let rest = [plan.threads.to_string(), plan.pause.as_millis().to_string()];
        Self::launch(cluster, "run", bucket, rest.into_iter().chain(sizes))
    }

    /// Starts `count` uploads of `size` bytes, all at once.
    pub fn burst(cluster: &'a Cluster, bucket: &str, count: u32, size: u64) -> Self {
        Self::launch(cluster, "burst", bucket, [count.to_string(), size.to_string()])
    }

    fn launch(cluster: &'a Cluster, how: &str, bucket: &str, rest: impl IntoIterator<Item = String>) -> Self {
        let path = cluster.work().join(format!("{bucket}.ledger"));
        let log = cluster.work().join(format!("{bucket}.log"));
        let mut daemon = program(cluster, how, bucket, &path).args(rest).start(&log);
        daemon.wait_until("boto3 has made its bucket", Duration::from_secs(120), || {
            std::fs::read_to_string(&log).ok().filter(|text| text.contains("ready"))
        });
        Self { cluster, daemon, bucket: bucket.to_owned(), path }
    }

    /// What has been answered so far.
    pub fn so_far(&self) -> Ledger {
        Ledger::read(&self.path)
    }

    /// Lets it go on for a while; it must not end.
    pub fn go_on_for(&mut self, time: Duration) {
        std::thread::sleep(time);
        assert!(!self.daemon.has_ended(), "the load ended by itself: {}", self.daemon.story());
    }

    /// Waits until `enough` has been answered.
    pub fn wait_for(&mut self, what: &str, limit: Duration, mut enough: impl FnMut(&Ledger) -> bool) {
        let path = self.path.clone();
        self.daemon.wait_until(what, limit, || enough(&Ledger::read(&path)).then_some(()));
    }

    /// Stops after the requests in flight, reads everything back that was
    /// acknowledged, and gives the record.
    pub fn finish(self) -> Ledger {
        let cluster = self.cluster;
        self.stop().read_back(cluster)
    }

    /// The same for a burst, which ends by itself.
    pub fn wait(self) -> Ledger {
        let cluster = self.cluster;
        self.end(Signal::CONT).read_back(cluster)
    }

    /// Stops after the requests in flight.
    pub fn stop(self) -> Written {
        self.end(Signal::TERM)
    }

    fn end(mut self, signal: Signal) -> Written {
        let ended = self.daemon.stop(signal, LAST_REQUESTS);
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", self.daemon.story());
        Written { bucket: self.bucket, path: self.path }
    }
}

/// What a load has written.
pub struct Written {
    bucket: String,
    path: PathBuf,
}

impl Written {
    /// Reads everything that was acknowledged and compares it.
    pub fn read_back(&self, cluster: &Cluster) -> Ledger {
        let ledger = Ledger::read(&self.path);
        let read = program(cluster, "verify", &self.bucket, &self.path).limit_seconds(400).run();
        let (read, acknowledged) = (read.text().trim().to_owned(), ledger.acknowledged().count());
        assert_eq!(read, acknowledged.to_string(), "all that was acknowledged is read again");
        assert!(acknowledged > 0, "nothing was acknowledged, so nothing was shown");
        ledger
    }
}

fn program(cluster: &Cluster, how: &str, bucket: &str, ledger: &std::path::Path) -> Invocation {
    let package = env!("CARGO_MANIFEST_DIR");
    let python = format!("{package}/target/clients/venv/bin/python");
    assert!(std::path::Path::new(&python).exists(), "{python} is missing: run tests/install-clients");
    let access = cluster.access();
    cluster
        .client()
        .space()
        .invoke(python, cluster.work().path())
        .arg(format!("{package}/tests/network/load.py"))
        .args([how, bucket])
        .arg(ledger)
        .env("AWS_ENDPOINT_URL", &access.endpoint)
        .env("AWS_ACCESS_KEY_ID", &access.key)
        .env("AWS_SECRET_ACCESS_KEY", &access.secret)
        .env("AWS_REGION", &access.region)
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// One request and how it went.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    pub op: Op,
    /// Bytes of the object.
    pub size: u64,
    /// When it began, in seconds since 1970.
    pub at: f64,
    pub seconds: f64,
    /// None if it was acknowledged.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Put,
    Get,
}

/// All requests of a load.
#[derive(Default)]
pub struct Ledger {
    pub records: Vec<Record>,
}

impl Ledger {
    fn read(path: &std::path::Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The last line may be half written.
        Self { records: text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect() }
    }

    /// Writes that were acknowledged.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.op == Op::Put && record.error.is_none())
    }

    /// How many requests that began after `then` were answered well.
    pub fn good_since(&self, then: SystemTime) -> usize {
        let then = seconds_of(then);
        self.records.iter().filter(|record| record.error.is_none() && record.at > then).count()
    }

    /// The same for those that began and ended between two moments.
    pub fn good_between(&self, from: SystemTime, to: SystemTime) -> usize {
        let (from, to) = (seconds_of(from), seconds_of(to));
        let within = |record: &&Record| record.at > from && record.at + record.seconds < to;
        self.records.iter().filter(within).filter(|record| record.error.is_none()).count()
    }

    /// Panics if a request failed.
    pub fn require_no_errors(&self) -> &Self {
        let failed: Vec<&Record> = self.records.iter().filter(|record| record.error.is_some()).collect();
        assert!(failed.is_empty(), "{} of {} failed, as {:?}", failed.len(), self.records.len(), failed[0]);
        self
    }

    /// The slowest request.
    pub fn slowest(&self) -> Duration {
        let seconds = self.records.iter().map(|record| record.seconds).fold(0.0, f64::max);
        Duration::from_secs_f64(seconds)
    }

    /// Requests by kind and size with their median and slowest, for people.
    pub fn figures(&self) -> String {
        let mut text = String::new();
        for op in [Op::Put, Op::Get] {
            for size in SIZES {
                let times = self.seconds(|record| record.op == op && record.size == size);
                if let (Some(median), Some(most)) = (quantile(&times, 0.5), times.last()) {
                    let count = times.len();
                    let _ = write!(
                        text,
                        "  {op:?} {} KiB: {count}, {:.0} ms, at most {:.0} ms",
                        size >> 10,
                        median * 1e3,
                        most * 1e3
                    );
                }
            }
        }
        text
    }

    /// Times of the requests that went well and are asked for, ascending.
    pub fn seconds(&self, which: impl Fn(&Record) -> bool) -> Vec<f64> {
        let good = self.records.iter().filter(|record| record.error.is_none() && which(record));
        let mut times: Vec<f64> = good.map(|record| record.seconds).collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

/// The value below which this part of ascending ones lies.
pub fn quantile(ascending: &[f64], part: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    Some(ascending[(last as f64 * part).ceil() as usize])
}

/// Seconds since 1970.
pub fn seconds_of(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970").as_secs_f64()
}
