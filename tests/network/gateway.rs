//! `cairn gateway` on a host of its own, stopped, killed and started again.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::hosts::Host;
use crate::node::CAIRN;
use crate::support::cairn::Access;
use crate::support::process::{Daemon, Invocation};

const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const S3_PORT: u16 = 9000;
const DOOR_PORT: u16 = 9100;

/// A gateway and the folder it keeps.
pub struct Gateway {
    host: Host,
    data: PathBuf,
    arguments: Vec<String>,
    access: Access,
    daemon: Mutex<Daemon>,
}

impl Gateway {
    /// Starts one and waits until it serves.
    pub fn start(host: Host, data: PathBuf, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (daemon, access) = launch(&host, &data, &arguments);
        Self { host, data, arguments, access, daemon: Mutex::new(daemon) }
    }

    /// Endpoint and keys; they outlive restarts.
    pub fn access(&self) -> &Access {
        &self.access
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Ends it with `signal` and starts it again. SIGTERM must end it well.
    pub fn restart(&self, signal: Signal) {
        let mut daemon = self.daemon();
        let ended = daemon.stop(signal, STOP_LIMIT);
        let story = daemon.story();
        let ended = ended.unwrap_or_else(|| panic!("still running {STOP_LIMIT:?} after {signal:?}: {story}"));
        assert!(signal == Signal::KILL || ended.success(), "{signal:?} ended it with {ended}: {story}");
        let (fresh, access) = launch(&self.host, &self.data, &self.arguments);
        assert_eq!(access, self.access, "endpoint and keys outlive a restart");
        *daemon = fresh;
    }

    /// A token to join with; `arguments` narrow it.
    pub fn token(&self, arguments: &[&str]) -> String {
        let _there = self.daemon();
        let printed = self.command(&["token", "create"]).args(arguments).run().text();
        let token = printed.strip_suffix('\n').unwrap_or(&printed);
        assert!(!token.contains(char::is_whitespace), "the token alone on stdout: {printed:?}");
        token.to_owned()
    }

    /// What an operator's command shows with `--json`. It waits while another
    /// test starts the gateway again.
    pub fn show(&self, arguments: &[&str]) -> Value {
        let _there = self.daemon();
        let outcome = self.command(arguments).arg("--json").run();
        serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {}", outcome.story()))
    }

    fn command(&self, arguments: &[&str]) -> Invocation {
        self.host
            .space()
            .invoke(CAIRN, folder(&self.data))
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .limit_seconds(120)
    }

    /// What this start of it has logged.
    pub fn log(&self) -> String {
        self.daemon().log()
    }

    pub fn story(&self) -> String {
        self.daemon().story()
    }

    fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn folder(data: &Path) -> &Path {
    data.parent().expect("the folder has a parent")
}

fn launch(host: &Host, data: &Path, arguments: &[String]) -> (Daemon, Access) {
    let address = host.address();
    let (s3, door) = (format!("{address}:{S3_PORT}"), format!("{address}:{DOOR_PORT}"));
    let log = (0..).map(|count: u32| data.with_extension(format!("{count}.log"))).find(|path| !path.exists());
    let mut daemon = host
        .space()
        .invoke(CAIRN, folder(data))
        .args(["gateway", "--listen", &s3, "--node-door", &door, "--door-name", &door, "--data"])
        .arg(data)
        .args(arguments)
        .env("CAIRN_LOG", "info")
        .start_piped(&log.expect("there are enough numbers"));
    let output = Arc::new(Mutex::new(String::new()));
    let (mut stdout, seen) = (daemon.take_stdout(), output.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            seen.lock().expect("no panic holds it").push_str(&text);
        }
    });
    let parse = || Access::parse(&output.lock().expect("no panic holds it"));
    let access = daemon.wait_until("endpoint and keys", READY_LIMIT, parse);
    (daemon, access)
}
