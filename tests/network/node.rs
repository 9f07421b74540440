//! A volunteer's `cairn node` on a host of its own.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::hosts::Host;
use crate::support::process::{Daemon, Invocation, Outcome};

const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What this program is.
pub const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// A node: its host, its folder, its process.
pub struct Node {
    name: String,
    host: Host,
    data: PathBuf,
    arguments: Vec<String>,
    daemon: Mutex<Option<Daemon>>,
    id: OnceLock<String>,
}

impl Node {
    /// A node that has not begun.
    pub fn new(name: &str, host: Host, data: PathBuf, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { name: name.to_owned(), host, data, arguments, daemon: Mutex::new(None), id: OnceLock::new() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs it with a token, for the first time.
    pub fn join(&self, token: &str) {
        self.launch(self.command(&["--join", token]));
    }

    /// Runs it as a member.
    pub fn start(&self) {
        self.launch(self.command(&[]));
    }

    /// Tries to join with something that must be refused; what it said.
    pub fn join_in_vain(&self, token: &str) -> Outcome {
        self.command(&["--join", token]).limit_seconds(120).fails()
    }

    /// Says that the volunteer wants the disk back.
    pub fn leave(&self) {
        let folder = self.data.parent().expect("the folder has a parent");
        self.host.space().invoke(CAIRN, folder).args(["node", "leave", "--data"]).arg(&self.data).run();
    }

    fn command(&self, more: &[&str]) -> Invocation {
        let folder = self.data.parent().expect("the folder has a parent");
        self.host
            .space()
            .invoke(CAIRN, folder)
            .args(["node", "--data"])
            .arg(&self.data)
            .args(&self.arguments)
            .args(more)
            .env("CAIRN_LOG", "info")
    }

    fn launch(&self, command: Invocation) {
        *self.daemon() = Some(command.start(&self.log_path()));
    }

    /// Each start has a log of its own, so that nothing said is lost.
    fn log_path(&self) -> PathBuf {
        let path = |count: u32| self.data.with_extension(format!("{count}.log"));
        (0..).map(path).find(|path| !path.exists()).expect("there are enough numbers")
    }

    /// SIGTERM or SIGKILL, and its end.
    pub fn stop(&self, signal: Signal) -> Option<ExitStatus> {
        let mut daemon = self.daemon().take().expect("it was started");
        daemon.stop(signal, STOP_LIMIT)
    }

    pub fn pid(&self) -> u32 {
        self.daemon().as_ref().expect("it was started").pid()
    }

    /// What this start of it has logged.
    pub fn log(&self) -> String {
        self.daemon().as_ref().map_or_else(String::new, Daemon::log)
    }

    /// What was called and what it said, for a failure message.
    pub fn story(&self) -> String {
        self.daemon().as_ref().map_or_else(|| format!("{} does not run", self.name), Daemon::story)
    }

    /// True if it was started and runs.
    pub fn runs(&self) -> bool {
        self.daemon().as_mut().is_some_and(|daemon| !daemon.has_ended())
    }

    /// The key that it is known by, once it has one.
    pub fn id(&self) -> &str {
        self.id.get_or_init(|| {
            let ask = || {
                let status = self.status()?;
                status["node"].as_str().map(str::to_owned)
            };
            let id = crate::support::poll(Duration::from_secs(60), Duration::from_millis(100), ask);
            id.unwrap_or_else(|| panic!("{} does not say who it is: {}", self.name, self.story()))
        })
    }

    /// What `cairn node status` shows; None while it shows nothing.
    pub fn status(&self) -> Option<Value> {
        let folder = self.data.parent().expect("the folder has a parent");
        let outcome = self
            .host
            .space()
            .invoke(CAIRN, folder)
            .args(["node", "status", "--json", "--data"])
            .arg(&self.data)
            .outcome();
        outcome.status.success().then(|| serde_json::from_slice(&outcome.stdout).expect("--json prints JSON"))
    }

    /// Pieces on its disk, as it says itself.
    pub fn pieces(&self) -> u64 {
        let status = self.status().unwrap_or_else(|| panic!("no status of {}: {}", self.name, self.story()));
        status["disk"]["pieces"].as_u64().unwrap_or_else(|| panic!("no pieces in {status}"))
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
