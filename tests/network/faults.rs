//! What can be wrong with a line or a process. Each fault lasts as long as its
//! guard and is undone when that is dropped, also by a test that fails.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::hosts::{Host, Namespace, Plug};
use crate::machine::PYTHON;
use crate::support::process::{Daemon, Invocation};

/// A partition: the switch drops all frames from and to a host, which keeps
/// its carrier and is told nothing.
pub struct Cut {
    switch: Arc<Namespace>,
    port: String,
}

impl Cut {
    pub fn new(host: &Host) -> Self {
        let (switch, port) = (host.switch().clone(), host.plug().port);
        switch.ip(&format!("link set {port} nomaster"));
        Self { switch, port }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.switch.try_run(&format!("ip link set {} master br0", self.port));
    }
}

/// Packets that get lost on their way to a host.
pub struct Loss<'a> {
    host: &'a Host,
    rule: String,
}

impl<'a> Loss<'a> {
    /// `percent` of what arrives at `host` is lost; from `source` only, where
    /// there is one.
    pub fn new(host: &'a Host, source: Option<Ipv4Addr>, percent: f64) -> Self {
        let probability = percent / 100.0;
        let from = source.map_or("! -i lo".to_owned(), |source| format!("-s {source}"));
        let rule = format!("INPUT {from} -m statistic --mode random --probability {probability} -j DROP");
        host.space().run(&format!("iptables -w -A {rule}"));
        Self { host, rule }
    }
}

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        self.host.space().try_run(&format!("iptables -w -D {}", self.rule));
    }
}

/// A thin line: so many bytes a second and no more, in each direction.
pub struct Thin<'a> {
    host: &'a Host,
    plug: Plug,
}

impl<'a> Thin<'a> {
    pub fn new(host: &'a Host, bytes_per_second: u64) -> Self {
        let plug = host.plug();
        let limit = format!("root tbf rate {}bit burst 16kb latency 400ms", bytes_per_second * 8);
        host.space().run(&format!("tc qdisc add dev {} {limit}", plug.device));
        host.switch().run(&format!("tc qdisc add dev {} {limit}", plug.port));
        Self { host, plug }
    }
}

impl Drop for Thin<'_> {
    fn drop(&mut self) {
        self.host.space().try_run(&format!("tc qdisc del dev {} root", self.plug.device));
        self.host.switch().try_run(&format!("tc qdisc del dev {} root", self.plug.port));
    }
}

/// A long line in place of a host's own: see `wire.py`.
pub struct LongLine<'a> {
    host: &'a Host,
    before: Plug,
    _wire: Daemon,
}

impl<'a> LongLine<'a> {
    /// Adds `delay` to each way. The host keeps its address and its
    /// connections.
    pub fn new(host: &'a Host, delay: Duration, folder: &Path) -> Self {
        let before = host.plug();
        let plug = Plug { device: "wire0".to_owned(), port: format!("wire-{}", before.port), ..before.clone() };
        let wire = lay(host, &plug, delay, folder);
        host.space().ip(&format!("link set wire0 address {}", host.mac()));
        host.switch().ip(&format!("link set {} master br0 up", plug.port));
        host.space().ip(&format!("link set {} down", before.device));
        host.replug(plug);
        Self { host, before, _wire: wire }
    }
}

/// Starts the wire between a host and its switch.
fn lay(host: &Host, plug: &Plug, delay: Duration, folder: &Path) -> Daemon {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/wire.py");
    let log = folder.join(format!("{}.log", plug.port));
    let mut wire = Invocation::new(PYTHON, folder)
        .arg(program)
        .args([host.space().name(), &plug.device, host.switch().name(), &plug.port])
        .args([delay.as_millis().to_string(), "0".to_owned()])
        .start(&log);
    wire.wait_until("the line is ready", Duration::from_secs(60), || {
        std::fs::read_to_string(&log).ok().filter(|text| text.contains("ready"))
    });
    wire
}

impl Drop for LongLine<'_> {
    fn drop(&mut self) {
        self.host.space().try_run("ip link set wire0 down");
        self.host.replug(Plug { address: self.host.address(), ..self.before.clone() });
    }
}

/// A process that is stopped and says nothing, while its connections stay.
pub struct Frozen {
    pid: Pid,
}

impl Frozen {
    pub fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process id is positive");
        rustix::process::kill_process(pid, Signal::STOP).expect("the process runs");
        Self { pid }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.pid, Signal::CONT);
    }
}
