//! A real `cairn up` on a folder of its own.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::Duration;

use rustix::process::Signal;

use super::poll;
use super::process::{Daemon, Invocation};
use super::workdir::WorkDir;

const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What a client has to know, from the lines that `cairn up` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `http://` or `https://` with host and port, without a slash at the end.
    pub endpoint: String,
    /// The access key id.
    pub key: String,
    /// The secret access key.
    pub secret: String,
    /// The region.
    pub region: String,
}

impl Access {
    /// Read `NAME=value` lines; None until all four names are there.
    pub fn parse(lines: &str) -> Option<Self> {
        let value = |name: &str| {
            let found = lines.lines().filter_map(|line| line.split_once('=')).find(|(left, _)| *left == name);
            found.map(|(_, right)| right.to_owned())
        };
        Some(Self {
            endpoint: value("AWS_ENDPOINT_URL")?,
            key: value("AWS_ACCESS_KEY_ID")?,
            secret: value("AWS_SECRET_ACCESS_KEY")?,
            region: value("AWS_REGION")?,
        })
    }

    /// Host and port of the endpoint.
    pub fn authority(&self) -> &str {
        self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, rest)| rest)
    }
}

/// A running `cairn up`. Dropping it stops it and looks at how it ended and at
/// what it logged.
pub struct Server {
    daemon: Mutex<Daemon>,
    access: Access,
    work: WorkDir,
    expected: Vec<&'static str>,
}

impl Server {
    /// Start one on a fresh folder and a free port, with more arguments.
    pub fn start(arguments: &[&OsStr]) -> Self {
        Self::start_on(WorkDir::new("up"), arguments)
    }

    /// Start one on the data in `work`, which may come from an earlier one.
    pub fn start_on(work: WorkDir, arguments: &[&OsStr]) -> Self {
        let data = work.join("data");
        let log = work.join("up.log");
        let mut daemon = Invocation::new(env!("CARGO_BIN_EXE_cairn"), work.path())
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .args(arguments)
            .start_piped(&log);
        let lines = follow(daemon.take_stdout());
        let mut seen = String::new();
        let access = daemon.wait_until("endpoint and keys on stdout", READY_LIMIT, || {
            seen.extend(lines.try_iter());
            Access::parse(&seen)
        });
        check_env_file(&data.join("s3.env"), &access);
        Self { daemon: Mutex::new(daemon), access, work, expected: Vec::new() }
    }

    /// Warnings and errors that hold `text` are expected in its log.
    pub fn expect_in_log(mut self, text: &'static str) -> Self {
        self.expected.push(text);
        self
    }

    /// Endpoint and keys.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The folder that was given to [`Server::start_on`].
    pub fn work(&self) -> &WorkDir {
        &self.work
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.work.join("data")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon().pid()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.daemon().log()
    }

    /// Asks it to end and waits until it has.
    pub fn end(&self) {
        let ended = self.daemon().stop(Signal::TERM, STOP_LIMIT);
        assert!(ended.is_some(), "still running {STOP_LIMIT:?} after SIGTERM: {}", self.daemon().story());
    }

    fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has reported as wrong so far, for the message of a test that
    /// fails while others still use it.
    pub fn trouble(&self) -> String {
        self.complaints().join("\n")
    }

    /// The first few lines that report something wrong, for a message.
    fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let plain = log.lines().map(without_colour);
        let wrong = plain.filter(|line| reports_trouble(line) && !self.expected.iter().any(|text| line.contains(text)));
        wrong.take(10).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.daemon().stop(Signal::TERM, STOP_LIMIT);
        let complaints = self.complaints();
        let story = self.daemon().story();
        if std::thread::panicking() {
            tell(&story);
            return;
        }
        assert!(complaints.is_empty(), "unexpected in the log:\n{}\n{story}", complaints.join("\n"));
        match ended {
            Some(status) => assert!(status.success(), "SIGTERM ended it with {status}: {story}"),
            None => panic!("still running {STOP_LIMIT:?} after SIGTERM: {story}"),
        }
    }
}

/// A server that several tests share: started by the first one that asks,
/// stopped by the last one that lets go.
pub struct Shared<T = Server> {
    current: Mutex<Weak<T>>,
}

impl<T> Shared<T> {
    /// Nobody has asked yet.
    pub const fn new() -> Self {
        Self { current: Mutex::new(Weak::new()) }
    }

    /// The running server, or a new one from `start`.
    pub fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.upgrade().unwrap_or_else(|| {
            let server = Arc::new(start());
            *current = Arc::downgrade(&server);
            server
        })
    }
}

/// Send each line of `output` on. The reader goes on to the end, so that the
/// program never waits for somebody to read.
fn follow(output: std::process::ChildStdout) -> mpsc::Receiver<String> {
    let (lines, inbox) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = lines.send(line + "\n");
        }
    });
    inbox
}

/// The file must say what standard output said, and only to its owner.
fn check_env_file(path: &Path, access: &Access) {
    use std::os::unix::fs::PermissionsExt as _;
    let readable = || std::fs::read_to_string(path).ok().and_then(|text| Access::parse(&text));
    let written = poll(READY_LIMIT, Duration::from_millis(20), readable);
    assert_eq!(written.as_ref(), Some(access), "{} differs from standard output", path.display());
    let mode = std::fs::metadata(path).expect("it was just read").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{} holds a secret", path.display());
}

/// A line without terminal colours.
pub fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, left)| left);
    }
    plain + rest
}

/// True for a log line of level WARN or ERROR and for a panic. The level is
/// behind date and time; later words may be a client's own.
pub fn reports_trouble(line: &str) -> bool {
    let level = line.split_whitespace().take(3).any(|word| matches!(word, "WARN" | "ERROR"));
    level || line.contains("\"level\":\"WARN\"") || line.contains("\"level\":\"ERROR\"") || line.contains("panicked at")
}

/// Say something while a test is already failing, when it cannot panic again.
#[allow(clippy::print_stderr, reason = "the test harness shows it with the failure")]
pub fn tell(text: &str) {
    eprintln!("{text}");
}
