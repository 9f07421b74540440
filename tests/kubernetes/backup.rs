//! An application's database is dumped each minute, through a mounted bucket
//! and straight into one; the newest dump restores; what was lost comes back.

use crate::cluster::Cluster;
use crate::s3::S3;
use crate::volumes::provision;

const NAMESPACE: &str = "shop";
const FILL: &str = "create table orders as select n as id, md5(n::text) as item from generate_series(1, 20000) n; \
                    create table notes (id int primary key, text text); insert into notes values (1, 'kept')";
const DIGEST: &str = "select count(*), md5(string_agg(item, ',' order by id)) from orders";

/// The database, with rows worth keeping.
pub fn start_database(cluster: &Cluster, s3: &S3) {
    cluster.kubectl(&format!("create namespace {NAMESPACE}")).run();
    cluster.apply(include_str!("application.yaml"));
    let line = format!("create secret generic backup-database --namespace {NAMESPACE}");
    let values = ["PGHOST=database", "PGUSER=shop", "PGPASSWORD=a-password", "PGDATABASE=shop"];
    cluster.kubectl(&line).args(values.map(|value| format!("--from-literal={value}"))).run();
    for secret in ["backup-s3", "files-s3"] {
        s3.give_keys(NAMESPACE, secret);
    }
    cluster.rolled_out(&format!("deployment/database --namespace {NAMESPACE}"), 120);
    sql(cluster, FILL);
}

/// The CronJob that dumps through the volume; answers the bucket.
pub fn dump_through_volume(cluster: &Cluster, s3: &S3) -> String {
    cluster.apply(&cluster.render("backup"));
    let bucket = provision(cluster, s3, NAMESPACE, "backups");
    cluster.wait("two dumps, a minute apart", 240, || (dumps(s3, &bucket, "").len() >= 2).then_some(()));
    bucket
}

/// The one that streams.
pub fn dump_as_stream(cluster: &Cluster, s3: &S3) {
    s3.make_bucket("backups");
    cluster.apply(&cluster.render("stream"));
    cluster.wait("a dump from the stream", 150, || (!dumps(s3, "backups", "database/").is_empty()).then_some(()));
}

/// The proof that runs each hour, run now.
pub fn verify(cluster: &Cluster) {
    cluster.run_now("backup-verify", NAMESPACE, 180);
}

/// Rows are lost, the newest dump is put back.
pub fn restore(cluster: &Cluster, s3: &S3, bucket: &str) {
    let before = sql(cluster, DIGEST);
    let known = dumps(s3, bucket, "");
    cluster.wait("a dump of what is there now", 150, || (dumps(s3, bucket, "") != known).then_some(()));
    // No other dump comes between the loss and the restore.
    suspend(cluster, "backup-dump");
    suspend(cluster, "backup-stream");
    sql(cluster, "drop table orders; delete from notes");
    cluster
        .kubectl(&format!("apply --namespace {NAMESPACE} --kustomize"))
        .arg(crate::programs::package("docker/kubernetes/backup/restore"))
        .run();
    cluster.succeeded(&format!("job/backup-restore --namespace {NAMESPACE}"), 120);
    assert_eq!(sql(cluster, DIGEST), before, "the orders are what they were");
    assert_eq!(sql(cluster, "select text from notes"), "kept", "and so are the notes");
}

fn suspend(cluster: &Cluster, cron_job: &str) {
    let patch = format!(
        "patch cronjobs.v1beta1.batch {cron_job} --namespace {NAMESPACE} --patch {{\"spec\":{{\"suspend\":true}}}}"
    );
    cluster.kubectl(&patch).run();
    cluster.wait("dumps that had begun to end", 60, || {
        let pods = cluster.pods(NAMESPACE, "app.kubernetes.io/name=backup");
        pods.iter().all(|pod| pod["status"]["phase"] != "Running" && pod["status"]["phase"] != "Pending").then_some(())
    });
}

/// Dumps that are whole, by name.
fn dumps(s3: &S3, bucket: &str, prefix: &str) -> Vec<String> {
    s3.keys(bucket).into_iter().filter(|key| key.starts_with(prefix) && key.ends_with(".dump")).collect()
}

fn sql(cluster: &Cluster, statement: &str) -> String {
    let line = format!(
        "exec deployment/database --namespace {NAMESPACE} -- psql -XAtq -v ON_ERROR_STOP=1 --username=shop --command"
    );
    cluster.kubectl(&line).arg(statement).run().text().trim().to_owned()
}
