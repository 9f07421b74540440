//! What the pods have in common: a network with names, secrets, a database, and the
//! gateways, worker and nodes of `overlays/postgres-example`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::hosts::{Host, Lab, Switch};
use crate::pod::{Pod, Template, volume};
use crate::postgres;
use crate::render::{list, one, program, text, title};
use crate::support::poll;
use crate::support::process::{Daemon, Invocation};
use crate::support::workdir::WorkDir;

pub const RENDER: &str = "kustomize overlays/postgres-example";

/// Last bytes of addresses.
pub const GATEWAYS: [u8; 2] = [11, 12];
const WORKER: u8 = 21;
pub const NODES: [u8; 6] = [31, 32, 33, 34, 35, 36];
const DATABASE: u8 = 5;
const CLIENT: u8 = 6;

/// The parts that all pods share. Fields are dropped in this order.
pub struct Cluster {
    _forward: Daemon,
    _database: Host,
    client: Host,
    _postgres: postgres::Server,
    pub switch: Switch,
    pub lab: Lab,
    pub work: WorkDir,
    /// A copy of the program, to be linked into each root.
    pub program: PathBuf,
    count: AtomicU32,
    addresses: AtomicU32,
}

impl Cluster {
    pub fn new() -> Self {
        let lab = Lab::new();
        let work = WorkDir::new("pods");
        let switch = Switch::new(&lab, "switch", [10, 77, 0]);
        let postgres = postgres::Server::start("fsync = off\n");
        postgres.sql("postgres", "CREATE DATABASE cairn");
        let database = switch.host(&lab, "database", DATABASE);
        let client = switch.host(&lab, "client", CLIENT);
        let forward = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pods/forward.py");
        let socket = postgres.folder().join(format!(".s.PGSQL.{}", postgres.port()));
        let call = database.space().invoke(crate::machine::PYTHON, work.path()).arg(forward).arg("5432").arg(socket);
        let forward = call.start(&work.join("forward.log"));
        let program = work.join("cairn");
        std::fs::copy(env!("CARGO_BIN_EXE_cairn"), &program).expect("room for the program");
        let cluster = Self {
            _forward: forward,
            _database: database,
            client,
            _postgres: postgres,
            switch,
            lab,
            work,
            program,
            count: AtomicU32::new(0),
            addresses: AtomicU32::new(50),
        };
        cluster.make_secrets();
        cluster
    }

    /// As docs/kubernetes.md says.
    fn make_secrets(&self) {
        let door = one(RENDER).iter().find(|object| title(object) == "Service/cairn-door").expect("a door");
        let door = format!("{}:{}", text(door, "metadata/name"), list(door, "spec/ports")[0]["port"]);
        let call = Invocation::new(&self.program, self.work.path()).args(["secrets", "create", "--door", &door]);
        call.arg("--out").arg(self.work.join("secrets/cairn")).run();
        let database = self.work.folder("secrets/cairn-database");
        let address = "postgres://postgres:any@cairn-postgres/cairn?sslmode=disable";
        std::fs::write(database.join("address"), address).expect("room for an address");
    }

    /// The folder that a Secret is made of.
    pub fn secret(&self, name: &str) -> PathBuf {
        self.work.join("secrets").join(name)
    }

    /// A number that was not given before.
    pub fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// The last byte of an address that nobody had before.
    pub fn address(&self) -> u8 {
        let number = self.addresses.fetch_add(1, Ordering::Relaxed);
        u8::try_from(number).expect("fewer than 200 pods")
    }

    /// The hosts file: what the cluster's DNS would answer.
    pub fn names(&self) -> String {
        let line = |last: u8, name: &str| format!("{} {name}\n", self.switch.address(last));
        let doors = GATEWAYS.iter().chain([&WORKER]).map(|last| line(*last, "cairn-door"));
        let mut names = format!("127.0.0.1 localhost\n{}", line(DATABASE, "cairn-postgres"));
        names.extend(doors);
        names
    }

    /// The status that a pod in the cluster gets from an address, `000` for none.
    pub fn status(&self, url: &str) -> String {
        let call = self.client.space().invoke("curl", self.work.path());
        call.args(["-s", "-o", "/dev/null", "-m", "30", "-w", "%{http_code}", url]).outcome().text()
    }

