//! What the steps do with the cluster: apply, ask, wait, speak S3.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Control;
use crate::node::Node;
use crate::programs::{kubectl, package};
use crate::support::cairn::tell;
use crate::support::poll;
use crate::support::process::Invocation;

const PAUSE: Duration = Duration::from_millis(250);

/// A Kubernetes of one machine.
pub struct Cluster {
    // Ends before its machine does.
    control: RefCell<Control>,
    pub node: Node,
    files: Cell<u32>,
}

impl Cluster {
    pub fn start() -> Self {
        let node = Node::start();
        let control = RefCell::new(Control::start(&node));
        let cluster = Self { control, node, files: Cell::new(0) };
        cluster.wait("the machine to be ready", 120, || {
            let node = cluster.try_get(&format!("node {}", crate::node::NAME))?;
            condition(&node, "Ready").then_some(())
        });
        cluster
    }

    /// Another program of the machine's, such as a storage plug-in.
    pub fn add(&self, name: &str, invocation: Invocation) {
        self.control.borrow_mut().add(name, invocation);
    }

    /// `kubectl`; words are separated by single spaces.
    pub fn kubectl(&self, line: &str) -> Invocation {
        let config = self.control.borrow().config().to_owned();
        self.node.engine.invoke(kubectl()).arg("--kubeconfig").arg(config).args(line.split(' '))
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) {
        self.kubectl("apply --filename").arg(self.file(manifests)).run();
    }

    /// A fresh file with this text.
    pub fn file(&self, text: &str) -> PathBuf {
        let number = self.files.replace(self.files.get() + 1);
        let path = self.node.engine.work().folder("files").join(format!("{number}.yaml"));
        std::fs::write(&path, text).expect("room for a file");
        path
    }

    /// What `kubectl get` has about something.
    pub fn get(&self, what: &str) -> Value {
        self.try_get(what).unwrap_or_else(|| panic!("there is no {what}"))
    }

    /// The same where it may not be there.
    pub fn try_get(&self, what: &str) -> Option<Value> {
        let asked = self.kubectl(&format!("get {what} --output json")).outcome();
        asked.status.success().then(|| serde_json::from_slice(&asked.stdout).expect("kubectl prints JSON"))
    }

    /// What `kubectl kustomize` makes of one of the tests' overlays.
    pub fn render(&self, overlay: &str) -> String {
        let folder = package("tests/kubernetes/overlay").join(overlay);
        self.kubectl("kustomize").arg(folder).run().text()
    }

    /// Pods with a label, those that are going not among them.
    pub fn pods(&self, namespace: &str, label: &str) -> Vec<Value> {
        let list = self.get(&format!("pods --namespace {namespace} --selector {label}"));
        let pods = list["items"].as_array().expect("a list").iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
    }

    /// Waits until `ready` answers; panics with the state of the cluster
    /// when it does not, or when a part of the cluster has ended.
    pub fn wait<T>(&self, what: &str, seconds: u64, ready: impl FnMut() -> Option<T>) -> T {
        let mut ready = ready;
        let found = poll(Duration::from_secs(seconds), PAUSE, || {
            self.control.borrow_mut().check();
            ready()
        });
        found.unwrap_or_else(|| panic!("waited {seconds} s in vain for {what}"))
    }

    /// Waits until a Deployment or StatefulSet is as it was ordered.
    pub fn rolled_out(&self, what: &str, seconds: u64) {
        let line = format!("rollout status {what} --timeout={seconds}s");
        self.kubectl(&line).limit_seconds(seconds + 10).run();
    }

    /// Waits until a Job has succeeded; panics when it has failed.
    pub fn succeeded(&self, job: &str, seconds: u64) {
        self.wait(&format!("{job} to succeed"), seconds, || {
            let job = self.get(job);
            assert!(!condition(&job, "Failed"), "the job has failed: {}", job["status"]);
            condition(&job, "Complete").then_some(())
        });
    }

    /// Starts a CronJob's job at once, and waits for its success. (`kubectl
    /// create job --from` asks for an API that this server does not have.)
    pub fn run_now(&self, cron_job: &str, namespace: &str, seconds: u64) {
        let template = self.get(&format!("cronjobs.v1beta1.batch {cron_job} --namespace {namespace}"));
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": format!("{cron_job}-now"), "namespace": namespace },
            "spec": template["spec"]["jobTemplate"]["spec"],
        });
        self.apply(&job.to_string());
        self.succeeded(&format!("job/{cron_job}-now --namespace {namespace}"), seconds);
    }

    /// Runs something on a thread in the cluster's network.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.node.engine.inside(work)
    }

    /// What is not as it should be, for a failure's message.
    pub fn tell_story(&self) {
        for line in
            ["get pods,pvc,jobs --all-namespaces --output wide", "get events --all-namespaces --sort-by=.lastTimestamp"]
        {
            let shown = self.kubectl(line).outcome().text();
            let lines: Vec<&str> = shown.lines().collect();
            tell(&format!("--- kubectl {line}\n{}", lines[lines.len().saturating_sub(60)..].join("\n")));
        }
        for pod in self.get("pods --all-namespaces")["items"].as_array().expect("a list") {
            let (name, namespace) = (name(pod), pod["metadata"]["namespace"].as_str().unwrap_or_default());
            let logs =
                self.kubectl(&format!("logs {name} --namespace {namespace} --all-containers --tail=15")).outcome();
            tell(&format!("--- {namespace}/{name}\n{}{}", logs.text(), logs.stderr));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_story();
        }
    }
}

/// Whether a condition of an object's status is true.
pub fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|found| found["type"] == kind && found["status"] == "True")
}

/// The name of an object.
pub fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("objects have names").to_owned()
}
