//! Gateways are replaced while clients write and read: no request may fail.
//! Clients come again when they are told to (503 SlowDown), as all SDKs do.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cluster::{Cluster, name};
use crate::s3::S3;
use crate::storage::NAMESPACE;
use crate::support::cairn::tell;
use crate::support::load::{Load, Outcome, figures};

const WRITERS: u64 = 4;
const LIMIT: Duration = Duration::from_secs(60);

/// `kubectl rollout restart` under load.
pub fn roll(cluster: &Cluster, s3: &S3) {
    let before = names(cluster);
    let clients = [s3.client()];
    let load = cluster.inside(|| Load::start(&clients, "rolled", WRITERS));
    load.wait_for(50, &[0], LIMIT);
    cluster.kubectl(&format!("rollout restart deployment/cairn-gateway --namespace {NAMESPACE}")).run();
    cluster.rolled_out(&format!("deployment/cairn-gateway --namespace {NAMESPACE}"), 300);
    cluster.wait("the old gateways to be gone", 90, || {
        let now: BTreeSet<String> = all(cluster);
        now.is_disjoint(&before).then_some(())
    });
    load.wait_for(50, &[0], LIMIT);
    let book = cluster.inside(|| load.finish(&clients));
    tell(&format!("       {}", figures(&book)));
    let lost = book.iter().filter(|entry| entry.outcome == Outcome::Unknown).count();
    assert_eq!(lost, 0, "requests without an answer: {}", figures(&book));
}

/// The pods that serve.
fn names(cluster: &Cluster) -> BTreeSet<String> {
    cluster.pods(NAMESPACE, "app.kubernetes.io/component=gateway").iter().map(name).collect()
}

/// The same with those that are going.
fn all(cluster: &Cluster) -> BTreeSet<String> {
    let list = cluster.get(&format!("pods --namespace {NAMESPACE} --selector app.kubernetes.io/component=gateway"));
    list["items"].as_array().expect("a list").iter().map(name).collect()
}
