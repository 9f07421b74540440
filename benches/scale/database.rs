//! The database that is measured: SQLite as the gateway opens it, PostgreSQL
//! as Debian configures it, both syncing every commit.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use cairn::metadata::{Metadata, PostgresAddress, Synthetic, SyntheticPlace, load_synthetic};
use cairn::types::BucketName;

use super::postgres::Server;

/// Nodes that the pieces are on.
const NODES: u32 = 10_000;
/// While rows are put in, nothing needs to last, and there is memory for all indexes.
const LOADING: &str = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nshared_buffers = 3GB\n\
                       max_wal_size = 4GB\nautovacuum = off\nmaintenance_work_mem = 512MB\n";
/// Debian's, and the log that a checkpoint of five minutes' writes needs.
const MEASURING: &str = "shared_buffers = 128MB\nmax_wal_size = 1GB\nautovacuum = off\n";

/// What is not as a gateway has it.
#[derive(Clone)]
pub struct Settings {
    /// Page cache of each connection to SQLite.
    pub cache_kib: u32,
    /// More lines of PostgreSQL's configuration.
    pub postgres_conf: String,
    /// Log the plans of PostgreSQL's slower statements.
    pub explain: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { cache_kib: 8 << 10, postgres_conf: String::new(), explain: false }
    }
}

pub struct Database {
    place: SyntheticPlace,
    server: Option<(Server, String)>,
    settings: Settings,
    folder: tempfile::TempDir,
}

pub fn bucket() -> BucketName {
    BucketName::new("scale").unwrap()
}

impl Database {
    pub fn new(engine: &str, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if engine == "sqlite" {
            let place = SyntheticPlace::Sqlite(folder.path().join("metadata.db"));
            return Self { place, server: None, settings, folder };
        }
        let server = Server::start("include_if_exists = 'more.conf'\n");
        let name = server.database(None);
        let place = SyntheticPlace::Postgres(Box::new(PostgresAddress::parse(&server.url(&name)).unwrap()));
        Self { place, server: Some((server, name)), settings, folder }
    }

    pub fn describe(&self) -> String {
        match &self.server {
            None => format!("SQLite, page cache {} KiB", self.settings.cache_kib),
            Some(_) => format!("PostgreSQL 15, shared_buffers 128 MB {}", self.settings.postgres_conf),
        }
    }

    fn restart(&self, configuration: &str) {
        if let Some((server, _)) = &self.server {
            let more = &self.settings.postgres_conf;
            server.put("data/more.conf", &format!("{configuration}{more}\n"));
            server.control(&["-m", "fast", "restart"]);
        }
    }

    /// Puts these objects in and leaves a database that has nothing to do.
    pub async fn load(&self, objects: Range<u64>) -> Synthetic {
        self.restart(LOADING);
        let made = load_synthetic(&self.place, 4, NODES, &bucket(), objects).await.unwrap();
        if let Some((server, name)) = &self.server {
            server.sql(name, "VACUUM ANALYZE");
            server.sql(name, "CHECKPOINT");
            let explain = "shared_preload_libraries = 'auto_explain'\nauto_explain.log_min_duration = 3\n\
                           auto_explain.log_analyze = on\nauto_explain.log_buffers = on\nauto_explain.log_timing = off\n";
            self.restart(&format!("{MEASURING}{}", if self.settings.explain { explain } else { "" }));
        }
        made
    }

    pub async fn open(&self) -> Metadata {
        self.place.open(self.settings.cache_kib).await.unwrap()
    }

    pub fn cpu_seconds(&self) -> f64 {
        self.server.as_ref().map_or(0.0, |(server, _)| server.cpu_seconds())
    }

    /// Bytes that were ever written to the server's log, after a checkpoint.
    pub fn log_bytes(&self) -> f64 {
        self.server
            .as_ref()
            .map_or(0.0, |(server, name)| server.sql(name, "SELECT pg_current_wal_lsn() - '0/0'").parse().unwrap())
    }

    /// Reads all of it once, so that the operating system has it in memory.
    pub fn warm(&self) {
        let folder = self.server.as_ref().map_or(self.folder.path(), |(server, _)| server.folder());
        read_all(folder, &mut vec![0; 1 << 20]);
    }

    pub fn checkpoint(&self) {
        if let Some((server, name)) = &self.server {
            server.sql(name, "CHECKPOINT");
        }
    }

    /// The server's log of plans.
    pub fn plans(&self) -> String {
        self.server.as_ref().filter(|_| self.settings.explain).map_or_else(String::new, |(server, _)| server.log())
    }

    /// Bytes of tables and indexes, in all and for each row.
    pub fn sizes(&self) -> String {
        let rows = match &self.server {
            None => self.sqlite_sizes(),
            Some((server, name)) => postgres_sizes(server, name),
        };
        let mut text =
            "| table | rows | MB | of indexes | bytes for each row | of indexes |\n|---|---:|---:|---:|---:|---:|\n"
                .to_owned();
        for (name, rows, table, index) in rows {
            let (mb, each) = (|bytes: f64| bytes / 1e6, |bytes: f64| bytes / rows.max(1.0));
            let all = table + index;
            text += &format!(
                "| {name} | {rows} | {:.1} | {:.1} | {:.0} | {:.0} |\n",
                mb(all),
                mb(index),
                each(all),
                each(index)
            );
        }
        text
    }

    fn sqlite_sizes(&self) -> Vec<(String, f64, f64, f64)> {
        let file = rusqlite::Connection::open(self.folder.path().join("metadata.db")).unwrap();
        let one = |sql: &str| file.query_row(sql, [], |row| row.get::<_, f64>(0)).unwrap();
        let size = |name: &str| {
            format!("SELECT CAST(TOTAL(pgsize) AS REAL) FROM dbstat WHERE aggregate = 1 AND name = '{name}'")
        };
        let row = |table: &str| {
            let rows = one(&format!("SELECT CAST(COUNT(*) AS REAL) FROM {table}"));
            let index = INDEXES.iter().filter(|(of, _)| *of == table).map(|(_, name)| one(&size(name))).sum();
            (table.to_owned(), rows, one(&size(table)), index)
        };
        TABLES.iter().map(|table| row(table)).collect()
    }
}

fn read_all(folder: &Path, buffer: &mut [u8]) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, buffer);
        } else if path.is_file()
            && let Ok(mut file) = std::fs::File::open(&path)
        {
            while file.read(buffer).is_ok_and(|read| read > 0) {}
        }
    }
}

const TABLES: [&str; 7] = ["objects", "bodies", "streams", "segments", "garbage", "condemned", "nodes"];
const INDEXES: [(&str, &str); 4] = [
    ("condemned", "condemned_by_time"),
    ("condemned", "condemned_by_node"),
    ("garbage", "garbage_by_time"),
    ("nodes", "sqlite_autoindex_nodes_1"),
];

fn postgres_sizes(server: &Server, database: &str) -> Vec<(String, f64, f64, f64)> {
    let row = |table: &str| {
        let sql =
            format!("SELECT (SELECT COUNT(*) FROM {table}), pg_table_size('{table}'), pg_indexes_size('{table}')");
        let line = server.sql(database, &sql);
        let values: Vec<f64> = line.split('|').map(|value| value.parse().unwrap()).collect();
        (table.to_owned(), values[0], values[1], values[2])
    };
    TABLES.iter().map(|table| row(table)).collect()
}
