//! What a request costs in statements: a fixed number, or one for each
//! hundred, however many keys it names.

use super::engines::{fresh, open};
use super::furnish;
use super::server::Server;
use super::together::small;
use crate::metadata::*;
use crate::types::{BodyId, BucketName, KeyVersion, ObjectKey, StreamId, WriteCondition};

/// Statements that the server has executed on a database while this went on.
async fn count<T>(database: &str, work: impl Future<Output = T>) -> (T, usize) {
    let mark = format!(" {database} LOG:  execute");
    let count = || Server::shared().log().lines().filter(|line| line.contains(&mark)).count();
    let before = count();
    let outcome = work.await;
    // What is not waited for is logged a moment later: until nothing comes three times in a row.
    let (mut logged, mut quiet) = (count(), 0);
    while quiet < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let now = count();
        quiet = if now == logged { quiet + 1 } else { 0 };
        logged = now;
    }
    (outcome, logged - before)
}

async fn fill(metadata: &Metadata, count: usize, prefix: &str, suffix: &str) {
    for number in 0..count {
        let etag = "etag".to_owned();
        let mut commit = small(&format!("{prefix}{number:04}{suffix}"), etag, WriteCondition::default());
        let stream = NewStream {
            stream: StreamId::from_bytes(rand::random()),
            size_bytes: 9,
            key_version: KeyVersion(1),
            wrapped_key: vec![0; 48],
            md5: [0; 16],
            checksum: None,
            content: StreamContent::Inline(vec![0; 25]),
        };
        let spans = vec![super::whole(&stream)];
        commit.object.content =
            ObjectContent::Body(NewBody { body: BodyId::from_bytes(rand::random()), spans, parts: None });
        commit.streams.push(stream);
        metadata.write(commit).await.unwrap().unwrap();
    }
}

fn bucket() -> BucketName {
    BucketName::new("suite").unwrap()
}

async fn page(metadata: &Metadata, prefix: &str, delimiter: Option<&str>, limit: u32) -> ListedPage {
    let delimiter = delimiter.map(Into::into);
    let list = ListObjects { bucket: bucket(), prefix: prefix.into(), delimiter, after: None, limit };
    metadata.read(list).await.unwrap().unwrap()
}

async fn delete(metadata: &Metadata, prefix: &str, numbers: std::ops::Range<u32>) {
    let objects = numbers.map(|number| ObjectKey::new(format!("{prefix}{number:04}")).unwrap());
    let objects: Vec<_> = objects.map(|key| (key, WriteCondition::default())).collect();
    let outcomes = metadata.write(DeleteObjects { bucket: bucket(), objects }).await.unwrap().unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
}

#[tokio::test]
async fn many_keys_take_few_statements() {
    let (server, database) = (Server::shared(), fresh().await);
    let metadata = open(server, &database).await;
    furnish(&metadata).await;
    fill(&metadata, 1100, "plain-", "").await;
    fill(&metadata, 1100, "rolled-", "/key").await;
    server.sql(&database, &format!("ALTER DATABASE {database} SET log_statement = 'all'"));
    let metadata = open(server, &database).await;
    // A new connection asks for the time.
    page(&metadata, "", None, 1).await;

    let (few, one) = count(&database, page(&metadata, "plain-", None, 2)).await;
    let (many, thousand) = count(&database, page(&metadata, "plain-", None, 1000)).await;
    assert_eq!((few.rows.len(), many.rows.len()), (2, 1000));
    // The bucket and its keys.
    assert_eq!((one, thousand), (2, 2));

    let (few, one) = count(&database, page(&metadata, "rolled-", Some("/"), 2)).await;
    let (many, thousand) = count(&database, page(&metadata, "rolled-", Some("/"), 1000)).await;
    assert_eq!((few.prefixes.len(), many.prefixes.len()), (2, 1000));
    // The bucket, the first key, and all behind its prefix.
    assert_eq!((one, thousand), (3, 3));
    let (mixed, statements) = count(&database, page(&metadata, "", Some("/"), 1000)).await;
    assert_eq!((mixed.rows.len(), statements), (1000, 3), "keys where common prefixes may come");
    let (whole, statements) = count(&database, page(&metadata, "", Some("/"), 3000)).await;
    assert_eq!((whole.rows.len(), whole.prefixes.len(), statements), (1100, 1100, 4));

    let ((), one) = count(&database, delete(&metadata, "plain-", 0..1)).await;
    let ((), thousand) = count(&database, delete(&metadata, "plain-", 1..1001)).await;
    // Rows of several bodies are locked in one order first.
    assert_eq!((one, thousand), (9, 10));
    let release = metadata.write(ReleaseGarbage { older_than_ms: 0, extents: 5000 });
    let (found, statements) = count(&database, release).await;
    assert!(found.unwrap() && statements < 15, "{statements} for giving back 1,000 streams");
}
