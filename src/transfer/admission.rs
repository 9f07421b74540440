//! Who may come through the door: nodes that the database knows and that have
//! not gone, and those that bring a token.

use std::net::SocketAddr;

use async_trait::async_trait;

use crate::metadata::{FindNode, JoinNode, ListDoors, Metadata, MetadataError, NodeState, RecordHello};
use crate::transport::{Admission, Admitted};
use crate::types::NodeId;
use crate::types::limits::DOORS_MAX;
use crate::wire::{Credential, Hello, Refusal, RefusalKind};

/// A door that was not registered for so long is not told to nodes any more.
pub const DOOR_FORGOTTEN_AFTER_MS: u64 = 10 * 60 * 1000;

/// Admits registered nodes, and registers those that bring a good token.
pub struct Registered {
    metadata: Metadata,
}

impl Registered {
    /// Decides over this database.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata }
    }

    /// Lets a node that is no member join, if its token is good.
    async fn join(&self, node: NodeId, hello: &Hello, state: Option<NodeState>) -> Result<(), Refusal> {
        let Some(token) = &hello.token else { return Err(stranger(state)) };
        let refused = |sentence: String| Refusal::new(RefusalKind::Token, sentence);
        let credential: Credential =
            token.parse().map_err(|error: crate::wire::TokenError| refused(error.to_string()))?;
        let join = JoinNode { node, token: credential.id, secret_digest: credential.secret_digest() };
        let joined = self.metadata.write(join).await.map_err(|error| busy(node, &error))?;
        joined.map_err(|refusal| match state {
            // What it is matters more to its volunteer than what its token was.
            Some(NodeState::Left) => stranger(state),
            _ => refused(refusal.to_string()),
        })?;
        tracing::info!(%node, token = %credential.id, software = hello.software, "a node has joined");
        Ok(())
    }

    async fn record(&self, node: NodeId, hello: &Hello, peer: SocketAddr) {
        let record = RecordHello {
            node,
            instance: hello.instance,
            start_counter: hello.starts,
            log_position: hello.position,
            software: hello.software.clone(),
            said: hello.labels.clone(),
            address: peer.ip().to_canonical(),
        };
        match self.metadata.write(record).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!(%node, "a node came back with an older state: pieces that it acknowledged since are missing");
            }
            // A database that cannot be written must not keep readers from their pieces.
            Err(error) => tracing::warn!(%node, %error, "what a node says of itself could not be recorded"),
        }
    }
}

fn busy(node: NodeId, error: &MetadataError) -> Refusal {
    tracing::warn!(%node, %error, "a node could not be judged");
    Refusal::new(RefusalKind::Busy, "the cluster's database is not available; try again later")
}

fn stranger(state: Option<NodeState>) -> Refusal {
    match state {
        Some(NodeState::Left) => Refusal::new(
            RefusalKind::Left,
            "this node has left the cluster: its pieces are elsewhere, and its disk can be wiped; with a new token it \
             can join again",
        ),
        Some(_) => Refusal::new(RefusalKind::Banned, "this node was given up; ask the operator for a new token"),
        None => Refusal::new(RefusalKind::UnknownNode, "this node is not registered; join with a token"),
    }
}

#[async_trait]
impl Admission for Registered {
    async fn admit(&self, node: NodeId, hello: &Hello, peer: SocketAddr) -> Result<Admitted, Refusal> {
        let row = self.metadata.read(FindNode { node }).await.map_err(|error| busy(node, &error))?;
        let state = row.map(|row| row.state);
        if !state.is_some_and(NodeState::is_member) {
            self.join(node, hello, state).await?;
        }
        self.record(node, hello, peer).await;
        let mut doors = self.metadata.read(ListDoors { within_ms: DOOR_FORGOTTEN_AFTER_MS }).await.unwrap_or_default();
        doors.truncate(DOORS_MAX);
        Ok(Admitted { doors })
    }
}
