//! The registry's configuration and the steps of its garbage collection, as
//! docker/kubernetes/registry has them: read-only while it collects, so that no
//! upload loses its layers, and open again afterwards whatever happened.
//!
//! There is no cluster here: `kubectl` is a script of this test that restarts the
//! registry with the configuration that it is told to set. tests/kubernetes/run has
//! the real one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kubernetes;
use crate::support::process::{Daemon, Invocation, free_port};
use crate::visit::Visit;

const SCRIPTED_KUBECTL: &str = "#!/bin/sh\necho \"$*\" >>\"$CALLS\"\n";

#[test]
fn the_read_only_registry_serves_and_refuses_uploads() {
    let visit = Visit::new("readonly");
    visit.make_bucket();
    let open = Registry::start(&visit, "config.yml", &[]);
    assert_eq!(open.status("POST", "/v2/app/blobs/uploads/"), "202");
    drop(open);
    let closed = Registry::start(&visit, "readonly.yml", &[]);
    assert_eq!(closed.status("GET", "/v2/"), "200");
    assert_eq!(closed.status("POST", "/v2/app/blobs/uploads/"), "405");
}

#[test]
fn redirects_are_turned_on_by_a_variable() {
    let visit = Visit::new("redirected");
    visit.make_bucket();
    let digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let registry = Registry::start(&visit, "config.yml", &[]);
    registry.store("foo", digest);
    assert_eq!(registry.status("GET", &format!("/v2/app/blobs/{digest}")), "200");
    drop(registry);
    let overlay = kubernetes::text("registry/redirect/kustomization.yaml");
    assert!(overlay.contains("name: REGISTRY_STORAGE_REDIRECT_DISABLE\n          value: \"false\""), "{overlay}");
    let registry = Registry::start(&visit, "config.yml", &[("REGISTRY_STORAGE_REDIRECT_DISABLE", "false")]);
    assert_eq!(registry.status("GET", &format!("/v2/app/blobs/{digest}")), "307");
}

#[test]
fn the_collection_closes_collects_and_opens() {
    let visit = Visit::new("collect");
    visit.make_bucket();
    let digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    Registry::start(&visit, "config.yml", &[]).store("foo", digest);
    let blobs = || visit.keys("registry/docker/registry/v2/blobs/").len();
    assert_eq!(blobs(), 1, "a layer that no image refers to");
    let config = configure(&visit, "config.yml", 1);
    let steps = Steps::new(&visit, &config);
    steps.call("close").run();
    steps.call("collect").run();
    steps.call("open").run();
    assert_eq!(blobs(), 0, "it was nobody's");
    let set = "set env deployment/registry --containers=registry REGISTRY_CONFIGURATION_PATH=/etc/registry";
    let wait = "rollout status deployment/registry --timeout=10m";
    let wanted = [format!("{set}/readonly.yml"), wait.to_owned(), format!("{set}/config.yml"), wait.to_owned()];
    assert_eq!(steps.calls(), wanted);
}

#[test]
fn a_collection_that_fails_is_told_and_the_registry_is_open_again() {
    let visit = Visit::new("uncollected");
    // No bucket: nothing can be collected.
    let config = configure(&visit, "config.yml", 1);
    let steps = Steps::new(&visit, &config);
    steps.call("close").run();
    steps.call("collect").run();
    let said = steps.call("open").fails().stderr;
    assert!(said.contains("the garbage collection failed"), "{said}");
    assert!(steps.calls()[2].ends_with("REGISTRY_CONFIGURATION_PATH=/etc/registry/config.yml"));
    steps.call("shut").fails();
}

/// One of the two configurations, with this test's endpoint, bucket and port.
fn configure(visit: &Visit, name: &str, port: u16) -> PathBuf {
    let path = visit.work.join(name);
    let text = kubernetes::text(&format!("registry/base/{name}"));
    let own = text
        .replace("http://cairn.cairn:9000", &visit.access().endpoint)
        .replace("bucket: images", &format!("bucket: {}", visit.bucket))
        .replace("0.0.0.0:5000", &format!("127.0.0.1:{port}"));
    std::fs::write(&path, own).expect("room for a configuration");
    path
}

/// The keys, as the manifests hand them over.
fn with_keys(visit: &Visit, call: Invocation) -> Invocation {
    let access = visit.access();
    call.env("REGISTRY_STORAGE_S3_ACCESSKEY", &access.key)
        .env("REGISTRY_STORAGE_S3_SECRETKEY", &access.secret)
        .env("REGISTRY_HTTP_SECRET", &access.secret)
}

struct Registry<'a> {
    visit: &'a Visit,
    address: String,
    _daemon: Daemon,
}

impl<'a> Registry<'a> {
    fn start(visit: &'a Visit, config: &str, variables: &[(&str, &str)]) -> Self {
        let port = free_port();
        let path = configure(visit, config, port);
        let call = with_keys(visit, visit.call("docker-registry")).arg("serve");
        let call = variables.iter().fold(call, |call, (name, value)| call.env(name, value));
        let call = call.env("REGISTRY_CONFIGURATION_PATH", &path);
        let address = format!("127.0.0.1:{port}");
        let mut daemon = call.start(&visit.work.join("registry.log"));
        daemon
            .wait_until("listening registry", Duration::from_secs(60), || std::net::TcpStream::connect(&address).ok());
        Self { visit, address, _daemon: daemon }
    }

    fn curl(&self, arguments: &[&str]) -> String {
        self.visit.call("curl").args(["-s", "--fail-with-body"]).args(arguments).run().text()
    }

    fn status(&self, method: &str, path: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        self.visit.call("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, &url]).run().text()
    }

    /// Upload a layer that no image refers to.
    fn store(&self, layer: &str, digest: &str) {
        let begin = format!("http://{}/v2/app/blobs/uploads/", self.address);
        let place = self.curl(&["-X", "POST", "-o", "/dev/null", "-w", "%header{location}", &begin]);
        let end = format!("{place}&digest={digest}");
        self.curl(&["-X", "PUT", "-H", "Content-Type: application/octet-stream", "--data-binary", layer, &end]);
    }
}

/// The steps of the job, with a folder for each of its volumes.
struct Steps<'a> {
    visit: &'a Visit,
    script: PathBuf,
    state: PathBuf,
}

impl<'a> Steps<'a> {
    fn new(visit: &'a Visit, config: &Path) -> Self {
        let programs = visit.work.folder("programs");
        executable(visit, &programs.join("kubectl"), SCRIPTED_KUBECTL);
        executable(visit, &programs.join("registry"), "#!/bin/sh\nexec docker-registry \"$@\"\n");
        let script = visit.work.join("collect");
        let text = kubernetes::text("registry/base/collect.sh");
        let text = text.replace("config=/etc/registry/config.yml", &format!("config={}", config.display()));
        std::fs::write(&script, text).expect("room for a script");
        Self { visit, script, state: visit.work.folder("state") }
    }

    fn call(&self, step: &str) -> Invocation {
        let path = format!("{}:/usr/bin:/bin", self.visit.work.join("programs").display());
        let call = with_keys(self.visit, self.visit.call("/bin/sh")).arg(&self.script).arg(step);
        call.env("PATH", path).env("STATE", &self.state).env("CALLS", self.state.join("calls"))
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.state.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Written by a process of its own: what this one has open for writing, a child of a
/// test beside this one may have too, and then nobody can execute it.
fn executable(visit: &Visit, path: &Path, text: &str) {
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    visit.call("/bin/sh").args(["-c", write]).arg(path).arg(text).run();
}
