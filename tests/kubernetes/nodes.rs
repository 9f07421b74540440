//! A node's pod goes and another comes in its place: it is the same node, with
//! what it stored, because it is the key on its volume.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::s3::S3;
use crate::storage::{self, NAMESPACE};

const POD: &str = "cairn-node-2";

/// Deletes a node's pod and follows what the gateways know of it.
pub fn replace_one(cluster: &Cluster, s3: &S3) {
    let before = cluster.wait("six connected nodes", 60, || {
        let nodes = nodes(cluster)?;
        (nodes.len() == 6 && nodes.values().all(connected)).then_some(nodes)
    });
    let old = uid(cluster);
    cluster.kubectl(&format!("delete pod {POD} --namespace {NAMESPACE} --wait=false")).run();
    let gone = cluster.wait("a node to be away", 60, || {
        let away = nodes(cluster)?.into_iter().find(|(_, node)| !connected(node));
        away.map(|(id, _)| id)
    });
    storage::verify(s3);
    cluster.wait("its pod to be another", 120, || (uid(cluster)? != old.clone()?).then_some(()));
    cluster.rolled_out(&format!("statefulset/cairn-node --namespace {NAMESPACE}"), 120);
    let after = cluster
        .wait("all nodes to be connected again", 60, || nodes(cluster).filter(|nodes| nodes.values().all(connected)));
    let ids = |nodes: &BTreeMap<String, Value>| nodes.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(ids(&before), ids(&after), "the same nodes are there, and no other");
    let (before, after) = (&before[&gone], &after[&gone]);
    assert_eq!(before["number"], after["number"], "it is known as before");
    assert_eq!(before["starts"].as_u64().map(|starts| starts + 1), after["starts"].as_u64(), "it started once more");
    assert_eq!(after["rollbacks"], 0, "it has not lost what it stored: {after}");
    assert!(pieces(after) >= pieces(before) && pieces(before) > 0, "its pieces are there: {before}, then {after}");
    storage::verify(s3);
}

/// What `cairn nodes list` says in a gateway's pod, by id.
fn nodes(cluster: &Cluster) -> Option<BTreeMap<String, Value>> {
    let line = format!("exec deployment/cairn-gateway --namespace {NAMESPACE} -- /cairn nodes list --json");
    let asked = cluster.kubectl(&line).outcome();
    let list: Vec<Value> = asked.status.success().then(|| serde_json::from_slice(&asked.stdout).expect("JSON"))?;
    Some(list.into_iter().map(|node| (node["node"].as_str().expect("an id").to_owned(), node)).collect())
}

fn connected(node: &Value) -> bool {
    node["connected"] == true
}

/// How many pieces it holds.
fn pieces(node: &Value) -> u64 {
    node["space"]["pieces"].as_u64().unwrap_or_else(|| panic!("it says how much it holds: {node}"))
}

fn uid(cluster: &Cluster) -> Option<Value> {
    let pod = cluster.try_get(&format!("pod {POD} --namespace {NAMESPACE}"))?;
    Some(pod["metadata"]["uid"].clone())
}
