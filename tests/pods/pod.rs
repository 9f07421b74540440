//! One pod: what its manifest says, and the process that runs because of it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::hosts::Host;
use crate::render::{self, at, list, text, title};
use crate::support::poll;
use crate::support::process::Daemon;

/// What a manifest says of its pods.
#[derive(Clone)]
pub struct Template {
    name: String,
    container: Value,
    spec: Value,
    /// The cairn.toml.
    pub settings: toml::Table,
    /// Who it runs as, `user:group`.
    pub user: String,
    /// The mode of secrets.
    pub mode: String,
    /// How long one has to be ready before another is replaced.
    pub pause: Duration,
}

impl Template {
    /// Of the object with this title among those of a render.
    pub fn of(render: &str, wanted: &str) -> Self {
        let objects = render::one(render);
        let object = objects.iter().find(|object| title(object) == wanted).expect("the render has it");
        let spec = at(object, "spec/template/spec").clone();
        let volume =
            |name: &str| list(&spec, "volumes").iter().find(|one| text(one, "name") == name).expect("a volume");
        let map = text(volume("config"), "configMap/name");
        let map = render::of_kind(objects, "ConfigMap").find(|one| text(one, "metadata/name") == map);
        let settings = text(map.expect("its ConfigMap"), "data/cairn.toml").parse().expect("TOML");
        let mode = at(volume("secrets"), "secret/defaultMode").as_u64().expect("a mode");
        let id = |name: &str| at(&spec, &format!("securityContext/{name}")).as_u64().expect("a number");
        Self {
            name: text(object, "metadata/name").to_owned(),
            container: at(&spec, "containers/0").clone(),
            settings,
            user: format!("{}:{}", id("runAsUser"), id("runAsGroup")),
            mode: format!("{mode:04o}"),
            pause: Duration::from_secs(at(object, "spec/minReadySeconds").as_u64().unwrap_or(0)),
            spec,
        }
    }

    /// The variables, on the machine `machine`, and the image's own.
    fn variables(&self, machine: &str) -> Vec<(String, String)> {
        let mut variables = vec![("CAIRN_DATA".to_owned(), "/data".to_owned())];
        for variable in list(&self.container, "env") {
            let value = match text(variable, "valueFrom/fieldRef/fieldPath") {
                "spec.nodeName" => machine.to_owned(),
                "" => variables.iter().fold(text(variable, "value").to_owned(), |value, (name, other)| {
                    value.replace(&format!("$({name})"), other)
                }),
                other => panic!("{other} is no field that this knows"),
            };
            variables.push((text(variable, "name").to_owned(), value));
        }
        variables
    }

    /// The path and port of a probe.
    fn probe(&self, name: &str) -> (u64, &str) {
        let port = text(&self.container, &format!("{name}/httpGet/port"));
        let ports = list(&self.container, "ports").iter().find(|one| text(one, "name") == port);
        let port = ports.expect("a port of that name")["containerPort"].as_u64().expect("a number");
        (port, text(&self.container, &format!("{name}/httpGet/path")))
    }

