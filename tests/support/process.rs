//! Programs that a test starts, none of which outlives it.
//!
//! Every child leads a process group of its own and carries a parent-death
//! signal, so that it ends with the test even when the test is killed. Its
//! environment is built here and inherits nothing.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::poll;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOG_TAIL_BYTES: usize = 4_000;

/// Which user a program runs as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The one that runs the tests.
    Own,
    /// Debian's `postgres` where the tests run as root, else the own one.
    Postgres,
}

/// One call of a program: its arguments, its environment and how long it may
/// take. Output goes to files under its folder.
pub struct Invocation {
    command: Command,
    line: String,
    folder: PathBuf,
    limit: Duration,
}

/// What a call left behind.
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error, invalid UTF-8 replaced.
    pub stderr: String,
    line: String,
}

impl Invocation {
    /// `program` with a home and its output files in `folder`; 120 s unless
    /// told otherwise.
    pub fn new(program: impl AsRef<OsStr>, folder: &Path) -> Self {
        Self::for_user(program, folder, User::Own)
    }

    /// The same as another user.
    pub fn for_user(program: impl AsRef<OsStr>, folder: &Path, user: User) -> Self {
        let mut command = Command::new("setpriv");
        if user == User::Postgres && rustix::process::getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.args(["--pdeathsig", "KILL", "--"]).arg(program.as_ref());
        command.env_clear().env("PATH", PATH).env("HOME", folder).env("LANG", "C.UTF-8").current_dir(folder);
        command.process_group(0).stdin(Stdio::null());
        let line = program.as_ref().to_string_lossy().into_owned();
        Self { command, line, folder: folder.to_owned(), limit: Duration::from_secs(120) }
    }

    /// Add one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        let _ = write!(self.line, " {}", arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Add several arguments.
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Invocation::arg)
    }

    /// Set one variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Run in `folder`.
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Read standard input from a file.
    pub fn stdin_file(mut self, path: &Path) -> Self {
        self.command.stdin(File::open(path).expect("the input file exists"));
        self
    }

    /// How long the call may take.
    pub fn limit_seconds(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Run to the end, however it ends. Panics when it cannot start or takes
    /// longer than its limit.
    pub fn outcome(mut self) -> Outcome {
        let (out_path, err_path) = output_files(&self.folder, &self.line);
        self.command.stdout(create(&out_path)).stderr(create(&err_path));
        let child = self.command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.line));
        let mut group = Group { child };
        let status = group.wait(self.limit);
        drop(group);
        let stdout = std::fs::read(&out_path).expect("the file was just written");
        let stderr =
            String::from_utf8_lossy(&std::fs::read(&err_path).expect("the file was just written")).into_owned();
        let _ = (std::fs::remove_file(&out_path), std::fs::remove_file(&err_path));
        let Some(status) = status else {
            panic!("took longer than {:?}: {}\n{}", self.limit, self.line, tail(&stderr));
        };
        Outcome { status, stdout, stderr, line: self.line }
    }

    /// Run to the end and require success.
    pub fn run(self) -> Outcome {
        let outcome = self.outcome();
        assert!(outcome.status.success(), "{}", outcome.story());
        outcome
    }

    /// Run to the end and require failure.
    pub fn fails(self) -> Outcome {
        let outcome = self.outcome();
        assert!(!outcome.status.success(), "should have failed: {}", outcome.story());
        outcome
    }

    /// Start it and let it run; its output goes to `log`.
    pub fn start(mut self, log: &Path) -> Daemon {
        let file = create(log);
        self.command.stdout(file.try_clone().expect("an open file")).stderr(file);
        Daemon::spawn(self.command, self.line, log)
    }

    /// Start it and let it run; standard output is piped to the caller, the
    /// rest goes to `log`.
    pub fn start_piped(mut self, log: &Path) -> Daemon {
        self.command.stdout(Stdio::piped()).stderr(create(log));
        Daemon::spawn(self.command, self.line, log)
    }
}

impl Outcome {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap_or_else(|_| panic!("{} printed invalid UTF-8", self.line))
    }

    /// What was called and what it said, for a failure message.
    pub fn story(&self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout);
        format!("{}\n{}\n--- stdout\n{}\n--- stderr\n{}", self.line, self.status, tail(&stdout), tail(&self.stderr))
    }
}

/// A program that runs beside the test. Dropping it ends it.
pub struct Daemon {
    group: Group,
    line: String,
    log: PathBuf,
}

