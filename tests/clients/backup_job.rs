//! The backup's scripts, as docker/kubernetes/backup mounts them into its jobs, on
//! a real PostgreSQL: through a mount with the flags of the class `cairn-streams`,
//! and through a pipe straight into the bucket.

use std::path::{Path, PathBuf};

use crate::database::{self, Database};
use crate::kubernetes;
use crate::mount::Mount;
use crate::support::process::{Invocation, User};
use crate::visit::{RCLONE_NEW, Visit, installed, rclone};

#[test]
fn dumps_through_the_mount_are_kept_verified_and_restored() {
    let visit = Visit::new("backup");
    visit.make_bucket();
    let database = Database::start(&visit, &database::create_cluster(&visit, "pg", ""));
    database.call("pgbench").args(["-i", "-q", "-s", "1"]).run();
    let options = kubernetes::options_of("cairn-streams");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mount = Mount::by_csi_driver(&visit, RCLONE_NEW, &options);
    // Dumps of earlier days: two of one day, one of each of three others.
    let earlier = ["20200101T010000Z", "20200102T010000Z", "20200103T010000Z", "20200104T010000Z", "20200104T020000Z"];
    for name in earlier {
        std::fs::write(mount.join(&format!("{name}.dump")), "of an earlier day").expect("a write");
    }
    let backups = mount.path.clone();
    job(&visit, &database, "backup/dump.sh", &backups).env("KEEP_NEWEST", "1").env("KEEP_DAYS", "3").run();
    let kept = visit.keys("");
    assert_eq!(kept.len(), 4, "the newest, and one of each of three days: {kept:?}");
    assert_eq!(kept[..3], ["20200102T010000Z.dump", "20200103T010000Z.dump", "20200104T020000Z.dump"]);
    // Nothing was waited for: it was stored when the script had ended.
    mount.kill();

    let mount = Mount::by_csi_driver(&visit, RCLONE_NEW, &options);
    verifies(&visit, &database, &backups);
    let before = database.fingerprint("postgres");
    database.sql("postgres", "update pgbench_accounts set abalance = 1; drop table pgbench_history");
    job(&visit, &database, "backup/restore/restore.sh", &backups).run();
    assert_eq!(database.fingerprint("postgres"), before);
    refuses(&visit, &database, &backups);
    mount.unmount_at_once();
    database.stop();
}

fn verifies(visit: &Visit, database: &Database<'_>, backups: &Path) {
    let said = verify(visit, database, backups, "one").run().stderr;
    assert!(said.contains("restores, with 4 tables"), "{said}");
}

/// What is wrong is said, and fails the job.
fn refuses(visit: &Visit, database: &Database<'_>, backups: &Path) {
    let old = verify(visit, database, backups, "two").env("MAX_AGE", "-1").fails().stderr;
    assert!(old.contains("seconds old, more than -1"), "{old}");
    let none = job(visit, database, "backup/restore/restore.sh", backups).env("DUMP", "20300101T000000Z.dump");
    let none = none.fails().stderr;
    assert!(none.contains("restore: 20300101T000000Z.dump is not in "), "{none}");
    std::fs::write(backups.join("20990101T000000Z.dump"), "not a dump").expect("a write");
    let broken = verify(visit, database, backups, "three").fails().stderr;
    assert!(broken.contains("20990101T000000Z.dump does not restore"), "{broken}");
    let before = database.fingerprint("postgres");
    let broken = job(visit, database, "backup/restore/restore.sh", backups).fails().stderr;
    assert!(broken.contains("nothing was changed"), "{broken}");
    assert_eq!(database.fingerprint("postgres"), before);
    std::fs::remove_file(backups.join("20990101T000000Z.dump")).expect("it is there");
    let partial = |key: &String| key.ends_with(".partial");
    let failed = job(visit, database, "backup/dump.sh", backups).env("PGDATABASE", "nowhere").fails().stderr;
    assert!(failed.contains("nowhere"), "{failed}");
    job(visit, database, "backup/dump.sh", backups).run();
    let keys = visit.keys("");
    assert!(!keys.iter().any(partial), "what a failed dump has left is gone with the next one: {keys:?}");
}

fn verify(visit: &Visit, database: &Database<'_>, backups: &Path, scratch: &str) -> Invocation {
    let scratch = database::folder(visit, scratch);
    job(visit, database, "backup/verify.sh", backups).env("SCRATCH", scratch)
}

/// One of the scripts, as the user that PostgreSQL's image runs as.
fn job(visit: &Visit, database: &Database<'_>, script: &str, backups: &Path) -> Invocation {
    let call = visit.call_as("/bin/bash", User::Postgres).arg(kubernetes::file(script));
    database.named(call).env("BACKUPS", backups).env("PATH", programs())
}

/// PostgreSQL's programs and the new rclone before all others.
fn programs() -> String {
    let rclone = installed(RCLONE_NEW);
    let folder = rclone.parent().expect("a program has a folder").display();
    format!("{}:{folder}:/usr/bin:/bin", database::program("").trim_end_matches('/'))
}

#[test]
fn dumps_through_the_pipe_are_whole_or_not_there() {
    let visit = Visit::new("pipe");
    visit.make_bucket();
    let database = Database::start(&visit, &database::create_cluster(&visit, "pg", ""));
    database.call("pgbench").args(["-i", "-q", "-s", "1"]).run();
    let hand_over = visit.work.folder("first");
    let said = stream(&visit, &database, &hand_over, "postgres").run().stderr;
    let kept = visit.keys("");
    assert!(kept.len() == 1 && kept[0].ends_with("Z.dump"), "{kept:?}, and it said {said}");
    let address = format!("s3://{}/{}", visit.bucket, kept[0]);
    database.shell(&format!("createdb restored && aws s3 cp {address} - | pg_restore --exit-on-error -d restored"));
    assert_eq!(database.fingerprint("restored"), database.fingerprint("postgres"));

    let hand_over = visit.work.folder("second");
    let said = stream(&visit, &database, &hand_over, "nowhere").fails().stderr;
    assert!(said.contains("pg_dump did not end well: nothing is kept"), "{said}");
    assert_eq!(visit.keys(""), kept, "half a dump is none");

    let hand_over = visit.work.folder("third");
    let said = stream(&visit, &database, &hand_over, "postgres").env("KEEP_NEWEST", "1").run().stderr;
    assert!(said.contains(&format!("{} was taken away", kept[0].rsplit('/').next().unwrap_or_default())), "{said}");
    assert_eq!(visit.keys("").len(), 1);
    database.stop();
}

/// Both containers of the pod at once; the status is that of the one that stores.
fn stream(visit: &Visit, database: &Database<'_>, hand_over: &Path, name: &str) -> Invocation {
    let scripts: Vec<PathBuf> =
        ["produce.sh", "store.sh"].iter().map(|name| kubernetes::file(&format!("backup/stream/{name}"))).collect();
    let both = "sh \"$0\" & sh \"$1\"; status=$?; wait; exit $status";
    let call = rclone(visit, "/bin/sh").args(["-c", both]).args(scripts);
    database
        .named(call)
        .env("PGDATABASE", name)
        .env("PATH", programs())
        .env("HAND_OVER", hand_over)
        .env("BACKUPS", format!("cairn:{}/database", visit.bucket))
}
