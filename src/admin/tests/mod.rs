//! The operator's commands over a real database, and over real sockets.

mod commands;
mod doors;
mod live;

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::env::Env;
use crate::metadata::{Holder, JoinNode, Metadata, NodeSpace, OpenCluster, RecordSeen, SeenNode, SqliteOptions};
use crate::seal::ClusterSecret;
use crate::types::{ClusterId, InstanceId, NodeId};
use crate::wire::JoinToken;

/// A cluster's database in a folder of its own.
struct Ground {
    dir: TempDir,
    metadata: Metadata,
    cluster: ClusterId,
}

impl Ground {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions { path: dir.path().join("metadata.db"), cache_kib: 1024, readers: 2 };
        let metadata = Metadata::open_sqlite(options).unwrap();
        let cluster = ClusterSecret::from_bytes([7; 32]).cluster_id();
        metadata.write(OpenCluster { cluster }).await.unwrap();
        Self { dir, metadata, cluster }
    }

    fn parts(&self) -> OperatorParts {
        OperatorParts {
            metadata: self.metadata.clone(),
            env: Env::real(),
            cluster: self.cluster,
            doors: Vec::new(),
            live: None,
            is_shared: false,
        }
    }

    /// An operator where no process serves.
    fn operator(&self) -> Operator {
        Operator::new(self.parts())
    }

    /// Lets so many nodes join; gives their ids, in that order.
    async fn join(&self, count: u8) -> Vec<NodeId> {
        self.join_with(count, create()).await
    }

    /// Lets so many nodes join with a token like this.
    async fn join_with(&self, count: u8, create: CreateToken) -> Vec<NodeId> {
        let made = self.operator().run(&create).await.unwrap();
        let token: JoinToken = made.token.parse().unwrap();
        let mut nodes = Vec::new();
        for node in 1..=count {
            let node = NodeId::from_bytes([node; 32]);
            let join = JoinNode { node, token: token.credential.id, secret_digest: token.credential.secret_digest() };
            self.metadata.write(join).await.unwrap().unwrap();
            nodes.push(node);
        }
        nodes
    }

    /// Notes that the node of this number was seen now, with this space.
    async fn see(&self, number: u32, space: NodeSpace) {
        let instance = InstanceId::from_bytes([1; 16]);
        let seen = SeenNode { number, instance, space, log_position: 0, wrong_shares: 0, failing: false };
        self.metadata.write(RecordSeen { holder: Holder([1; 16]), nodes: vec![seen] }).await.unwrap();
    }
}

/// A token for any number of nodes, with a door.
fn create() -> CreateToken {
    CreateToken {
        good_for_ms: Some(3_600_000),
        uses: None,
        labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        doors: vec!["door.example.org:9100".to_owned()],
    }
}

fn change(node: &NodeId, to: Wish) -> Change {
    Change { node: node.to_string(), to, reason: None, force: false }
}
