//! A node that keeps pieces in memory and answers as a real one does.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cairn::transport::{BUFFER_BYTES, Dialler, Identity};
use cairn::types::{Generation, InstanceId, PieceId};
use cairn::wire::{DIAL_HEADER, EPOCH_HEADER, Fields, Hello, Purpose, Request, Usage, VERSION, decode_dial};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

pub struct FakeNode {
    dialler: Dialler,
    door: String,
    instance: InstanceId,
    pieces: Mutex<HashMap<PieceId, Bytes>>,
    /// How many more connections the door wants.
    wanted: mpsc::UnboundedSender<u8>,
}

impl FakeNode {
    /// Dials in the background and stays as long as the door does.
    pub fn start(identity: &Identity, door: &str) -> Arc<Self> {
        let (node, wanted) = Self::new(identity, door);
        let node = Arc::new(node);
        let running = node.clone();
        tokio::spawn(async move { running.stay(wanted).await.unwrap() });
        node
    }

    /// Dials, dials more when asked, and serves until the door closes. An
    /// error if it did not get in.
    pub async fn stay(
        self: Arc<Self>,
        mut wanted: mpsc::UnboundedReceiver<u8>,
    ) -> Result<(), cairn::transport::DialError> {
        let more = self.clone();
        let dialling = tokio::spawn(async move {
            while let Some(count) = wanted.recv().await {
                for _ in 0..count {
                    let more = more.clone();
                    tokio::spawn(async move { more.serve(Purpose::Data).await.unwrap_or(()) });
                }
            }
        });
        let ended = self.serve(Purpose::Control).await;
        dialling.abort();
        ended
    }

    pub fn new(identity: &Identity, door: &str) -> (Self, mpsc::UnboundedReceiver<u8>) {
        let dialler = Dialler::new(identity, crate::cluster().cluster_id()).unwrap();
        let instance = InstanceId::from_bytes(identity.node_id().as_bytes()[..16].try_into().unwrap());
        let (wanted, heard) = mpsc::unbounded_channel();
        (Self { dialler, door: door.to_owned(), instance, pieces: Mutex::default(), wanted }, heard)
    }

    fn hello(&self, purpose: Purpose) -> Hello {
        Hello {
            versions: vec![VERSION],
            software: "bench".to_owned(),
            cluster: crate::cluster().cluster_id(),
            instance: self.instance,
            starts: 1,
            position: 0,
            usage: Usage::default(),
            labels: BTreeMap::new(),
            purpose,
            token: None,
            generation: Generation(1),
        }
    }

    /// Dials once, and serves until the door closes. An error if it did not
    /// get in.
    pub async fn serve(self: Arc<Self>, purpose: Purpose) -> Result<(), cairn::transport::DialError> {
        let dialled = self.dialler.dial(&self.door, &self.hello(purpose)).await?;
        let service = service_fn(|request| {
            let node = self.clone();
            async move { Ok::<_, Infallible>(node.answer(request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.half_close(false).auto_date_header(false).max_buf_size(2 * BUFFER_BYTES);
        let _ = builder.serve_connection(TokioIo::new(dialled.stream), service).await;
        Ok(())
    }

    async fn answer(self: Arc<Self>, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if let Some(count) = text(&head.headers, DIAL_HEADER) {
            let _ = self.wanted.send(decode_dial(count).unwrap());
        }
        let fields = Fields {
            epoch: text(&head.headers, EPOCH_HEADER),
            range: text(&head.headers, "range"),
            length: text(&head.headers, "content-length"),
        };
        let target = head.uri.path_and_query().unwrap().as_str();
        match Request::decode(head.method.as_str(), target, fields).unwrap() {
            Request::Put { id, .. } => {
                let piece = body.collect().await.unwrap().to_bytes();
                self.pieces.lock().unwrap().insert(id, piece);
                reply(StatusCode::CREATED, Bytes::new())
            }
            Request::Get { id, range } => {
                let piece = self.pieces.lock().unwrap()[&id].clone();
                reply(StatusCode::PARTIAL_CONTENT, piece.slice(range.start as usize..range.end as usize))
            }
            Request::Usage => reply(StatusCode::OK, Usage::default().encode().into()),
            other => panic!("a benchmark does not ask for {other:?}"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn reply(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply
}
