//! A Docker Engine of a test's own: `dockerd` with its containerd and all its
//! containers in one network, mount, host-name and process namespace.
//!
//! Nothing of it can be left behind. When the first process of a process
//! namespace ends, which it also does when the test is killed, the kernel ends
//! all others; with them go the mounts, bridges and iptables chains, because
//! they are in namespaces that nobody uses any more. Files and cgroups are
//! deleted by [`Engine`] when it is dropped.
//!
//! Published ports are reached at 127.0.0.1 of the engine's network, from a
//! thread inside it ([`Engine::inside`]) or a program inside it
//! ([`Engine::invoke`]). The socket for Docker's clients is a path, which
//! works from everywhere.

use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::hosts::{Host, Lab, Namespace};
use crate::support::cairn::tell;
use crate::support::poll;
use crate::support::process::{Daemon, Invocation};
use crate::support::workdir::WorkDir;

/// What the names of the network namespaces begin with.
pub const KIND: &str = "docker";

/// Debian's own client, which fits the engine; another one may come first in PATH.
const DOCKER: &str = "/usr/bin/docker";

const READY_LIMIT: Duration = Duration::from_secs(180);
const END_LIMIT: Duration = Duration::from_secs(60);

/// Where an engine's network is.
enum Network {
    Own(Namespace),
    Host(Arc<Host>),
}

impl Network {
    fn space(&self) -> &Namespace {
        match self {
            Network::Own(space) => space,
            Network::Host(host) => host.space(),
        }
    }
}

/// A Docker Engine. Dropping it ends it with everything that it started.
pub struct Engine {
    daemon: Mutex<Option<Daemon>>,
    name: String,
    flags: Vec<String>,
    network: Network,
    work: WorkDir,
}

impl Engine {
    /// An engine in a network of its own that leads nowhere else.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags for dockerd.
    pub fn start_with(flags: &[&str]) -> Self {
        let space = Namespace::new(&Lab::of(KIND), "alone");
        Self::on(Network::Own(space), "engine", flags)
    }

    /// The engine of a machine that is called `name`.
    pub fn start_on(host: &Arc<Host>, name: &str, flags: &[&str]) -> Self {
        Self::on(Network::Host(host.clone()), name, flags)
    }

    fn on(network: Network, name: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let work = WorkDir::new(name);
        let engine = Self { daemon: Mutex::new(None), name: name.to_owned(), flags, network, work };
        engine.power_on();
        engine
    }

    /// Starts dockerd on the data that is there, and waits until it answers,
    /// which takes it up to 20 s where it was part of a swarm.
    pub fn power_on(&self) {
        let mut daemon = self.dockerd();
        daemon.wait_until("answer of the engine", READY_LIMIT, || {
            let asked = self.docker(["version"]).limit_seconds(60).outcome();
            asked.status.success().then_some(())
        });
        *self.daemon() = Some(daemon);
    }

    /// The same in another network, as after a restart of the machine.
    pub fn power_on_at(&mut self, host: &Arc<Host>) {
        self.network = Network::Host(host.clone());
        self.power_on();
    }

    /// Ends the engine, its containers and all their processes at once, as
    /// when a machine loses its power. Data stays.
    pub fn power_off(&self) {
        if let Some(mut daemon) = self.daemon().take() {
            kill_first_child(daemon.pid());
            // It ends when everything in the process namespace has ended.
            daemon.stop(Signal::CONT, END_LIMIT);
        }
        self.remove_cgroups();
    }

    /// A client's command: `docker ARGUMENTS`.
    pub fn docker<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Invocation {
        self.client(DOCKER).args(arguments)
    }

    /// A program of the test that talks to this engine.
    pub fn client(&self, program: &str) -> Invocation {
        Invocation::new(program, self.work.path()).env("DOCKER_HOST", self.address()).limit_seconds(180)
    }

    /// The address of its socket.
    pub fn address(&self) -> String {
        format!("unix://{}", self.work.join("docker.sock").display())
    }

