//! What is wrong in a manifest is told in a sentence where people look: in the
//! log of a pod that Kubernetes keeps restarting, or in the pod's events.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::storage::NAMESPACE;

/// A setting that does not exist.
pub fn wrong_key(cluster: &Cluster) {
    let text = "listne = \"0.0.0.0:9000\"\n";
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "wrong-key", "namespace": NAMESPACE },
        "data": { "cairn.toml": text },
    });
    cluster.apply(&config.to_string());
    let mut pod = gateway(cluster, "wrong-key");
    volume(&mut pod, "config")["configMap"]["name"] = json!("wrong-key");
    let log = crash_loop(cluster, &pod);
    assert!(log.contains("listne"), "it names the setting: {log}");
}

/// A Secret without one of its files.
pub fn missing_file(cluster: &Cluster) {
    let mut pod = gateway(cluster, "missing-file");
    volume(&mut pod, "secrets")["secret"]["items"] = json!([
        { "key": "cluster.key", "path": "cluster.key" }, { "key": "join.token", "path": "join.token" },
        { "key": "access-key", "path": "access-key" },
    ]);
    let log = crash_loop(cluster, &pod);
    assert!(log.contains("/run/secrets/cairn/secret-key"), "it names the file: {log}");
}

/// A Secret that is not there: Kubernetes itself waits for it, and says so.
pub fn missing_secret(cluster: &Cluster) {
    let mut pod = gateway(cluster, "missing-secret");
    volume(&mut pod, "secrets")["secret"]["secretName"] = json!("forgotten");
    cluster.apply(&pod.to_string());
    cluster.wait("an event about the Secret", 90, || {
        let events =
            cluster.get(&format!("events --namespace {NAMESPACE} --field-selector involvedObject.name=missing-secret"));
        let events = events["items"].as_array().expect("a list").iter();
        let texts: Vec<String> = events.map(|event| event["message"].to_string()).collect();
        texts.iter().any(|text| text.contains("forgotten") && text.contains("not found")).then_some(())
    });
    remove(cluster, "missing-secret");
}

/// A second pod on a node's volume: it goes, and the first goes on.
pub fn two_on_one_volume(cluster: &Cluster) {
    let set = cluster.get(&format!("statefulset cairn-node --namespace {NAMESPACE}"));
    let mut pod = pod("second", &set["spec"]["template"]["spec"]);
    let claim = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data-cairn-node-0" } });
    pod["spec"]["volumes"].as_array_mut().expect("a list").push(claim);
    let log = crash_loop(cluster, &pod);
    assert!(log.contains("/data"), "it names the folder that another uses: {log}");
    cluster.rolled_out(&format!("statefulset/cairn-node --namespace {NAMESPACE}"), 30);
}

/// An arbitrary user, as OpenShift gives one to each namespace: that is none
/// of the wrong things.
pub fn arbitrary_user(cluster: &Cluster) {
    let mut pod = gateway(cluster, "arbitrary-user");
    pod["spec"]["securityContext"]["runAsUser"] = json!(1_000_650_000);
    pod["spec"]["securityContext"]["runAsGroup"] = json!(0);
    cluster.apply(&pod.to_string());
    let line = format!("wait pod/arbitrary-user --namespace {NAMESPACE} --for=condition=Ready --timeout=120s");
    cluster.kubectl(&line).limit_seconds(130).run();
    remove(cluster, "arbitrary-user");
}

/// Applies a pod and waits until Kubernetes has given up restarting it at
/// once; what it said last. The pod is gone afterwards.
fn crash_loop(cluster: &Cluster, pod: &Value) -> String {
    cluster.apply(&pod.to_string());
    let name = crate::cluster::name(pod);
    let last = cluster.wait(&format!("{name} to be in a crash loop"), 120, || {
        let pod = cluster.get(&format!("pod {name} --namespace {NAMESPACE}"));
        let status = pod["status"]["containerStatuses"][0].clone();
        (status["state"]["waiting"]["reason"] == "CrashLoopBackOff").then_some(status)
    });
    let code = &last["lastState"]["terminated"]["exitCode"];
    assert_eq!(*code, 2, "exit code 2 says that a restart does not help: {last}");
    let log = cluster.kubectl(&format!("logs {name} --namespace {NAMESPACE}")).run().text();
    remove(cluster, &name);
    assert_eq!(log.trim().lines().count(), 1, "one sentence says what is wrong: {log}");
    log
}

fn remove(cluster: &Cluster, pod: &str) {
    cluster.kubectl(&format!("delete pod {pod} --namespace {NAMESPACE} --wait=false --grace-period=1")).run();
}

/// A pod as the Deployment of gateways makes them, without their labels: no
/// Service sends it requests.
fn gateway(cluster: &Cluster, name: &str) -> Value {
    let deployment = cluster.get(&format!("deployment cairn-gateway --namespace {NAMESPACE}"));
    pod(name, &deployment["spec"]["template"]["spec"])
}

fn pod(name: &str, spec: &Value) -> Value {
    let meta = json!({ "name": name, "namespace": NAMESPACE });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec })
}

fn volume<'a>(pod: &'a mut Value, name: &str) -> &'a mut Value {
    let volumes = pod["spec"]["volumes"].as_array_mut().expect("a list");
    volumes.iter_mut().find(|volume| volume["name"] == name).expect("the manifests have this volume")
}