impl Daemon {
    fn spawn(command: Command, line: String, log: &Path) -> Self {
        let child = spawn_for_good(command).unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        Self { group: Group { child }, line, log: log.to_owned() }
    }

    /// Its standard output, once, where it was started with
    /// [`Invocation::start_piped`].
    pub fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.group.child.stdout.take().expect("started piped, and taken once")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.group.child.id()
    }

    /// True once it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.group.child.try_wait(), Ok(Some(_)))
    }

    /// Where its log is.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What was called and the end of its log, for a failure message: without
    /// the requests that went well, which would bury the message.
    pub fn story(&self) -> String {
        let went_well = |line: &str| line.contains("cairn::request") && line.contains(" status=2");
        let log: Vec<String> = self.log().lines().filter(|line| !went_well(line)).map(str::to_owned).collect();
        format!("{}\n--- log\n{}", self.line, tail(&log.join("\n")))
    }

    /// Wait until `ready` answers, the program ends or the time is over; the
    /// latter two panic with the log.
    pub fn wait_until<T>(&mut self, what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
        let mut ended = false;
        let found = poll(limit, Duration::from_millis(20), || {
            let found = ready().map(Some);
            ended = found.is_none() && self.has_ended();
            if ended { Some(None) } else { found }
        });
        match found.flatten() {
            Some(found) => found,
            None if ended => panic!("ended before {what}: {}", self.story()),
            None => panic!("no {what} within {limit:?}: {}", self.story()),
        }
    }

    /// Send `signal`.
    pub fn send(&self, signal: Signal) {
        self.group.send(signal);
    }

    /// Stop it where it stands, all of its threads, until it is killed or told to go on.
    pub fn freeze(&self) {
        self.send(Signal::STOP);
        let stands = || is_frozen(self.pid()).then_some(());
        poll(Duration::from_secs(60), Duration::from_millis(1), stands).expect("a process stops when it is told to");
    }

    /// Send `signal`, unless it has ended, and wait for the end. None when it
    /// does not end in time; it is killed then.
    pub fn stop(&mut self, signal: Signal, limit: Duration) -> Option<ExitStatus> {
        if !self.has_ended() {
            self.group.send(signal);
        }
        self.group.wait(limit)
    }
}

/// Whether every thread of a process stands still.
fn is_frozen(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    threads.is_ok_and(|threads| threads.flatten().all(|thread| is_stopped(&thread.path().join("stat"))))
}

/// One that has ended meanwhile stands still, too.
fn is_stopped(stat: &Path) -> bool {
    let stat = std::fs::read_to_string(stat);
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't', 'Z'])))
}

/// A child and the processes it started.
struct Group {
    child: Child,
}

impl Group {
    /// Send to the child alone: it knows best how its own children end.
    fn send(&self, signal: Signal) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), signal);
    }

    /// Wait for the end; kill the whole group after the limit.
    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let ended = poll(limit, Duration::from_millis(5), || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            self.kill();
        }
        ended
    }

    fn kill(&mut self) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

/// Spawn from a thread that lives as long as the test program: the
/// parent-death signal comes when the *thread* that spawned ends, and a test's
/// thread may end before a server that others still use.
fn spawn_for_good(command: Command) -> std::io::Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).expect("the spawner lives as long as the program");
    answer.recv().expect("the spawner answers every order")
}

/// A TCP port of 127.0.0.1 where nobody listens, for programs that cannot choose
/// one themselves.
///
/// It is below those that the kernel gives to whoever asks for any: none of the
/// programs beside a test gets it meanwhile, also while its own is restarted. It
/// is asked for by connecting: what would be bound here for a moment may be held
/// for longer by a child that is just being started.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU32::new(rand::random::<u32>() / 2));
    let ports = std::iter::repeat_with(|| 20_000 + (next.fetch_add(1, Ordering::Relaxed) % 10_000) as u16);
    let is_free = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_err();
    ports.take(10_000).find(is_free).expect("some port is free")
}

fn output_files(folder: &Path, line: &str) -> (PathBuf, PathBuf) {
    static CALL: AtomicU32 = AtomicU32::new(0);
    let call = CALL.fetch_add(1, Ordering::Relaxed);
    let program = line.split(' ').next().and_then(|path| path.rsplit('/').next()).unwrap_or("program");
    (folder.join(format!(".{program}-{call}.out")), folder.join(format!(".{program}-{call}.err")))
}

fn create(path: &Path) -> File {
    File::create(path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()))
}

/// The end of a text, from the start of a line.
fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(LOG_TAIL_BYTES);
    let from = (from..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    &text[from..]
}
