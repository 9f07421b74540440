//! A node that leaves, was refused, or shows itself over its socket.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::env::Clock;
use crate::transport::{Admission, Admitted};
use crate::types::UnixMillis;
use crate::wire::{Hello, Refusal, RefusalKind, Standing, StandingKind};

/// Refuses in these words as long as there are any.
#[derive(Default)]
struct Words(Mutex<Option<Refusal>>);

#[async_trait]
impl Admission for Words {
    async fn admit(&self, _: NodeId, _: &Hello, _: std::net::SocketAddr) -> Result<Admitted, Refusal> {
        self.0.lock().unwrap().clone().map_or(Ok(Admitted::default()), Err)
    }
}

async fn door(words: &Arc<Words>) -> Door {
    Door::bind("127.0.0.1:0", DoorConfig { admission: words.clone(), ..config(Tuning::default()) }).await.unwrap()
}

fn standing(kind: StandingKind, pieces_to_move: Option<u64>) -> Standing {
    Standing {
        kind,
        sentence: "as the test says".into(),
        joined_ms: 5,
        trust_permille: 400,
        audits_passed: 3,
        audits_failed: 1,
        pieces_to_move,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_is_told_to_doors_and_survives_a_restart_until_the_node_has_left() {
    let pair = Pair::new(Tuning::default()).await;
    let (nodes, node) = pair.nodes();
    assert!(!nodes.usage(node).await.unwrap().leaving);
    pair.node.serve_socket().unwrap();
    let asked = local::leave(pair.folder.path()).await.unwrap();
    assert!(asked.leaving && asked.state == NodeState::Leaving, "{asked:?}");
    assert!(nodes.usage(node).await.unwrap().leaving);
    nodes.tell_standing(node, &standing(StandingKind::Draining, Some(7))).await.unwrap();
    let address = pair.door.local_addr();
    pair.node.shutdown().await;
    let stopped = at_rest(pair.folder.path(), UnixMillis(0)).unwrap();
    assert!(stopped.leaving && stopped.state == NodeState::Stopped);
    until(|| !nodes.is_connected(node)).await;
    let again = restart(pair.folder.path(), address).await;
    assert!(nodes.wait_connected(1, SOON).await);
    assert!(nodes.usage(node).await.unwrap().leaving);
    assert_eq!(again.status().waiting_for, ["7 pieces to be moved to other nodes"]);
    nodes.tell_standing(node, &standing(StandingKind::Left, None)).await.unwrap();
    assert_eq!(again.status().state, NodeState::Left);
    nodes.disconnect(node);
    until(|| again.doors().iter().all(|door| door.state != DoorState::Connected)).await;
    again.shutdown().await;
    let gone = restart(pair.folder.path(), address).await;
    assert!(gone.status().left && gone.doors().is_empty(), "a node that has left dials nobody");
    assert!(gone.status().waiting_for[0].contains("can be wiped"));
    gone.shutdown().await;
    // With a new token it joins again.
    let config = NodeConfig { rejoin: true, token: Some("new".into()), ..reopened(pair.folder.path(), address).await };
    let back = Node::start(config).await.unwrap();
    assert!(nodes.wait_connected(1, SOON).await);
    assert!(!back.status().left && !back.status().leaving && back.status().standing.is_none());
}

/// A configuration for a folder whose node has just stopped.
async fn reopened(folder: &Path, door: impl ToString) -> NodeConfig {
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
    NodeConfig::new(folder, store, identity, cluster().cluster_id(), vec![door.to_string()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_note_that_it_leaves_says_so_and_stays() {
    let pair = Pair::new(Tuning::default()).await;
    pair.node.serve_socket().unwrap();
    // Where this cannot be removed, no new memory can be written.
    let unfinished = pair.folder.path().join(format!("node.json{}", crate::env::UNFINISHED));
    until(|| std::fs::create_dir(&unfinished).is_ok()).await;
    let refused = local::leave(pair.folder.path()).await.unwrap_err().to_string();
    assert!(refused.starts_with("the node could not note that it leaves, and stays: "), "{refused}");
    assert!(!local::status(pair.folder.path()).await.unwrap().leaving);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_it_has_left_is_believed_of_a_refusal_only_if_the_node_was_about_to() {
    let left = Refusal::new(RefusalKind::Left, "this node has left");
    for leaving in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let words = Arc::new(Words(Mutex::new(None)));
        let door = door(&words).await;
        let node = start(folder.path(), door.local_addr()).await;
        node.verdict().await.unwrap();
        assert!(door.nodes().wait_connected(1, SOON).await);
        if leaving {
            node.leave().unwrap();
        }
        *words.0.lock().unwrap() = Some(left.clone());
        door.nodes().disconnect(node.node_id());
        until(|| waiting_reason(&node).is_some_and(|reason| reason.contains("this node has left"))).await;
        assert_eq!(node.status().left, leaving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_node_says_why_and_comes_in_when_that_has_passed() {
    for kind in [RefusalKind::Token, RefusalKind::Banned, RefusalKind::UnknownNode, RefusalKind::Version] {
        let folder = tempfile::tempdir().unwrap();
        let words = Arc::new(Words(Mutex::new(Some(Refusal::new(kind, "not today")))));
        let door = door(&words).await;
        let node = start(folder.path(), door.local_addr()).await;
        let refusal = node.verdict().await.unwrap_err();
        assert!(refusal.contains("not today"), "{refusal}");
        let waiting = node.status().waiting_for;
        assert!(waiting[0].contains("the door refused: not today"), "{waiting:?}");
        assert_eq!(node.status().state, NodeState::Connecting);
        node.shutdown().await;
        *words.0.lock().unwrap() = None;
        let node = restart(folder.path(), door.local_addr()).await;
        node.welcomed().await;
        assert_eq!(node.status().state, NodeState::Serving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_shows_the_node_and_outlives_kills_and_long_paths() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a-folder-whose-name-is-long/".repeat(8));
    std::fs::create_dir_all(&folder).unwrap();
    assert!(matches!(local::status(&folder).await, Err(local::LocalError::NotRunning)));
    let door = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
    let clock = Clock::simulated(UnixMillis(1_796_079_600_000)).0;
    let config = NodeConfig { clock, ..node_config(&folder, door.local_addr()) };
    let node = Node::start(config).await.unwrap();
    // A socket that a kill left behind answers nobody, and is replaced.
    std::fs::write(folder.join("node.sock"), "").unwrap();
    assert!(matches!(local::status(&folder).await, Err(local::LocalError::NotRunning)));
    node.serve_socket().unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.join("node.sock")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(door.nodes().wait_connected(1, SOON).await);
    door.nodes().put_piece(node.node_id(), id(1), Epoch(1), piece(1, 100_000)).await.unwrap();
    door.nodes().tell_standing(node.node_id(), &standing(StandingKind::Active, None)).await.unwrap();
    let shown = local::status(&folder).await.unwrap();
    assert!(shown.uptime_s > 0, "zero is for one that is stopped");
    assert_eq!((shown.node.as_str(), shown.state), (node.node_id().to_string().as_str(), NodeState::Serving));
    let disk = shown.disk.clone().unwrap();
    assert_eq!((disk.pieces, disk.used_bytes()), (1, shown.log_bytes));
    assert_eq!(disk.used_bytes() + disk.free_bytes, disk.capacity_bytes);
    assert!(shown.traffic.today.received_bytes > 100_000);
    assert_eq!(shown.traffic.today, shown.traffic.month);
    assert_eq!(shown.standing.unwrap().trust_permille, 400);
    node.shutdown().await;
    assert!(matches!(local::status(&folder).await, Err(local::LocalError::NotRunning)));
    let stopped = at_rest(&folder, UnixMillis(1_796_079_600_000)).unwrap();
    assert_eq!(stopped.disk.unwrap().live_bytes, disk.live_bytes);
    assert!(stopped.traffic.today.received_bytes >= shown.traffic.today.received_bytes);
    assert_eq!((stopped.state, stopped.standing.unwrap().audits_passed), (NodeState::Stopped, 3));
}

#[tokio::test]
async fn a_folder_without_a_node_is_said_to_be_none_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(at_rest(folder.path(), UnixMillis(0)), Err(RestError::NoNode(_))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
