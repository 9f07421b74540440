//! The house rules as tables, each with the reason that a failure shows.

/// The rooms of `house.md`, floor by floor, in reading order.
pub const FLOORS: [&[&str]; 4] = [
    &["types", "digest", "seal", "erasure", "segment", "placement", "audit", "grant", "wire"],
    &["env", "metadata", "transport"],
    &["transfer", "objects", "node", "workers"],
    &["gateway", "admin", "cli"],
];

/// Words that a room must not name, and why. A room's own name stands for
/// `crate::room`.
pub struct Secret {
    pub rooms: &'static [&'static str],
    pub words: &'static [&'static str],
    pub reason: &'static str,
}

/// Privacy as a fact of the tree.
pub const SECRETS: &[Secret] = &[
    Secret {
        rooms: &["node", "wire", "transport", "transfer", "placement", "segment", "erasure", "seal", "env"],
        words: &["BucketName", "ObjectKey"],
        reason: "names of buckets and keys stay in the rooms that speak of objects",
    },
    Secret {
        rooms: &["node", "wire", "transport", "transfer", "workers", "metadata", "placement", "segment", "erasure"],
        words: &["ContentKey", "KeyEncryptionKey", "Sealer", "Opener"],
        reason: "only objects sees plaintext; here there is ciphertext or a wrapped key",
    },
    Secret {
        rooms: &["node", "wire", "erasure", "placement"],
        words: &["MacKey", "ClusterSecret", "PieceIdKey"],
        reason: "who holds a segment's MAC key or the cluster's secret could forge shares",
    },
];

/// Rooms that a room must not use although they lie below it or before it.
pub const STRANGERS: &[(&str, &[&str], &str)] = &[
    (
        "node",
        &["metadata", "transfer", "objects", "seal", "segment", "erasure", "placement", "grant"],
        "a node knows opaque piece ids, ciphertext and its own traffic",
    ),
    ("metadata", &["transport", "wire"], "the database's contract does not talk to nodes"),
    ("transport", &["metadata"], "transport carries what it is given and looks nothing up"),
    (
        "gateway",
        &["metadata", "transfer", "transport", "node", "seal", "segment"],
        "the gateway translates, nothing else",
    ),
];

/// A crate or a piece of the standard library, the rooms that may name it
/// (`main` is `main.rs`), and why.
pub struct Reserved {
    pub paths: &'static [&'static str],
    pub rooms: &'static [&'static str],
    pub reason: &'static str,
}

pub const RESERVED: &[Reserved] = &[
    Reserved {
        paths: &["rusqlite", "tokio_postgres", "deadpool"],
        rooms: &["metadata"],
        reason: "SQL is nowhere but in metadata",
    },
    Reserved { paths: &["s3s"], rooms: &["gateway"], reason: "s3s's types are nowhere but in gateway" },
    Reserved { paths: &["std::env"], rooms: &["cli", "main"], reason: "only cli reads the environment" },
    Reserved {
        paths: &["println!", "eprintln!", "print!", "eprint!", "dbg!", "std::io::stdout", "std::io::stderr"],
        rooms: &["cli", "main"],
        reason: "only cli prints; elsewhere use tracing",
    },
    Reserved { paths: &["clap", "toml"], rooms: &["cli", "main"], reason: "configuration is composed in cli" },
    Reserved { paths: &["anyhow"], rooms: &["cli", "main"], reason: "errors are enums outside main and cli" },
];

/// What the ground floor does without: no async, no I/O, no clock, no dice.
pub const NOT_ON_THE_GROUND: &[&str] = &[
    "tokio",
    "hyper",
    "hyper_util",
    "http",
    "http_body",
    "http_body_util",
    "s3s",
    "rusqlite",
    "tokio_postgres",
    "deadpool",
    "rustls",
    "tokio_rustls",
    "rcgen",
    "tracing",
    "rustix",
    "futures_util",
    "async_trait",
    "std::fs",
    "std::thread",
    "std::process",
    "std::io",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
    "rand::rng",
    "rand::random",
    "thread_rng",
    "OsRng",
    "SystemRandom",
    "async fn",
    ".await",
];

/// What begins a statement of SQL, as it is written in this code.
pub const SQL: &[&str] = &[
    "SELECT ",
    "INSERT INTO ",
    "INSERT OR ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "CREATE INDEX ",
    "CREATE UNIQUE INDEX ",
    "ALTER TABLE ",
    "DROP TABLE ",
    "PRAGMA ",
    "BEGIN IMMEDIATE",
    "WITH RECURSIVE ",
];

/// Lines that no function exceeds.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Lines that a file should not exceed, and the files that do: their numbers
/// may only fall.
pub const FILE_LINES_MAX: usize = 600;
pub const LONG_FILES: &[(&str, usize)] = &[];

/// Crates that the core must not bring in.
pub const NOT_IN_THE_CORE: &[&str] = &[
    "tokio",
    "rusqlite",
    "tokio-postgres",
    "deadpool",
    "libsqlite3-sys",
    "s3s",
    "hyper",
    "http",
    "rustls",
    "tracing",
    "clap",
    "anyhow",
];
