//! A real PostgreSQL 15 of Debian's, for the suites that need a database:
//! started on a folder of its own, gone with the process that started it.
//!
//! A watchdog holds the other end of a pipe of this process. When that closes,
//! after a test's end as well as after a kill, it stops the server and takes
//! the folder away.
#![allow(dead_code, reason = "each suite is a binary of its own and uses a part of this")]

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// Of the superuser `postgres`, for connections over TCP.
pub const PASSWORD: &str = "a password";
const PASSWORD_IN_URLS: &str = "a%20password";

const WATCHDOG: &str =
    "cat >/dev/null; \"$0/pg_ctl\" -D \"$1/data\" -m immediate -w stop >/dev/null 2>&1; rm -rf \"$1\"";

/// A running server.
pub struct Server {
    folder: PathBuf,
    port: u16,
    /// Its input closes when this process ends.
    watchdog: Child,
}

impl Server {
    /// The one of this process, for suites that read back what they wrote. It
    /// does not sync: it must not be asked to survive a power cut.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("fsync = off\nsynchronous_commit = on\nfull_page_writes = off\n"))
    }

    /// One with these lines in its configuration.
    pub fn start(configuration: &str) -> Self {
        assert!(
            Path::new(PROGRAMS).join("postgres").exists(),
            "PostgreSQL 15 is not installed ({PROGRAMS}): run tests/install-clients"
        );
        let folder = tempfile::Builder::new().prefix("cairn-postgres-").tempdir().expect("a temporary folder").keep();
        hand_over(&folder);
        let watchdog = watchdog(&folder);
        let server = Self { folder, port: 0, watchdog };
        server.make(configuration);
        server.begin()
    }

    /// A replica of this one that streams from it, with these lines in its
    /// configuration besides.
    pub fn replica(&self, configuration: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("cairn-postgres-").tempdir().expect("a temporary folder").keep();
        hand_over(&folder);
        let watchdog = watchdog(&folder);
        let replica = Self { folder, port: 0, watchdog };
        let primary = format!("host={} port={} user=postgres", self.folder.display(), self.port);
        let mut copy = as_postgres("pg_basebackup", &replica.folder);
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-d", &primary, "-D"]);
        let copied = copy.arg(replica.folder.join("data")).output().expect("pg_basebackup starts");
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        replica.append(&format!("unix_socket_directories = '{}'\n{configuration}", replica.folder.display()));
        replica.begin()
    }

    /// Starts it on a free port.
    fn begin(mut self) -> Self {
        let server = &mut self;
        let started = (0..5).any(|_| {
            server.port = free_port();
            std::fs::write(server.folder.join("data/port.conf"), format!("port = {}\n", server.port))
                .expect("the folder can be written");
            server.try_control(&["start"]).status.success()
        });
        assert!(started, "PostgreSQL does not start:\n{}", server.log());
        self
    }

    fn make(&self, configuration: &str) {
        let password = self.folder.join("password");
        std::fs::write(&password, PASSWORD).expect("the folder can be written");
        let data = self.folder.join("data");
        let made = as_postgres("initdb", &self.folder)
            .args(["--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C"])
            .args(["--username=postgres", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(&data)
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let folder = self.folder.display();
        self.append(&format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\nmax_connections = 250\n\
             shared_buffers = 64MB\ndeadlock_timeout = 200ms\nlog_line_prefix = '%m [%p] %d '\ninclude_if_exists = 'port.conf'\n{configuration}"
        ));
    }

    /// Adds lines to its configuration.
    fn append(&self, lines: &str) {
        let path = self.folder.join("data/postgresql.conf");
        let file = std::fs::OpenOptions::new().append(true).open(path);
        write!(file.expect("initdb has made a configuration"), "\n{lines}").expect("the folder can be written");
    }

    /// Ends all of it at once, as a power cut does.
    pub fn kill(&self) {
        let ids = self.processes();
        // The postmaster first: it would start the others again.
        for id in &ids {
            let id = rustix::process::Pid::from_raw(*id).expect("a process id is not zero");
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
        while ids.iter().any(|id| is_alive(*id)) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The postmaster and its children.
    fn processes(&self) -> Vec<i32> {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        let postmaster = pid.lines().next().unwrap_or_default().trim().to_owned();
        let children = std::fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let (id, rest) = (stat.split(' ').next()?, stat.rsplit_once(") ")?.1);
            (rest.split(' ').nth(1)? == postmaster).then(|| id.parse().ok())?
        });
        postmaster.parse().ok().into_iter().chain(children).collect()
    }

    /// Writes a file of the server's below its folder, which nobody else may read.
    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the file was just written");
        hand_over(&path);
        path
    }

    /// Gives a folder to the server.
    pub fn give(&self, folder: &Path) {
        hand_over(folder);
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder; `data` is below it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of a database, over TCP and with the password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD_IN_URLS}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The same for a role with a password of letters and digits.
    pub fn url_of(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The address of a database, over the socket in its folder.
    pub fn socket_url(&self, database: &str) -> String {
        format!("host={} port={} user=postgres dbname={database}", self.folder.display(), self.port)
    }

    /// Makes a database, as a copy of another one where told, and answers its name.
    pub fn database(&self, template: Option<&str>) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("database_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let template = template.unwrap_or("template0");
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        name
    }

    /// What a statement prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.try_sql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The same, however it ends.
    pub fn try_sql(&self, database: &str, sql: &str) -> Output {
        let mut psql = as_postgres("psql", &self.folder);
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h"]).arg(&self.folder);
        psql.args(["-p", &self.port.to_string(), "-U", "postgres", "-d", database, "-c", sql]);
        psql.output().expect("psql starts")
    }

    /// `pg_ctl` with these arguments, to its end.
    pub fn control(&self, arguments: &[&str]) {
        let output = self.try_control(arguments);
        assert!(output.status.success(), "pg_ctl {arguments:?}: {}", self.log());
    }

    fn try_control(&self, arguments: &[&str]) -> Output {
        let mut control = as_postgres("pg_ctl", &self.folder);
        control.arg("-D").arg(self.folder.join("data")).arg("-l").arg(self.folder.join("log"));
        control.args(["-w", "-t", "180"]).args(arguments);
        // The server would hold a pipe open.
        let status = control.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("pg_ctl starts");
        Output { status, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    /// CPU seconds that the server's processes have taken, those that ended included.
    pub fn cpu_seconds(&self) -> f64 {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        let postmaster = pid.lines().next().unwrap_or_default().to_owned();
        let processes = std::fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
            let folder = entry.ok()?.path();
            let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
            let (id, rest) = (stat.split(' ').next()?.to_owned(), stat.rsplit_once(") ")?.1.to_owned());
            let fields: Vec<&str> = rest.split(' ').collect();
            if fields.get(1) != Some(&postmaster.as_str()) && id != postmaster {
                return None;
            }
            // To the nanosecond, as each has one thread; of those that ended, the postmaster has the ticks.
            let own = std::fs::read_to_string(folder.join("schedstat")).ok()?;
            let own = own.split(' ').next()?.parse::<f64>().ok()? / 1e9;
            let ended = if id == postmaster { &fields[13..15] } else { &[] };
            Some(own + ended.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
        });
        processes.sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// A program of PostgreSQL's, as the user that it wants to run as.
fn as_postgres(program: &str, folder: &Path) -> Command {
    let mut command = unprivileged(&format!("{PROGRAMS}/{program}"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("HOME", folder);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &str) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", program]);
    command
}

/// Whether a process runs; one whose end nobody has asked for yet does not.
fn is_alive(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn hand_over(folder: &Path) {
    if rustix::process::getuid().is_root() {
        let given = Command::new("chown").arg("postgres:postgres").arg(folder).status();
        assert!(given.is_ok_and(|status| status.success()), "there is no user postgres: run tests/install-clients");
    }
}

fn watchdog(folder: &Path) -> Child {
    let mut command = unprivileged("/bin/sh");
    command.args(["-c", WATCHDOG, PROGRAMS]).arg(folder).current_dir("/");
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell starts")
}

/// A port where nobody listens, below those that the kernel gives to whoever asks
/// for any: nobody takes it while the server is restarted.
fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU32::new(std::process::id()));
    let ports = std::iter::repeat_with(|| 12_000 + (next.fetch_add(1, Ordering::Relaxed) % 8_000) as u16);
    let is_free = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_err();
    ports.take(8_000).find(is_free).expect("some port is free")
}
