//! The one cluster that all tests of this suite use, one after the other: a
//! gateway and sixteen nodes, each on a host of its own, five of them behind
//! home routers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::hosts::{Host, Lab, Switch};
use crate::nat::Nat;
use crate::node::Node;
use crate::support::cairn::{Access, tell};
use crate::support::poll;
use crate::support::workdir::WorkDir;
use crate::view::{NodeView, nodes_of};

/// Nodes that are always there.
pub const NODES: usize = 16;

/// Six of fifteen pieces restore. Twelve are durable when a write is
/// acknowledged, so that it goes on while three nodes are cut off, and what was
/// acknowledged outlives six nodes that are damaged or gone.
const SCHEME: &str = "6/8/12/15";

/// What the issue asks of a node whose path was broken.
pub const BACK_WITHIN: Duration = Duration::from_secs(60);
/// How long the cluster may take to be whole where nobody measures it.
const WHOLE_WITHIN: Duration = Duration::from_secs(240);
static TURN: Mutex<()> = Mutex::new(());

/// A running cluster. Processes stop before their hosts go.
pub struct Cluster {
    gateway: Gateway,
    nodes: Vec<Node>,
    client: Host,
    nats: Vec<Nat>,
    world: Switch,
    lab: Lab,
    guests: AtomicU8,
    work: WorkDir,
}

/// One test's turn with the cluster, which is whole and at rest when it begins.
pub struct Turn {
    cluster: Arc<Cluster>,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for this test's turn. The cluster is started by the first test that
/// asks and stopped when no test uses it or waits for it.
pub fn turn() -> Turn {
    static CURRENT: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let cluster = {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        current.upgrade().unwrap_or_else(|| {
            let _alone = alone();
            let cluster = Arc::new(Cluster::start());
            *current = Arc::downgrade(&cluster);
            cluster
        })
    };
    let turn = alone();
    cluster.wait_whole(WHOLE_WITHIN);
    Turn { cluster, _turn: turn }
}

/// A turn without the cluster, for tests that measure: nothing is done to it,
/// and it is not started, meanwhile.
pub fn alone() -> MutexGuard<'static, ()> {
    // A test that failed has undone what it did on its way out.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// Lets other tests go on while this one waits for something slow.
    pub fn let_others(self) -> Arc<Cluster> {
        self.cluster.clone()
    }
}

impl Deref for Turn {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(&self.cluster.gateway.story());
        } else {
            self.cluster.check_logs();
        }
    }
}

