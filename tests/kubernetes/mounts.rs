//! Buckets as volumes: what a pod has written is in Cairn when it ends, however
//! it ends, as far as each class promises.

use crate::cluster::{Cluster, name};
use crate::s3::S3;
use crate::support::data::sha256;
use crate::volumes::provision;

const NAMESPACE: &str = "shop";

/// The Secret that drivers read, made as `docs/mounts.md` says.
pub fn give_secret(cluster: &Cluster, s3: &S3) {
    let access = s3.access();
    let values = [
        format!("--from-literal=accessKeyID={}", access.key),
        format!("--from-literal=secretAccessKey={}", access.secret),
        // The machine knows no name of the cluster's.
        format!("--from-literal=endpoint={}", access.endpoint),
        format!("--from-literal=region={}", access.region),
    ];
    cluster.kubectl("create secret generic csi-s3-secret --namespace kube-system").args(values).run();
}

/// The classes, their claims and the program that appends.
pub fn deploy(cluster: &Cluster, s3: &S3) -> String {
    s3.make_bucket("files");
    cluster.apply(&cluster.render("files"));
    let bucket = provision(cluster, s3, NAMESPACE, "streams");
    cluster.rolled_out(&format!("deployment/appender --namespace {NAMESPACE}"), 120);
    bucket
}

/// The class for files that are written once: a pod is killed the moment it
/// has written, and everything is in the bucket.
pub fn kill_a_writer(cluster: &Cluster, s3: &S3, bucket: &str) {
    cluster.apply(&writer("writer"));
    ready(cluster, "writer");
    let script = "head -c 12000000 /dev/urandom | tee /data/big | sha256sum && kill -9 -1";
    let line = format!("exec writer --namespace {NAMESPACE} -- sh -c");
    let told = cluster.kubectl(&line).arg(script).outcome().text();
    let told = told.split(' ').next().expect("a digest").to_owned();
    cluster.kubectl(&format!("delete pod writer --namespace {NAMESPACE} --grace-period=0 --force")).run();
    assert_eq!(sha256(&s3.get(&format!("/{bucket}/big"))), told, "the file is in the bucket as it was written");
    cluster.apply(&writer("reader"));
    ready(cluster, "reader");
    let line = format!("exec reader --namespace {NAMESPACE} -- sha256sum /data/big");
    assert!(cluster.kubectl(&line).run().text().starts_with(&told), "another pod reads it");
    cluster.kubectl(&format!("delete pod reader --namespace {NAMESPACE}")).run();
}

/// The class for everything else: a pod that is told to end loses no line,
/// and the next one goes on where it ended.
pub fn end_an_appender(cluster: &Cluster, s3: &S3) {
    let written = cluster.wait("a log of some lines", 60, || {
        let text = read_log(cluster)?;
        (text.lines().count() >= 5).then_some(text)
    });
    let pods = cluster.pods(NAMESPACE, "app.kubernetes.io/name=appender");
    let old = name(pods.first().expect("it runs"));
    cluster.kubectl(&format!("scale deployment/appender --replicas=0 --namespace {NAMESPACE}")).run();
    cluster.wait("the appender to be gone", 180, || {
        cluster.try_get(&format!("pod {old} --namespace {NAMESPACE}")).is_none().then_some(())
    });
    let stored = String::from_utf8(s3.get("/files/log.txt")).expect("text");
    assert!(stored.starts_with(&written), "every line is in the bucket: {written:?}, and there {stored:?}");
    cluster.kubectl(&format!("scale deployment/appender --replicas=1 --namespace {NAMESPACE}")).run();
    cluster.wait("the next one to go on", 120, || {
        let text = read_log(cluster)?;
        (text.starts_with(&stored) && text.len() > stored.len()).then_some(())
    });
    cluster.kubectl(&format!("scale deployment/appender --replicas=0 --namespace {NAMESPACE}")).run();
}

fn read_log(cluster: &Cluster) -> Option<String> {
    let line = format!("exec deployment/appender --namespace {NAMESPACE} --container appender -- cat /files/log.txt");
    let read = cluster.kubectl(&line).outcome();
    read.status.success().then(|| read.text())
}

fn ready(cluster: &Cluster, pod: &str) {
    let line = format!("wait pod/{pod} --namespace {NAMESPACE} --for=condition=Ready --timeout=120s");
    cluster.kubectl(&line).limit_seconds(130).run();
}

/// A pod that does nothing on the volume `streams` until it is told.
fn writer(name: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "securityContext": { "runAsUser": 65532, "runAsGroup": 65532 },
            "containers": [{
                "name": "writer", "image": "busybox:1.37",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "streams" } }],
        },
    })
    .to_string()
}
