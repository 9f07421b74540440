//! Who may come through the door: nodes that the database knows and that have
//! not gone, and those that bring a token.

use std::net::SocketAddr;

use async_trait::async_trait;

use crate::metadata::{
    FindNode, JoinNode, LeavePlace, ListDoors, Metadata, MetadataError, NodeRow, NodeState, RecordHello,
};
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
    async fn join(&self, node: NodeId, hello: &Hello, row: Option<&NodeRow>) -> Result<(), Refusal> {
        let Some(token) = &hello.token else { return Err(stranger(row)) };
        let refused = |sentence: String| Refusal::new(RefusalKind::Token, sentence);
        let credential: Credential =
            token.parse().map_err(|error: crate::wire::TokenError| refused(error.to_string()))?;
        let join = JoinNode { node, token: credential.id, secret_digest: credential.secret_digest() };
        let joined = self.metadata.write(join).await.map_err(|error| busy(node, &error))?;
        joined.map_err(|refusal| match row {
            // What became of it matters more to its volunteer than what its token was.
            Some(_) => stranger(row),
            None => refused(refusal.to_string()),
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

/// Why a node that is no member and has no good token stays out.
fn stranger(row: Option<&NodeRow>) -> Refusal {
    match row {
        Some(NodeRow { state: NodeState::Left, .. }) => Refusal::new(
            RefusalKind::Left,
            "this node has left the cluster: its pieces are elsewhere, and its disk can be wiped; with a new token it \
             can join again",
        ),
        Some(NodeRow { reason, .. }) => {
            let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            let sentence = format!("the operator has given this node up, and it needs a new token to join again{why}");
            Refusal::new(RefusalKind::Banned, sentence)
        }
        None => Refusal::new(RefusalKind::UnknownNode, "this node is not registered; join with a token"),
    }
}

#[async_trait]
impl Admission for Registered {
    async fn admit(&self, node: NodeId, hello: &Hello, peer: SocketAddr) -> Result<Admitted, Refusal> {
        let row = self.metadata.read(FindNode { node }).await.map_err(|error| busy(node, &error))?;
        if !row.as_ref().is_some_and(|row| row.state.is_member()) {
            self.join(node, hello, row.as_ref()).await?;
        }
        // No node that `cairn up` runs has a token.
        if hello.token.is_some() && row.is_some_and(|row| row.place.is_some()) {
            self.metadata.write(LeavePlace { node }).await.map_err(|error| busy(node, &error))?;
            tracing::info!(%node, "a node that `cairn up` ran is run by itself from now on");
        }
        self.record(node, hello, peer).await;
        let mut doors = self.metadata.read(ListDoors { within_ms: DOOR_FORGOTTEN_AFTER_MS }).await.unwrap_or_default();
        doors.truncate(DOORS_MAX);
        Ok(Admitted { doors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{ChangeNode, CreateToken, NodeChange, PlaceNode, RevokeToken, SqliteOptions};
    use crate::types::TokenId;
    use crate::wire::example_hello;

    const NODE: NodeId = NodeId::from_bytes([3; 32]);

    async fn change(metadata: &Metadata, change: NodeChange) {
        let reason = Some("its disk lies".to_owned());
        metadata.write(ChangeNode { node: NODE, change, reason }).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_node_of_cairn_up_that_brings_a_token_is_run_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.db");
        let metadata = Metadata::open_sqlite(SqliteOptions { path, cache_kib: 1024, readers: 2 }).unwrap();
        let place = PlaceNode { node: NODE, place: "3".into(), instead_of: None };
        metadata.write(place).await.unwrap();
        let door = Registered::new(metadata.clone());
        // Whatever token: its key is enough.
        let token = Credential { id: TokenId::from_bytes([1; 16]), secret: [9; 32] }.to_string();
        for (token, place) in [(None, Some("3")), (Some(token), None)] {
            let hello = Hello { token, ..example_hello() };
            door.admit(NODE, &hello, "192.0.2.1:5".parse().unwrap()).await.unwrap();
            let row = metadata.read(FindNode { node: NODE }).await.unwrap().unwrap();
            assert_eq!((row.place.as_deref(), row.state), (place, NodeState::Active));
        }
    }

    #[tokio::test]
    async fn who_was_a_member_is_told_what_became_of_it_whatever_its_token_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.db");
        let metadata = Metadata::open_sqlite(SqliteOptions { path, cache_kib: 1024, readers: 2 }).unwrap();
        let door = Registered::new(metadata.clone());
        let ways: [(&[NodeChange], RefusalKind, &str); 2] = [
            (
                &[NodeChange::Forget],
                RefusalKind::Banned,
                "the operator has given this node up, and it needs a new token",
            ),
            (&[NodeChange::Drain, NodeChange::Leave], RefusalKind::Left, "this node has left the cluster"),
        ];
        for (number, (way, kind, words)) in (1..).zip(ways) {
            let credential = Credential { id: TokenId::from_bytes([number; 16]), secret: [9; 32] };
            let (token, secret_digest) = (credential.id, credential.secret_digest());
            let labels = Default::default();
            metadata.write(CreateToken { token, secret_digest, good_for_ms: None, uses: None, labels }).await.unwrap();
            let hello = |token: Option<String>| Hello { token, ..example_hello() };
            let admit = async |hello| door.admit(NODE, &hello, "192.0.2.1:5".parse().unwrap()).await;
            let good = hello(Some(credential.to_string()));
            admit(good.clone()).await.unwrap();
            for step in way {
                change(&metadata, *step).await;
            }
            metadata.write(RevokeToken { token }).await.unwrap();
            for hello in [good, hello(None)] {
                let refusal = admit(hello).await.unwrap_err();
                assert_eq!(refusal.kind, kind);
                assert!(refusal.sentence.starts_with(words), "{refusal:?}");
                assert!(kind == RefusalKind::Left || refusal.sentence.ends_with(": its disk lies"), "{refusal:?}");
            }
        }
    }
}
