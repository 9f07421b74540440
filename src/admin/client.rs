//! The other side of the operator's door: sends a command to a process that
//! serves and reads its answer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::operator::Command;
use super::{AdminError, ErrorKind, SOCKET};
use crate::env::LocalSocket;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Most bytes of an answer: what a hundred thousand nodes take.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Whom to ask.
pub struct Client {
    place: Place,
}

enum Place {
    Unix(PathBuf),
    Tcp { address: String, token: String },
}

impl Client {
    /// Asks the process that serves this data directory.
    pub fn unix(dir: &Path) -> Self {
        Self { place: Place::Unix(dir.to_owned()) }
    }

    /// Asks the process whose operators' address this is, as `host:port`,
    /// with its admin token.
    pub fn tcp(address: impl Into<String>, token: impl Into<String>) -> Self {
        Self { place: Place::Tcp { address: address.into(), token: token.into() } }
    }

    /// Sends the command and waits for what it answers.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] when nothing answers there, else what the
    /// process says.
    pub async fn call<C: Command>(&self, command: &C) -> Result<C::Reply, AdminError> {
        let exchange = async {
            match &self.place {
                Place::Unix(dir) => {
                    let stream =
                        connected(LocalSocket::connect(dir, SOCKET)).await.map_err(|error| no_socket(dir, &error))?;
                    exchange(stream, request(command, "cairn", None)?).await
                }
                Place::Tcp { address, token } => {
                    let stream = connected(TcpStream::connect(address)).await;
                    let stream = stream.map_err(|error| no_address(address, &error))?;
                    exchange(stream, request(command, address, Some(token))?).await
                }
            }
        };
        let late = |_| AdminError::new(ErrorKind::Unavailable, "the process does not answer; try again later");
        let (status, body) = tokio::time::timeout(ANSWER_WITHIN, exchange).await.map_err(late)??;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|_| stranger()),
            _ => Err(serde_json::from_slice(&body).unwrap_or_else(|_| stranger())),
        }
    }
}

async fn connected<S>(connecting: impl Future<Output = io::Result<S>>) -> io::Result<S> {
    tokio::time::timeout(CONNECT_WITHIN, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn no_socket(dir: &Path, error: &io::Error) -> AdminError {
    let dir = dir.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            AdminError::new(ErrorKind::NotRunning, format!("no process of Cairn serves {dir}"))
        }
        io::ErrorKind::PermissionDenied => AdminError::new(
            ErrorKind::Denied,
            format!("{dir} belongs to another user: run this as the user that the gateway runs as"),
        ),
        _ => AdminError::new(
            ErrorKind::Unavailable,
            format!("the process that serves {dir} could not be reached: {}", plain(error)),
        ),
    }
}

fn no_address(address: &str, error: &io::Error) -> AdminError {
    AdminError::new(
        ErrorKind::NotRunning,
        format!("no gateway answers operators at {address} ({}): check --admin on both sides", plain(error)),
    )
}

/// The system's own words, without the number behind them.
fn plain(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::TimedOut => return "it took too long".to_owned(),
        _ => error.to_string(),
    };
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn stranger() -> AdminError {
    AdminError::new(ErrorKind::Failed, "what answers there is no gateway of Cairn, or one of another version")
}

fn request<C: Command>(command: &C, host: &str, token: Option<&str>) -> Result<Request<Full<Bytes>>, AdminError> {
    let body = match C::METHOD {
        Method::GET => Bytes::new(),
        _ => serde_json::to_vec(command).expect("structs of numbers and strings have a JSON form").into(),
    };
    let mut request = Request::builder().method(C::METHOD).uri(C::PATH).header(HOST, host);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let odd = |_| AdminError::invalid("the admin address or its token has characters that HTTP cannot carry");
    request.body(Full::new(body)).map_err(odd)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), AdminError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |_| AdminError::new(ErrorKind::Unavailable, "the process hung up before it had answered; try again");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let talking = async {
        let reply = sender.send_request(request).await.map_err(broken)?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|_| stranger())?.to_bytes()))
    };
    let mut talking = std::pin::pin!(talking);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answered = &mut talking => answered,
        // The connection has to be driven; when it ends, what it carried is there.
        _ = &mut connection => talking.await,
    }
}
