//! Cairn on a real Kubernetes: API server, scheduler, controllers, kubelet and
//! kube-proxy 1.20, compiled from Debian's source package, on a Docker Engine
//! in namespaces of its own.
//!
//! Started by `tests/kubernetes/run` alone, which prepares the machine. The
//! steps build on each other, so they are one program and not many tests; each
//! is timed, and a run that went well writes its record into
//! `docs/kubernetes.md`, with what was not the real thing (`record::STAND_INS`).

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
mod record;
mod s3;
mod volumes;

mod backup;
mod gateways;
mod mounts;
mod nodes;
mod refusals;
mod registry;
mod storage;

use cluster::Cluster;
use record::Record;
use registry::Registry;

fn main() {
    programs::require();
    let mut record = Record::new();
    let cluster = record.step("a cluster starts", Cluster::start);
    record.step("images are made and loaded", || images::load(&cluster.node.engine));
    go_through(&mut record, &cluster);
    record.write();
}

fn go_through(record: &mut Record, cluster: &Cluster) {
    volumes::offer_disks(cluster);
    let secrets = storage::make_secrets(cluster);
    record.step("Cairn is deployed: PostgreSQL, two gateways, a worker, six nodes", || storage::deploy(cluster));
    let s3 = &record.step("S3 is served at the Service", || storage::connect(cluster, &secrets));
    record.step("put and get through the Service", || storage::put_and_get(s3));

    mounts::give_secret(cluster, s3);
    record.step("the CSI plug-in is known to the kubelet", || volumes::start_driver(cluster));
    record.step("an application's database starts", || backup::start_database(cluster, s3));
    let streams = record.step("volumes of both classes are mounted", || mounts::deploy(cluster, s3));
    let dumps =
        record.step("a CronJob dumps each minute through the volume", || backup::dump_through_volume(cluster, s3));
    record.step("a CronJob dumps as a stream", || backup::dump_as_stream(cluster, s3));
    record.step("the newest dump is proved to restore", || backup::verify(cluster));

    record.step("a pod is killed after a write to its volume", || mounts::kill_a_writer(cluster, s3, &streams));
    record.step("a pod that appends to its volume ends", || mounts::end_an_appender(cluster, s3));

    record.step("the gateways are rolled under load", || gateways::roll(cluster, s3));
    record.step("a node's pod is deleted, and is back as the same node", || nodes::replace_one(cluster, s3));

    let registry = &record.step("a registry starts", || Registry::start(cluster, s3));
    record.step("an image is pushed, and pulled by the kubelet", || registry.push_and_pull());
    record.step("the same with redirects", || registry.redirect(s3));
    record.step("an image is deleted and collected", || registry.delete_and_collect(s3));

    record.step("lost rows are restored from the newest dump", || backup::restore(cluster, s3, &dumps));

    record.step("a wrong key in a ConfigMap", || refusals::wrong_key(cluster));
    record.step("a Secret without one of its files", || refusals::missing_file(cluster));
    record.step("a Secret that is missing", || refusals::missing_secret(cluster));
    record.step("two pods on one volume", || refusals::two_on_one_volume(cluster));
    record.step("an arbitrary user", || refusals::arbitrary_user(cluster));
    record.step("what was written first is there still", || storage::verify(s3));
}
