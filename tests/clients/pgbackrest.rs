//! pgBackRest, which speaks S3 over TLS only: a full backup, the write-ahead
//! log, and a restore that PostgreSQL starts from.

use std::path::{Path, PathBuf};

use crate::database::{self, Database};
use crate::support::process::{Invocation, User};
use crate::visit::Visit;

#[test]
fn restores_a_database_over_tls() {
    let visit = Visit::over_tls("pgbackrest");
    visit.make_bucket();
    let config = configure(&visit);
    let archive = format!("'pgbackrest --config={} --stanza=main archive-push %p'", config.display());
    let settings = format!("wal_level = replica\narchive_mode = on\narchive_command = {archive}\n");
    let data = database::create_cluster(&visit, "pg", &settings);
    let database = Database::start(&visit, &data);
    pgbackrest(&visit, &config).arg("stanza-create").run();
    pgbackrest(&visit, &config).arg("check").run();
    database.call("pgbench").args(["-i", "-q", "-s", "10"]).run();
    pgbackrest(&visit, &config).args(["--type=full", "backup"]).run();

    // After the backup, so that these rows can only come from the log.
    database.call("pgbench").args(["-n", "-c", "2", "-t", "500"]).run();
    let wanted = database.fingerprint("postgres");
    assert_eq!(database.sql("postgres", "select count(*) from pgbench_history"), "1000");
    pgbackrest(&visit, &config).arg("check").run();
    database.stop();

    let restored = database::folder(&visit, "restored");
    pgbackrest(&visit, &config).arg("--pg1-path").arg(&restored).arg("restore").run();
    let database = Database::start(&visit, &restored);
    assert_eq!(database.fingerprint("postgres"), wanted);
    database.call("pg_dump").args(["-f", "/dev/null"]).run();
    database.stop();
    pgbackrest(&visit, &config).arg("verify").run();
}

fn pgbackrest(visit: &Visit, config: &Path) -> Invocation {
    let call = visit.call_as("pgbackrest", User::Postgres);
    call.arg("--config").arg(config).arg("--stanza=main").limit_seconds(180)
}

/// pgBackRest's configuration. It checks the certificate, by the name
/// `localhost`.
fn configure(visit: &Visit) -> PathBuf {
    let access = visit.access();
    let port = access.authority().rsplit_once(':').expect("an endpoint with a port").1;
    let own = database::folder(visit, "pgbackrest");
    let text = format!(
        "[global]
repo1-type=s3
repo1-path=/backups
repo1-s3-bucket={bucket}
repo1-s3-endpoint=localhost
repo1-s3-region={region}
repo1-s3-key={key}
repo1-s3-key-secret={secret}
repo1-s3-uri-style=path
repo1-storage-host=localhost
repo1-storage-port={port}
repo1-storage-ca-file={certificate}
repo1-retention-full=1
compress-type=none
start-fast=y
process-max=2
log-level-console=warn
log-level-file=off
lock-path={own}
spool-path={own}

[main]
pg1-path={data}
pg1-socket-path={sockets}
pg1-user=postgres
",
        bucket = visit.bucket,
        region = access.region,
        key = access.key,
        secret = access.secret,
        certificate = visit.certificate().display(),
        own = own.display(),
        data = visit.work.join("pg").display(),
        sockets = visit.work.join("sockets").display(),
    );
    let path = visit.work.join("pgbackrest.conf");
    std::fs::write(&path, text).expect("room for a configuration");
    path
}
