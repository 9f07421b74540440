//! Nodes with real stores behind a real door, over loopback.

mod leaving;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;

use super::store::{PieceStore, StoreOptions};
use super::*;
use crate::transport::tests::{Guests, cluster, config, until};
use crate::transport::{Door, DoorConfig, Identity, NodeError, Nodes, Tuning};
use crate::types::limits::{LOG_BYTES_MAX, PIECE_BYTES_MAX};
use crate::types::{ClusterId, Epoch, Generation, NodeId, PieceId};

const SOON: Duration = Duration::from_secs(60);

fn store(folder: &Path, capacity_bytes: u64) -> PieceStore {
    PieceStore::open(folder, StoreOptions { capacity_bytes, log_bytes_max: LOG_BYTES_MAX }).unwrap().0
}

fn node_config(folder: &Path, door: impl ToString) -> NodeConfig {
    let identity = Identity::load_or_create(folder).unwrap();
    NodeConfig::new(folder, store(folder, 4 << 30), identity, cluster().cluster_id(), vec![door.to_string()])
}

async fn start(folder: &Path, door: impl ToString) -> Node {
    Node::start(node_config(folder, door)).await.unwrap()
}

/// A door and one node that is connected to it.
struct Pair {
    door: Door,
    node: Node,
    folder: TempDir,
}

impl Pair {
    async fn new(tuning: Tuning) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let door = Door::bind("127.0.0.1:0", config(tuning)).await.unwrap();
        let node = start(folder.path(), door.local_addr()).await;
        assert!(door.nodes().wait_connected(1, SOON).await);
        Self { door, node, folder }
    }

    fn nodes(&self) -> (Nodes, NodeId) {
        (self.door.nodes(), self.node.node_id())
    }
}

