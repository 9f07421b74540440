//! Everything comes up, and stays up while pods are replaced.

use std::time::Instant;

use crate::cluster::{GRACE, RENDER, Running};
use crate::pod::Template;
use crate::support::cairn::reports_trouble;
use crate::support::data;

#[test]
fn everything_comes_up_and_pods_are_replaced() {
    let mut running = Running::start();
    probes_are_answered(&running);
    running.cluster.aws(&running.gateways[0], &["s3", "mb", "s3://files"]).run();
    let bytes = data::random(2100, 9 * data::MIB);
    running.store(&running.gateways[0], "before", &bytes);
    assert!(running.read(&running.gateways[1], "before") == bytes, "the other gateway gives the same");

    a_node_comes_back_elsewhere(&mut running);
    assert!(running.read(&running.gateways[1], "before") == bytes, "its pieces came back with it");
    running.store(&running.gateways[1], "between", &bytes);

    a_gateway_is_rolled(&mut running);
    let new = running.gateways.last().expect("it was added");
    assert!(running.read(new, "between") == bytes, "a new gateway reads it");
    running.store(new, "after", &bytes);
    nobody_complains(&running);
}

fn probes_are_answered(running: &Running) {
    for pod in running.gateways.iter().chain([&running.worker]).chain(&running.nodes) {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(pod.probe(&running.cluster, probe), "200", "{probe} of {}", pod.name);
        }
    }
    for pod in running.gateways.iter().chain([&running.worker]).chain(&running.nodes) {
        let metrics = running.metrics(pod);
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
    let took = running.until_it_takes_objects(&new);
    let gateway = Template::of(RENDER, "Deployment/cairn-gateway");
    assert!(took < gateway.pause, "an old one goes after {:?}, and nodes came after {took:?}", gateway.pause);
    running.gateways.push(new);
    let begun = Instant::now();
    let status = running.gateways.remove(0).end();
    assert_eq!(status.code(), Some(0), "told to end, it ends well");
    assert!(begun.elapsed() < GRACE, "it took {:?}", begun.elapsed());
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
