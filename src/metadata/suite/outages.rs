//! Lines that break, servers that go away: success is told exactly when it is
//! stored, and everything goes on by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::engines::{fresh, open};
use super::furnish;
use super::server::{PASSWORD, Server};
use super::together::{etag_of, small};
use crate::metadata::*;
use crate::types::{BucketName, WriteCondition};

/// Where a line is cut.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// The server never gets the commit.
    Before,
    /// It gets it, and its answer is lost.
    After,
    /// Not at all, but nothing is carried any more.
    Never,
}

/// The port of a line to the server that is asked at each commit what to do.
async fn fragile(port: u16, cut: impl Fn() -> Option<Cut> + Clone + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let cut = cut.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await?;
                carry(client, server, cut).await
            });
        }
    });
    own
}

async fn carry(client: TcpStream, server: TcpStream, cut: impl Fn() -> Option<Cut>) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from_client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let bytes = &buffer[..length];
        // Only such as change something: they follow their receipt.
        let commits = bytes.windows(7).any(|window| window == b"COMMIT\0") && length > 60;
        match if commits { cut() } else { None } {
            Some(Cut::Before) => {
                back.abort();
                return Ok(());
            }
            Some(Cut::Never) => std::future::pending().await,
            Some(Cut::After) => {
                back.abort();
                to_server.write_all(bytes).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                return Ok(());
            }
            None => to_server.write_all(bytes).await?,
        }
    }
}

async fn through(port: u16, database: &str) -> Metadata {
    let password = PASSWORD.replace(' ', "%20");
    let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}?sslmode=disable");
    let mut options = PostgresOptions::new(PostgresAddress::parse(&url).unwrap());
    options.connections = 6;
    options.statement_timeout = Duration::from_secs(1);
    Metadata::open_postgres(options).await.unwrap()
}

/// What each key's last write was told, by many tasks that each write keys of
/// their own, until it is over.
async fn write_until(metadata: Metadata, over: Arc<AtomicBool>) -> Vec<Told> {
    let mut running = Vec::new();
    for task in 0..8 {
        let (metadata, over) = (metadata.clone(), over.clone());
        running.push(tokio::spawn(async move {
            let mut told = Vec::new();
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    return told;
                }
                let key = format!("key-{task}-{}", number % 5);
                let outcome = metadata.write(small(&key, number.to_string(), WriteCondition::default())).await;
                told.push((key, number.to_string(), outcome));
            }
            told
        }));
    }
    let mut told = Vec::new();
    for task in running {
        told.extend(task.await.unwrap());
    }
    told
}

/// A key, the ETag that was written, and what was said about it.
type Told = (String, String, Result<Result<(), Refusal>, MetadataError>);