    /// What an address answers.
    pub fn get(&self, url: &str) -> String {
        self.client.space().invoke("curl", self.work.path()).args(["-s", "-m", "30", url]).outcome().text()
    }

    /// The AWS CLI in a pod of the cluster, at a gateway, with the keys of the secret.
    pub fn aws(&self, gateway: &Pod, arguments: &[&str]) -> Invocation {
        let key = |name: &str| std::fs::read_to_string(self.secret("cairn").join(name)).expect("it was made");
        let endpoint = format!("http://{}:9000", gateway.host.address());
        let call = self.client.space().invoke(program("aws"), self.work.path());
        call.args(["--endpoint-url", &endpoint])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", key("access-key").trim())
            .env("AWS_SECRET_ACCESS_KEY", key("secret-key").trim())
            .env("AWS_REGION", "us-east-1")
    }

    /// Stores bytes at a gateway, in a bucket that is there.
    pub fn store(&self, gateway: &Pod, key: &str, bytes: &[u8]) {
        let file = self.work.join("body");
        std::fs::write(&file, bytes).expect("room for a body");
        let to = format!("s3://files/{key}");
        self.aws(gateway, &["s3", "cp", "--no-progress", file.to_str().expect("UTF-8"), &to]).run();
    }

    /// Reads them back from a gateway.
    pub fn read(&self, gateway: &Pod, key: &str) -> Vec<u8> {
        let from = format!("s3://files/{key}");
        self.aws(gateway, &["s3", "cp", "--no-progress", &from, "-"]).run().stdout
    }

    /// What Prometheus gets from a pod.
    pub fn metrics(&self, pod: &Pod) -> String {
        self.get(&format!("http://{}:9102/metrics", pod.host.address()))
    }

    /// How long it takes until enough nodes have dialled a gateway for it to take
    /// objects.
    pub fn until_it_takes_objects(&self, gateway: &Pod) -> Duration {
        let begun = Instant::now();
        let takes = || self.metrics(gateway).contains("\ncairn_writes_possible 1\n").then_some(());
        let taken = poll(Duration::from_secs(120), Duration::from_millis(100), takes);
        assert!(taken.is_some(), "{} takes no objects: {}\n{}", gateway.name, self.metrics(gateway), gateway.log());
        begun.elapsed()
    }

    /// Starts a gateway on an empty volume.
    pub fn gateway(&self, last: u8) -> Pod {
        self.fresh("Deployment/cairn-gateway", last)
    }

    fn fresh(&self, title: &str, last: u8) -> Pod {
        let template = Template::of(RENDER, title);
        let data = volume(self, &format!("empty-{}", self.next()), &template.user);
        Pod::start(self, &template, last, &data)
    }

    /// Starts a node on the volume `name`.
    pub fn node(&self, last: u8, name: &str) -> Pod {
        let template = Template::of(RENDER, "StatefulSet/cairn-node");
        let data = volume(self, name, &template.user);
        Pod::start(self, &template, last, &data)
    }
}

/// All pods of the overlay, running. They end before what they stand on.
pub struct Running {
    pub gateways: Vec<Pod>,
    pub worker: Pod,
    pub nodes: Vec<Pod>,
    pub cluster: Cluster,
}

impl Running {
    /// Everything at once, as `kubectl apply` does it, until all are ready.
    pub fn start() -> Self {
        let cluster = Cluster::new();
        let nodes = NODES.iter().map(|last| cluster.node(*last, &format!("data-{last}"))).collect();
        let worker = cluster.fresh("Deployment/cairn-worker", WORKER);
        let gateways = GATEWAYS.iter().map(|last| cluster.gateway(*last)).collect();
        let mut running = Self { gateways, worker, nodes, cluster };
        let Self { gateways, worker, nodes, cluster } = &mut running;
        for pod in gateways.iter_mut().chain([worker]).chain(nodes) {
            pod.wait_until_ready(cluster);
        }
        for gateway in &running.gateways {
            running.cluster.until_it_takes_objects(gateway);
        }
        running
    }
}

/// How long a pod of the manifests may take to end.
pub const GRACE: Duration = Duration::from_secs(15);
