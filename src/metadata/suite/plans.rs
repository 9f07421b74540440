//! How the engines go about what must not become slower as tables grow: they
//! seek what they return, and walk nothing.

use super::engines::{fresh, open};
use super::server::Server;
use super::together::small;
use crate::metadata::garbage::{DUE, NODES_DUE, TO_PURGE, TO_TRASH};
use crate::metadata::list::{IN_ORDER, PASS_OVER};
use crate::metadata::*;
use crate::types::WriteCondition;

/// What the plan says of each time that it goes to a table.
fn visits(file: &rusqlite::Connection, sql: &str, table: &str) -> Vec<String> {
    let mut plan = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let words = [format!("SEARCH {table} "), format!("SCAN {table}")];
    let (mut steps, mut found) = (plan.raw_query(), Vec::new());
    while let Some(row) = steps.next().unwrap() {
        let step: String = row.get(3).unwrap();
        found.extend(words.iter().any(|word| step.starts_with(word)).then_some(step));
    }
    assert!(!found.is_empty(), "{sql}");
    found
}

#[tokio::test]
async fn tables_are_not_walked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plans.db");
    let options = SqliteOptions { path: path.clone(), cache_kib: 1024, readers: 1 };
    Metadata::open_sqlite(options).unwrap().close().await;
    let file = rusqlite::Connection::open(path).unwrap();
    rusqlite::vtab::array::load_module(&file).unwrap();
    let seeks = [
        (PASS_OVER, "objects", "(bucket_no=? AND key"),
        (DUE, "garbage", "garbage_by_time (left_ms<?)"),
        // SQLite's indexes go on with the primary key.
        (TO_TRASH, "condemned", "condemned_by_time (trashed_ms=? AND node_no=?)"),
        (NODES_DUE, "nodes", "(rowid=?)"),
        (NODES_DUE, "condemned", "node_no=?"),
        (TO_PURGE, "condemned", "condemned_by_node (node_no=? AND trashed_ms<?)"),
    ];
    for (sql, table, seek) in seeks {
        for visit in visits(&file, sql, table) {
            assert!(visit.contains(seek), "{visit}");
        }
    }
}

/// A page of a list is read from the key's index: the table has its rows in
/// the order of writing, a page of it for each of them.
#[tokio::test]
async fn postgres_lists_from_an_index() {
    let (server, database) = (Server::shared(), fresh().await);
    let metadata = open(server, &database).await;
    super::furnish(&metadata).await;
    for number in 0..300 {
        let key = format!("key-{:03}", number * 7 % 300);
        metadata.write(small(&key, "etag".into(), WriteCondition::default())).await.unwrap().unwrap();
    }
    server.sql(&database, "VACUUM ANALYZE objects");
    let values = ["(SELECT min(bucket_no) FROM buckets)", "'key-100'::bytea", "'key-2'::bytea", "50"];
    let sql = (1..).zip(values).fold(IN_ORDER.to_owned(), |sql, (n, value)| sql.replace(&format!("?{n}"), value));
    let plan = server.sql(&database, &format!("EXPLAIN (ANALYZE, COSTS OFF) {sql}"));
    assert!(plan.contains("Index Only Scan using objects_pkey on objects"), "{plan}");
    assert!(plan.contains("Heap Fetches: 0"), "{plan}");
    metadata.close().await;
}
