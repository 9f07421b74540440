//! What is wrong in a cluster, and what a pod does about it: the table at the end of
//! docs/kubernetes.md.

use std::path::Path;

use crate::cluster::{Cluster, RENDER};
use crate::pod::{Pod, Template, volume};

const GATEWAY: &str = "Deployment/cairn-gateway";
const NODE: &str = "StatefulSet/cairn-node";

/// A pod that cannot start: exit 2, and one sentence that has these words.
fn refuses(cluster: &Cluster, template: &Template, words: &[&str], change: impl Fn(&Path)) {
    let data = volume(cluster, &format!("refused-{}", cluster.next()), &template.user);
    let (code, log) = Pod::start_with(cluster, template, cluster.address(), &data, change).ended();
    assert_eq!(code, Some(2), "{log}");
    for word in words {
        assert!(log.contains(word), "'{word}' should be in: {log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn each_has_a_stated_behaviour() {
    let cluster = Cluster::new();
    let gateway = Template::of(RENDER, GATEWAY);
    let node = Template::of(RENDER, NODE);

    let mut unknown = gateway.clone();
    unknown.settings.insert("listne".to_owned(), "0.0.0.0:9000".into());
    refuses(&cluster, &unknown, &["listne", "/etc/cairn/cairn.toml"], |_| ());

    let without = |name: &'static str| {
        move |secrets: &Path| std::fs::remove_file(secrets.join("cairn").join(name)).expect("it was there")
    };
    for name in ["cluster.key", "secret-key"] {
        refuses(&cluster, &gateway, &[&format!("/run/secrets/cairn/{name}")], without(name));
    }

    a_token_is_waited_for(&cluster, &node, without("join.token"));
    open_secrets_are_a_warning(&cluster, &gateway);
    any_user_will_do(&cluster, &gateway);
    a_volume_that_cannot_be_written(&cluster, &node);
    a_database_without_a_name_is_waited_for(&cluster, &gateway);
    two_on_one_volume(&cluster, &node);
}

fn a_token_is_waited_for(cluster: &Cluster, node: &Template, change: impl Fn(&Path)) {
    let data = volume(cluster, "waiting", &node.user);
    let mut pod = Pod::start_with(cluster, node, cluster.address(), &data, change);
    pod.wait_for_line("/run/secrets/cairn/join.token");
    assert_ne!(pod.probe(cluster, "readinessProbe"), "200", "it waits and is not ready");
    assert_eq!(pod.end().code(), Some(0), "told to end while it waits, it ends well");
}

fn open_secrets_are_a_warning(cluster: &Cluster, gateway: &Template) {
    let mut open = gateway.clone();
    open.mode = "0444".to_owned();
    let data = volume(cluster, "open", &open.user);
    let mut pod = Pod::start(cluster, &open, cluster.address(), &data);
    pod.wait_until_ready(cluster);
    let log = pod.log();
    let warned = log.lines().any(|line| line.contains("WARN") && line.contains("/run/secrets/cairn/cluster.key"));
    assert!(warned, "a warning names the file: {log}");
    assert_eq!(pod.end().code(), Some(0));
}

/// As OpenShift gives one to each namespace; the volume has its group.
fn any_user_will_do(cluster: &Cluster, gateway: &Template) {
    let mut other = gateway.clone();
    other.user = "1000660000:1000660000".to_owned();
    let data = volume(cluster, "other", &other.user);
    let mut pod = Pod::start(cluster, &other, cluster.address(), &data);
    pod.wait_until_ready(cluster);
    assert_eq!(pod.end().code(), Some(0));
}

fn a_volume_that_cannot_be_written(cluster: &Cluster, node: &Template) {
    let data = volume(cluster, "roots", "0:0");
    let (code, log) = Pod::start(cluster, node, cluster.address(), &data).ended();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("/data"), "it names the folder: {log}");
}

fn a_database_without_a_name_is_waited_for(cluster: &Cluster, gateway: &Template) {
    let mut early = gateway.clone();
    early.settings.insert("start_wait".to_owned(), "8s".into());
    let address = "postgres://postgres:any@nowhere.invalid/cairn?sslmode=disable";
    let elsewhere = |secrets: &Path| {
        std::fs::write(secrets.join("cairn-database/address"), address).expect("room for an address");
    };
    let data = volume(cluster, "early", &early.user);
    let (code, log) = Pod::start_with(cluster, &early, cluster.address(), &data, elsewhere).ended();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.matches("nowhere.invalid").count() >= 2, "it says what it waits for, and then that it gave up: {log}");
}

fn two_on_one_volume(cluster: &Cluster, node: &Template) {
    let data = volume(cluster, "one", &node.user);
    let mut first = Pod::start(cluster, node, cluster.address(), &data);
    first.wait_for_line("cairn-door");
    let (code, log) = Pod::start(cluster, node, cluster.address(), &data).ended();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("/data"), "it names the folder: {log}");
    assert_eq!(first.end().code(), Some(0), "the first one was not disturbed");
}