/// Every key holds the last write that was told to be stored, or a later one
/// of which nobody knows. Answers how many succeeded and how many did not.
async fn check(metadata: &Metadata, told: Vec<Told>) -> (usize, usize) {
    let (mut possible, mut stored, mut failed): (BTreeMap<String, Vec<String>>, _, _) = (BTreeMap::new(), 0, 0);
    for (key, etag, outcome) in told {
        let etags = possible.entry(key).or_default();
        match outcome {
            Ok(outcome) => {
                outcome.unwrap();
                (stored, *etags) = (stored + 1, vec![etag]);
            }
            Err(MetadataError::Unavailable(_)) => failed += 1,
            Err(MetadataError::OutcomeUnknown) => {
                failed += 1;
                etags.push(etag);
            }
            Err(error) => panic!("{error}"),
        }
    }
    for (key, etags) in possible {
        let found = etag_of(metadata, &key).await;
        assert!(
            etags.is_empty() || found.as_ref().is_some_and(|etag| etags.contains(etag)),
            "{key}: {found:?}, {etags:?}"
        );
    }
    (stored, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_out() {
    let (server, database, cuts) = (Server::shared(), fresh().await, Arc::new(AtomicU32::new(0)));
    let direct = open(server, &database).await;
    furnish(&direct).await;
    let (commits, counted) = (Arc::new(AtomicU32::new(0)), cuts.clone());
    let seen = commits.clone();
    let at_every_seventh = move || {
        let count = seen.fetch_add(1, Ordering::Relaxed) + 1;
        count.is_multiple_of(7).then(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            if count.is_multiple_of(14) { Cut::Before } else { Cut::After }
        })
    };
    let metadata = through(fragile(server.port(), at_every_seventh).await, &database).await;
    let over = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_until(metadata, over.clone()));
    let begun = Instant::now();
    // However slow they are.
    while begun.elapsed() < Duration::from_secs(4) || commits.load(Ordering::Relaxed) < 300 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{commits:?} commits");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    over.store(true, Ordering::Relaxed);
    let (stored, failed) = check(&direct, writing.await.unwrap()).await;
    assert!(cuts.load(Ordering::Relaxed) > 20 && stored > 100, "{cuts:?} cuts, {stored} stored");
    assert_eq!(failed, 0, "each was found out");
    // What was told to be stored was stored once: nobody took a number twice for it.
    let unknown =
        "SELECT (SELECT last_value FROM object_sequence) >= (SELECT COUNT(*) FROM commits WHERE committed = 1) - 20";
    assert_eq!(server.sql(&database, unknown), "t");
    let receipts = server.sql(&database, "SELECT COUNT(*) FROM commits WHERE committed = 1");
    assert!(receipts.parse::<usize>().unwrap() >= stored);
    let asked = server.sql(&database, "SELECT COUNT(*) FROM commits WHERE committed = 0");
    assert_ne!(asked, "0", "some of the commits never arrived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_are_killed_and_nothing_is_lost() {
    let (server, database) = (Server::shared(), fresh().await);
    let metadata = open(server, &database).await;
    furnish(&metadata).await;
    let over = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_until(metadata.clone(), over.clone()));
    let (begun, mut kills) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(5) || kills < 40 {
        kills += 1;
        let kill = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' \
             AND pid <> pg_backend_pid() AND random() < 0.3"
        );
        tokio::task::spawn_blocking(move || Server::shared().sql("postgres", &kill)).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let (stored, failed) = check(&metadata, writing.await.unwrap()).await;
    assert!(stored > 100, "{stored} stored");
    assert_eq!(failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_is_waited_for() {
    // It is killed, and its disk is not: nothing need be synced, which a slow one would take long for.
    let server = tokio::task::spawn_blocking(|| Server::start("fsync = off\n")).await.unwrap();
    let database = server.database(None);
    let metadata = open(&server, &database).await;
    furnish(&metadata).await;
    let over = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_until(metadata.clone(), over.clone()));
    let server = Arc::new(server);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let server = server.clone();
        tokio::task::spawn_blocking(move || server.control(&["restart", "-m", "immediate"])).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    over.store(true, Ordering::Relaxed);
    let (stored, failed) = check(&metadata, writing.await.unwrap()).await;
    assert!(stored > 50, "{stored} stored");
    assert_eq!(failed, 0, "it was back within seconds");

    // Away for longer than anybody waits.
    server.control(&["stop", "-m", "immediate"]);
    let begun = Instant::now();
    let refused = metadata.write(small("key", "1".into(), WriteCondition::default())).await;
    assert!(matches!(refused, Err(MetadataError::Unavailable(_))), "{refused:?}");
    let waited = begun.elapsed();
    assert!((5..30).contains(&waited.as_secs()), "{waited:?}");
    server.control(&["start"]);
    metadata.write(small("key", "2".into(), WriteCondition::default())).await.unwrap().unwrap();
    assert_eq!(etag_of(&metadata, "key").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let (server, database) = (Server::shared(), fresh().await);
    furnish(&open(server, &database).await).await;
    let silent = Arc::new(AtomicBool::new(false));
    let asked = silent.clone();
    let port = fragile(server.port(), move || asked.load(Ordering::Relaxed).then_some(Cut::Never)).await;
    let metadata = through(port, &database).await;
    silent.store(true, Ordering::Relaxed);
    let writing = metadata.clone();
    let write = tokio::spawn(async move { writing.write(small("key", "1".into(), WriteCondition::default())).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    silent.store(false, Ordering::Relaxed);
    let waited = Instant::now();
    write.await.unwrap().unwrap().unwrap();
    assert!(waited.elapsed() < Duration::from_secs(20), "{:?}", waited.elapsed());
    assert_eq!(etag_of(&metadata, "key").await.as_deref(), Some("1"));

    // One that takes connections and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = PostgresAddress::parse(&format!("postgres://a@127.0.0.1:{port}/b")).unwrap();
    let mut options = PostgresOptions::new(address);
    options.connect_timeout = Duration::from_millis(300);
    let refused = Metadata::open_postgres(options).await.err().unwrap();
    assert!(refused.to_string().contains("did not answer in time"), "{refused}");
}

/// Two servers behind one address, as an operator of PostgreSQL may have them:
/// a replica shows what was true a moment ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_not_read_from_until_it_is_promoted() {
    let primary = tokio::task::spawn_blocking(|| Server::start("")).await.unwrap();
    let database = primary.database(None);
    furnish(&open(&primary, &database).await).await;
    let replica = primary.replica("");
    let there = "SELECT COUNT(*) FROM buckets";
    while replica.sql(&database, there) != primary.sql(&database, there) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let port = Arc::new(AtomicU32::new(primary.port().into()));
    let metadata = through(address_of(port.clone()).await, &database).await;
    let find = || FindBucket { name: BucketName::new("suite").unwrap() };
    assert!(metadata.read(find()).await.unwrap().is_some());

    port.store(replica.port().into(), Ordering::Relaxed);
    primary.kill();
    let read = metadata.read(find()).await;
    assert!(matches!(read, Err(MetadataError::Unavailable(_))), "{read:?}");
    replica.control(&["promote"]);
    assert!(metadata.read(find()).await.unwrap().is_some());
    metadata.write(small("key", "1".into(), WriteCondition::default())).await.unwrap().unwrap();
}

/// An address at which the server of this port is reached.
async fn address_of(port: Arc<AtomicU32>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let port = port.load(Ordering::Relaxed) as u16;
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    own
}
