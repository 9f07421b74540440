//! The Docker registry with its S3 driver, and skopeo to push and pull.
//!
//! It runs in both of its ways: blobs through the registry, and blobs by
//! redirect to presigned addresses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::data;
use crate::support::process::{Daemon, free_port};
use crate::visit::Visit;

/// Large enough for multipart uploads, and for the registry to move the
/// finished layer with UploadPartCopy.
const LAYER_BYTES: u64 = 60 * data::MIB;

#[test]
fn images_through_the_registry() {
    images_round_trip(true);
}

#[test]
fn images_by_redirect() {
    images_round_trip(false);
}

fn images_round_trip(redirect_disabled: bool) {
    let visit = Visit::new(if redirect_disabled { "registry" } else { "redirect" });
    visit.make_bucket();
    let config = configure(&visit, redirect_disabled);
    let first = Image::make(&visit.work.folder("first"), 50);
    let second = Image::make(&visit.work.folder("second"), 60);
    {
        let registry = Registry::start(&visit, &config);
        registry.push(&first, "first:v1");
        registry.push(&second, "second:v1");
        registry.push(&second, "second:v2");
        registry.pull_and_compare(&first, "first:v1");
        registry.pull_and_compare(&second, "second:v2");
        registry.follows_redirects(&second, "second", !redirect_disabled);
        registry.delete("first:v1");
    }
    assert!(first.blobs.keys().all(|digest| stored(&visit).contains(digest)), "a delete alone frees nothing");
    let collect = ["garbage-collect", "--delete-untagged"];
    visit.call("docker-registry").args(collect).arg(&config).run();
    let left = stored(&visit);
    assert!(!first.blobs.keys().any(|digest| left.contains(digest)), "the first image's blobs should be gone: {left}");
    assert!(
        second.blobs.keys().all(|digest| left.contains(digest)),
        "the second image's blobs should be there: {left}"
    );
    Registry::start(&visit, &config).pull_and_compare(&second, "second:v1");
}

/// Names of the objects that hold blobs, one a line. (Links to layers stay
/// behind when a registry collects garbage.)
fn stored(visit: &Visit) -> String {
    visit.keys("reg/docker/registry/v2/blobs/").join("\n")
}

/// The registry's configuration, as in the README.
fn configure(visit: &Visit, redirect_disabled: bool) -> PathBuf {
    let access = visit.access();
    let path = visit.work.join("registry.yml");
    let text = format!(
        "version: 0.1
log: {{level: info}}
http: {{addr: 127.0.0.1:{port}}}
storage:
  s3:
    accesskey: {key}
    secretkey: {secret}
    region: {region}
    regionendpoint: {endpoint}
    bucket: {bucket}
    secure: false
    v4auth: true
    rootdirectory: /reg
    chunksize: 5242880
    multipartcopychunksize: 5242880
    multipartcopymaxconcurrency: 10
    multipartcopythresholdsize: 5242880
  delete: {{enabled: true}}
  redirect: {{disable: {redirect_disabled}}}
",
        port = free_port(),
        key = access.key,
        secret = access.secret,
        region = access.region,
        endpoint = access.endpoint,
        bucket = visit.bucket,
    );
    std::fs::write(&path, text).expect("room for a configuration");
    path
}

/// A running registry.
struct Registry<'a> {
    visit: &'a Visit,
    address: String,
    daemon: Daemon,
}

impl<'a> Registry<'a> {
    fn start(visit: &'a Visit, config: &Path) -> Self {
        let text = std::fs::read_to_string(config).expect("it was just written");
        let address =
            text.split_once("addr: ").and_then(|(_, rest)| rest.split_once('}')).expect("an address").0.to_owned();
        let log = visit.work.join("registry.log");
        let mut daemon = visit.call("docker-registry").arg("serve").arg(config).start(&log);
        daemon
            .wait_until("listening registry", Duration::from_secs(60), || std::net::TcpStream::connect(&address).ok());
        Self { visit, address, daemon }
    }

