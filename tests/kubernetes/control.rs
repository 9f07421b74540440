//! etcd, the API server, the controllers, the scheduler, the kubelet and
//! kube-proxy, all of them real, on the one machine; and a small name server,
//! because CoreDNS cannot be had.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::node::{ADDRESS, NAME, Node, PODS, SERVICES};
use crate::programs::{compiled, etcd, package, python};
use crate::support::process::{Daemon, Invocation};

const TOKEN: &str = "the-token-of-everybody-in-this-test";
const START_LIMIT: Duration = Duration::from_secs(120);

/// The cluster's own programs. They end with the machine's namespaces, or when
/// this is dropped.
pub struct Control {
    daemons: Vec<Daemon>,
    config: PathBuf,
    logs: PathBuf,
}

impl Control {
    pub fn start(node: &Node) -> Self {
        let folder = node.engine.work().folder("control");
        let logs = package("target/kubernetes/log");
        std::fs::create_dir_all(&logs).expect("room below target/");
        let mut control = Self { daemons: Vec::new(), config: folder.join("kubeconfig"), logs };
        control.start_server(node, &folder);
        control.start_controllers(node, &folder);
        control.start_kubelet(node);
        control.start_network(node, &folder);
        control
    }

    /// How clients find the API server and who they are.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Another program of the node's, which ends with it.
    pub fn add(&mut self, name: &str, invocation: Invocation) -> &mut Daemon {
        let log = self.logs.join(format!("{name}.log"));
        self.daemons.push(invocation.start(&log));
        self.daemons.last_mut().expect("it was just put there")
    }

    /// Panics with the log of a program that has ended.
    pub fn check(&mut self) {
        for daemon in &mut self.daemons {
            assert!(!daemon.has_ended(), "a part of the cluster has ended: {}", daemon.story());
        }
    }

    fn start_server(&mut self, node: &Node, folder: &Path) {
        let store = node.engine.invoke(etcd()).arg("--data-dir").arg(folder.join("etcd"));
        self.add("etcd", store.args(["--unsafe-no-fsync", "--log-level=warn"]));
        let key = folder.join("accounts.key");
        node.engine.invoke("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").run();
        let tokens = folder.join("tokens");
        std::fs::write(&tokens, format!("{TOKEN},admin,1,system:masters\n")).expect("room for a file");
        let server = node.engine.invoke(compiled("kube-apiserver"));
        let server = server.args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            "--secure-port=6443",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--kubelet-preferred-address-types=InternalIP",
            &format!("--advertise-address={ADDRESS}"),
            &format!("--service-cluster-ip-range={SERVICES}"),
            &format!("--cert-dir={}", folder.join("server").display()),
            &format!("--token-auth-file={}", tokens.display()),
            &format!("--service-account-key-file={}", key.display()),
            &format!("--service-account-signing-key-file={}", key.display()),
        ]);
        let authority = folder.join("server/apiserver.crt");
        let ask = |config: &Path| {
            let ask = node.engine.invoke(crate::programs::kubectl()).arg("--kubeconfig").arg(config);
            ask.args(["get", "--raw", "/readyz"]).outcome().status.success()
        };
        let config = self.config.clone();
        self.add("kube-apiserver", server).wait_until("answer of the API server", START_LIMIT, || {
            if !config.exists() && authority.exists() {
                std::fs::write(&config, client_config(&authority)).expect("room for a file");
            }
            (config.exists() && ask(&config)).then_some(())
        });
    }

    fn start_controllers(&mut self, node: &Node, folder: &Path) {
        let config = format!("--kubeconfig={}", self.config.display());
        let manager = node.engine.invoke(compiled("kube-controller-manager")).args([
            &config,
            "--leader-elect=false",
            &format!("--service-account-private-key-file={}", folder.join("accounts.key").display()),
            &format!("--root-ca-file={}", folder.join("server/apiserver.crt").display()),
        ]);
        self.add("kube-controller-manager", manager);
        let scheduler = node.engine.invoke(compiled("kube-scheduler")).args([&config, "--leader-elect=false"]);
        self.add("kube-scheduler", scheduler);
    }

    /// With the container runtime that it had built in then: the Docker Engine.
    fn start_kubelet(&mut self, node: &Node) {
        let kubelet = node.engine.invoke(compiled("kubelet")).args([
            "--container-runtime=docker",
            "--cgroup-driver=cgroupfs",
            "--cgroups-per-qos=false",
            "--enforce-node-allocatable=",
            "--fail-swap-on=false",
            "--eviction-hard=",
            "--image-gc-high-threshold=100",
            "--hairpin-mode=none",
            "--oom-score-adj=0",
            "--cluster-domain=cluster.local",
            "--resolv-conf=",
            "--pod-infra-container-image=pause:1",
            &format!("--docker-endpoint={}", node.engine.address()),
            &format!("--root-dir={}", node.kubelet().display()),
            &format!("--cert-dir={}", node.kubelet().join("pki").display()),
            &format!("--kubeconfig={}", self.config.display()),
            &format!("--hostname-override={NAME}"),
            &format!("--node-ip={ADDRESS}"),
            &format!("--address={ADDRESS}"),
            &format!("--cluster-dns={ADDRESS}"),
        ]);
        self.add("kubelet", kubelet);
    }

    fn start_network(&mut self, node: &Node, folder: &Path) {
        let proxy = node.engine.invoke(compiled("kube-proxy")).args([
            "--proxy-mode=iptables",
            "--iptables-min-sync-period=100ms",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--oom-score-adj=0",
            &format!("--cluster-cidr={PODS}"),
            &format!("--kubeconfig={}", self.config.display()),
            &format!("--hostname-override={NAME}"),
        ]);
        self.add("kube-proxy", proxy);
        let names = node.engine.invoke(python()).arg(package("tests/kubernetes/names.py")).args([ADDRESS, TOKEN]);
        let names = names.arg(folder.join("server/apiserver.crt"));
        self.add("names", names);
    }
}

fn client_config(authority: &Path) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters:\n- name: test\n  cluster:\n    server: https://{ADDRESS}:6443\n    certificate-authority: {}\n\
         users:\n- name: admin\n  user:\n    token: {TOKEN}\n\
         contexts:\n- name: test\n  context:\n    cluster: test\n    user: admin\n",
        authority.display()
    )
}
