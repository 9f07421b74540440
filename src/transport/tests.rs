//! The door against nodes that misbehave, and a node against doors that do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::frames::{read_frame, write_frame};
use super::tls::{BINDING_LABEL, door_config, node_config};
use super::*;
use crate::types::{ClusterId, Epoch, Generation, InstanceId, NodeId, PieceId};
use crate::wire::{Answer, Hello, Purpose, Refusal, RefusalKind, Usage, VERSION, Welcome};

/// Lets everyone in, or only those that it knows.
pub(crate) struct Guests(pub(crate) Option<Vec<NodeId>>);

#[async_trait]
impl Admission for Guests {
    async fn admit(&self, node: NodeId, _: &Hello, _: SocketAddr) -> Result<Admitted, Refusal> {
        match &self.0 {
            Some(known) if !known.contains(&node) => {
                Err(Refusal::new(RefusalKind::UnknownNode, "this cluster does not know the node: join with a token"))
            }
            _ => Ok(Admitted::default()),
        }
    }
}

pub(crate) const SEED: [u8; 32] = [42; 32];

pub(crate) fn cluster() -> ClusterIdentity {
    ClusterIdentity::from_seed(&SEED).unwrap()
}

pub(crate) fn config(tuning: Tuning) -> DoorConfig {
    DoorConfig { cluster: cluster(), generation: Generation(3), admission: Arc::new(Guests(None)), tuning }
}

/// For whatever comes by itself: nothing waits so long unless it does not come.
const SOON: Duration = Duration::from_secs(60);

/// Small times, so that tests need not wait.
pub(crate) fn impatient() -> Tuning {
    Tuning {
        ping_after: Duration::from_millis(200),
        ping_timeout: Duration::from_millis(300),
        progress_timeout: Duration::from_millis(500),
        probe_timeout: Duration::from_millis(500),
        idle_extra_after: Duration::from_millis(400),
        redial_grace: Duration::from_millis(500),
        ..Tuning::default()
    }
}

async fn door(tuning: Tuning) -> Door {
    Door::bind("127.0.0.1:0", config(tuning)).await.unwrap()
}

fn hello(instance: u8, purpose: Purpose) -> Hello {
    Hello {
        instance: InstanceId::from_bytes([instance; 16]),
        cluster: cluster().cluster_id(),
        purpose,
        ..crate::wire::example_hello()
    }
}

/// A node that dials by hand and says what the test wants.
struct Puppet {
    dialler: Dialler,
    node: NodeId,
    door: String,
}

impl Puppet {
    fn new(door: &Door) -> Self {
        let identity = Identity::generate().unwrap();
        let dialler = Dialler::new(&identity, cluster().cluster_id()).unwrap();
        Self { dialler, node: identity.node_id(), door: door.local_addr().to_string() }
    }

    async fn dial(&self, hello: &Hello) -> Result<Dialled, DialError> {
        self.dialler.dial(&self.door, hello).await
    }

    /// Answers each request on the connection with the next of these bytes.
    async fn replies(&self, replies: Vec<Vec<u8>>) {
        let mut dialled = self.dial(&hello(1, Purpose::Control)).await.unwrap();
        tokio::spawn(async move {
            let mut request = vec![0; 1 << 16];
            for reply in replies {
                assert!(dialled.stream.read(&mut request).await.unwrap() > 0);
                dialled.stream.write_all(&reply).await.unwrap();
            }
            let _ = dialled.stream.read(&mut request).await;
        });
    }
}

/// A door that the test plays: TLS, and then whatever it wants.
pub(crate) struct FakeDoor {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl FakeDoor {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TlsAcceptor::from(Arc::new(door_config(Arc::new(cluster())).unwrap()));
        Self { listener, tls }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Accepts a node and reads nothing of it.
    pub(crate) async fn silent(&self) -> TlsStream<Metered> {
        let (socket, _) = self.listener.accept().await.unwrap();
        let socket = Metered::new(socket, Arc::default()).unwrap();
        self.tls.accept(socket).await.unwrap()
    }

