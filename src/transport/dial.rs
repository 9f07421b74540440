//! The node's side: dial a door, say hello, check that the door may ask.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::activity::Traffic;
use super::frames::{FrameError, read_frame, write_frame};
use super::identity::generation_is_signed;
use super::metered::Metered;
use super::tls::{BINDING_LABEL, node_config};
use super::tuning::{BUFFER_BYTES, CONNECT_TIMEOUT, DIAL_TIMEOUT};
use super::{Activity, Bandwidth, DialError, Identity, TransportError};
use crate::types::ClusterId;
use crate::wire::{Answer, Hello, Welcome};

/// Dials doors of one cluster with one identity.
pub struct Dialler {
    tls: TlsConnector,
    cluster: ClusterId,
    traffic: Arc<Traffic>,
    bandwidth: Option<Arc<Bandwidth>>,
}

/// A connection on which a door has welcomed the node, and will now ask.
pub struct Dialled {
    /// To serve HTTP on.
    pub stream: TlsStream<Metered>,
    /// Its pulse.
    pub activity: Arc<Activity>,
    /// What the door said.
    pub welcome: Welcome,
}

impl Dialler {
    /// Fails only if the key cannot be used.
    pub fn new(identity: &Identity, cluster: ClusterId) -> Result<Self, TransportError> {
        let tls = TlsConnector::from(Arc::new(node_config(identity, cluster)?));
        Ok(Self { tls, cluster, traffic: Arc::default(), bandwidth: None })
    }

    /// All connections together stay within this limit.
    pub fn limited(mut self, bandwidth: Option<Bandwidth>) -> Self {
        self.bandwidth = bandwidth.map(Arc::new);
        self
    }

    /// Bytes over all connections that were dialled.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Dials `host:port` and is through when the door has proved that it holds
    /// the cluster's key and shows no generation below `hello.generation`.
    /// Takes at most 20 s, which is longer than a door takes that is busy with
    /// thousands of others: a node that gives up earlier has wasted its work.
    /// The name is resolved anew each time.
    pub async fn dial(&self, door: &str, hello: &Hello) -> Result<Dialled, DialError> {
        timeout(DIAL_TIMEOUT, self.attempt(door, hello)).await.unwrap_or(Err(DialError::Timeout))
    }

    async fn attempt(&self, door: &str, hello: &Hello) -> Result<Dialled, DialError> {
        let socket = self.connect(door).await.map_err(DialError::Unreachable)?;
        let socket = Metered::new(socket, self.traffic.clone()).map_err(DialError::Unreachable)?;
        let socket = socket.limited(self.bandwidth.clone());
        let activity = socket.activity().clone();
        let mut stream = self.tls.connect(server_name(door), socket).await.map_err(judge)?;
        stream.get_mut().1.set_buffer_limit(Some(BUFFER_BYTES));
        write_frame(&mut stream, &hello.encode()?).await.map_err(frame_failed)?;
        let answer = read_frame(&mut stream).await.map_err(frame_failed)?;
        match Answer::decode(&answer)? {
            Answer::Refused(refusal) => Err(DialError::Refused(refusal)),
            Answer::Welcome(welcome) => {
                self.check(&stream, &welcome, hello)?;
                Ok(Dialled { stream, activity, welcome })
            }
        }
    }

    /// Connects to the first of the name's addresses that answers. One that
    /// is silent leaves time for the next.
    async fn connect(&self, door: &str) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host(door).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(bytes) = self.bandwidth.as_ref().and_then(|bandwidth| bandwidth.receive_buffer_bytes()) {
                socket.set_recv_buffer_size(bytes)?;
            }
            match timeout(CONNECT_TIMEOUT, socket.connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    fn check(&self, stream: &TlsStream<Metered>, welcome: &Welcome, hello: &Hello) -> Result<(), DialError> {
        let connection = stream.get_ref().1;
        let binding =
            connection.export_keying_material([0; 32], BINDING_LABEL, None).map_err(|_| DialError::Unproven)?;
        if !generation_is_signed(self.cluster, welcome.generation, &binding, &welcome.signature) {
            return Err(DialError::Unproven);
        }
        if welcome.generation < hello.generation {
            return Err(DialError::OldGeneration { shown: welcome.generation, seen: hello.generation });
        }
        Ok(())
    }
}

/// The name is not checked, as the key is pinned; a proxy may route by it.
fn server_name(door: &str) -> ServerName<'static> {
    let host = door.rsplit_once(':').map_or(door, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::try_from("door.invalid").expect("a valid DNS name"))
}

fn judge(error: io::Error) -> DialError {
    match error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        true => DialError::NotOurDoor(error.to_string()),
        false => DialError::Broken(error),
    }
}

fn frame_failed(error: FrameError) -> DialError {
    match error {
        FrameError::Io(error) => judge(error),
        FrameError::Wire(error) => DialError::Wire(error),
    }
}
