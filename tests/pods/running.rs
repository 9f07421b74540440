//! Everything comes up, and stays up while pods are replaced.

use std::time::Instant;

use crate::cluster::{Cluster, GATEWAYS, GRACE, NODES, RENDER, Running};
use crate::pod::{Pod, Template, volume};
use crate::support::cairn::reports_trouble;
use crate::support::data;

#[test]
fn everything_comes_up_and_pods_are_replaced() {
    let mut running = Running::start();
    probes_are_answered(&running);
    running.cluster.aws(&running.gateways[0], &["s3", "mb", "s3://files"]).run();
    let bytes = data::random(2100, 9 * data::MIB);
    running.cluster.store(&running.gateways[0], "before", &bytes);
    assert!(running.cluster.read(&running.gateways[1], "before") == bytes, "the other gateway gives the same");

    a_node_comes_back_elsewhere(&mut running);
    assert!(running.cluster.read(&running.gateways[1], "before") == bytes, "its pieces came back with it");
    running.cluster.store(&running.gateways[1], "between", &bytes);

    a_gateway_is_rolled(&mut running);
    let new = running.gateways.last().expect("it was added");
    assert!(running.cluster.read(new, "between") == bytes, "a new gateway reads it");
    running.cluster.store(new, "after", &bytes);
    nobody_complains(&running);
}

fn probes_are_answered(running: &Running) {
    for pod in running.gateways.iter().chain([&running.worker]).chain(&running.nodes) {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(pod.probe(&running.cluster, probe), "200", "{probe} of {}", pod.name);
        }
    }
    for pod in running.gateways.iter().chain([&running.worker]).chain(&running.nodes) {
        let metrics = running.cluster.metrics(pod);
        assert!(metrics.contains("# TYPE cairn_"), "what Prometheus gets of {}: {metrics}", pod.name);
    }
}

/// Its pod is deleted, and a new one gets another address: the volume is the node.
fn a_node_comes_back_elsewhere(running: &mut Running) {
    let begun = Instant::now();
    let status = running.nodes.remove(0).end();
    assert_eq!(status.code(), Some(0), "told to end, it ends well");
    assert!(begun.elapsed() < GRACE, "it took {:?}", begun.elapsed());
    let mut back = running.cluster.node(running.cluster.address(), "data-31");
    back.wait_until_ready(&running.cluster);
    running.nodes.push(back);
}

/// One more, then one less.
fn a_gateway_is_rolled(running: &mut Running) {
    let mut new = running.cluster.gateway(running.cluster.address());
    new.wait_until_ready(&running.cluster);
    let took = running.cluster.until_it_takes_objects(&new);
    let gateway = Template::of(RENDER, "Deployment/cairn-gateway");
    assert!(took < gateway.pause, "an old one goes after {:?}, and nodes came after {took:?}", gateway.pause);
    running.gateways.push(new);
    let begun = Instant::now();
    let status = running.gateways.remove(0).end();
    assert_eq!(status.code(), Some(0), "told to end, it ends well");
    assert!(begun.elapsed() < GRACE, "it took {:?}", begun.elapsed());
}

/// The overlay `small`: one gateway with SQLite on a volume.
#[test]
fn the_small_site_keeps_its_database_on_a_volume() {
    let cluster = Cluster::new();
    let template = Template::of("kustomize overlays/small", "Deployment/cairn-gateway");
    let data = volume(&cluster, "gateway", &template.user);
    let nodes: Vec<Pod> = NODES.iter().map(|last| cluster.node(*last, &format!("data-{last}"))).collect();
    let mut gateway = Pod::start(&cluster, &template, GATEWAYS[0], &data);
    gateway.wait_until_ready(&cluster);
    cluster.until_it_takes_objects(&gateway);
    cluster.aws(&gateway, &["s3", "mb", "s3://files"]).run();
    let bytes = data::random(2200, 3 * data::MIB);
    cluster.store(&gateway, "kept", &bytes);

    let (code, log) = Pod::start(&cluster, &template, cluster.address(), &data).ended();
    assert_eq!(code, Some(2), "a second one on the volume: {log}");
    assert_eq!(gateway.end().code(), Some(0), "told to end, it ends well");

    let mut gateway = Pod::start(&cluster, &template, GATEWAYS[1], &data);
    gateway.wait_until_ready(&cluster);
    cluster.until_it_takes_objects(&gateway);
    assert!(cluster.read(&gateway, "kept") == bytes, "it is there under another address");
    drop((gateway, nodes));
}

/// The manifests give nobody a reason to warn.
fn nobody_complains(running: &Running) {
    for pod in running.gateways.iter().chain([&running.worker]).chain(&running.nodes) {
        let log = pod.log();
        // Doors of pods that are not there yet, or no more, are dialled in vain.
        let expected = |line: &&str| !line.contains("door");
        let wrong: Vec<&str> = log.lines().filter(|line| reports_trouble(line)).filter(expected).collect();
        assert!(wrong.is_empty(), "{}:\n{}", pod.name, wrong.join("\n"));
    }
}
