//! A Docker registry in the cluster with its images in Cairn: pushed by an
//! engine, pulled by the kubelet, deleted, collected.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::s3::S3;
use crate::support::data::{MIB, random_file};

const NAMESPACE: &str = "registry";
const IMAGE: &str = "team/app";

/// The registry, and where it is reached.
pub struct Registry<'a> {
    cluster: &'a Cluster,
    address: String,
}

impl<'a> Registry<'a> {
    pub fn start(cluster: &'a Cluster, s3: &S3) -> Self {
        cluster.kubectl(&format!("create namespace {NAMESPACE}")).run();
        s3.give_keys(NAMESPACE, "registry-s3");
        cluster.apply(&cluster.render("registry"));
        cluster.rolled_out(&format!("deployment/registry --namespace {NAMESPACE}"), 180);
        let service = cluster.get(&format!("service registry --namespace {NAMESPACE}"));
        let address = service["spec"]["clusterIP"].as_str().expect("a Service has an address");
        Self { cluster, address: format!("{address}:5000") }
    }

    /// Pushes an image with a layer of several parts and has the kubelet pull
    /// it: its digest is the one that was pushed.
    pub fn push_and_pull(&self) {
        let digest = self.push("v1", 21);
        self.pull("v1", &digest);
    }

    /// The same with layers that clients get from Cairn itself.
    pub fn redirect(&self, s3: &S3) {
        let manifests = self.cluster.render("redirect").replace("http://cairn.example.org:9000", &s3.access().endpoint);
        self.cluster.apply(&manifests);
        self.cluster.rolled_out(&format!("deployment/registry --namespace {NAMESPACE}"), 180);
        let digest = self.push("v2", 22);
        let layer = self.layer("v2");
        let answer = self.curl(&["--head", &format!("http://{}/v2/{IMAGE}/blobs/{layer}", self.address)]);
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or_default();
        assert!(
            answer.contains(" 307 ") && location.starts_with(&s3.access().endpoint),
            "a redirect to Cairn: {answer}"
        );
        self.pull("v2", &digest);
    }

    /// Deletes one image: the other stays, and its layer's bytes are given back.
    pub fn delete_and_collect(&self, s3: &S3) {
        let (kept, deleted) = (self.layer("v1"), self.layer("v2"));
        let manifest = format!("http://{}/v2/{IMAGE}/manifests/{}", self.address, self.digest("v2"));
        assert!(self.curl(&["--include", "--request", "DELETE", &manifest]).contains(" 202 "), "the registry deletes");
        self.cluster.run_now("registry-collect", NAMESPACE, 300);
        let keys = s3.keys("images");
        let stored = |layer: &str| {
            let layer = layer.trim_start_matches("sha256:");
            keys.iter().any(|key| key.contains(layer) && key.ends_with("/data"))
        };
        assert!(stored(&kept) && !stored(&deleted), "only what was deleted is gone: {keys:#?}");
        self.push("v3", 23);
    }

    /// Builds an image of 20 MiB that do not compress, and pushes it; its digest.
    fn push(&self, tag: &str, seed: u64) -> String {
        let engine = &self.cluster.node.engine;
        let context = engine.work().folder(format!("image-{tag}"));
        random_file(&context.join("data"), seed, 20 * MIB);
        std::fs::write(context.join("Dockerfile"), "FROM busybox:1.37\nCOPY data /\n").expect("room for a file");
        let name = format!("{}/{IMAGE}:{tag}", self.address);
        let build = engine.docker(["build", "--quiet", "--tag", &name, "."]);
        build.env("DOCKER_BUILDKIT", "0").current_dir(&context).run();
        let pushed = engine.docker(["push", &name]).run().text();
        engine.docker(["rmi", "--force", &name]).run();
        let digest = pushed.split("digest: ").nth(1).and_then(|rest| rest.split(' ').next());
        digest.unwrap_or_else(|| panic!("docker push tells the digest: {pushed}")).to_owned()
    }

    /// Runs a pod of the image, for which the kubelet has to pull it.
    fn pull(&self, tag: &str, digest: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("app-{tag}"), "namespace": NAMESPACE },
            "spec": { "restartPolicy": "Never", "containers": [{
                "name": "app", "image": format!("{}/{IMAGE}:{tag}", self.address), "imagePullPolicy": "Always",
                "command": ["sh", "-c", "test $(stat -c %s /data) = 20971520"],
            }] },
        });
        self.cluster.apply(&pod.to_string());
        let status = self.cluster.wait("the image to be pulled and run", 120, || {
            let pod = self.cluster.get(&format!("pod app-{tag} --namespace {NAMESPACE}"));
            assert!(pod["status"]["phase"] != "Failed", "its layer is whole: {}", pod["status"]);
            (pod["status"]["phase"] == "Succeeded").then(|| pod["status"]["containerStatuses"][0].clone())
        });
        let pulled = status["imageID"].as_str().unwrap_or_default();
        assert!(pulled.ends_with(digest), "the image that was pushed, {digest}, is not the one that runs: {pulled}");
    }

    /// The digest of the image's last layer, the one of 20 MiB.
    fn layer(&self, tag: &str) -> String {
        let manifest: Value = serde_json::from_str(&self.manifest(tag, &[])).expect("a manifest is JSON");
        let layer = manifest["layers"].as_array().and_then(|layers| layers.last());
        layer.and_then(|layer| layer["digest"].as_str()).unwrap_or_else(|| panic!("layers: {manifest}")).to_owned()
    }

    fn digest(&self, tag: &str) -> String {
        let answer = self.manifest(tag, &["--head"]);
        let digest = answer.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: "));
        digest.unwrap_or_else(|| panic!("a digest: {answer}")).trim().to_owned()
    }

    fn manifest(&self, tag: &str, more: &[&str]) -> String {
        let address = format!("http://{}/v2/{IMAGE}/manifests/{tag}", self.address);
        let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
        self.curl(&[&["--header", accept, &address], more].concat())
    }

    fn curl(&self, arguments: &[&str]) -> String {
        self.cluster.node.engine.invoke("curl").args(["--silent", "--show-error"]).args(arguments).run().text()
    }
}