    /// A program in all of the engine's namespaces: it sees the engine's
    /// network, mounts and processes.
    pub fn invoke(&self, program: impl AsRef<OsStr>) -> Invocation {
        let enter = Invocation::new("nsenter", self.work.path()).arg(format!("--target={}", self.init()));
        enter.args(["--net", "--mount", "--uts", "--pid", "--"]).arg(program)
    }

    /// Runs something on a thread in the engine's network, where
    /// `127.0.0.1:PORT` is a port that a container publishes. Threads that it
    /// starts are in that network too.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(self.space(), work)
    }

    /// Its network.
    pub fn space(&self) -> &Namespace {
        self.network.space()
    }

    /// A folder for what the test writes; the engine can mount what is in it.
    pub fn work(&self) -> &WorkDir {
        &self.work
    }

    /// The first process of its namespaces, as the machine numbers them.
    pub fn init(&self) -> u32 {
        let outer = self.daemon().as_ref().expect("the engine runs").pid();
        first_child(outer).expect("the engine runs")
    }

    /// What dockerd has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.work.join("dockerd.log")
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `/run` and `/etc/docker` are empty folders of its own: dockerd keeps
    /// sockets and a key there that must not be another engine's. tini is the
    /// first process, because somebody has to bury the shims.
    fn dockerd(&self) -> Daemon {
        let script = "hostname \"$0\" && mount -t tmpfs tmpfs /run && mkdir -p /etc/docker && \
                      mount -t tmpfs tmpfs /etc/docker && exec tini -s -g -- dockerd \"$@\"";
        let arguments = [
            format!("--data-root={}", self.work.join("data").display()),
            format!("--exec-root={}", self.work.join("exec").display()),
            format!("--pidfile={}", self.work.join("pid").display()),
            format!("--host={}", self.address()),
            format!("--cgroup-parent=/{}", self.cgroup()),
            "--insecure-registry=127.0.0.0/8".to_owned(),
        ];
        let _ = std::fs::remove_dir_all(self.work.join("exec"));
        let _ = std::fs::remove_file(self.work.join("pid"));
        let unshare = self.space().invoke("unshare", self.work.path());
        let unshare = unshare.args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        let shell = unshare.args(["sh", "-c", script, self.name.as_str()]);
        shell.args(arguments).args(&self.flags).start(&self.log_path())
    }

    fn cgroup(&self) -> &str {
        self.space().name()
    }

    /// What is left of its containers' cgroups, once their processes are gone.
    fn remove_cgroups(&self) {
        for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let folder = controller.path().join(self.cgroup());
            poll(END_LIMIT, Duration::from_millis(50), || remove_cgroup(&folder).then_some(()));
        }
    }

    /// What the containers said last, for a test that fails.
    fn tell_story(&self) {
        let listed = self.docker(["ps", "--all", "--format", "{{.ID}} {{.Names}} {{.Status}}"]).outcome().text();
        tell(&format!("--- {}: containers\n{listed}", self.name));
        for container in listed.lines().filter_map(|line| line.split(' ').next()) {
            let logs = self.docker(["logs", "--tail", "25", container]).outcome();
            tell(&format!("--- {container}\n{}{}", logs.text(), logs.stderr));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() && self.daemon().is_some() {
            self.tell_story();
        }
        self.power_off();
    }
}

/// Runs something on a thread in a network namespace.
pub fn inside<T: Send>(space: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(Path::new("/run/netns").join(space.name())).expect("the namespace is there");
    let enter = move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
        work()
    };
    std::thread::scope(|scope| match scope.spawn(enter).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn first_child(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn kill_first_child(pid: u32) {
    let child = first_child(pid).and_then(|child| Pid::from_raw(child.cast_signed()));
    if let Some(child) = child {
        let _ = kill_process(child, Signal::KILL);
    }
}

/// Deletes a cgroup and those below it; true once it is gone.
fn remove_cgroup(folder: &Path) -> bool {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
    !folder.exists()
}
