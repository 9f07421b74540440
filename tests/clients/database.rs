//! A PostgreSQL 15 of the test's own, reached through a socket in its folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::process::{Daemon, Invocation, User};
use crate::visit::{VENV_AWS, Visit, installed};

/// A running PostgreSQL.
pub struct Database<'a> {
    visit: &'a Visit,
    sockets: PathBuf,
    daemon: Daemon,
}

/// The path of one of PostgreSQL's programs.
pub fn program(name: &str) -> String {
    format!("/usr/lib/postgresql/15/bin/{name}")
}

/// A folder that PostgreSQL may write to and nobody else may read.
pub fn folder(visit: &Visit, name: &str) -> PathBuf {
    let path = visit.work.folder(name);
    if rustix::process::getuid().is_root() {
        visit.call("chown").arg("postgres:postgres").arg(&path).run();
    }
    visit.call("chmod").arg("700").arg(&path).run();
    path
}

/// Make an empty cluster in the folder `name` with more lines in its
/// configuration.
pub fn create_cluster(visit: &Visit, name: &str, settings: &str) -> PathBuf {
    let data = folder(visit, name);
    visit
        .call_as(&program("initdb"), User::Postgres)
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-D"])
        .arg(&data)
        .run();
    let path = data.join("postgresql.conf");
    let defaults = std::fs::read_to_string(&path).expect("initdb wrote it");
    let own = "listen_addresses = ''\nfsync = off\nmax_wal_size = 4GB\n";
    std::fs::write(&path, format!("{defaults}\n{own}{settings}")).expect("room for a configuration");
    data
}

impl<'a> Database<'a> {
    /// Start a PostgreSQL on the cluster in `data` and wait until it takes
    /// writes.
    pub fn start(visit: &'a Visit, data: &Path) -> Self {
        let sockets = folder(visit, "sockets");
        let log = visit.work.join("postgres.log");
        let call = visit.call_as(&program("postgres"), User::Postgres);
        let daemon = call.arg("-D").arg(data).arg("-k").arg(&sockets).start(&log);
        let mut database = Self { visit, sockets, daemon };
        let (visit, sockets) = (database.visit, database.sockets.clone());
        let takes_writes = || {
            let asked = call_on(visit, &sockets, "psql").args(["-XAtc", "select pg_is_in_recovery()"]).outcome();
            (asked.stdout == b"f\n").then_some(())
        };
        database.daemon.wait_until("PostgreSQL that takes writes", Duration::from_secs(180), takes_writes);
        database
    }

    /// Call one of PostgreSQL's programs on it.
    pub fn call(&self, name: &str) -> Invocation {
        call_on(self.visit, &self.sockets, name)
    }

    /// Any call, with this server's address in its environment.
    pub fn named(&self, call: Invocation) -> Invocation {
        at(call, &self.sockets)
    }

    /// Call bash with a script that uses PostgreSQL's programs, the AWS CLI
    /// and pipes.
    pub fn shell(&self, script: &str) {
        let aws = installed(VENV_AWS);
        let folder = aws.parent().expect("a program has a folder").display();
        let path = format!("{folder}:{}:/usr/bin:/bin", program("").trim_end_matches('/'));
        let call = at(self.visit.call("/bin/bash"), &self.sockets).env("PATH", path);
        call.args(["-euo", "pipefail", "-c", script]).run();
    }

    /// Run statements in `database`; what they answer.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let call = self.call("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statements]);
        call.run().text().trim().to_owned()
    }

    /// A number that stands for the content of every pgbench table.
    pub fn fingerprint(&self, database: &str) -> String {
        let tables = ["accounts", "tellers", "branches", "history"];
        let each = tables.map(|name| format!("(select coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) || '/' || count(*) from pgbench_{name} t)"));
        self.sql(database, &format!("select {}", each.join(" || ' ' || ")))
    }

    /// Shut it down in good order.
    pub fn stop(mut self) {
        let ended = self.daemon.stop(Signal::INT, Duration::from_secs(180));
        assert!(ended.is_some_and(|status| status.success()), "a bad end ({ended:?}): {}", self.daemon.story());
    }
}

fn call_on(visit: &Visit, sockets: &Path, name: &str) -> Invocation {
    at(visit.call(&program(name)), sockets)
}

/// The same call with the server's address in its environment.
fn at(call: Invocation, sockets: &Path) -> Invocation {
    call.env("PGHOST", sockets).env("PGUSER", "postgres").env("PGDATABASE", "postgres")
}