fn id(number: u16) -> PieceId {
    let mut bytes = [7; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PieceId::from_bytes(bytes)
}

fn piece(number: u16, length: usize) -> Bytes {
    (0..length).map(|index| (index / 7) as u8 ^ number as u8).collect()
}

fn waiting_reason(node: &Node) -> Option<String> {
    node.doors().into_iter().find_map(|status| match status.state {
        DoorState::Waiting { reason } => Some(reason),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_go_there_and_back() {
    let pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    let body = piece(1, PIECE_BYTES_MAX);
    nodes.put_piece(node, id(1), Epoch(5), body.clone()).await.unwrap();
    nodes.put_piece(node, id(1), Epoch(5), body.clone()).await.unwrap();
    assert_eq!(nodes.put_piece(node, id(1), Epoch(5), piece(2, 10)).await, Err(NodeError::Conflict));
    assert_eq!(nodes.get_piece(node, id(1), 0..body.len() as u64).await.unwrap(), body);
    assert_eq!(nodes.get_piece(node, id(1), 65_568..65_570).await.unwrap(), body.slice(65_568..65_570));
    nodes.put_piece(node, id(3), Epoch(5), piece(3, 10)).await.unwrap();
    let beyond = nodes.get_piece(node, id(3), 0..11).await;
    assert!(matches!(beyond, Err(NodeError::Unfit(_))), "{beyond:?}");
    assert_eq!(nodes.get_piece(node, id(2), 0..1).await, Err(NodeError::Missing));
    for range in [3..3, 0..PIECE_BYTES_MAX as u64 + 1] {
        assert!(matches!(nodes.get_piece(node, id(1), range).await, Err(NodeError::Refused(_))));
    }
    assert!(nodes.status(node).unwrap().position > 0);
    assert_eq!(nodes.status(node).unwrap().connections, 2, "one is always parked");
    assert_eq!(nodes.usage(NodeId::from_bytes([0; 32])).await, Err(NodeError::Offline));
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_go_to_the_trash_and_come_back_or_not() {
    let pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    for number in 0..5 {
        nodes.put_piece(node, id(number), Epoch(number.into()), piece(number, 1000)).await.unwrap();
    }
    nodes.trash(node, &[id(1), id(2), id(99)]).await.unwrap();
    nodes.restore(node, &[id(2)]).await.unwrap();
    nodes.purge(node, &[id(1), id(2)]).await.unwrap();
    nodes.trash(node, &[id(4)]).await.unwrap();
    nodes.trash(node, &[]).await.unwrap();
    assert_eq!(nodes.get_piece(node, id(1), 0..1).await, Err(NodeError::Missing));
    assert_eq!(nodes.get_piece(node, id(4), 0..1000).await.unwrap(), piece(4, 1000));
    let usage = nodes.usage(node).await.unwrap();
    assert_eq!((usage.pieces, usage.trashed, usage.damaged), (4, 1, 0));
    let first = nodes.inventory(node, None, 3).await.unwrap();
    assert_eq!(first.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(0), id(2), id(3)]);
    let rest = nodes.inventory(node, Some(id(3)), 3).await.unwrap();
    assert_eq!((rest.len(), rest[0].trashed, rest[0].length, rest[0].epoch), (1, true, 1000, Epoch(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_so_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
    let mut config = node_config(&folder.path().join(".").canonicalize().unwrap(), door.local_addr());
    config.store.close().await.unwrap();
    let small = tempfile::tempdir().unwrap();
    config.store = store(small.path(), 8 << 20);
    let node = Node::start(config).await.unwrap();
    assert!(door.nodes().wait_connected(1, SOON).await);
    let mut full = 0;
    for number in 0..8 {
        match door.nodes().put_piece(node.node_id(), id(number), Epoch(1), piece(number, 2 << 20)).await {
            Ok(()) => {}
            Err(NodeError::Full) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((4..8).contains(&full), "{full}");
    assert_eq!(door.nodes().get_piece(node.node_id(), id(0), 0..9).await.unwrap(), piece(0, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_share_eight_connections() {
    let pair = Pair::new(Tuning { idle_extra_after: Duration::from_millis(300), ..impatient_pings() }).await;
    let (nodes, node) = pair.nodes();
    let bodies: Vec<Bytes> = (0..64).map(|number| piece(number, 2 << 20)).collect();
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let all = bodies.iter().enumerate().map(|(number, body)| {
        let (nodes, body, most) = (nodes.clone(), body.clone(), most.clone());
        tokio::spawn(async move {
            let number = number as u16;
            nodes.put_piece(node, id(number), Epoch(1), body.clone()).await.unwrap();
            assert_eq!(nodes.get_piece(node, id(number), 0..2 << 20).await.unwrap(), body);
            most.fetch_max(nodes.status(node).unwrap().connections, std::sync::atomic::Ordering::Relaxed);
        })
    });
    for task in all.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(most.load(std::sync::atomic::Ordering::Relaxed), 8);
    until(|| nodes.status(node).is_some_and(|status| status.connections == 1)).await;
    assert_eq!(nodes.get_piece(node, id(3), 0..100).await.unwrap(), bodies[3].slice(..100));
}

fn impatient_pings() -> Tuning {
    Tuning { ping_after: Duration::from_millis(100), ping_timeout: SOON, ..Tuning::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_requests_leave_the_pool_healthy() {
    let pair = Pair::new(Tuning { redial_grace: SOON, ..Tuning::default() }).await;
    let (nodes, node) = pair.nodes();
    let kept = piece(500, 2 << 20);
    nodes.put_piece(node, id(500), Epoch(1), kept.clone()).await.unwrap();
    for number in 0..60 {
        let put = nodes.put_piece(node, id(number), Epoch(1), piece(number, 2 << 20));
        let get = nodes.get_piece(node, id(500), 0..2 << 20);
        let limit = Duration::from_micros(u64::from(number) * 300);
        let _ = tokio::time::timeout(limit, async { tokio::join!(put, get) }).await;
        // No answer of a cancelled request is ever taken for another one's.
        let got = nodes.get_piece(node, id(500), u64::from(number)..65_552).await;
        assert_eq!(got.unwrap(), kept.slice(usize::from(number)..65_552));
    }
    let status = nodes.status(node).unwrap();
    assert!((1..=8).contains(&status.connections), "{status:?}");
    nodes.put_piece(node, id(600), Epoch(1), kept).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_after_a_restart() {
    let mut pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    nodes.put_piece(node, id(1), Epoch(1), piece(1, 5000)).await.unwrap();
    let before = nodes.status(node).unwrap();
    let address = pair.door.local_addr();
    pair.node.shutdown().await;
    until(|| !nodes.is_connected(node)).await;
    // The folder is free once nobody holds the old store any more.
    pair.node = restart(pair.folder.path(), address).await;
    assert!(nodes.wait_connected(1, SOON).await);
    let after = nodes.status(node).unwrap();
    assert_eq!((before.starts, after.starts), (1, 2));
    assert_ne!(before.instance, after.instance);
    assert!(after.position >= before.position);
    assert_eq!(nodes.get_piece(node, id(1), 0..5000).await.unwrap(), piece(1, 5000));
}

async fn restart(folder: &Path, door: impl ToString) -> Node {
    let identity = Identity::load_or_create(folder).unwrap();
    let options = StoreOptions { capacity_bytes: 4 << 30, log_bytes_max: LOG_BYTES_MAX };
    let begun = Instant::now();
    let store = loop {
        match PieceStore::open(folder, options.clone()) {
            Ok((store, _)) => break store,
            Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let config = NodeConfig::new(folder, store, identity, cluster().cluster_id(), vec![door.to_string()]);
    Node::start(config).await.unwrap()
}

/// A door where one has just been closed: a child that another test is just starting
/// may hold the old one's socket for a moment.
async fn bind_again(address: &str, generation: Generation) -> Door {
    let begun = Instant::now();
    loop {
        match Door::bind(address, DoorConfig { generation, ..config(Tuning::default()) }).await {
            Ok(door) => return door,
            Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_back_after_the_door_restarts() {
    let folders: Vec<TempDir> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let door = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
    let address = door.local_addr().to_string();
    let mut nodes = Vec::new();
    for folder in &folders {
        nodes.push(start(folder.path(), &address).await);
    }
    assert!(door.nodes().wait_connected(4, SOON).await);
    door.nodes().put_piece(nodes[2].node_id(), id(1), Epoch(1), piece(1, 100)).await.unwrap();
    let old = door.nodes();
    door.shutdown().await;
    assert_eq!(old.usage(nodes[0].node_id()).await, Err(NodeError::Offline));
    assert!(old.connected().is_empty());
    let door = bind_again(&address, Generation(3)).await;
    assert!(door.nodes().wait_connected(4, SOON).await);
    assert_eq!(door.nodes().get_piece(nodes[2].node_id(), id(1), 0..100).await.unwrap(), piece(1, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_goes_back_a_generation_is_refused() {
    let mut pair = Pair::new(Tuning::default()).await;
    let address = pair.door.local_addr().to_string();
    pair.door.shutdown().await;
    pair.door = bind_again(&address, Generation(2)).await;
    until(|| waiting_reason(&pair.node).is_some_and(|reason| reason.contains("generation 3"))).await;
    assert!(pair.door.nodes().connected().is_empty());
    // The node remembers it after a restart, too.
    pair.node.shutdown().await;
    let node = restart(pair.folder.path(), &address).await;
    until(|| waiting_reason(&node).is_some_and(|reason| reason.contains("out of date"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_node_learns_why_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let strict = DoorConfig { admission: Arc::new(Guests(Some(Vec::new()))), ..config(Tuning::default()) };
    let door = Door::bind("127.0.0.1:0", strict).await.unwrap();
    let node = start(folder.path(), door.local_addr()).await;
    until(|| waiting_reason(&node).is_some_and(|reason| reason.contains("join with a token"))).await;
    assert!(!door.nodes().is_connected(node.node_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_knows_that_it_is_not_its_door() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
    let mut config = node_config(folder.path(), door.local_addr());
    config.cluster = ClusterId::from_bytes(*config.identity.node_id().as_bytes());
    let node = Node::start(config).await.unwrap();
    until(|| waiting_reason(&node).is_some_and(|reason| reason.contains("not a door of the cluster"))).await;
    assert!(door.nodes().connected().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_identity_is_refused_while_the_first_is_alive() {
    let pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    let copy = tempfile::tempdir().unwrap();
    for file in ["identity.key", "node.json"] {
        std::fs::copy(pair.folder.path().join(file), copy.path().join(file)).unwrap();
    }
    let second = start(copy.path(), pair.door.local_addr()).await;
    until(|| waiting_reason(&second).is_some_and(|reason| reason.contains("same identity"))).await;
    assert_eq!(nodes.status(node).unwrap().starts, 1, "the first one stays");
    until(|| nodes.status(node).unwrap().refused_duplicates > 0).await;
    pair.node.shutdown().await;
    until(|| nodes.status(node).is_some_and(|status| status.starts == 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_folder_is_deleted_fails_in_words() {
    let pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    nodes.put_piece(node, id(1), Epoch(1), piece(1, 5000)).await.unwrap();
    std::fs::remove_dir_all(pair.folder.path()).unwrap();
    let mut outcome = Ok(());
    for number in 2..10 {
        outcome = nodes.put_piece(node, id(number), Epoch(1), piece(number, 5000)).await;
    }
    assert!(matches!(outcome, Err(NodeError::Failed(_))), "{outcome:?}");
    assert!(nodes.is_connected(node));
    let usage = nodes.usage(node).await.unwrap();
    assert!(usage.failed && usage.writable_bytes == 0 && usage.free_bytes > 0, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_logs_are_deleted_says_so_without_being_given_anything() {
    let pair = Pair::new(Tuning { ping_after: Duration::from_millis(100), ..Tuning::default() }).await;
    let (nodes, node) = pair.nodes();
    nodes.put_piece(node, id(1), Epoch(1), piece(1, 5000)).await.unwrap();
    std::fs::remove_dir_all(pair.folder.path().join("logs")).unwrap();
    until(|| nodes.status(node).unwrap().usage.failed).await;
    assert!(pair.node.status().waiting_for[0].contains("logs/00000001.log is gone"));
    assert_eq!(nodes.get_piece(node, id(1), 0..5000).await.unwrap(), piece(1, 5000), "it is still read");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_finishes_what_is_in_flight() {
    let pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    let puts: Vec<_> = (0..4)
        .map(|number| {
            let nodes = nodes.clone();
            tokio::spawn(async move { nodes.put_piece(node, id(number), Epoch(1), piece(number, 2 << 20)).await })
        })
        .collect();
    until(|| pair.node.traffic().received_bytes() > 1 << 20).await;
    let begun = Instant::now();
    pair.node.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(9), "it did not wait in vain");
    let mut done = 0;
    for put in puts {
        match put.await.unwrap() {
            Ok(()) => done += 1,
            Err(NodeError::Offline | NodeError::Broken(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(done >= 1);
    until(|| !nodes.is_connected(node)).await;
}
