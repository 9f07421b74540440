//! docs/deploy-swarm.md, followed as it is written on three machines: S3 is at
//! each of them, goes on while one of them is lost, and a fourth one lends its
//! disk by joining.
//!
//! Which scheme holds is left to Cairn: 1/1/2/3 for three nodes, so a write
//! waits for two machines, and 2/2/3/4 for what is written when there are four.
//! One node runs on each machine, as in real life.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::built;
use crate::machines::{Machine, Machines};
use crate::support::cairn::{Access, tell};
use crate::support::client::Client;
use crate::support::load::{Load, figures};
use crate::support::poll;
use crate::support::process::Outcome;

const PAGE: &str = include_str!("../../docs/deploy-swarm.md");
/// For whatever the swarm does by itself.
const PATIENCE: Duration = Duration::from_secs(300);

/// The reader of the page, in a clone of the repository.
struct Reader {
    machines: Machines,
    clone: PathBuf,
}

impl Reader {
    fn new() -> Self {
        let machines = Machines::start(3);
        let clone = machines.all()[0].engine.work().folder("clone");
        let repository = built::repository();
        for name in ["docker", "README.md"] {
            symlink(repository.join(name), clone.join(name)).expect("a fresh folder");
        }
        symlink(built::archive(), clone.join("cairn.tar")).expect("a fresh folder");
        Self { machines, clone }
    }

    fn machine(&self, number: usize) -> &Machine {
        &self.machines.all()[number - 1]
    }

    /// Enters a block of the page on a machine.
    fn enter(&self, block: &str, number: usize, variables: &[(&str, &str)]) -> Outcome {
        let shell = self.machines.user("bash", self.machine(number)).current_dir(&self.clone).limit_seconds(600);
        let shell = variables.iter().fold(shell, |shell, (name, value)| shell.env(name, value));
        shell.env("CAIRN_NODE_CAPACITY", "2GB").args(["-euo", "pipefail", "-c", &commands(block)]).run()
    }

    /// Joins with the token for `role`.
    fn join(&self, number: usize, role: &str) {
        let token = self.docker(&["swarm", "join-token", "--quiet", role]);
        self.enter("join", number, &[("TOKEN", token.trim()), ("FIRST", &self.machine(1).address())]);
    }

    /// What a command says on the first machine.
    fn docker(&self, arguments: &[&str]) -> String {
        self.machine(1).engine.docker(arguments).run().text()
    }

    fn client(&self, number: usize) -> Client {
        let secret = |name| std::fs::read_to_string(self.clone.join("secrets").join(name)).expect("it was made");
        let endpoint = format!("http://{}:9000", self.machine(number).address());
        let [key, secret] = ["access-key", "secret-key"].map(|name| secret(name).trim().to_owned());
        Client::new(&Access { endpoint, key, secret, region: "us-east-1".into() })
    }

    /// What a command says on the first machine, also where it fails: a swarm has no
    /// leader for a moment, a container has just gone.
    fn asked(&self, arguments: &[&str]) -> String {
        let outcome = self.machine(1).engine.docker(arguments).outcome();
        format!("{}{}", outcome.text(), outcome.stderr)
    }

    /// Waits until `docker ARGUMENTS` on the first machine says what is wanted.
    fn wait(&self, what: &str, arguments: &[&str], wanted: impl Fn(&str) -> bool) {
        self.wait_for(what, || self.asked(arguments), wanted);
    }

    fn wait_for(&self, what: &str, asked: impl Fn() -> String, wanted: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        let mut said = String::new();
        poll(PATIENCE, Duration::from_millis(500), || {
            said = asked();
            wanted(&said).then_some(())
        })
        .unwrap_or_else(|| panic!("not {what} within {PATIENCE:?}: {said}\n{}", self.tasks()));
        tell(&format!("{what}: {:.1?}", begun.elapsed()));
    }

    /// Waits until a machine serves what others have written.
    fn wait_for_s3(&self, number: usize) {
        let (client, begun) = (self.client(number), Instant::now());
        let asked = || client.get("/files/README.md").is_ok_and(|reply| reply.status == 200).then_some(());
        let served = self.machines.as_user(|| poll(PATIENCE, Duration::from_millis(200), asked));
        served.unwrap_or_else(|| panic!("machine {number} does not serve S3\n{}", self.tasks()));
        tell(&format!("S3 at machine {number}: {:.1?}", begun.elapsed()));
    }

