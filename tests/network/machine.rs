//! What the machine must offer, so that a test that cannot run says so.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Panics with one sentence that names everything that is missing.
pub fn require() {
    static MISSING: OnceLock<Vec<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(missing);
    assert!(missing.is_empty(), "these tests need network namespaces, and here is missing: {}", missing.join(", "));
}

fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::getuid().is_root() {
        missing.push("the right to make them (run as root)".to_owned());
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("tc", "iproute2"),
        ("iptables", "iptables"),
        ("nsenter", "util-linux"),
        ("setpriv", "util-linux"),
    ] {
        if !installed(program) {
            missing.push(format!("the program {program} (apt-get install {package})"));
        }
    }
    if !Path::new(PYTHON).exists() {
        missing.push(format!("{PYTHON} (apt-get install python3)"));
    }
    if !Path::new("/dev/net/tun").exists() {
        missing.push("/dev/net/tun (modprobe tun, or --device /dev/net/tun for a container)".to_owned());
    }
    if missing.is_empty() && !may_make_namespaces() {
        missing.push("the right to make a network namespace (CAP_SYS_ADMIN and CAP_NET_ADMIN)".to_owned());
    }
    missing
}

/// The Python that runs the tools of these tests; it needs no packages.
pub const PYTHON: &str = "/usr/bin/python3";

fn installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

fn may_make_namespaces() -> bool {
    let tried = Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    tried.is_ok_and(|output| output.status.success())
}
