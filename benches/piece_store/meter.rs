//! Time and processor time of something that was done.

use std::fmt;
use std::time::Instant;

/// Bytes of a MiB.
pub const MIB: u64 = 1 << 20;

/// A measurement that goes on.
pub struct Meter {
    began: Instant,
    cpu: f64,
}

/// What something took.
#[derive(Clone, Copy)]
pub struct Figure {
    pub pieces: usize,
    pub bytes: u64,
    pub seconds: f64,
    /// Processor seconds of this process, user and system. What the kernel
    /// does later in threads of its own is not in it.
    pub cpu_seconds: f64,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { began: Instant::now(), cpu: cpu_seconds() }
    }

    pub fn stop(self, pieces: usize, bytes: u64) -> Figure {
        let seconds = self.began.elapsed().as_secs_f64();
        Figure { pieces, bytes, seconds, cpu_seconds: cpu_seconds() - self.cpu }
    }
}

impl Figure {
    pub fn per_second(&self) -> f64 {
        self.pieces as f64 / self.seconds
    }

    pub fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / MIB as f64 / self.seconds
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>9.0} ", self.per_second())?;
        if self.bytes == 0 {
            return write!(formatter, "{:>9} {:>10}", "-", "-");
        }
        let gib = self.bytes as f64 / (MIB * 1024) as f64;
        write!(formatter, "{:>9.0} {:>10.2}", self.mib_per_s(), self.cpu_seconds / gib)
    }
}

/// `utime` and `stime` of `/proc/self/stat`, in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |field: usize| fields.split_whitespace().nth(field).unwrap().parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Resident bytes of this process: now, and at most so far.
pub fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}