    /// Waits until so many nodes are connected.
    fn wait_for_nodes(&self, count: usize) {
        let listed = || {
            let ours = ["ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=cairn_gateway"];
            // One that has just been replaced may be listed, too.
            let gateways = self.asked(&ours);
            self.asked(&["exec", gateways.lines().next().unwrap_or_default(), "/cairn", "nodes", "list"])
        };
        self.wait_for(&format!("{count} nodes"), listed, |said| said.matches(" yes ").count() == count);
    }

    fn tasks(&self) -> String {
        self.docker(&[
            "stack",
            "ps",
            "--no-trunc",
            "--format",
            "{{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}",
            "cairn",
        ])
    }
}

/// The commands of the block that is marked with a word.
fn commands(block: &str) -> String {
    let marked = PAGE.split_once(&format!("```sh {block}\n")).unwrap_or_else(|| panic!("no block '{block}'")).1;
    marked.split_once("```").expect("blocks end").0.to_owned()
}

/// The database's image, loaded where the label will put it.
fn load_postgres(machine: &Machine) {
    let build = built::repository().join("tests/deploy/images/build");
    let made = Command::new(build).status();
    assert!(made.is_ok_and(|status| status.success()), "tests/deploy/images/build says what is wrong");
    let archive = built::repository().join("target/deploy/images/postgres.tar");
    machine.engine.docker(["load", "--quiet", "--input"]).arg(archive).run();
}

#[test]
fn three_machines_lose_one_and_a_fourth_joins() {
    let mut reader = Reader::new();
    load_postgres(reader.machine(1));
    (1..=3).for_each(|number| drop(reader.enter("load", number, &[])));
    let said = reader.enter("first", 1, &[]).text();
    assert!(said.contains("docker swarm join --token"), "{said}");
    [2, 3].iter().for_each(|number| reader.join(*number, "manager"));
    reader.enter("secrets", 1, &[]);
    let begun = Instant::now();
    reader.enter("deploy", 1, &[]);
    reader.enter("use", 1, &[]);
    tell(&format!("S3 is served after {:.1?}", begun.elapsed()));
    let said = reader.enter("look", 1, &[]).text();
    assert!(said.contains("1/1/2/3"), "three nodes make this scheme: {said}");
    reader.wait("every task runs", &["service", "ls", "--format", "{{.Replicas}}"], |said| {
        said.contains("3/3") && !said.contains("0/") && said.matches("3/3").count() == 2
    });

    // Some use what will stay, and are to notice nothing; others ask all three, and wait long for the dead.
    let clients = [1, 2, 3].map(|number| reader.client(number));
    let steady = reader.machines.as_user(|| Load::start(&clients[..2], "steady", 3));
    let load = reader.machines.as_user(|| Load::start(&clients, "ledger", 2));
    steady.wait_for(20, &[0, 1], PATIENCE);
    load.wait_for(10, &[0, 1, 2], PATIENCE);

    reader.machines.power_off(3);
    let took = steady.wait_for(40, &[0, 1], PATIENCE);
    tell(&format!("80 requests were answered within {took:.1?} after a machine was lost"));
    reader.wait("the machine is missed", &["node", "ls", "--format", "{{.Status}}"], |said| said.contains("Down"));
    steady.wait_for(20, &[0, 1], PATIENCE);

    reader.machines.power_on(3);
    reader.wait_for_s3(3);
    reader.wait_for_nodes(3);
    load.wait_for(10, &[2], PATIENCE);

    reader.machines.add();
    reader.enter("load", 4, &[]);
    reader.join(4, "worker");
    reader.wait_for_nodes(4);
    steady.wait_for(20, &[0, 1], PATIENCE);
    reader.enter("scale", 1, &[]);
    reader.wait_for_s3(4);

    let update = ["service", "update", "--quiet", "--force", "cairn_gateway"];
    reader.machine(1).engine.docker(update).limit_seconds(600).run();
    load.wait_for(10, &[0, 1, 2], PATIENCE);
    // What was acknowledged anywhere is read where the machine was lost, and elsewhere.
    for (load, readers) in [(steady, &clients[2..]), (load, &clients[..1])] {
        let book = reader.machines.as_user(|| load.finish(readers));
        tell(&figures(&book));
    }
}