    /// Puts the secrets that its volumes name into `folder`, a folder each.
    fn put_secrets(&self, cluster: &Cluster, folder: &Path) {
        for mount in list(&self.container, "volumeMounts") {
            let volume = list(&self.spec, "volumes").iter().find(|one| text(one, "name") == text(mount, "name"));
            let Some(volume) = volume.filter(|volume| !volume["secret"].is_null()) else { continue };
            let from = cluster.secret(text(volume, "secret/secretName"));
            let name = text(mount, "mountPath").strip_prefix("/run/secrets/").expect("where secrets are");
            let to = folder.join(name);
            std::fs::create_dir_all(&to).expect("room for secrets");
            let items: Vec<(String, String)> = match list(volume, "secret/items") {
                [] => names_in(&from).into_iter().map(|name| (name.clone(), name)).collect(),
                items => items.iter().map(|one| (text(one, "key").to_owned(), text(one, "path").to_owned())).collect(),
            };
            for (key, path) in items {
                std::fs::copy(from.join(&key), to.join(path)).unwrap_or_else(|error| panic!("{key}: {error}"));
            }
        }
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the secrets were made");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

/// A running pod.
pub struct Pod {
    pub name: String,
    pub host: Host,
    template: Template,
    daemon: Daemon,
}

impl Pod {
    /// Starts `template` as the host `last` of the cluster's network on the volume
    /// `data`.
    pub fn start(cluster: &Cluster, template: &Template, last: u8, data: &Path) -> Self {
        Self::start_with(cluster, template, last, data, |_| ())
    }

    /// The same after `change` has had its way with the folder of secrets.
    pub fn start_with(cluster: &Cluster, template: &Template, last: u8, data: &Path, change: impl Fn(&Path)) -> Self {
        let name = format!("{}-{last}", template.name);
        let folder = cluster.work.folder(format!("pods/{name}-{}", cluster.next()));
        let (root, secrets) = (folder.join("root"), folder.join("secrets"));
        template.put_secrets(cluster, &secrets);
        change(&secrets);
        make_root(cluster, template, &root, &secrets);
        let host = cluster.switch.host(&cluster.lab, &format!("{}-{last}", cluster.next()), last);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pods/pod.sh");
        let mut call = host.space().invoke("unshare", &folder);
        call = call.args(["--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL", "--"]);
        call = call.arg(script).arg(&root).arg(data).arg(&secrets).args([&template.mode, &template.user]);
        call = call.args(list(&template.container, "args").iter().map(|one| one.as_str().expect("a text")));
        for (name, value) in template.variables(&format!("machine-{last}")) {
            call = call.env(&name, value);
        }
        let daemon = call.start(&folder.join("log"));
        Self { name, host, template: template.clone(), daemon }
    }

    /// Waits until its readiness probe succeeds.
    pub fn wait_until_ready(&mut self, cluster: &Cluster) {
        let (port, path) = self.template.probe("readinessProbe");
        let url = format!("http://{}:{port}{path}", self.host.address());
        self.daemon.wait_until("readiness", Duration::from_secs(120), || (cluster.status(&url) == "200").then_some(()));
    }

    /// What a probe is answered: a status, or `000`.
    pub fn probe(&self, cluster: &Cluster, name: &str) -> String {
        let (port, path) = self.template.probe(name);
        cluster.status(&format!("http://{}:{port}{path}", self.host.address()))
    }

    /// Waits until its log holds `text`.
    pub fn wait_for_line(&mut self, text: &str) {
        let log = self.daemon.log_path().to_owned();
        let holds = || std::fs::read_to_string(&log).unwrap_or_default().contains(text).then_some(());
        self.daemon.wait_until(&format!("'{text}' in the log"), Duration::from_secs(120), holds);
    }

    /// Tells it to end, as Kubernetes does; how it ended.
    pub fn end(mut self) -> ExitStatus {
        let inside = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.daemon.pid()));
        let inside = inside.unwrap_or_default().trim().parse().ok().and_then(Pid::from_raw);
        let inside = inside.unwrap_or_else(|| panic!("it does not run: {}", self.daemon.story()));
        rustix::process::kill_process(inside, Signal::TERM).expect("it runs");
        self.wait_for_end(Duration::from_secs(120))
    }

    /// How it ends by itself.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let status = self.wait_for_end(Duration::from_secs(120));
        (status.code(), self.log())
    }

    fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let ended = poll(limit, Duration::from_millis(20), || self.daemon.has_ended().then_some(()));
        assert!(ended.is_some(), "still running after {limit:?}: {}", self.daemon.story());
        self.daemon.stop(Signal::KILL, limit).expect("it has ended")
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

/// The image's root, and what the manifest puts into it.
fn make_root(cluster: &Cluster, template: &Template, root: &Path, secrets: &Path) {
    for folder in ["etc/cairn", "data", "proc", "tmp", "dev"] {
        std::fs::create_dir_all(root.join(folder)).expect("room for a root");
    }
    for device in ["null", "zero", "random", "urandom"] {
        std::fs::write(root.join("dev").join(device), "").expect("room for a root");
    }
    for name in names_in(secrets) {
        std::fs::create_dir_all(root.join("run/secrets").join(name)).expect("room for a root");
    }
    std::fs::hard_link(&cluster.program, root.join("cairn")).expect("the program on the same file system");
    std::fs::write(root.join("etc/passwd"), "cairn:x:65532:65532::/data:/\n").expect("room for a root");
    std::fs::write(root.join("etc/hosts"), cluster.names()).expect("room for a root");
    // Without it a name has one address, as it has with no DNS server.
    std::fs::write(root.join("etc/host.conf"), "multi on\n").expect("room for a root");
    std::fs::write(root.join("etc/cairn/cairn.toml"), template.settings.to_string()).expect("room for a root");
}

/// A volume that belongs to a pod's group, as a kubelet makes it with `fsGroup`.
pub fn volume(cluster: &Cluster, name: &str, user: &str) -> PathBuf {
    let path = cluster.work.folder(format!("volumes/{name}"));
    let status = std::process::Command::new("chown").arg(user).arg(&path).status();
    assert!(status.is_ok_and(|status| status.success()), "chown {user} {}", path.display());
    path
}
