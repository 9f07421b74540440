//! What PostgreSQL refuses, at the start and later: one sentence that says
//! what to do, and never a password.

use std::time::{Duration, Instant};

use super::engines::{fresh, open};
use super::furnish;
use super::server::{PASSWORD, Server};
use super::together::small;
use crate::metadata::schema::MIGRATIONS;
use crate::metadata::*;
use crate::types::{BucketName, WriteCondition};

async fn try_open(url: &str) -> Result<Metadata, MetadataError> {
    Metadata::open_postgres(PostgresOptions::new(PostgresAddress::parse(url)?)).await
}

/// Opening fails for good, with a sentence that holds these words.
async fn refused(url: &str, words: &[&str]) {
    let error = failed(url, words).await;
    assert!(matches!(error, MetadataError::Unusable(_)), "{error:?}");
}

/// The same of what may be there later.
async fn not_there_yet(url: &str, words: &[&str]) {
    let error = failed(url, words).await;
    assert!(matches!(error, MetadataError::Unavailable(_)), "{error:?}");
}

async fn failed(url: &str, words: &[&str]) -> MetadataError {
    let error = try_open(url).await.err().expect("it is refused");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(
        !text.contains('\n') && !format!("{text} {error:?}").contains("hunter2") && !text.contains(PASSWORD),
        "{text}"
    );
    error
}

fn put() -> CommitObject {
    small("key", "etag".into(), WriteCondition::default())
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_in_a_sentence() {
    let (server, database) = (Server::shared(), fresh().await);
    let (port, good) = (server.port(), server.url(&database));
    let wrong = format!("postgres://postgres:hunter2@127.0.0.1:{port}/{database}?sslmode=disable");
    refused(&wrong, &["refuses this user or password"]).await;
    refused(&server.url("nowhere"), &["no such database", "CREATE DATABASE"]).await;
    not_there_yet("postgres://a:hunter2@127.0.0.1:1/b", &["127.0.0.1:1/b", "refused"]).await;
    not_there_yet("postgres://a:hunter2@no.such.host.invalid/b", &["no.such.host.invalid"]).await;
    refused(&good.replace("disable", "require"), &["TLS"]).await;
    refused(&good.replace("disable", "verify-full&sslrootcert=/no/file"), &["/no/file"]).await;

    server.sql(&database, "UPDATE schema_version SET version = 1000");
    refused(&good, &["schema version 1000", "newer program"]).await;
    let user = format!("reader_{database}");
    server.sql(&database, &format!("CREATE USER {user} PASSWORD 'hunter2'; UPDATE schema_version SET version = 1"));
    refused(&good.replacen("postgres:a%20password", &format!("{user}:hunter2"), 1), &["permi", "grant"]).await;
    server.sql(&database, "UPDATE schema_version SET version = 0");
    server.sql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    for attributes in ["", "&target_session_attrs=any", "&target_session_attrs=read-write"] {
        refused(&format!("{good}{attributes}"), &["is read-only", "all hosts"]).await;
    }
}

#[tokio::test]
async fn the_password_may_be_in_a_file() {
    let (server, database) = (Server::shared(), fresh().await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{PASSWORD}\n")).unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", server.port());
    let mut options = PostgresOptions::new(PostgresAddress::parse(&url).unwrap());
    options.password_file = Some(file.path().to_owned());
    Metadata::open_postgres(options.clone()).await.unwrap();
    options.password_file = Some("/no/file".into());
    assert!(
        matches!(Metadata::open_postgres(options).await, Err(MetadataError::Unusable(text)) if text.contains("/no/file"))
    );
    try_open(&server.socket_url(&database)).await.unwrap();
}

/// Has every write of an object fail with this code.
fn fail_with(database: &str, code: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{code}'; END $$; \
         CREATE OR REPLACE TRIGGER fail BEFORE INSERT OR UPDATE ON objects FOR EACH ROW EXECUTE FUNCTION fail()"
    );
    Server::shared().sql(database, &sql);
}

// The server is asked for something while a write goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_told_apart() {
    let (server, database) = (Server::shared(), fresh().await);
    let metadata = open(server, &database).await;
    furnish(&metadata).await;
    assert!(metadata.has_room());
    fail_with(&database, "53100");
    assert!(matches!(metadata.write(put()).await, Err(MetadataError::Full)));
    assert!(!metadata.has_room(), "for a while");
    for (code, wanted) in [("XX001", "Corrupt"), ("42501", "Unavailable"), ("22000", "Failed"), ("23505", "Failed")] {
        fail_with(&database, code);
        // The machine itself may stand still during some.
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let begun = Instant::now();
            let error = metadata.write(put()).await.unwrap_err();
            assert!(format!("{error:?}").starts_with(wanted), "{code}: {error:?}");
            fastest = fastest.min(begun.elapsed());
        }
        assert!(fastest < Duration::from_secs(2), "{code}");
    }
    for code in ["40001", "40P01", "57P01", "25006"] {
        fail_with(&database, code);
        let (writing, name) = (metadata.clone(), database.clone());
        let write = tokio::spawn(async move { writing.write(put()).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.sql(&name, "DROP TRIGGER fail ON objects");
        write.await.unwrap().expect(code).unwrap();
    }
    let begun = Instant::now();
    while !metadata.has_room() {
        assert!(begun.elapsed() < Duration::from_secs(60), "there is room again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_read_only_is_not_available() {
    let (server, database) = (Server::shared(), fresh().await);
    let metadata = open(server, &database).await;
    furnish(&metadata).await;
    server.sql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    server.sql("postgres", &end);
    assert!(matches!(metadata.write(put()).await, Err(MetadataError::Unavailable(_))));
    let name = BucketName::new("suite").unwrap();
    assert!(metadata.read(FindBucket { name }).await.unwrap().is_some(), "reads go on");
    server.sql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = off"));
    metadata.write(put()).await.unwrap().unwrap();
}

/// Gateways that start at the same time make one schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_start_at_once() {
    let (server, database) = (Server::shared(), Server::shared().database(None));
    let starts: Vec<_> =
        (0..8).map(|_| tokio::spawn(open(server, Box::leak(database.clone().into_boxed_str())))).collect();
    for start in starts {
        start.await.unwrap();
    }
    assert_eq!(server.sql(&database, "SELECT version FROM schema_version"), MIGRATIONS.len().to_string());
}

#[tokio::test]
async fn more_than_there_are_connections_wait_in_line() {
    let (server, database) = (Server::shared(), fresh().await);
    let mut options = PostgresOptions::new(PostgresAddress::parse(&server.url(&database)).unwrap());
    options.connections = 2;
    let metadata = Metadata::open_postgres(options).await.unwrap();
    furnish(&metadata).await;
    let writes: Vec<_> = (0..100)
        .map(|number| {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                metadata.write(small(&number.to_string(), "etag".into(), WriteCondition::default())).await
            })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap().unwrap();
    }
    let sql =
        format!("SELECT COUNT(*) <= 2 FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()");
    assert_eq!(server.sql("postgres", &sql), "t");
}

/// What is handed over is done, even if nobody waits for it any more.
#[tokio::test]
async fn a_write_goes_on_without_its_caller() {
    let (server, database) = (Server::shared(), fresh().await);
    let metadata = open(server, &database).await;
    furnish(&metadata).await;
    let cut_short = tokio::time::timeout(Duration::from_micros(1), metadata.write(put())).await;
    assert!(cut_short.is_err());
    metadata.close().await;
    assert_eq!(server.sql(&database, "SELECT COUNT(*) FROM objects"), "1");
    assert!(matches!(metadata.write(put()).await, Err(MetadataError::Unavailable(_))));
}
