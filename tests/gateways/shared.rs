//! The cluster of the tests that harm nobody: two gateways on one PostgreSQL,
//! a bucket for each test, and a client for each gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::Client;

use crate::cluster::{Cluster, fresh_database};
use crate::postgres::Server;
use crate::sdk;
use crate::support::cairn::Shared;
use crate::support::client;

static CLUSTER: Shared<Site> = Shared::new();
static BUCKET: AtomicU32 = AtomicU32::new(0);

/// Two gateways.
pub struct Site {
    cluster: Cluster,
    /// The SDK's, one for each.
    clients: Vec<Client>,
    _server: Server,
}

/// A bucket's name that is not taken.
pub fn free_name() -> String {
    format!("bucket-{}", BUCKET.fetch_add(1, Ordering::Relaxed))
}

/// The shared gateways.
pub fn site() -> Arc<Site> {
    CLUSTER.get(|| {
        let server = Server::start("");
        let (_, url) = fresh_database(&server);
        let mut cluster = Cluster::start(&url, 2);
        cluster.expect_in_logs(&[]);
        let clients = cluster.gateways.iter().map(|gateway| sdk::client(gateway.access())).collect();
        Site { cluster, clients, _server: server }
    })
}

/// The same with a fresh bucket.
pub async fn bucket() -> (Arc<Site>, String) {
    let site = tokio::task::spawn_blocking(site).await.expect("it starts");
    let name = free_name();
    site.any().create_bucket().bucket(&name).send().await.expect("a bucket");
    (site, name)
}

impl Site {
    /// One of the two, by dice.
    pub fn any(&self) -> &Client {
        self.pair().0
    }

    /// One, by dice, and the other.
    pub fn pair(&self) -> (&Client, &Client) {
        match rand::random() {
            true => (&self.clients[0], &self.clients[1]),
            false => (&self.clients[1], &self.clients[0]),
        }
    }

    /// A plain client of each.
    pub fn plain(&self) -> Vec<client::Client> {
        self.cluster.clients()
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