impl Cluster {
    fn start() -> Self {
        let begun = Instant::now();
        let lab = Lab::new();
        let work = WorkDir::new("volunteers");
        let world = Switch::new(&lab, "world", [10, 77, 0]);
        let nats = routers(&lab, &world);
        let host = world.host(&lab, "gateway", 1);
        let gateway = Gateway::start(host, work.folder("gateway").join("data"), &["--scheme", SCHEME]);
        let client = world.host(&lab, "client", 2);
        let nodes = (1..=NODES as u8).map(|number| {
            let name = format!("n{number:02}");
            let host = host_of_node(&lab, &world, &nats, &name, number);
            Node::new(&name, host, work.folder(&name).join("data"), &["--capacity", "2GB"])
        });
        let cluster =
            Self { gateway, nodes: nodes.collect(), client, nats, world, lab, guests: AtomicU8::new(0), work };
        let token = cluster.gateway.token(&["--uses", "unlimited", "--expires", "1h"]);
        cluster.nodes.iter().for_each(|node| node.join(&token));
        cluster.wait_whole(WHOLE_WITHIN);
        tell(&format!("a gateway and {NODES} nodes after {:?}", begun.elapsed()));
        cluster
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Warnings are due where lines break; errors and panics never are.
    fn check_logs(&self) {
        let logs = std::iter::once(self.gateway.log()).chain(self.nodes.iter().map(Node::log));
        let wrong = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
        let wrong: Vec<String> =
            logs.flat_map(|log| log.lines().filter(wrong).map(str::to_owned).collect::<Vec<_>>()).collect();
        assert!(wrong.is_empty(), "unexpected in the logs:\n{}", wrong.join("\n"));
    }

    /// The nodes that are always there.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Those behind a router.
    pub fn nodes_behind_routers(&self) -> &[Node] {
        &self.nodes[..BEHIND_ROUTERS]
    }

    /// Those with an address that the world sees.
    pub fn nodes_in_the_open(&self) -> &[Node] {
        &self.nodes[BEHIND_ROUTERS..]
    }

    /// The address that the gateway sees a node come from: its own, or that of
    /// the outermost router before it.
    pub fn seen_address(&self, node: &Node) -> Ipv4Addr {
        match self.nodes.iter().position(|other| other.name() == node.name()) {
            Some(0..3) => self.nats[0].address(),
            Some(3 | 4) => self.nats[2].address(),
            _ => node.host().address(),
        }
    }

    /// Where boto3 runs.
    pub fn client(&self) -> &Host {
        &self.client
    }

    pub fn access(&self) -> &Access {
        self.gateway.access()
    }

    pub fn work(&self) -> &WorkDir {
        &self.work
    }

    /// An address that no host has.
    pub fn free_address(&self) -> Ipv4Addr {
        self.world.address(200 + self.guests.fetch_add(1, Ordering::Relaxed))
    }

    /// One more volunteer, on a host of its own, who has not begun.
    pub fn guest(&self, name: &str, arguments: &[&str]) -> Node {
        let last = 100 + self.guests.fetch_add(1, Ordering::Relaxed);
        let host = self.world.host(&self.lab, name, last);
        Node::new(name, host, self.work.folder(name).join("data"), arguments)
    }

    /// The gateway of another cluster, on a host of its own.
    pub fn other_gateway(&self) -> Gateway {
        let last = 100 + self.guests.fetch_add(1, Ordering::Relaxed);
        let host = self.world.host(&self.lab, "other", last);
        Gateway::start(host, self.work.folder("other").join("data"), &[])
    }

    /// What the gateway says of all nodes, by id.
    pub fn view(&self) -> BTreeMap<String, NodeView> {
        nodes_of(self.gateway.show(&["nodes", "list"]))
    }

    /// Waits until the gateway sees exactly these nodes come (`online`) or go.
    pub fn wait_seen<'n>(&self, nodes: impl IntoIterator<Item = &'n Node>, online: bool, limit: Duration) -> Duration {
        let begun = Instant::now();
        let mut waited: Vec<&Node> = nodes.into_iter().collect();
        let all = poll(limit, Duration::from_millis(250), || {
            let view = self.view();
            waited.retain(|node| view.get(node.id()).is_none_or(|seen| seen.connected != online));
            waited.is_empty().then_some(())
        });
        if all.is_none() {
            let names: Vec<&str> = waited.iter().map(|node| node.name()).collect();
            let wanted = if online { "back" } else { "gone" };
            panic!("{names:?} not seen as {wanted} within {limit:?}; {}", waited[0].story());
        }
        begun.elapsed()
    }

    /// Waits until all nodes are there.
    pub fn wait_whole(&self, limit: Duration) -> Duration {
        self.wait_seen(&self.nodes, true, limit)
    }
}

const BEHIND_ROUTERS: usize = 5;

/// Two home routers, and one behind a carrier's.
fn routers(lab: &Lab, world: &Switch) -> Vec<Nat> {
    let home = Nat::new(lab, "home", world, 251, [192, 168, 1]);
    let carrier = Nat::new(lab, "carrier", world, 252, [100, 64, 0]);
    let deep = Nat::new(lab, "deep", carrier.inside(), 251, [192, 168, 1]);
    vec![home, deep, carrier]
}

/// Three nodes share a router, two are behind two of them, the rest is in the
/// open.
fn host_of_node(lab: &Lab, world: &Switch, nats: &[Nat], name: &str, number: u8) -> Host {
    match number {
        1..=3 => nats[0].host(lab, name, 10 + number),
        4 | 5 => nats[1].host(lab, name, 10 + number),
        _ => world.host(lab, name, 10 + number),
    }
}
