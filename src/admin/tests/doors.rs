//! The socket and the address: who gets in, what is understood, what is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::*;
use crate::env::Shutdown;

async fn open(dir: &Path, ground: &Ground) -> (Shutdown, JoinHandle<()>) {
    let shutdown = Shutdown::new(Duration::from_secs(2));
    let serving = serve_unix(dir, ground.operator(), shutdown.clone()).unwrap();
    (shutdown, tokio::spawn(serving))
}

async fn close(door: (Shutdown, JoinHandle<()>)) {
    door.0.request();
    door.1.await.unwrap();
}

/// Sends bytes as they are; gives the whole answer.
async fn raw(dir: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(dir.join("admin.sock")).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_command_goes_through_the_socket() {
    let ground = Ground::new().await;
    let nodes = ground.join(8).await;
    let dir = ground.dir.path();
    let door = open(dir, &ground).await;
    let client = Client::unix(dir);
    assert_eq!(client.call(&Status {}).await.unwrap().nodes.members, 8);
    assert_eq!(client.call(&ListTokens {}).await.unwrap().tokens.len(), 1);
    let made = client.call(&create()).await.unwrap();
    assert_eq!(client.call(&RevokeToken { id: made.view.id }).await.unwrap().state, TokenState::Revoked);
    let suspended = client.call(&change(&nodes[2], Wish::Suspend)).await.unwrap().view;
    assert_eq!(suspended.state, "suspended");
    assert_eq!(client.call(&ShowNode { node: suspended.node.clone() }).await.unwrap().view, suspended);
    assert_eq!(client.call(&ListNodes {}).await.unwrap().nodes.len(), 8);
    let error = client.call(&change(&nodes[3], Wish::Drain)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    close(door).await;
}

#[tokio::test]
async fn the_socket_is_private_and_gone_when_nobody_serves() {
    let ground = Ground::new().await;
    let dir = ground.dir.path();
    assert_eq!(Client::unix(dir).call(&Status {}).await.unwrap_err().kind, ErrorKind::NotRunning);
    // What a process that was killed leaves behind.
    drop(UnixListener::bind(dir.join("admin.sock")).unwrap());
    assert_eq!(Client::unix(dir).call(&Status {}).await.unwrap_err().kind, ErrorKind::NotRunning);
    let door = open(dir, &ground).await;
    let mode = fs::metadata(dir.join("admin.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    Client::unix(dir).call(&Status {}).await.unwrap();
    close(door).await;
    assert!(!dir.join("admin.sock").exists() && !dir.join("admin.sock.unfinished").exists());
}

#[tokio::test]
async fn a_directory_may_be_deeper_than_a_sockets_path() {
    let ground = Ground::new().await;
    let deep = ground.dir.path().join("d".repeat(200));
    fs::create_dir(&deep).unwrap();
    let door = open(&deep, &ground).await;
    Client::unix(&deep).call(&Status {}).await.unwrap();
    close(door).await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_sentence() {
    let ground = Ground::new().await;
    let dir = ground.dir.path();
    let door = open(dir, &ground).await;
    let good = serde_json::to_value(create()).unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[name] = value;
        post("/v1/tokens/create", &body.to_string())
    };
    let without = |name: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        post("/v1/tokens/create", &body.to_string())
    };
    for (request, status, words) in [
        (post("/v1/tokens/create", "{"), "400", "\"invalid\""),
        (post("/v1/tokens/create", "[]"), "400", "not understood"),
        (with("colour", "blue".into()), "400", "unknown field `colour`"),
        (with("uses", (-1).into()), "400", "not understood"),
        (with("uses", 0.into()), "400", "at least 1"),
        (without("uses"), "400", "missing field `uses`"),
        (without("good_for_ms"), "400", "missing field `good_for_ms`"),
        (post("/v1/tokens/create", &" ".repeat(20_000)), "400", "at most 16384 bytes"),
        (post("/v1/nodes/change", r#"{"node":"abcd","to":"explode"}"#), "400", "unknown variant"),
        (post("/v1/nodes/show", r#"{"node":"abcd"}"#), "404", "there is no node abcd"),
        (post("/v1/status", "{}"), "405", "takes GET"),
        (post("/v2/status", "{}"), "404", "nothing at this path"),
        ("GET /v1/tokens/create HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "405", "takes POST"),
    ] {
        let answer = raw(dir, &request).await;
        let what = request.lines().next().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(answer.contains(words) && answer.contains("\"sentence\""), "{what}: {answer}");
    }
    assert!(raw(dir, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert!(raw(dir, &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000))).await.starts_with("HTTP/1.1 4"));
    assert_eq!(ground.operator().run(&ListTokens {}).await.unwrap().tokens, []);
    assert!(raw(dir, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    close(door).await;
}

#[tokio::test]
async fn whoever_says_nothing_does_not_hold_up_the_end() {
    let ground = Ground::new().await;
    let dir = ground.dir.path();
    let door = open(dir, &ground).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(UnixStream::connect(dir.join("admin.sock")).await.unwrap());
    }
    Client::unix(dir).call(&Status {}).await.unwrap();
    tokio::time::timeout(Duration::from_secs(25), close(door)).await.unwrap();
}

#[tokio::test]
async fn the_address_wants_its_token() {
    let ground = Ground::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shutdown = Shutdown::new(Duration::from_secs(2));
    let serving = serve_tcp(listener, "right".to_owned(), ground.operator(), shutdown.clone());
    let serving = tokio::spawn(serving);
    Client::tcp(&address, "right").call(&Status {}).await.unwrap();
    for wrong in ["", "wrong", "righ", "right2", "Right"] {
        let error = Client::tcp(&address, wrong).call(&Status {}).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.sentence.contains("admin.token"), "{error}");
    }
    assert_eq!(Client::tcp(&address, "new\nline").call(&Status {}).await.unwrap_err().kind, ErrorKind::Invalid);
    for (request, status) in [("GET /health", "200"), ("GET /v1/status", "401"), ("DELETE /health", "405")] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    shutdown.request();
    serving.await.unwrap();
    assert_eq!(Client::tcp(&address, "right").call(&Status {}).await.unwrap_err().kind, ErrorKind::NotRunning);
}
