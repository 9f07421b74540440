//! The one machine of the cluster: a Docker Engine's namespaces with a network
//! interface, a folder whose mounts reach into containers, and kernel settings
//! that a kubelet may change without changing the real machine's.

use std::path::PathBuf;

use crate::engine::Engine;
use crate::programs::package;

/// How the cluster calls it.
pub const NAME: &str = "node-1";
/// Its address; pods see it as that of the name server too.
pub const ADDRESS: &str = "10.77.0.1";
/// Where pods have their addresses from.
pub const PODS: &str = "172.17.0.0/16";
/// Where Services have theirs from.
pub const SERVICES: &str = "10.96.0.0/16";

/// What a kubelet sets, and to which value.
const SETTINGS: [(&str, &str); 3] =
    [("vm/overcommit_memory", "1"), ("kernel/panic", "10"), ("kernel/panic_on_oops", "1")];

/// A machine that is ready for a kubelet.
pub struct Node {
    pub engine: Engine,
}

impl Node {
    pub fn start() -> Self {
        let runtime = format!("--add-runtime=tame={}", package("tests/kubernetes/runc").display());
        let services = format!("--insecure-registry={SERVICES}");
        let engine = Engine::start_with(&[&runtime, "--default-runtime=tame", &services]);
        let node = Self { engine };
        node.connect();
        node.share_mounts();
        node.set_kernel_aside();
        node
    }

    /// The folder of the kubelet.
    pub fn kubelet(&self) -> PathBuf {
        self.engine.work().folder("kubelet")
    }

    /// An interface with an address, and a way out that ends there: addresses
    /// of Services must be sent somewhere before kube-proxy's rules turn them
    /// into those of pods.
    fn connect(&self) {
        let space = self.engine.space();
        space.ip("link add node0 type bridge");
        space.ip(&format!("addr add {ADDRESS}/24 dev node0"));
        space.ip("link set node0 up");
        space.ip("route add default dev node0");
        space.set("ipv4/ip_forward", 1);
    }

    /// A bucket that is mounted below the kubelet's folder must appear in pods.
    fn share_mounts(&self) {
        let folder = self.kubelet();
        self.engine.invoke("mount").arg("--bind").arg(&folder).arg(&folder).run();
        self.engine.invoke("mount").arg("--make-rshared").arg(&folder).run();
    }

    /// Lays files over the kernel's settings that the kubelet wants to change.
    fn set_kernel_aside(&self) {
        for (number, (setting, value)) in SETTINGS.iter().enumerate() {
            let file = self.engine.work().join(format!("setting-{number}"));
            std::fs::write(&file, format!("{value}\n")).expect("room for a file");
            self.engine.invoke("mount").arg("--bind").arg(&file).arg(format!("/proc/sys/{setting}")).run();
        }
    }
}
