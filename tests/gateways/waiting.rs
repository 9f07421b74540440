//! A gateway whose database is not there yet: it waits, says so, and goes on by
//! itself; or it gives up after the time that it was told.

use rustix::process::Signal;

use crate::cluster::{PASSWORD, ROLE, SOON, fresh_database, write_private};
use crate::postgres::Server;
use crate::support::data::random;
use crate::support::process::{Daemon, Invocation};
use crate::support::workdir::WorkDir;
use crate::support::{free_port, http};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

struct Desk {
    work: WorkDir,
    observe: String,
}

impl Desk {
    fn new() -> Self {
        let work = WorkDir::new("waiting");
        write_private(&work.join("cluster.key"), &random(rand::random(), 32));
        Self { work, observe: format!("127.0.0.1:{}", free_port()) }
    }

    fn gateway(&self, url: &str) -> Invocation {
        Invocation::new(CAIRN, self.work.path())
            .args(["gateway", "--listen", "127.0.0.1:0", "--node-door", "127.0.0.1:0", "--observe", &self.observe])
            .args(["--metadata", url, "--cluster-key-file", "cluster.key", "--data", "data"])
    }

    fn start(&self, url: &str) -> Daemon {
        self.gateway(url).start(&self.work.join("gateway.log"))
    }

    fn health(&self, words: &[&str]) -> Option<i32> {
        let asked = Invocation::new(CAIRN, self.work.path()).arg("health").args(words).args(["--data", "data"]);
        asked.outcome().status.code()
    }

    /// It is alive, not ready, and says what for.
    fn waits(&self) -> Option<()> {
        let (ready, sentence) = http::get(&self.observe, "/health/ready")?;
        let (live, _) = http::get(&self.observe, "/health/live")?;
        let told = sentence.contains("waits for the metadata database") && !sentence.contains(PASSWORD);
        (live == 200 && ready == 503 && told).then_some(())
    }
}

#[test]
fn a_database_that_comes_later_is_waited_for() {
    let (server, desk) = (Server::start(""), Desk::new());
    let (_, url) = fresh_database(&server);
    server.control(&["stop", "-m", "fast"]);
    let mut gateway = desk.start(&url);
    gateway.wait_until("a gateway that waits", SOON, || desk.waits());
    assert_eq!((desk.health(&[]), desk.health(&["--live"])), (Some(1), Some(0)), "{}", gateway.story());
    assert!(gateway.log().contains("waiting for the metadata database, for 60 s at most"), "{}", gateway.story());
    server.control(&["start"]);
    gateway.wait_until("a gateway that serves", SOON, || (desk.health(&[]) == Some(0)).then_some(()));
    gateway.wait_until("an answer of 200", SOON, || {
        http::get(&desk.observe, "/health/ready").filter(|(status, _)| *status == 200)
    });

    // It goes away again: the gateway stays, and is not ready meanwhile.
    server.control(&["stop", "-m", "fast"]);
    gateway.wait_until("a gateway without its database", SOON, || (desk.health(&[]) == Some(1)).then_some(()));
    assert_eq!(desk.health(&["--live"]), Some(0));
    server.control(&["start"]);
    gateway.wait_until("its database again", SOON, || (desk.health(&[]) == Some(0)).then_some(()));
    assert!(!gateway.log().contains(PASSWORD), "{}", gateway.story());
}

#[test]
fn waiting_ends_with_the_order_to_stop_or_with_the_time() {
    let desk = Desk::new();
    let nobody = format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:{}/db", free_port());
    let mut gateway = desk.start(&nobody);
    gateway.wait_until("a gateway that waits", SOON, || desk.waits());
    let ended = gateway.stop(Signal::TERM, SOON);
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", gateway.story());

    for host in ["127.0.0.1", "no.such.host.invalid"] {
        let url = nobody.replace("127.0.0.1", host);
        // Longer than one attempt takes, so that there is a second one to wait for.
        let refused = desk.gateway(&url).env("CAIRN_START_WAIT", "10s").fails();
        assert_eq!(refused.status.code(), Some(2), "{}", refused.story());
        let last = refused.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("cairn: ") && last.contains(host) && last.contains("tried for"),
            "{}",
            refused.story()
        );
        assert!(refused.stderr.contains("waiting for the metadata database"), "{}", refused.story());
        assert!(!refused.stderr.contains(PASSWORD), "{}", refused.story());
    }
}
