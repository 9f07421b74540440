//! What the metadata's engines cost: operations per second and CPU time of
//! this process and of the server's, for SQLite and PostgreSQL in one run,
//! both syncing every commit.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints a table and may fail loudly")]

#[path = "../tests/support/postgres.rs"]
mod postgres;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn::metadata::{
    CommitObject, CreateBucket, DeleteObjects, FindObject, InlineStream, ListObjects, Metadata, NewObject,
    ObjectContent, PostgresAddress, PostgresOptions, SqliteOptions,
};
use cairn::types::{BucketName, KeyVersion, ObjectHeaders, ObjectKey, StreamId, UnixMillis, WriteCondition};
use postgres::Server;

/// How long each operation is repeated.
const FOR: Duration = Duration::from_secs(4);

fn bucket() -> BucketName {
    BucketName::new("bench").unwrap()
}

fn key(number: u64) -> ObjectKey {
    // Spread, as names are.
    ObjectKey::new(format!("folder/{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))).unwrap()
}

fn commit(number: u64) -> CommitObject {
    let stream = StreamId::from_bytes(u128::from(number).to_be_bytes());
    let inline = InlineStream { stream, key_version: KeyVersion(1), wrapped_key: [7; 48], sealed: vec![9; 4096 + 16] };
    let object = NewObject {
        bucket: bucket(),
        key: key(number),
        condition: WriteCondition::default(),
        headers: ObjectHeaders::default(),
        size_bytes: 4096,
        etag: "0123456789abcdef0123456789abcdef".into(),
        checksum: None,
        modified: UnixMillis(1),
        content: ObjectContent::Inline(inline),
    };
    CommitObject { object, streams: Vec::new(), segments: Vec::new(), lease: None }
}

/// CPU seconds of this process.
fn own_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

struct Bench {
    engine: &'static str,
    metadata: Metadata,
    server: Option<&'static Server>,
    tasks: u64,
}

impl Bench {
    fn cpu(&self) -> (f64, f64) {
        (own_cpu_seconds(), self.server.map_or(0.0, Server::cpu_seconds))
    }

    /// Repeats an operation in so many tasks; answers how often it was done.
    async fn measure<F: Future<Output = ()> + Send>(
        &self,
        name: &str,
        most: u64,
        work: impl Fn(Metadata, u64) -> F + Copy + Send + 'static,
    ) -> u64 {
        let (before, begun, next) = (self.cpu(), Instant::now(), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = (0..self.tasks)
            .map(|_| {
                let (metadata, next) = (self.metadata.clone(), next.clone());
                tokio::spawn(async move {
                    let mut done = 0;
                    while begun.elapsed() < FOR {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= most {
                            break;
                        }
                        work(metadata.clone(), number).await;
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.unwrap();
        }
        let (after, seconds) = (self.cpu(), begun.elapsed().as_secs_f64());
        let each = |seconds: f64| seconds * 1e6 / done as f64;
        println!(
            "{:<10} {:>5}  {:<18} {:>9.0} {:>13.1} {:>13.1}",
            self.engine,
            self.tasks,
            name,
            done as f64 / seconds,
            each(after.0 - before.0),
            each(after.1 - before.1),
        );
        done
    }

    async fn run(&self) {
        let made = self
            .measure("CommitObject 4 KiB", u64::MAX, |metadata, number| async move {
                metadata.write(commit(number)).await.unwrap().unwrap();
            })
            .await;
        self.measure("FindObject", u64::MAX, move |metadata, number| async move {
            let key = key(number.wrapping_mul(31) % made);
            metadata.read(FindObject { bucket: bucket(), key, with_source: true }).await.unwrap().unwrap();
        })
        .await;
        self.measure("ListObjects 1000", u64::MAX, move |metadata, number| async move {
            let after = Some(key(number.wrapping_mul(31) % made).as_bytes().to_vec());
            let list =
                ListObjects { bucket: bucket(), prefix: b"folder/".to_vec(), delimiter: None, after, limit: 1000 };
            metadata.read(list).await.unwrap().unwrap();
        })
        .await;
        self.measure("DeleteObjects 1", made, |metadata, number| async move {
            let objects = vec![(key(number), WriteCondition::default())];
            metadata.write(DeleteObjects { bucket: bucket(), objects }).await.unwrap().unwrap();
        })
        .await;
    }
}

async fn sqlite(folder: &std::path::Path, tasks: u64) -> Bench {
    let options = SqliteOptions { path: folder.join(format!("{tasks}.db")), cache_kib: 16 << 10, readers: 4 };
    Bench { engine: "sqlite", metadata: Metadata::open_sqlite(options).unwrap(), server: None, tasks }
}

async fn postgres(server: &'static Server, tasks: u64) -> Bench {
    let address = PostgresAddress::parse(&server.url(&server.database(None))).unwrap();
    let metadata = Metadata::open_postgres(PostgresOptions::new(address)).await.unwrap();
    Bench { engine: "postgresql", metadata, server: Some(server), tasks }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let server: &'static Server = Box::leak(Box::new(Server::start("shared_buffers = 256MB\nmax_wal_size = 2GB\n")));
    println!("engine     tasks  operation             per sec  client µs CPU  server µs CPU");
    for tasks in [1, 16] {
        for bench in [sqlite(folder.path(), tasks).await, postgres(server, tasks).await] {
            bench.metadata.write(CreateBucket { name: bucket(), now: UnixMillis(1) }).await.unwrap();
            bench.run().await;
            bench.metadata.close().await;
        }
    }
}
