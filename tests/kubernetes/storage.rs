//! Cairn itself: secrets, database, gateways, worker, nodes, until S3 serves.

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::s3::S3;
use crate::support::data::random;
use crate::support::poll;
use crate::support::process::Invocation;

/// Its namespace.
pub const NAMESPACE: &str = "cairn";
const PASSWORD: &str = "of-letters-and-digits-1";

/// Makes the secrets as the documentation says; answers their folder.
pub fn make_secrets(cluster: &Cluster) -> PathBuf {
    let folder = cluster.node.engine.work().join("secrets");
    let create = Invocation::new(env!("CARGO_BIN_EXE_cairn"), cluster.node.engine.work().path());
    create.args(["secrets", "create", "--door", "cairn-door:9100", "--out"]).arg(&folder).run();
    cluster.kubectl(&format!("create namespace {NAMESPACE}")).run();
    let secret = cluster.kubectl(&format!("create secret generic cairn --namespace {NAMESPACE} --from-file"));
    secret.arg(&folder).run();
    let database = cluster.kubectl(&format!("create secret generic cairn-database --namespace {NAMESPACE}"));
    let address = format!("--from-literal=address=postgres://cairn:{PASSWORD}@cairn-postgres/cairn");
    database.arg(address).arg(format!("--from-literal=password={PASSWORD}")).run();
    folder
}

/// Applies what users apply, and waits until every part is as it was ordered.
pub fn deploy(cluster: &Cluster) {
    cluster.apply(&cluster.render("cairn"));
    for part in
        ["statefulset/cairn-postgres", "deployment/cairn-gateway", "deployment/cairn-worker", "statefulset/cairn-node"]
    {
        cluster.rolled_out(&format!("{part} --namespace {NAMESPACE}"), 300);
    }
    // The autoscaler keeps two, although nothing measures here how busy they are.
    cluster.wait("two ready gateways", 120, || {
        let gateways = cluster.get(&format!("deployment cairn-gateway --namespace {NAMESPACE}"));
        (gateways["status"]["readyReplicas"] == 2).then_some(())
    });
}

/// Waits until S3 is served at the Service.
pub fn connect<'a>(cluster: &'a Cluster, secrets: &std::path::Path) -> S3<'a> {
    let s3 = S3::new(cluster, NAMESPACE, secrets);
    let served = poll(Duration::from_secs(60), Duration::from_millis(200), || s3.serves().then_some(()));
    served.expect("S3 is served at the Service");
    s3
}

/// Writes and reads objects that are kept inline, in a segment that they
/// share, and in several of their own.
pub fn put_and_get(s3: &S3) {
    s3.make_bucket("first");
    for (seed, size) in [(1, 700), (2, 40_000), (3, 20 << 20)] {
        let (path, body) = (format!("/first/{size}"), random(seed, size));
        s3.put(&path, &body);
        assert!(s3.get(&path) == body, "{path} is not what was written");
    }
}

/// What was written then is there still.
pub fn verify(s3: &S3) {
    for (seed, size) in [(1, 700), (2, 40_000), (3, 20 << 20)] {
        assert!(s3.get(&format!("/first/{size}")) == random(seed, size), "the object of {size} bytes has changed");
    }
}
