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
    // What is not waited for is logged a moment later.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    (outcome, count() - before)
}

async fn fill(metadata: &Metadata, prefix: &str, suffix: &str) {
    for number in 0..1100 {
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

#[tokio::test]
async fn many_keys_take_few_statements() {
    let (server, database) = (Server::shared(), fresh().await);
    let metadata = open(server, &database).await;
    furnish(&metadata).await;
    fill(&metadata, "plain-", "").await;
    fill(&metadata, "rolled-", "/key").await;
    server.sql(&database, &format!("ALTER DATABASE {database} SET log_statement = 'all'"));
    let metadata = open(server, &database).await;
    let bucket = BucketName::new("suite").unwrap();
    let page = |prefix: &str, delimiter: Option<&str>| ListObjects {
        bucket: bucket.clone(),
        prefix: prefix.into(),
        delimiter: delimiter.map(Into::into),
        after: None,
        limit: 1000,
    };
    let (listed, statements) = count(&database, metadata.read(page("plain-", None))).await;
    assert_eq!(listed.unwrap().unwrap().rows.len(), 1000);
    assert!((2..5).contains(&statements), "{statements} for a page of keys");
    let (listed, statements) = count(&database, metadata.read(page("rolled-", Some("/")))).await;
    assert_eq!(listed.unwrap().unwrap().prefixes.len(), 1000);
    assert!(statements < 20, "{statements} for a page of common prefixes");

    let objects = (0..1000).map(|number| ObjectKey::new(format!("plain-{number:04}")).unwrap());
    let objects = objects.map(|key| (key, WriteCondition::default())).collect();
    let (removed, statements) = count(&database, metadata.write(DeleteObjects { bucket, objects })).await;
    assert_eq!(removed.unwrap().unwrap().len(), 1000);
    assert!(statements < 15, "{statements} for a delete of 1,000 keys");
    let (found, statements) =
        count(&database, metadata.write(ReleaseGarbage { older_than_ms: 0, extents: 5000 })).await;
    assert!(found.unwrap() && statements < 15, "{statements} for giving back 1,000 streams");
}
