//! Volumes, made the way that provisioners make them: folders of the machine
//! for claims without a class of their own, buckets for those of a CSI driver.

use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::node::NAME;
use crate::programs::{package, python, rclone};
use crate::s3::S3;

/// The driver that is stood in for; its fork takes options for its mounters.
pub const DRIVER: &str = "ru.yandex.s3.csi";
const DISKS: u32 = 12;

/// Offers folders of the machine as the default class of volumes.
pub fn offer_disks(cluster: &Cluster) {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": { "name": "disks", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": "kubernetes.io/no-provisioner",
    });
    cluster.apply(&class.to_string());
    let disks = (0..DISKS).map(|number| {
        let folder = cluster.node.engine.work().folder(format!("disks/{number}"));
        disk(number, &folder).to_string()
    });
    cluster.apply(&disks.collect::<Vec<_>>().join("\n---\n"));
}

/// The kubelet gives it to the group that the pod asks for, as on a real disk.
fn disk(number: u32, folder: &Path) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": { "name": format!("disk-{number}") },
        "spec": {
            "storageClassName": "disks", "capacity": { "storage": "20Gi" }, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "local": { "path": folder },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [NAME] }] }
            ] } },
        },
    })
}

/// Starts the CSI plug-in and waits until the kubelet knows it.
pub fn start_driver(cluster: &Cluster) {
    let driver = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": { "name": DRIVER },
        "spec": { "attachRequired": false, "podInfoOnMount": true },
    });
    cluster.apply(&driver.to_string());
    let rclone = rclone();
    let programs = rclone.parent().expect("it is in a folder").display().to_string();
    let plugin = cluster.node.engine.invoke(python()).arg(package("tests/kubernetes/csi/plugin.py"));
    let plugin = plugin.args([DRIVER, NAME]).arg(cluster.node.kubelet());
    cluster.add("csi", plugin.env("PATH", format!("{programs}:/usr/sbin:/usr/bin:/sbin:/bin")));
    cluster.wait("the kubelet to know the driver", 60, || {
        let node = cluster.try_get(&format!("csinode {NAME}"))?;
        node["spec"]["drivers"].as_array()?.iter().any(|driver| driver["name"] == DRIVER).then_some(())
    });
}

/// What the driver's provisioner does for a claim: a bucket, and a volume with
/// the class's parameters. Answers the bucket's name.
pub fn provision(cluster: &Cluster, s3: &S3, namespace: &str, claim: &str) -> String {
    let claim = cluster.get(&format!("pvc {claim} --namespace {namespace}"));
    let class = cluster.get(&format!("storageclass {}", claim["spec"]["storageClassName"].as_str().expect("a class")));
    assert_eq!(class["provisioner"], DRIVER, "the class is the driver's");
    let bucket = format!("pvc-{}", claim["metadata"]["uid"].as_str().expect("an object has a uid"));
    s3.make_bucket(&bucket);
    let parameters = &class["parameters"];
    let secret = |kind: &str| {
        json!({
            "name": parameters[format!("csi.storage.k8s.io/{kind}-secret-name")],
            "namespace": parameters[format!("csi.storage.k8s.io/{kind}-secret-namespace")],
        })
    };
    let own: serde_json::Map<String, Value> = parameters
        .as_object()
        .expect("parameters")
        .iter()
        .filter(|(name, _)| !name.starts_with("csi.storage.k8s.io/"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": bucket },
        "spec": {
            "storageClassName": claim["spec"]["storageClassName"], "accessModes": claim["spec"]["accessModes"],
            "capacity": claim["spec"]["resources"]["requests"],
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"],
            "claimRef": { "namespace": namespace, "name": claim["metadata"]["name"], "uid": claim["metadata"]["uid"] },
            "csi": {
                "driver": DRIVER, "volumeHandle": bucket, "volumeAttributes": own,
                "nodeStageSecretRef": secret("node-stage"), "nodePublishSecretRef": secret("node-publish"),
            },
        },
    });
    cluster.apply(&volume.to_string());
    bucket
}
