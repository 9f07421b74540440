//! Doors that send what no door should, and ways to a door that go wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::transport::tests::FakeDoor;
use crate::wire::Purpose;

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_get_answers_and_break_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeDoor::open().await;
    let node = start(folder.path(), fake.address()).await;
    let (mut stream, hello) = fake.welcome(&cluster(), 3).await;
    assert_eq!((hello.starts, hello.generation), (1, Generation(0)));
    let long = format!("PUT /v1/pieces/{} HTTP/1.1\r\ncairn-epoch: 1\r\ncontent-length: 3\r\n\r\nabc", id(1));
    let piece = id(1);
    for (request, status) in [
        (long, 201),
        ("GET /v1/usage HTTP/1.1\r\n\r\n".to_owned(), 200),
        ("GET /v2/usage HTTP/1.1\r\n\r\n".to_owned(), 501),
        ("DELETE /v1/pieces HTTP/1.1\r\n\r\n".to_owned(), 501),
        ("GET /v1/usage HTTP/1.1\r\ncairn-dial: 1000\r\n\r\n".to_owned(), 400),
        (format!("GET /v1/pieces/{piece} HTTP/1.1\r\n\r\n"), 400),
        (format!("GET /v1/pieces/{piece} HTTP/1.1\r\nrange: bytes=0-99\r\n\r\n"), 400),
        (format!("PUT /v1/pieces/{piece} HTTP/1.1\r\ncontent-length: 2\r\n\r\nab"), 400),
        ("POST /v1/pieces/trash HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc".to_owned(), 400),
        ("GET /v1/pieces?limit=0 HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("PUT /v1/pieces/{piece} HTTP/1.1\r\ncairn-epoch: 1\r\ncontent-length: 99999999\r\n\r\n"), 400),
    ] {
        stream.write_all(request.replacen("HTTP/1.1\r\n", "HTTP/1.1\r\nhost: node\r\n", 1).as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        if request.contains("99999999") {
            stream.write_all(&vec![0; PIECE_BYTES_MAX + 1]).await.unwrap();
        }
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(status < 400 || answer.contains("\"kind\":"), "{answer}");
    }
    // The oversized one cost its connection; the node dials again.
    let (_stream, again) = fake.welcome(&cluster(), 3).await;
    assert_eq!((again.instance, again.generation), (hello.instance, Generation(3)));
    assert!(node.doors().iter().any(|status| status.door == "b.example:1"), "the node dials the doors it hears of");
}

/// Sends bytes and reads one answer.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    read_answer(stream).await
}

