//! S3 as the cluster's Service offers it, spoken from the cluster's network.

use std::path::Path;

use crate::cluster::Cluster;
use crate::support::cairn::Access;
use crate::support::client::{Call, Client, Reply};

/// A client and who it is.
pub struct S3<'a> {
    cluster: &'a Cluster,
    access: Access,
}

impl<'a> S3<'a> {
    /// With the keys in the folder that `cairn secrets create` made.
    pub fn new(cluster: &'a Cluster, namespace: &str, secrets: &Path) -> Self {
        let service = cluster.get(&format!("service cairn --namespace {namespace}"));
        let address = service["spec"]["clusterIP"].as_str().expect("a Service has an address").to_owned();
        let read = |name: &str| std::fs::read_to_string(secrets.join(name)).expect("it was made").trim().to_owned();
        let access = Access {
            endpoint: format!("http://{address}:9000"),
            key: read("access-key"),
            secret: read("secret-key"),
            region: "us-east-1".to_owned(),
        };
        Self { cluster, access }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.access)
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether it answers a list of buckets.
    pub fn serves(&self) -> bool {
        self.ask("GET", "/").is_ok_and(|reply| reply.status == 200)
    }

    pub fn make_bucket(&self, bucket: &str) {
        self.ask("PUT", &format!("/{bucket}")).expect("an answer").ok("make a bucket");
    }

    pub fn put(&self, path: &str, body: &[u8]) {
        let client = self.client();
        self.cluster.inside(|| client.put(path, body)).expect("an answer").ok(path);
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.ask("GET", path).expect("an answer").ok(path).body
    }

    /// The keys in a bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let client = self.client();
        let listed = self.cluster.inside(|| client.list(&format!("/{bucket}"), ""));
        listed.expect("an answer").into_keys().collect()
    }

    /// A Secret with its keys, as those who use S3 themselves get it.
    pub fn give_keys(&self, namespace: &str, secret: &str) {
        let line = format!("create secret generic {secret} --namespace {namespace}");
        let key = format!("--from-literal=access-key={}", self.access.key);
        self.cluster.kubectl(&line).arg(key).arg(format!("--from-literal=secret-key={}", self.access.secret)).run();
    }

    fn ask(&self, method: &str, path: &str) -> std::io::Result<Reply> {
        let client = self.client();
        self.cluster.inside(|| client.send(Call::new(method, path)))
    }
}
