//! Hosts that are network namespaces, joined by a switch in a namespace of its
//! own: nothing of the machine's own network is touched.
//!
//! Every namespace is called `KIND-PROCESS-LAB-NAME` and goes when its owner is
//! dropped. What a killed run left behind goes when the next one of its kind
//! starts.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use crate::machine;
use crate::support::process::Invocation;

/// The kind of namespaces of the suite `network`.
pub const KIND: &str = "cairn";

/// Names for the namespaces of one network; no two networks share one.
pub struct Lab {
    prefix: String,
}

impl Lab {
    /// Checks what the machine offers and takes away what killed runs left.
    pub fn new() -> Self {
        Self::of(KIND)
    }

    /// The same for another suite, whose runs leave other names behind.
    pub fn of(kind: &str) -> Self {
        static CLEANED: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        machine::require();
        CLEANED.call_once(|| remove_stale(kind));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("{kind}-{}-{number}-", process(&std::process::id().to_string())) }
    }

    /// What the names of its namespaces begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// Deletes namespaces of a kind whose process is gone.
pub fn remove_stale(kind: &str) {
    for name in namespaces() {
        let rest = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        let Some(owner) = rest.and_then(|rest| rest.split('-').next()) else { continue };
        let pid = owner.split('.').next().unwrap_or_default();
        if process(pid) != owner {
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}

/// A process by its id and the moment of its start, since ids are used again.
fn process(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program, in brackets, may hold anything.
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)).unwrap_or_default();
    format!("{pid}.{started}")
}

/// Names of all network namespaces of the machine.
pub fn namespaces() -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// A network namespace with its loopback up.
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub fn new(lab: &Lab, name: &str) -> Self {
        let space = Self { name: format!("{}{name}", lab.prefix) };
        checked(Command::new("ip").args(["netns", "add", &space.name]));
        space.ip("link set lo up");
        space
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on this namespace; words are separated by single spaces.
    pub fn ip(&self, arguments: &str) {
        checked(Command::new("ip").args(["-n", &self.name]).args(arguments.split(' ')));
    }

    /// Runs a command line inside; words are separated by single spaces.
    pub fn run(&self, line: &str) {
        checked(&mut self.command(line));
    }

    /// Sets a kernel parameter, named by its path below `/proc/sys/net`.
    pub fn set(&self, parameter: &str, value: u32) {
        let script = format!("echo {value} >/proc/sys/net/{parameter}");
        checked(Command::new("nsenter").args([&self.enter(), "sh", "-c", &script]));
    }

    /// The same as [`Namespace::run`] where it may fail, as when undoing what is gone already.
    pub fn try_run(&self, line: &str) -> bool {
        self.command(line).output().is_ok_and(|output| output.status.success())
    }

    /// `program` as a process of the test, inside.
    pub fn invoke(&self, program: impl AsRef<OsStr>, folder: &Path) -> Invocation {
        Invocation::new("nsenter", folder).arg(self.enter()).arg("--").arg(program)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.enter()).args(line.split(' '));
        command
    }

    fn enter(&self) -> String {
        format!("--net=/run/netns/{}", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

fn checked(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A switch with the network `A.B.C.0/24` on it: the bridge `br0` of a
/// namespace.
pub struct Switch {
    space: Arc<Namespace>,
    network: [u8; 3],
    router: Option<Ipv4Addr>,
}

impl Switch {
    /// A switch that leads nowhere else.
    pub fn new(lab: &Lab, name: &str, network: [u8; 3]) -> Self {
        let space = Namespace::new(lab, name);
        space.ip("link add br0 type bridge");
        space.ip("link set br0 up");
        Self { space: Arc::new(space), network, router: None }
    }

    /// One whose namespace routes to elsewhere, as `A.B.C.254`.
    pub fn with_router(lab: &Lab, name: &str, network: [u8; 3]) -> Self {
        let mut switch = Self::new(lab, name, network);
        let router = switch.address(254);
        switch.space.ip(&format!("addr add {router}/24 dev br0"));
        switch.router = Some(router);
        switch
    }

    pub fn space(&self) -> &Arc<Namespace> {
        &self.space
    }

    /// Who leads out of this network.
    pub fn router(&self) -> Option<Ipv4Addr> {
        self.router
    }

    /// The address of whoever is plugged in as `last`.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, last)
    }

    /// A new host, plugged in as `A.B.C.last`.
    pub fn host(&self, lab: &Lab, name: &str, last: u8) -> Host {
        let space = Namespace::new(lab, name);
        let plug = self.join(&space, "eth0", last);
        let host = Host {
            space,
            switch: self.space.clone(),
            router: self.router,
            mac: mac(self.network, last),
            plug: Mutex::new(plug),
        };
        host.configure(&host.plug());
        host
    }

    /// Lays a cable to the interface `device` of a namespace, which gets no
    /// address yet.
    pub fn join(&self, space: &Namespace, device: &str, last: u8) -> Plug {
        let (port, mac) = (format!("port{last}"), mac(self.network, last));
        self.space.ip(&format!("link add {port} type veth peer name {device} address {mac} netns {}", space.name()));
        self.space.ip(&format!("link set {port} master br0 up"));
        Plug { device: device.to_owned(), port, address: self.address(last) }
    }
}

fn mac([a, b, c]: [u8; 3], last: u8) -> String {
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{last:02x}")
}

/// How a host is connected.
#[derive(Clone, Debug)]
pub struct Plug {
    /// The host's own interface.
    pub device: String,
    /// The port of the switch.
    pub port: String,
    /// The host's address.
    pub address: Ipv4Addr,
}

/// A machine of the network, with one address.
pub struct Host {
    space: Namespace,
    switch: Arc<Namespace>,
    router: Option<Ipv4Addr>,
    mac: String,
    plug: Mutex<Plug>,
}

impl Host {
    pub fn space(&self) -> &Namespace {
        &self.space
    }

    /// The namespace of the switch that it is plugged into.
    pub fn switch(&self) -> &Arc<Namespace> {
        &self.switch
    }

    pub fn plug(&self) -> Plug {
        self.plug.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn address(&self) -> Ipv4Addr {
        self.plug().address
    }

    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// Takes the address away and gives another one, as when a provider
    /// renumbers a line.
    pub fn renumber(&self, address: Ipv4Addr) {
        self.replug(Plug { address, ..self.plug() });
    }

    /// Goes over to another cable, another address or both. Connections are
    /// not told.
    pub fn replug(&self, plug: Plug) {
        self.space.try_run(&format!("ip addr flush dev {}", self.plug().device));
        self.configure(&plug);
        *self.plug.lock().unwrap_or_else(PoisonError::into_inner) = plug;
    }

    fn configure(&self, plug: &Plug) {
        self.space.ip(&format!("link set {} up", plug.device));
        self.space.ip(&format!("addr add {}/24 dev {}", plug.address, plug.device));
        if let Some(router) = self.router {
            self.space.ip(&format!("route replace default via {router} dev {}", plug.device));
        }
    }
}