fn put(number: u16, body: &str) -> Vec<u8> {
    format!(
        "PUT /v1/pieces/{} HTTP/1.1\r\nhost: node\r\ncairn-epoch: 1\r\ncontent-length: {}\r\n\r\n{body}",
        id(number),
        body.len()
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_and_reordered_requests_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeDoor::open().await;
    let node = start(folder.path(), fake.address()).await;
    let (mut stream, _) = fake.welcome(&cluster(), 3).await;
    let list = |action: &str| {
        let head = format!("POST /v1/pieces/{action} HTTP/1.1\r\nhost: node\r\ncontent-length: 16\r\n\r\n");
        [head.as_bytes(), id(1).as_bytes()].concat()
    };
    // A purge before the trash, and a restore of what is not there, do nothing.
    for action in ["purge", "restore", "trash"] {
        assert!(ask(&mut stream, &list(action)).await.ends_with("{\"changed\":0}"));
    }
    for _ in 0..3 {
        assert!(ask(&mut stream, &put(1, "abc")).await.starts_with("HTTP/1.1 201 "));
    }
    assert!(ask(&mut stream, &put(1, "abd")).await.starts_with("HTTP/1.1 409 "));
    assert!(ask(&mut stream, &list("purge")).await.ends_with("{\"changed\":0}"), "it is not in the trash");
    assert!(ask(&mut stream, &list("trash")).await.ends_with("{\"changed\":1}"));
    assert!(ask(&mut stream, &list("trash")).await.ends_with("{\"changed\":0}"));
    let report = node.status();
    let disk = report.disk.unwrap();
    assert_eq!((disk.pieces, disk.trashed), (1, 1));
    assert_eq!(disk.used_bytes(), report.log_bytes, "what it shows is what the file system has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_longer_than_it_said_costs_the_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeDoor::open().await;
    let node = start(folder.path(), fake.address()).await;
    let (mut stream, _) = fake.welcome(&cluster(), 3).await;
    let longer = [put(1, "abc"), b"defgh\r\n\r\n".to_vec()].concat();
    assert!(ask(&mut stream, &longer).await.starts_with("HTTP/1.1 201 "));
    // What follows is no request, whatever a body may have smuggled in.
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the node hangs up");
    assert!(!String::from_utf8_lossy(&rest).contains("201"), "{rest:?}");
    // A body that ends early is a cancelled piece.
    let (mut stream, again) = fake.welcome(&cluster(), 3).await;
    assert_eq!(again.purpose, Purpose::Control);
    let head = put(2, "abcdefgh");
    stream.write_all(&head[..head.len() - 3]).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    let (mut stream, _) = fake.welcome(&cluster(), 3).await;
    let missing = format!("GET /v1/pieces/{} HTTP/1.1\r\nhost: node\r\nrange: bytes=0-0\r\n\r\n", id(2));
    assert!(ask(&mut stream, missing.as_bytes()).await.starts_with("HTTP/1.1 404 "));
    assert_eq!(node.status().disk.unwrap().pieces, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_before_the_welcome_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeDoor::open().await;
    let node = start(folder.path(), fake.address()).await;
    let mut stream = fake.silent().await;
    stream.write_all(&put(1, "abc")).await.unwrap();
    stream.flush().await.unwrap();
    let mut said = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut said)).await.expect("the node hangs up");
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/1.1"), "{said:?}");
    assert_eq!(node.status().disk.unwrap().pieces, 0);
    until(|| waiting_reason(&node).is_some_and(|reason| reason.contains("does not speak this protocol"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_dials_all_doors_that_it_hears_of_and_keeps_one_connection_to_each() {
    let folder = tempfile::tempdir().unwrap();
    let first = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
    let fake = FakeDoor::open().await;
    let node = start(folder.path(), fake.address()).await;
    let (mut stream, _) = fake.welcome_with(&cluster(), 3, vec![first.local_addr().to_string()]).await;
    assert!(first.nodes().wait_connected(1, SOON).await);
    assert!(ask(&mut stream, &put(1, "abc")).await.starts_with("HTTP/1.1 201 "));
    let got = first.nodes().get_piece(node.node_id(), id(1), 0..3).await.unwrap();
    assert_eq!(&got[..], b"abc", "both doors reach the same pieces");
    let doors = node.status().doors;
    assert_eq!(doors.len(), 2);
    assert!(doors.iter().all(|door| door.state == "connected"), "{doors:?}");
    // The list outlives the node, and so does the door that is gone from it.
    let address = first.local_addr().to_string();
    node.shutdown().await;
    let again = restart(folder.path(), address.clone()).await;
    assert!(first.nodes().wait_connected(1, SOON).await);
    assert!(again.doors().iter().any(|door| door.door == address));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_addresses_one_that_answers_is_enough() {
    // Nobody listens at ::1, where localhost may lead first.
    let folder = tempfile::tempdir().unwrap();
    let door = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
    let _node = start(folder.path(), format!("localhost:{}", door.local_addr().port())).await;
    assert!(door.nodes().wait_connected(1, SOON).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_answers_nothing_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = Door::bind("127.0.0.1:0", config(Tuning::default())).await.unwrap();
    let mut config = node_config(folder.path(), silent.local_addr().unwrap());
    config.doors.push(door.local_addr().to_string());
    let node = Node::start(config).await.unwrap();
    assert!(door.nodes().wait_connected(1, SOON).await);
    node.verdict().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_limit_keeps_to_it_and_answers_all_the_time() {
    const LIMIT: u64 = 2 << 20;
    let folder = tempfile::tempdir().unwrap();
    let tuning =
        Tuning { ping_after: Duration::from_millis(300), ping_timeout: Duration::from_secs(12), ..Tuning::default() };
    let door = Door::bind("127.0.0.1:0", crate::transport::tests::config(tuning)).await.unwrap();
    let config = NodeConfig { bandwidth: Some(LIMIT), ..node_config(folder.path(), door.local_addr()) };
    let node = Node::start(config).await.unwrap();
    assert!(door.nodes().wait_connected(1, SOON).await);
    let (nodes, id_of_node) = (door.nodes(), node.node_id());
    let begun = Instant::now();
    let puts: Vec<_> = (0..6u16)
        .map(|number| {
            let nodes = nodes.clone();
            tokio::spawn(async move { nodes.put_piece(id_of_node, id(number), Epoch(1), piece(number, 1 << 20)).await })
        })
        .collect();
    let mut times = Vec::new();
    while !puts.iter().all(|put| put.is_finished()) {
        let asked = Instant::now();
        nodes.usage(id_of_node).await.unwrap();
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for put in puts {
        put.await.unwrap().unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert!((2.5..20.0).contains(&seconds), "6 MiB at 2 MiB/s took {seconds} s");
    // The machine itself may have stood still during one of them.
    times.sort_unstable();
    times.pop();
    assert!(times.iter().all(|time| *time < Duration::from_secs(3)), "{times:?}");
    let (begun, got) = (Instant::now(), nodes.get_piece(id_of_node, id(1), 0..1 << 20).await.unwrap());
    assert_eq!(got, piece(1, 1 << 20));
    assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
    assert_eq!(node.status().traffic.limit_bytes_per_s, Some(LIMIT));
}

async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let whole = |answer: &[u8]| {
        let text = String::from_utf8_lossy(answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
        (body.len() >= length).then_some(text)
    };
    loop {
        let mut bytes = [0; 1024];
        let count = tokio::time::timeout(SOON, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(count > 0, "closed without an answer");
        answer.extend_from_slice(&bytes[..count]);
        if let Some(text) = whole(&answer) {
            return text;
        }
    }
}
