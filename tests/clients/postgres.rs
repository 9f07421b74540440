//! `pg_dump` of a database that is being written, onto a mounted bucket and
//! through the AWS CLI, and restores that match.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::database::{self, Database};
use crate::mount::Mount;
use crate::support::data;
use crate::visit::{RCLONE_NEW, Visit};

const DUMPING: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(3);
/// However slow it is.
const DUMPS_MIN: usize = 4;
const SOON: Duration = Duration::from_secs(60);

#[test]
fn dumps_onto_a_mounted_bucket_restore() {
    let visit = Visit::new("pgdump");
    visit.make_bucket();
    let database = busy_database(&visit);
    let mount = Mount::rclone(&visit, RCLONE_NEW);
    let count = dump_while_it_is_written(&visit, &database, &mount);
    let sum = dump(&database, &mount.join("quiet.dump"));
    mount.unmount();

    // A new mount with nothing in its cache: what is read was stored.
    std::fs::remove_dir_all(visit.work.join("cache")).expect("rclone made it");
    let mount = Mount::rclone(&visit, RCLONE_NEW);
    assert_eq!(data::sha256_file(&mount.join("quiet.dump")), sum);
    for number in 0..count {
        let path = mount.join(&format!("dump-{number}.dump"));
        database.call("pg_restore").args(["-f", "/dev/null"]).arg(path).run();
    }
    for number in [0, count / 2, count - 1] {
        restored_dump_is_consistent(&database, &mount.join(&format!("dump-{number}.dump")), number);
    }
    restore(&database, "quiet", &mount.join("quiet.dump"));
    assert_eq!(database.fingerprint("quiet"), database.fingerprint("postgres"));
    assert_eq!(plain_dump(&database, "quiet"), plain_dump(&database, "postgres"));
    mount.unmount();
    database.stop();
}

#[test]
fn dumps_stream_through_the_aws_cli() {
    let visit = Visit::new("pgstream");
    visit.make_bucket();
    let database = busy_database(&visit);
    let address = format!("s3://{}/stream.dump", visit.bucket);
    database.shell(&format!("pg_dump -Fc -Z0 | aws s3 cp - {address}"));
    database.shell(&format!("createdb streamed && aws s3 cp {address} - | pg_restore --exit-on-error -d streamed"));
    assert_eq!(database.fingerprint("streamed"), database.fingerprint("postgres"));
    assert_eq!(plain_dump(&database, "streamed"), plain_dump(&database, "postgres"));
    database.stop();
}

/// A database with pgbench's tables, 45 MB, and a table for marks.
fn busy_database(visit: &Visit) -> Database<'_> {
    let database = Database::start(visit, &database::create_cluster(visit, "pg", ""));
    database.call("pgbench").args(["-i", "-q", "-s", "3"]).run();
    database.sql("postgres", "create table mark (number int primary key)");
    database
}

/// Dump again and again while pgbench writes; how many dumps there are.
fn dump_while_it_is_written(visit: &Visit, database: &Database<'_>, mount: &Mount<'_>) -> usize {
    let log = visit.work.join("pgbench.log");
    let mut pgbench = database.call("pgbench").args(["-n", "-c", "2", "--rate", "60", "-T", "600"]).start(&log);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < DUMPING || count < DUMPS_MIN {
        database.sql("postgres", &format!("insert into mark values ({count})"));
        dump(database, &mount.join(&format!("dump-{count}.dump")));
        count += 1;
        std::thread::sleep(PAUSE);
        pgbench.wait_until("row of pgbench's", SOON, || has_written(database).then_some(()));
    }
    assert!(!pgbench.has_ended(), "pgbench should have gone on: {}", pgbench.story());
    drop(pgbench);
    // Its last transactions end when the server notices that it is gone.
    let others = "select count(*) from pg_stat_activity where application_name = 'pgbench'";
    let gone = crate::support::poll(SOON, PAUSE / 10, || (database.sql("postgres", others) == "0").then_some(()));
    assert!(gone.is_some(), "pgbench's connections are still open");
    count
}

fn has_written(database: &Database<'_>) -> bool {
    database.sql("postgres", "select exists (select from pgbench_history)") == "t"
}

/// Dump everything to `path`; the SHA-256 of what was written, as it reads
/// back at once.
fn dump(database: &Database<'_>, path: &Path) -> String {
    database.call("pg_dump").args(["-Fc", "-Z1", "-f"]).arg(path).run();
    data::sha256_file(path)
}

fn restore(database: &Database<'_>, name: &str, path: &Path) {
    database.call("createdb").arg(name).run();
    database.call("pg_restore").args(["--exit-on-error", "-d", name]).arg(path).run();
}

/// pgbench moves the same amount in four tables in every transaction, so a
/// dump of one moment has four equal sums; and it holds the mark made before
/// it and no later one.
fn restored_dump_is_consistent(database: &Database<'_>, path: &Path, number: usize) {
    let name = format!("restored{number}");
    restore(database, &name, path);
    let sum = |column: &str, table: &str| {
        database.sql(&name, &format!("select coalesce(sum({column}), 0) from pgbench_{table}"))
    };
    let accounts = sum("abalance", "accounts");
    let others = [sum("tbalance", "tellers"), sum("bbalance", "branches"), sum("delta", "history")];
    assert!(others.iter().all(|other| *other == accounts), "accounts {accounts}, others {others:?} in dump {number}");
    assert_eq!(database.sql(&name, "select max(number) from mark"), number.to_string());
    if number > 0 {
        assert_ne!(database.sql(&name, "select count(*) from pgbench_history"), "0", "pgbench had not written");
    }
}

/// SHA-256 of a dump as plain SQL, in which equal databases are equal.
fn plain_dump(database: &Database<'_>, name: &str) -> String {
    let text = database.call("pg_dump").args(["-d", name]).run().text();
    // Newer versions guard a dump with a random word.
    let kept: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).collect();
    data::sha256(kept.join("\n").as_bytes())
}
