//! Over real sockets: an SDK, HTTP/2, TLS, refusals while a body is sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http::{Request, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::echo::{ACCESS_KEY, SECRET_KEY, Way, front, request, sign_request};
use crate::gateway::server::serve;
use crate::gateway::tls::{Tls, TlsFiles};

/// For whatever comes by itself.
const SOON: Duration = Duration::from_secs(60);

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<usize>,
}

/// Requests in flight at the end have all the time that they need.
async fn start(tls: Option<Tls>) -> Server {
    start_with(tls, SOON).await
}

async fn start_with(tls: Option<Tls>, finish_within: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { drop(stopped.await) };
    let served = tokio::spawn(serve(listener, tls, front(), shutdown, finish_within));
    Server { address, stop, served }
}

/// Sends bytes as they are and gives all that comes back until the end.
async fn raw(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into()
}

fn head_of(request: &Request<Bytes>) -> String {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    head + "\r\n"
}

#[tokio::test]
async fn the_sdk_puts_and_gets() {
    let server = start(None).await;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://{}", server.address))
        .force_path_style(true)
        .http_client(super::sdk_client::client())
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let key = "a b/../c+d//é%2F&=?";
    let put = client.put_object().bucket("bucket").key(key).metadata("a", "x  y");
    let put = put.body(ByteStream::from_static(b"hello")).send().await.unwrap();
    assert_eq!(put.e_tag(), Some("\"5-false\""));

    let pieces = (0..3).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[7; 40_000]))));
    let body = SdkBody::from_body_1_x(StreamBody::new(futures_util::stream::iter(pieces)));
    let put = client.put_object().bucket("bucket").key(key).content_length(120_000);
    let put = put.body(ByteStream::new(body)).send().await.unwrap();
    assert_eq!(put.e_tag(), Some("\"120000-true\""), "in chunks, with a trailer");

    let got = client.get_object().bucket("bucket").key(key).send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes().len(), 0, "the echo of a GET has no body");
    let missing = client.get_object().bucket("bucket").key("missing").send().await.unwrap_err();
    assert!(missing.into_service_error().is_no_such_key());
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_body_can_be_read() {
    let server = start(None).await;
    let body = vec![0; 8 << 20];
    let unsigned =
        format!("PUT /b/k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = raw(server.address, &unsigned, &body).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n") && answer.contains("<Code>AccessDenied<"), "{answer}");

    let mut signed = request("PUT", "/bucket/missing", &[("connection", "close")], body.clone());
    signed = sign_request(signed, Way::Header);
    let answer = raw(server.address, &head_of(&signed), &body).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n") && answer.contains("<Code>NoSuchKey<"), "{answer}");
}

#[tokio::test]
async fn a_client_is_told_to_go_on_only_when_it_may() {
    let server = start(None).await;
    let refused = "PUT /b/k HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 5\r\n\r\n";
    let answer = raw(server.address, refused, b"").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    let headers = [("expect", "100-continue"), ("connection", "close")];
    let signed = sign_request(request("PUT", "/bucket/key", &headers, "hello"), Way::Header);
    let answer = raw(server.address, &head_of(&signed), b"hello").await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n") && answer.ends_with("hello"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_connection_stays_in_step_after_replies_without_a_body() {
    let server = start(None).await;
    let head = |method, uri, last| {
        let headers: &[(&str, &str)] = if last { &[("connection", "close")] } else { &[] };
        head_of(&sign_request(request(method, uri, headers, ""), Way::Header))
    };
    let pipelined = [
        head("HEAD", "/bucket/missing", false),
        head("GET", "/bucket/unmodified", false),
        head("GET", "/bucket/missing", true),
    ];
    let answer = raw(server.address, &pipelined.concat(), b"").await;
    let statuses: Vec<&str> = answer.lines().filter(|line| line.contains("HTTP/1.1")).collect();
    assert_eq!(statuses, ["HTTP/1.1 404 Not Found", "HTTP/1.1 304 Not Modified", "HTTP/1.1 404 Not Found"]);
    assert_eq!(answer.matches("<Error>").count(), 1, "{answer}");
}

#[tokio::test]
async fn http2_is_spoken_with_and_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("c"), key: folder.path().join("k") };
    std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();

    let plain = start(None).await;
    let stream = TcpStream::connect(plain.address).await.unwrap();
    assert_eq!(ask_http2(TokioIo::new(stream)).await, (200, Version::HTTP_2));

    let secure = start(Some(Tls::load(files).unwrap())).await;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(secure.address).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(ask_http2(TokioIo::new(stream)).await, (200, Version::HTTP_2));
}

async fn ask_http2<T>(io: T) -> (u16, Version)
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut signed = sign_request(request("GET", "/bucket/key?x-id=GetObject", &[], ""), Way::Header);
    // HTTP/2 has the host in its authority.
    signed.headers_mut().remove("host");
    *signed.uri_mut() = format!("http://localhost{}", signed.uri()).parse().unwrap();
    let reply = sender.send_request(signed.map(Full::new)).await.unwrap();
    let answered = (reply.status().as_u16(), reply.version());
    reply.into_body().collect().await.unwrap();
    answered
}

/// Begins a request of five bytes; it is in flight when this returns.
async fn begin(address: SocketAddr) -> TcpStream {
    let signed = sign_request(request("PUT", "/bucket/key", &[("expect", "100-continue")], "hello"), Way::Header);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head_of(&signed).as_bytes()).await.unwrap();
    let mut answer = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn serving_ends_when_the_last_request_does_or_the_time_is_over() {
    let idle = start(None).await;
    let _connection = TcpStream::connect(idle.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    idle.stop.send(()).unwrap();
    assert_eq!(idle.served.await.unwrap(), 0);
    // A child that another test is just starting may hold the socket for a moment.
    let begun = Instant::now();
    while TcpStream::connect(idle.address).await.is_ok() {
        assert!(begun.elapsed() < SOON, "nobody is to listen any more");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let busy = start(None).await;
    let mut stream = begin(busy.address).await;
    busy.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "a request in flight is finished");
    assert_eq!(busy.served.await.unwrap(), 0);

    let stuck = start_with(None, Duration::from_millis(500)).await;
    let _stream = begin(stuck.address).await;
    stuck.stop.send(()).unwrap();
    assert_eq!(stuck.served.await.unwrap(), 1, "a request that does not end is dropped");
}

#[tokio::test]
async fn who_connects_and_says_nothing_takes_no_room_from_others() {
    let server = start(None).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(server.address).await.unwrap());
    }
    let mut last = silent.pop().unwrap();
    assert_eq!(last.read(&mut [0]).await.unwrap_or(0), 0, "so many of one source are hung up on");
    let answer = raw(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"").await;
    assert!(answer.starts_with("HTTP/1.1 4"), "others are served: {answer}");
    silent[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(silent[0].read(&mut [0]).await.unwrap() > 0, "and those that came first");
    server.stop.send(()).unwrap();
    server.served.await.unwrap();
}