    /// Reads a hello and shows this generation, signed by this key.
    pub(crate) async fn welcome(&self, signer: &ClusterIdentity, generation: u64) -> (TlsStream<Metered>, Hello) {
        self.welcome_with(signer, generation, vec!["b.example:1".into()]).await
    }

    /// The same, with these doors.
    pub(crate) async fn welcome_with(
        &self,
        signer: &ClusterIdentity,
        generation: u64,
        doors: Vec<String>,
    ) -> (TlsStream<Metered>, Hello) {
        let mut stream = self.silent().await;
        let hello = Hello::decode(&read_frame(&mut stream).await.unwrap()).unwrap();
        let binding = stream.get_ref().1.export_keying_material([0; 32], BINDING_LABEL, None).unwrap();
        let signature = signer.sign_generation(Generation(generation), &binding);
        let welcome = Welcome { version: VERSION, generation: Generation(generation), signature, doors };
        write_frame(&mut stream, &Answer::Welcome(welcome).encode().unwrap()).await.unwrap();
        (stream, hello)
    }
}

/// Sends raw bytes after TLS and returns the door's answer.
async fn say(door: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let identity = Identity::generate().unwrap();
    let tls = TlsConnector::from(Arc::new(node_config(&identity, cluster().cluster_id()).unwrap()));
    let socket = TcpStream::connect(door).await.unwrap();
    let mut stream = tls.connect("door.example".try_into().unwrap(), socket).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let json = read_frame(&mut stream).await.ok()?;
    Some(Answer::decode(&json).unwrap())
}

fn refusal_kind(answer: Option<Answer>) -> Option<RefusalKind> {
    match answer {
        Some(Answer::Refused(refusal)) => Some(refusal.kind),
        _ => None,
    }
}

#[tokio::test]
async fn a_malformed_hello_is_refused_in_words() {
    let door = door(Tuning::default()).await;
    let address = door.local_addr();
    let frame = |json: &[u8]| crate::wire::encode_frame(json).unwrap();
    let huge = [&b"Crn\x01\xff\xff\xff\xff"[..], &[b'x'; 100_000]].concat();
    for bytes in [frame(b"{}"), frame(b"[1,2]"), frame(b"\xff"), huge, b"GET / HTTP/1.1\r\nHost: door\r\n\r\n".to_vec()]
    {
        assert_eq!(refusal_kind(say(address, &bytes).await), Some(RefusalKind::Malformed));
    }
    let later = frame(br#"{"versions":[7]}"#);
    assert_eq!(refusal_kind(say(address, &later).await), Some(RefusalKind::Version));
    let mut elsewhere = hello(1, Purpose::Control);
    elsewhere.cluster = ClusterId::from_bytes([1; 32]);
    assert_eq!(refusal_kind(say(address, &frame(&elsewhere.encode().unwrap())).await), Some(RefusalKind::Cluster));
    let mut ahead = hello(1, Purpose::Control);
    ahead.generation = Generation(4);
    assert_eq!(refusal_kind(say(address, &frame(&ahead.encode().unwrap())).await), Some(RefusalKind::Generation));
    let stray = hello(1, Purpose::Data);
    assert_eq!(refusal_kind(say(address, &frame(&stray.encode().unwrap())).await), Some(RefusalKind::NotAdmitted));
    let welcome = say(address, &frame(&hello(1, Purpose::Control).encode().unwrap())).await;
    assert!(matches!(welcome, Some(Answer::Welcome(_))), "{welcome:?}");
}

#[tokio::test]
async fn silence_and_noise_before_the_hello_cost_nothing() {
    let door = door(Tuning { hello_timeout: Duration::from_millis(200), ..Tuning::default() }).await;
    let mut silent = TcpStream::connect(door.local_addr()).await.unwrap();
    let mut noisy = TcpStream::connect(door.local_addr()).await.unwrap();
    noisy.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    for socket in [&mut silent, &mut noisy] {
        let mut rest = Vec::new();
        let closed = socket.read_to_end(&mut rest);
        let _ = tokio::time::timeout(SOON, closed).await.expect("the door hangs up");
    }
    // With so little time for its hello, not every one is in time.
    let (puppet, begun) = (Puppet::new(&door), std::time::Instant::now());
    while let Err(error) = puppet.dial(&hello(1, Purpose::Control)).await {
        assert!(begun.elapsed() < SOON, "{error}");
    }
}

#[tokio::test]
async fn a_door_without_the_clusters_key_is_not_answered() {
    let door = door(Tuning::default()).await;
    let identity = Identity::generate().unwrap();
    let stranger = Dialler::new(&identity, ClusterId::from_bytes(*identity.node_id().as_bytes())).unwrap();
    let refused = stranger.dial(&door.local_addr().to_string(), &hello(1, Purpose::Control)).await;
    assert!(matches!(refused, Err(DialError::NotOurDoor(_))), "{:?}", refused.err());
    assert!(door.nodes().connected().is_empty());
}

#[tokio::test]
async fn a_door_has_to_prove_the_generation_and_show_no_old_one() {
    let fake = FakeDoor::open().await;
    let dialler = Dialler::new(&Identity::generate().unwrap(), cluster().cluster_id()).unwrap();
    let mut hello = hello(1, Purpose::Control);
    hello.generation = Generation(5);
    let (address, key) = (fake.address(), cluster());
    let (dialled, _) = tokio::join!(dialler.dial(&address, &hello), fake.welcome(&key, 5));
    assert_eq!(dialled.unwrap().welcome.doors, ["b.example:1"]);
    let (dialled, _) = tokio::join!(dialler.dial(&address, &hello), fake.welcome(&key, 4));
    assert!(matches!(dialled, Err(DialError::OldGeneration { shown: Generation(4), seen: Generation(5) })));
    let other = ClusterIdentity::from_seed(&[1; 32]).unwrap();
    let (dialled, _) = tokio::join!(dialler.dial(&address, &hello), fake.welcome(&other, 9));
    assert!(matches!(dialled, Err(DialError::Unproven)));
}

#[tokio::test]
async fn a_second_instance_is_refused_while_the_first_is_alive() {
    // However slow it is to say so.
    let (probe_timeout, hello_timeout) = (Duration::from_secs(15), Duration::from_secs(18));
    let door = door(Tuning { probe_timeout, hello_timeout, ping_timeout: SOON, ..Tuning::default() }).await;
    let puppet = Puppet::new(&door);
    let usage = Usage::default().encode();
    let alive = [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", usage.len()).into_bytes(), usage].concat();
    puppet.replies(vec![alive; 100]).await;
    let refused = puppet.dial(&hello(2, Purpose::Control)).await;
    assert!(matches!(refused, Err(DialError::Refused(Refusal { kind: RefusalKind::Duplicate, .. }))));
    let status = door.nodes().status(puppet.node).unwrap();
    assert_eq!((status.instance, status.refused_duplicates), (InstanceId::from_bytes([1; 16]), 1));
    assert!(status.last_duplicate.is_some_and(|at| at >= status.since));
}

#[tokio::test]
async fn a_second_instance_replaces_one_that_is_dead() {
    // No pings here, so that only the probe can find out.
    let door = door(Tuning { ping_after: Duration::from_secs(60), ..impatient() }).await;
    let puppet = Puppet::new(&door);
    let _hangs = puppet.dial(&hello(1, Purpose::Control)).await.unwrap();
    assert!(door.nodes().wait_connected(1, SOON).await);
    let _second = puppet.dial(&hello(2, Purpose::Control)).await.unwrap();
    until(|| door.nodes().status(puppet.node).is_some_and(|status| status.instance.as_bytes()[0] == 2)).await;
    assert_eq!(door.nodes().connected().len(), 1);
}

#[tokio::test]
async fn a_dead_path_is_found_while_idle() {
    let door = door(impatient()).await;
    let puppet = Puppet::new(&door);
    let _hangs = puppet.dial(&hello(1, Purpose::Control)).await.unwrap();
    assert!(door.nodes().wait_connected(1, SOON).await);
    until(|| !door.nodes().is_connected(puppet.node)).await;
}

#[tokio::test]
async fn a_node_that_dials_again_is_let_in_at_once_and_what_it_lost_is_noticed() {
    // No pings, so that only dialling again can find out.
    let patience = Duration::from_secs(9);
    let tuning = Tuning { ping_after: SOON, ping_timeout: patience, probe_timeout: patience, ..impatient() };
    let door = door(tuning).await;
    let puppet = Puppet::new(&door);
    let mut lost = vec![puppet.dial(&hello(1, Purpose::Control)).await.unwrap()];
    for _ in 0..7 {
        lost.push(puppet.dial(&hello(1, Purpose::Data)).await.unwrap());
    }
    until(|| door.nodes().status(puppet.node).is_some_and(|status| status.connections == 8)).await;
    let begun = std::time::Instant::now();
    let usage = Usage::default().encode();
    let alive = [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", usage.len()).into_bytes(), usage].concat();
    puppet.replies(vec![alive; 100]).await;
    assert!(begun.elapsed() < patience, "it did not wait for a probe");
    // No request waits for what went with the old address.
    until(|| door.nodes().status(puppet.node).is_some_and(|status| status.connections == 1)).await;
    assert_eq!(door.nodes().usage(puppet.node).await, Ok(Usage::default()));
}

#[tokio::test]
async fn a_node_that_does_not_answer_times_out() {
    let door = door(Tuning { ping_after: Duration::from_secs(60), ..impatient() }).await;
    let puppet = Puppet::new(&door);
    let _hangs = puppet.dial(&hello(1, Purpose::Control)).await.unwrap();
    assert!(door.nodes().wait_connected(1, SOON).await);
    let piece = Bytes::from(vec![1; 2 << 20]);
    let put = door.nodes().put_piece(puppet.node, PieceId::from_bytes([1; 16]), Epoch(1), piece).await;
    assert_eq!(put, Err(NodeError::Timeout));
    until(|| !door.nodes().is_connected(puppet.node)).await;
    assert_eq!(door.nodes().usage(puppet.node).await, Err(NodeError::Offline));
}

#[tokio::test]
async fn answers_that_do_not_fit_the_request_break_the_connection_only() {
    let answers: [&[u8]; 8] = [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1234",
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\n\r\n12345",
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: 3\r\n\r\n123",
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: 99999999999\r\n\r\n1234",
        b"HTTP/1.1 206 Partial Content\r\ntransfer-encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nlost",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 99999999\r\n\r\n",
    ];
    for answer in answers {
        let door = door(Tuning::default()).await;
        let puppet = Puppet::new(&door);
        puppet.replies(vec![answer.to_vec()]).await;
        assert!(door.nodes().wait_connected(1, SOON).await);
        let got = door.nodes().get_piece(puppet.node, PieceId::from_bytes([1; 16]), 0..4).await;
        assert!(matches!(got, Err(NodeError::Broken(_))), "{got:?} for {}", String::from_utf8_lossy(answer));
        until(|| !door.nodes().is_connected(puppet.node)).await;
    }
}

#[tokio::test]
async fn a_node_cannot_pile_up_connections() {
    let door = door(Tuning { connections_per_node: 2, ..Tuning::default() }).await;
    let puppet = Puppet::new(&door);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(puppet.dial(&hello(1, Purpose::Control)).await.unwrap());
        let open = held.len();
        until(|| door.nodes().status(puppet.node).is_some_and(|status| status.connections == open)).await;
    }
    for purpose in [Purpose::Control, Purpose::Data] {
        let refused = puppet.dial(&hello(1, purpose)).await;
        assert!(matches!(refused, Err(DialError::Refused(Refusal { kind: RefusalKind::Busy, .. }))));
    }
}

/// Waits until it holds; fails after a minute.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "it did not come true within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_source_that_says_nothing_keeps_nobody_else_out() {
    // Nobody is sent away for saying nothing within the time of this test.
    let tuning = Tuning { handshakes_max: 8, handshakes_per_source_max: 4, hello_timeout: SOON, ..impatient() };
    let door = door(tuning).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(door.local_addr()).await.unwrap());
    }
    let (puppet, hello) = (Puppet::new(&door), hello(1, Purpose::Control));
    assert!(puppet.dial(&hello).await.is_ok(), "the door has room for others");
    door.shutdown().await;
}
