//! Machines with a Docker Engine each, plugged into one switch, and a host
//! beside them for those who use what runs there.

use std::sync::Arc;

use crate::engine::{Engine, KIND, inside};
use crate::hosts::{Host, Lab, Switch};
use crate::support::process::Invocation;

const NETWORK: [u8; 3] = [192, 168, 77];

/// A network of machines.
pub struct Machines {
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
        let mut machines = Self { switch, user, machines: Vec::new() };
        (0..count).for_each(|_| machines.add());
        machines
    }

    /// One more machine.
    pub fn add(&mut self) {
        let number = self.machines.len() + 1;
        let host = self.plug_in(number);
        let engine = Engine::start_on(&host, &name(number), &[]);
        self.machines.push(Machine { engine, host });
    }

    /// A machine loses its power: nobody hears a last word of it. Its disk stays.
    pub fn power_off(&mut self, number: usize) {
        let machine = &self.machines[number - 1];
        let port = machine.host.plug().port;
        self.switch.space().ip(&format!("link delete {port}"));
        machine.engine.power_off();
    }

    /// It comes back with its disk, and with nothing that a kernel keeps.
    pub fn power_on(&mut self, number: usize) {
        let host = self.plug_in(number);
        let machine = &mut self.machines[number - 1];
        machine.host = host.clone();
        machine.engine.power_on_at(&host);
    }

    fn plug_in(&self, number: usize) -> Arc<Host> {
        Arc::new(self.switch.host(&Lab::of(KIND), &name(number), number as u8))
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
}

fn name(number: usize) -> String {
    format!("machine{number}")
}
