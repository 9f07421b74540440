//! Which nodes fail together.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is known of a node's whereabouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainFacts<'a> {
    /// The node, by its number.
    pub node: u32,
    /// The failure domain, where the operator says so. It alone decides then.
    pub label: Option<&'a str>,
    /// Who the node's token was given to.
    pub owner: Option<&'a str>,
    /// Where the node dials from.
    pub address: Option<IpAddr>,
}

/// Each node's failure domain, in the order of the facts.
///
/// Nodes of one label are a domain. Of those without, nodes of one owner or of
/// one public network (an IPv4 /24, an IPv6 /48) fail together, and so do all
/// that such steps connect. Addresses that many places share (loopback,
/// private, CGNAT and whatever else is not routed publicly) say nothing. A
/// domain is called by the lowest number among its nodes.
pub fn failure_domains(facts: &[DomainFacts<'_>]) -> Vec<(u32, u64)> {
    let mut union = Union { parents: (0..facts.len()).collect() };
    union.join(facts, |fact| fact.label);
    union.join(facts, |fact| fact.owner.filter(|_| fact.label.is_none()));
    union.join(facts, |fact| fact.address.filter(|_| fact.label.is_none()).and_then(network));
    let roots: Vec<usize> = (0..facts.len()).map(|at| union.root(at)).collect();
    let mut names: HashMap<usize, u32> = HashMap::new();
    for (root, fact) in roots.iter().zip(facts) {
        let name = names.entry(*root).or_insert(fact.node);
        *name = fact.node.min(*name);
    }
    roots.iter().zip(facts).map(|(root, fact)| (fact.node, names[root].into())).collect()
}

/// Sets that only grow together.
struct Union {
    parents: Vec<usize>,
}

impl Union {
    /// Joins those that have the same key; none is no key.
    fn join<'a, K: Eq + Hash>(&mut self, facts: &[DomainFacts<'a>], key: impl Fn(&DomainFacts<'a>) -> Option<K>) {
        let mut first: HashMap<K, usize> = HashMap::new();
        for (at, fact) in facts.iter().enumerate() {
            let Some(key) = key(fact) else { continue };
            let other = *first.entry(key).or_insert(at);
            let (one, other) = (self.root(at), self.root(other));
            self.parents[one.max(other)] = one.min(other);
        }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }
}

