//! A `cairn up` that is stopped, killed and started again on one folder.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::cairn::{Access, tell};
use crate::support::client::Client;
use crate::support::process::{Daemon, Invocation};

const READY_LIMIT: Duration = Duration::from_secs(120);

/// A running `cairn up`.
pub struct Cluster {
    daemon: Daemon,
    data: PathBuf,
    access: Option<Access>,
}

impl Cluster {
    /// Starts one on `data` and waits until it serves.
    pub fn start(folder: &Path, data: &Path, arguments: &[&str]) -> Self {
        let mut cluster = Self::launch(folder, data, arguments);
        cluster.wait();
        cluster
    }

    /// Starts one and does not wait.
    pub fn launch(folder: &Path, data: &Path, arguments: &[&str]) -> Self {
        let daemon = invocation(folder, data, arguments).start_piped(&folder.join("up.log"));
        Self { daemon, data: data.to_owned(), access: None }
    }

    fn wait(&mut self) {
        let output = Arc::new(Mutex::new(String::new()));
        let (mut stdout, seen) = (self.daemon.take_stdout(), output.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                seen.lock().expect("no panic holds it").push_str(&text);
            }
        });
        let parse = || Access::parse(&output.lock().expect("no panic holds it"));
        self.access = Some(self.daemon.wait_until("endpoint and keys", READY_LIMIT, parse));
    }

    /// A client for it.
    pub fn client(&self) -> Client {
        Client::new(self.access.as_ref().expect("it was waited for"))
    }

    /// The folder of a node.
    pub fn node(&self, index: usize) -> PathBuf {
        self.data.join("nodes").join(index.to_string())
    }

    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// How many clients it serves now: whose connections it has taken, and whose bytes it has read as far as
    /// they came. A connection that only the kernel has taken belongs to no file yet.
    pub fn in_flight(&self) -> usize {
        let access = self.access.as_ref().expect("it was waited for");
        let port: u16 = access.authority().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        let ours = format!(":{port:04X}");
        let is_served = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            matches!(fields[..], [_, local, _, "01", queues, _, _, _, _, file, ..]
                if local.ends_with(&ours) && queues.ends_with(":00000000") && file != "0")
        };
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        table.lines().filter(is_served).count()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.daemon.stop(Signal::KILL, Duration::from_secs(10));
    }

    /// Sends SIGTERM without waiting.
    pub fn ask_to_stop(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).expect("a process id is positive");
        rustix::process::kill_process(pid, Signal::TERM).expect("it still runs");
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn stop(self) -> (ExitStatus, Duration) {
        self.ask_to_stop();
        self.ended()
    }

    /// Waits for the end of one that was asked to stop.
    pub fn ended(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        // A second SIGTERM would end it at once; this signal does nothing.
        let ended = self.daemon.stop(Signal::CONT, Duration::from_secs(60));
        let status = ended.unwrap_or_else(|| panic!("still running 60 s after SIGTERM: {}", self.daemon.story()));
        (status, begun.elapsed())
    }

    /// Panics when it logged a warning or an error that holds none of `expected`.
    pub fn check_log(&self, expected: &[&str]) {
        let log = self.log();
        let wrong: Vec<&str> = log
            .lines()
            .filter(|line| [" WARN ", " ERROR ", "panicked at"].iter().any(|mark| line.contains(mark)))
            .filter(|line| !expected.iter().any(|text| line.contains(text)))
            .take(10)
            .collect();
        assert!(wrong.is_empty(), "unexpected in the log:\n{}", wrong.join("\n"));
    }

    /// A value of `/proc/PID/status` in KiB.
    pub fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel knows the value");
        line.split_whitespace().nth(1).and_then(|value| value.parse().ok()).expect("a number of KiB")
    }
}

/// `cairn up` on `data`, to be run.
pub fn invocation(folder: &Path, data: &Path, arguments: &[&str]) -> Invocation {
    Invocation::new(env!("CARGO_BIN_EXE_cairn"), folder)
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(arguments.iter().map(OsStr::new))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(&self.daemon.story());
        }
    }
}
