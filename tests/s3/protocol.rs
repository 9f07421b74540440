//! What every reply has, and HTTP itself.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::kit::{random, site};

#[tokio::test]
async fn every_reply_has_an_id_and_every_error_a_document() {
    let site = site().await;
    site.put("k", "x").await;
    let mut ids = Vec::new();
    for (method, key) in [("GET", "k"), ("HEAD", "k"), ("GET", "none"), ("HEAD", "none"), ("PUT", "k"), ("DELETE", "k")]
    {
        let answer = site.object(method, key).send().await;
        assert!(!answer.header("x-amz-id-2").is_empty() && !answer.header("date").is_empty(), "{answer:?}");
        assert_eq!(answer.header("server"), "Cairn");
        ids.push(answer.header("x-amz-request-id").to_owned());
        if method == "GET" && key == "none" {
            answer.expect_error(404, "NoSuchKey");
            assert_eq!(answer.xml("HostId"), answer.header("x-amz-id-2"));
            assert!(!answer.xml("Resource").is_empty());
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), ids.iter().all(|id| id.len() == 16)), (count, true));
}

#[tokio::test]
async fn replies_without_a_body_have_none() {
    let site = site().await;
    let etag = site.put("k", "hello").await;
    let head = site.object("HEAD", "k").send().await.expect(200);
    assert_eq!((head.body.len(), head.header("content-length")), (0, "5"));
    let missing = site.object("HEAD", "none").send().await.expect(404);
    assert_eq!(missing.body.len(), 0);
    let unmodified = site.object("GET", "k").header("if-none-match", etag).send().await.expect(304);
    assert_eq!((unmodified.body.len(), unmodified.has_header("content-type")), (0, false));
    let deleted = site.object("DELETE", "k").send().await.expect(204);
    assert_eq!((deleted.body.len(), deleted.has_header("content-length")), (0, false));
}

#[tokio::test]
async fn http_2_works_with_prior_knowledge() {
    let site = site().await;
    let authority = site.access().authority().to_owned();
    let stream = TcpStream::connect(&authority).await.expect("a connection");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let body = random(1, 3 << 20);
    let ask = |method: &str, key: &str, body: Vec<u8>| {
        let request = site.object(method, key).body(body).sign();
        let mut sender = sender.clone();
        let uri = format!("http://{authority}{}", request.path);
        let mut sent = http::Request::builder().method(method).uri(uri);
        for (name, value) in request.headers.iter().filter(|(name, _)| name != "host") {
            sent = sent.header(name, value.as_slice());
        }
        if method == "PUT" {
            sent = sent.header("content-length", request.body.len());
        }
        let sent = sent.body(Full::new(Bytes::from(request.body))).expect("a request");
        async move {
            let reply = sender.send_request(sent).await.expect("a reply");
            let status = reply.status().as_u16();
            (status, reply.into_body().collect().await.expect("a body").to_bytes())
        }
    };
    assert_eq!(ask("PUT", "k", body.clone()).await.0, 200);
    let answers = futures_util::future::join_all((0..8).map(|_| ask("GET", "k", Vec::new()))).await;
    assert!(answers.iter().all(|(status, got)| *status == 200 && *got == body));
    assert_eq!(ask("GET", "none", Vec::new()).await.0, 404);
    drop(sender);
    connection.abort();
    assert!(site.get("k").await == body);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let site = site().await;
    let stream = TcpStream::connect(site.access().authority()).await.expect("a connection");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    for (method, key, status) in
        [("PUT", "k", 200), ("GET", "none", 404), ("HEAD", "none", 404), ("GET", "k", 200), ("DELETE", "k", 204)]
    {
        let body = if method == "PUT" { vec![7; 100_000] } else { Vec::new() };
        let request = site.object(method, key).body(body).sign();
        let mut sent = http::Request::builder().method(method).uri(&request.path);
        for (name, value) in &request.headers {
            sent = sent.header(name, value.as_slice());
        }
        let reply = sender.send_request(sent.body(Full::new(Bytes::from(request.body))).expect("a request")).await;
        let reply = reply.expect("a reply");
        assert_eq!(reply.status().as_u16(), status, "{method} {key}");
        reply.into_body().collect().await.expect("a body");
        sender.ready().await.expect("the connection stays open");
    }
    connection.abort();
}