    /// `skopeo copy`; a failure shows the registry's log too.
    fn copy(&self, from: &str, to: &str) {
        let outcome = self
            .visit
            .call("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--preserve-digests",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                from,
                to,
            ])
            .outcome();
        assert!(outcome.status.success(), "{}\n{}", outcome.story(), self.daemon.story());
    }

    fn push(&self, image: &Image, name: &str) {
        self.copy(&format!("oci:{}", image.path.display()), &format!("docker://{}/{name}", self.address));
    }

    /// Every blob that comes back has the digest it was pushed with.
    fn pull_and_compare(&self, image: &Image, name: &str) {
        let to = self.visit.work.join(format!("pulled-{}", name.replace(':', "-")));
        self.copy(&format!("docker://{}/{name}", self.address), &format!("oci:{}", to.display()));
        assert_eq!(blobs(&to), image.blobs, "{name} came back changed");
        std::fs::remove_dir_all(to).expect("it was just written");
    }

    /// A blob's address answers with a redirect to S3 exactly where the
    /// registry was told so.
    fn follows_redirects(&self, image: &Image, name: &str, redirected: bool) {
        let (digest, _) = image.blobs.iter().max_by_key(|(_, size)| **size).expect("an image has layers");
        let address = format!("http://{}/v2/{name}/blobs/sha256:{digest}", self.address);
        let head = ["-sS", "-o", "/dev/null", "-w", "%{http_code}"];
        let status = self.visit.call("curl").args(head).arg(address).run().text();
        assert_eq!(status, if redirected { "307" } else { "200" });
    }

    fn delete(&self, name: &str) {
        let image = format!("docker://{}/{name}", self.address);
        self.visit.call("skopeo").args(["delete", "--tls-verify=false", &image]).run();
        let inspect = ["inspect", "--raw", "--tls-verify=false", &image];
        self.visit.call("skopeo").args(inspect).fails();
    }
}

/// An image without a base, in the layout of the Open Container Initiative,
/// made without any container tool.
struct Image {
    path: PathBuf,
    blobs: BTreeMap<String, u64>,
}

impl Image {
    /// Two layers of random data, of which the first is large.
    fn make(folder: &Path, seed: u64) -> Self {
        let path = folder.join("oci");
        std::fs::create_dir_all(path.join("blobs/sha256")).expect("a folder of our own");
        let layers = [Self::layer(folder, &path, seed, LAYER_BYTES), Self::layer(folder, &path, seed + 1, 300_000)];
        let diff_ids: Vec<String> = layers.iter().map(|(digest, _)| format!("sha256:{digest}")).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/data"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Self::document(&path, &config);
        let describe = |kind: &str, (digest, size): &(String, u64)| serde_json::json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"), "size": size});
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("config.v1+json", &config),
            "layers": layers.iter().map(|layer| describe("layer.v1.tar", layer)).collect::<Vec<_>>(),
        });
        let manifest = Self::document(&path, &manifest);
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [describe("manifest.v1+json", &manifest)]});
        std::fs::write(path.join("index.json"), index.to_string()).expect("room for an index");
        std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("room for a layout");
        let blobs = blobs(&path);
        Self { path, blobs }
    }

    /// A tar of one random file; its digest and size.
    fn layer(folder: &Path, image: &Path, seed: u64, length_bytes: u64) -> (String, u64) {
        let file = format!("data-{seed}");
        data::random_file(&folder.join(&file), seed, length_bytes);
        let tar = folder.join("layer.tar");
        let status = std::process::Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(&tar).arg(&file).status();
        assert!(status.is_ok_and(|status| status.success()), "tar failed");
        let digest = data::sha256_file(&tar);
        let size_bytes = std::fs::metadata(&tar).expect("it was just written").len();
        std::fs::rename(&tar, image.join("blobs/sha256").join(&digest)).expect("the same file system");
        std::fs::remove_file(folder.join(file)).expect("it was just written");
        (digest, size_bytes)
    }

    /// A JSON document as a blob; its digest and size.
    fn document(image: &Path, document: &serde_json::Value) -> (String, u64) {
        let bytes = document.to_string().into_bytes();
        let digest = data::sha256(&bytes);
        std::fs::write(image.join("blobs/sha256").join(&digest), &bytes).expect("room for a document");
        (digest, bytes.len() as u64)
    }
}

/// Every blob of an image on disk: its name, which must be its digest, and its
/// size.
fn blobs(image: &Path) -> BTreeMap<String, u64> {
    let folder = image.join("blobs/sha256");
    let files = data::digests_of_tree(&folder);
    let sized = files.into_iter().map(|(name, digest)| {
        assert_eq!(name.to_string_lossy(), digest, "a blob whose name is not its digest");
        let size_bytes = std::fs::metadata(folder.join(name)).expect("it was just read").len();
        (digest, size_bytes)
    });
    sized.collect()
}
