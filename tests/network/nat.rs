//! Home routers: many hosts behind one address, and nothing gets in that was
//! not asked for.

use std::net::Ipv4Addr;

use crate::hosts::{Host, Lab, Switch};

/// A router with a network of its own behind it. Put behind another one, it is
/// what carriers do to their customers.
pub struct Nat {
    inside: Switch,
    address: Ipv4Addr,
}

impl Nat {
    /// Plugged into `outside` as its host `last`, with the network `A.B.C.0/24`
    /// behind it.
    pub fn new(lab: &Lab, name: &str, outside: &Switch, last: u8, network: [u8; 3]) -> Self {
        let inside = Switch::with_router(lab, name, network);
        let plug = outside.join(inside.space(), "wan", last);
        let space = inside.space();
        space.ip("link set wan up");
        space.ip(&format!("addr add {}/24 dev wan", plug.address));
        if let Some(router) = outside.router() {
            space.ip(&format!("route add default via {router} dev wan"));
        }
        space.set("ipv4/ip_forward", 1);
        space.run("iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE");
        for chain in ["INPUT", "FORWARD"] {
            space.run(&format!("iptables -w -A {chain} -i wan -m conntrack --ctstate NEW -j DROP"));
        }
        Self { inside, address: plug.address }
    }

    /// Where its hosts are plugged in.
    pub fn inside(&self) -> &Switch {
        &self.inside
    }

    /// The one address that the world sees.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A host behind it.
    pub fn host(&self, lab: &Lab, name: &str, last: u8) -> Host {
        self.inside.host(lab, name, last)
    }
}
