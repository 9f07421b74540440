//! Who may come through the door: nodes that the database knows and that are
//! not gone.

use async_trait::async_trait;

use crate::metadata::{ListNodes, Metadata, NodeState, RecordHello};
use crate::transport::{Admission, Admitted};
use crate::types::NodeId;
use crate::wire::{Hello, Refusal, RefusalKind};

/// Admits registered nodes.
pub struct Registered {
    metadata: Metadata,
}

impl Registered {
    /// Decides over this database.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata }
    }
}

#[async_trait]
impl Admission for Registered {
    async fn admit(&self, node: NodeId, hello: &Hello) -> Result<Admitted, Refusal> {
        let busy = |error| {
            tracing::warn!(%node, %error, "a node could not be judged");
            Refusal::new(RefusalKind::Busy, "the cluster's database is not available; try again later")
        };
        let rows = self.metadata.read(ListNodes).await.map_err(busy)?;
        match rows.iter().find(|row| row.node == node).map(|row| row.state) {
            None => {
                return Err(Refusal::new(RefusalKind::UnknownNode, "this node is not registered; join with a token"));
            }
            Some(NodeState::Gone) => {
                return Err(Refusal::new(RefusalKind::Banned, "this node was given up; join with a fresh folder"));
            }
            Some(_) => {}
        }
        let record = RecordHello { node, start_counter: hello.starts, log_position: hello.position };
        match self.metadata.write(record).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!(%node, "a node came back with an older state: pieces that it acknowledged since are missing");
            }
            // A database that cannot be written must not keep readers from their pieces.
            Err(error) => tracing::warn!(%node, %error, "what a node says of itself could not be recorded"),
        }
        Ok(Admitted::default())
    }
}
