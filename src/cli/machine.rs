//! What this machine is called, and where others on its network find it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The machine's name.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The first address of this machine that is not loopback: the one that
/// `/etc/hosts` has for its name, as container engines write it there for the
/// network that a container is on; else the one that packets leave from, else
/// any.
pub(super) fn address() -> Option<IpAddr> {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let routes = ["192.0.2.1:9", "[2001:db8::1]:9"];
    let table = || fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    in_hosts(&hosts, &hostname()).or_else(|| routes.into_iter().find_map(leaving)).or_else(|| in_table(&table()))
}

/// What a table of names has for this one.
fn in_hosts(hosts: &str, name: &str) -> Option<IpAddr> {
    hosts.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        (is_ours_alone(address) && words.any(|word| word.eq_ignore_ascii_case(name))).then_some(address)
    })
}

/// The address from which packets would go there; none is sent.
fn leaving(to: &str) -> Option<IpAddr> {
    let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| is_ours_alone(*address))
}

/// The first address of its own in the kernel's routes: the line before each
/// `/32 host LOCAL` ends with it.
fn in_table(table: &str) -> Option<IpAddr> {
    let lines: Vec<&str> = table.lines().collect();
    let own = lines.windows(2).filter(|pair| pair[1].contains("/32 host LOCAL"));
    let addresses = own.filter_map(|pair| pair[0].split_whitespace().last()?.parse::<Ipv4Addr>().ok());
    addresses.map(IpAddr::V4).find(|address| is_ours_alone(*address))
}

fn is_ours_alone(address: IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_that_others_know() {
        let hosts =
            "127.0.0.1 localhost\n127.0.1.1 me\n# 10.0.0.9 me\n10.0.1.7\tme.example ME # gateway\n10.0.2.1 me\n";
        assert_eq!(in_hosts(hosts, "me"), Some([10, 0, 1, 7].into()));
        assert_eq!(in_hosts(hosts, "other"), None);
    }

    #[test]
    fn the_kernels_table_is_understood() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.7.0.0\n        /24 link \
                     UNICAST\n     |-- 10.7.0.3\n        /32 host LOCAL\n";
        assert_eq!(in_table(table), Some([10, 7, 0, 3].into()));
        assert_eq!(in_table("Main:\n     |-- 127.0.0.1\n        /32 host LOCAL\n"), None);
    }
}
