//! Cairn on a real Kubernetes: API server, scheduler, controllers, kubelet and
//! kube-proxy 1.20, compiled from Debian's source package, on a Docker Engine
//! in namespaces of its own.
//!
//! Started by `tests/kubernetes/run` alone, which prepares the machine. The
//! steps build on each other, so they are one program and not many tests; each
//! is timed, and a run that went well writes its record into
//! `docs/kubernetes.md`.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "shared with the suite `network`, which uses more of it")]
#[path = "../network/hosts.rs"]
mod hosts;
#[allow(dead_code, reason = "shared with the suite `network`, which uses more of it")]
#[path = "../network/machine.rs"]
mod machine;

#[allow(dead_code, reason = "shared with the suite `deploy`, which uses more of it")]
#[path = "../deploy/engine.rs"]
mod engine;

mod cluster;
mod control;
mod images;
mod node;
mod programs;
mod s3;
mod volumes;

fn main() {
    programs::require();
    let cluster = cluster::Cluster::start();
    images::load(&cluster.node.engine);
    volumes::offer_disks(&cluster);
    volumes::start_driver(&cluster);
    cluster.tell_story();
}