/// The public network of an address: its first 24 or 48 bits.
fn network(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4).then(|| {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }),
        IpAddr::V6(v6) => is_public_v6(v6).then(|| {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocols = (a, b, c) == (192, 0, 0);
    let reserved = a == 0 || a >= 224;
    let said = address.is_loopback() || address.is_private() || address.is_link_local() || address.is_documentation();
    !(shared || benchmark || protocols || reserved || said)
}

/// Global unicast is 2000::/3; two nets of it are for documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let documentation = (a, b) == (0x2001, 0x0db8) || (a == 0x3fff && b < 0x1000);
    a & 0xe000 == 0x2000 && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn fact(node: u32) -> DomainFacts<'static> {
        DomainFacts { node, label: None, owner: None, address: None }
    }

    fn at(node: u32, address: &str) -> DomainFacts<'static> {
        DomainFacts { address: Some(address.parse().unwrap()), ..fact(node) }
    }

    fn names(facts: &[DomainFacts<'_>]) -> Vec<u64> {
        failure_domains(facts).into_iter().map(|(_, domain)| domain).collect()
    }

    #[test]
    fn a_public_network_is_one_place() {
        assert_eq!(names(&[at(4, "8.8.8.1"), at(2, "8.8.8.255"), at(3, "8.8.9.1")]), [2, 2, 3]);
        assert_eq!(names(&[at(1, "2a00:1:2::1"), at(2, "2a00:1:2:ffff::9"), at(3, "2a00:1:3::1")]), [1, 1, 3]);
        assert_eq!(names(&[at(1, "8.8.8.1"), at(2, "::ffff:8.8.8.2")]), [1, 1]);
    }

    #[test]
    fn an_address_that_many_places_share_says_nothing() {
        for shared in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.9",
            "172.31.9.9",
            "192.168.1.1",
            "169.254.3.3",
            "100.64.0.1",
            "100.127.255.1",
            "0.0.0.0",
            "192.0.2.7",
            "198.18.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "64:ff9b:1::1",
        ] {
            assert_eq!(names(&[at(1, shared), at(2, shared)]), [1, 2], "{shared}");
        }
        for public in ["100.63.0.1", "100.128.0.1", "172.32.0.1", "11.0.0.1", "2600::1"] {
            assert_eq!(names(&[at(1, public), at(2, public)]), [1, 1], "{public}");
        }
    }

    #[test]
    fn owners_and_networks_connect() {
        let owned = |node, owner, address| DomainFacts { owner: Some(owner), ..at(node, address) };
        let facts = [owned(1, "ada", "8.8.8.1"), owned(2, "bob", "9.9.9.1"), owned(3, "ada", "9.9.9.2"), fact(4)];
        assert_eq!(names(&facts), [1, 1, 1, 4]);
    }

    #[test]
    fn the_operators_label_alone_decides() {
        let labelled =
            |node, label, owner, address| DomainFacts { label: Some(label), owner: Some(owner), ..at(node, address) };
        let facts = [
            labelled(1, "rack-1", "ada", "8.8.8.1"),
            labelled(2, "rack-2", "ada", "8.8.8.2"),
            labelled(3, "rack-1", "bob", "9.9.9.9"),
            DomainFacts { owner: Some("ada"), ..at(4, "8.8.8.3") },
        ];
        assert_eq!(names(&facts), [1, 2, 1, 4]);
    }

    const LABELS: [Option<&str>; 4] = [None, None, Some("here"), Some("there")];
    const OWNERS: [Option<&str>; 4] = [None, None, Some("ada"), Some("bob")];
    const ADDRESSES: [Option<&str>; 6] =
        [None, Some("8.8.8.1"), Some("8.8.8.2"), Some("9.9.9.9"), Some("127.0.0.1"), Some("2a00:1:2::1")];

    fn a_fact() -> impl Strategy<Value = DomainFacts<'static>> {
        (0..4usize, 0..4usize, 0..6usize).prop_map(|(label, owner, address)| DomainFacts {
            label: LABELS[label],
            owner: OWNERS[owner],
            address: ADDRESSES[address].map(|address| address.parse().unwrap()),
            node: 0,
        })
    }

    /// Whether two nodes fail together by what is said of these two alone.
    fn touch(one: &DomainFacts<'_>, other: &DomainFacts<'_>) -> bool {
        if one.label.is_some() || other.label.is_some() {
            return one.label == other.label;
        }
        let same_owner = one.owner.is_some() && one.owner == other.owner;
        let (here, there) = (one.address.and_then(network), other.address.and_then(network));
        same_owner || (here.is_some() && here == there)
    }

    proptest! {
        /// Against a closure over all pairs, and whatever the order.
        #[test]
        fn domains_are_what_pairs_connect(facts in prop::collection::vec(a_fact(), 1..25), turn in 0usize..25) {
            let mut facts: Vec<_> = facts.into_iter().zip(0..).map(|(fact, node)| DomainFacts { node, ..fact }).collect();
            let mut expected: Vec<u64> = (0..facts.len() as u64).collect();
            for _ in 0..facts.len() {
                for one in 0..facts.len() {
                    for other in 0..facts.len() {
                        if touch(&facts[one], &facts[other]) {
                            expected[one] = expected[one].min(expected[other]);
                        }
                    }
                }
            }
            let named: BTreeMap<u32, u64> = failure_domains(&facts).into_iter().collect();
            prop_assert_eq!(named.values().copied().collect::<Vec<_>>(), expected);
            let turn = turn % facts.len();
            facts.rotate_left(turn);
            prop_assert_eq!(failure_domains(&facts).into_iter().collect::<BTreeMap<_, _>>(), named);
        }
    }
}
