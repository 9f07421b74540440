//! Machines with a Docker Engine each, plugged into one switch, and a host
//! beside them for those who use what runs there.

use std::sync::Arc;

use crate::engine::{Engine, KIND, inside};
use crate::hosts::{Host, Lab, Switch};
use crate::support::process::Invocation;

const NETWORK: [u8; 3] = [192, 168, 77];

/// A network of machines.
pub struct Machines {
    lab: Lab,
    switch: Switch,
    user: Host,
    machines: Vec<Machine>,
}

/// A machine: a host and its engine.
pub struct Machine {
    pub engine: Engine,
    host: Arc<Host>,
}

impl Machines {
    /// So many machines.
    pub fn start(count: usize) -> Self {
        let lab = Lab::of(KIND);
        let switch = Switch::new(&lab, "switch", NETWORK);
        let user = switch.host(&lab, "user", 100);
        let mut machines = Self { lab, switch, user, machines: Vec::new() };
        (0..count).for_each(|_| machines.add());
        machines
    }

    /// One more machine.
    pub fn add(&mut self) {
        let number = self.machines.len() + 1;
        let name = format!("machine{number}");
        let host = Arc::new(self.switch.host(&self.lab, &name, number as u8));
        let engine = Engine::start_on(&host, &name, &[]);
        self.machines.push(Machine { engine, host });
    }

    pub fn all(&self) -> &[Machine] {
        &self.machines
    }

    /// Runs something on a thread of the users' host.
    pub fn as_user<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(self.user.space(), work)
    }

    /// A program on the users' host, which commands the engine of `machine`.
    pub fn user(&self, program: &str, machine: &Machine) -> Invocation {
        let folder = machine.engine.work().path();
        let call = self.user.space().invoke(program, folder).env("DOCKER_HOST", machine.engine.address());
        // Debian's programs, which may have namesakes in /usr/local.
        call.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("ADDRESS", machine.address())
    }
}

impl Machine {
    pub fn address(&self) -> String {
        self.host.address().to_string()
    }

    /// It loses its power: nobody hears a last word of it.
    pub fn power_off(&self) {
        self.cable("down");
        self.engine.power_off();
    }

    pub fn power_on(&self) {
        self.cable("up");
        self.engine.power_on();
    }

    fn cable(&self, state: &str) {
        self.host.switch().ip(&format!("link set {} {state}", self.host.plug().port));
    }
}
