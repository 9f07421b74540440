//! The dependency policy: where crates may come from, under which licences,
//! and which are refused because they would be a second of something that
//! Cairn needs one of. Every refusal says what to do instead.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Licences that go with Apache-2.0 and ask for no more than a notice.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The only place that crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that the program must not contain, at whatever depth.
struct Banned {
    names: &'static [&'static str],
    reason: &'static str,
    instead: &'static str,
}

const BANNED: &[Banned] = &[
    Banned {
        names: &[
            "openssl",
            "openssl-sys",
            "native-tls",
            "tokio-native-tls",
            "boring",
            "boring-sys",
            "s2n-tls",
            "gnutls",
        ],
        reason: "a second TLS stack",
        instead: "use rustls with aws-lc-rs, or turn the dependency's rustls feature on",
    },
    Banned {
        names: &[
            "ring",
            "p256",
            "k256",
            "rsa",
            "ed25519-dalek",
            "x25519-dalek",
            "aes-gcm",
            "chacha20poly1305",
            "libsodium-sys",
            "sodiumoxide",
            "orion",
        ],
        reason: "a second cryptography library",
        instead: "use aws-lc-rs, or turn the dependency's feature on that selects it",
    },
    Banned {
        names: &[
            "async-std",
            "smol",
            "async-executor",
            "async-io",
            "async-global-executor",
            "glommio",
            "monoio",
            "actix-rt",
            "compio",
        ],
        reason: "a second async runtime",
        instead: "use tokio",
    },
    Banned {
        names: &[
            "bincode",
            "rmp",
            "rmp-serde",
            "postcard",
            "ciborium",
            "serde_cbor",
            "bson",
            "prost",
            "protobuf",
            "flatbuffers",
            "borsh",
            "rkyv",
            "capnp",
            "serde_yaml",
            "serde_yml",
            "simd-json",
            "sonic-rs",
            "speedy",
        ],
        reason: "a second serializer",
        instead: "write the format's byte table in its module, or use serde_json; configuration is toml",
    },
    Banned {
        names: &[
            "reqwest",
            "ureq",
            "isahc",
            "curl",
            "curl-sys",
            "surf",
            "attohttpc",
            "actix-http",
            "axum",
            "warp",
            "rocket",
            "tonic",
        ],
        reason: "a second HTTP stack",
        instead: "use hyper, as transport and gateway do",
    },
    Banned {
        names: &["sqlx", "sqlx-core", "diesel", "sea-orm", "sled", "rocksdb", "librocksdb-sys", "redb"],
        reason: "a second way to a database",
        instead: "write the SQL in metadata, over rusqlite",
    },
    Banned {
        names: &["log4rs", "env_logger", "slog", "fern", "failure", "error-chain", "eyre", "structopt"],
        reason: "a second way to log, to report errors or to read arguments",
        instead: "use tracing, thiserror, and clap",
    },
];

/// Crates that others bring and that Cargo.toml must not name, because
/// something that is here already does their work.
const NOT_BY_NAME: &[(&str, &str)] = &[
    ("chrono", "use types::UnixMillis and httpdate"),
    ("time", "use types::UnixMillis and httpdate"),
    ("lazy_static", "use std::sync::LazyLock"),
    ("once_cell", "use std::sync::OnceLock"),
    ("futures", "use futures-util"),
    ("log", "use tracing"),
    ("sha1", "use aws-lc-rs"),
    ("sha2", "use aws-lc-rs"),
    ("hmac", "use aws-lc-rs"),
    ("hex", "format with {:02x}, as types does"),
    ("parking_lot", "use std::sync"),
    ("tower", "write a hyper service"),
];

/// The dependency graph as `cargo tree` resolves it for the platform that the
/// tests are built for. (`cargo metadata` also shows crates that only a weak
/// feature names, `ring?/alloc` for one, and that are never built.)
struct Graph {
    /// Packages by name and version.
    packages: BTreeMap<String, Package>,
    root: String,
}

#[derive(Default)]
struct Package {
    name: String,
    /// An SPDX expression, or nothing.
    licence: String,
    /// Packages, and whether the program needs them (else only its tests do).
    dependencies: BTreeMap<String, bool>,
}

impl Graph {
    fn read() -> Self {
        let mut graph = Self { packages: BTreeMap::new(), root: String::new() };
        graph.add(&cargo_tree("normal,build,dev"), false);
        graph.add(&cargo_tree("normal,build"), true);
        graph
    }

    /// Adds a tree of lines `depth name version …|licence`. A package whose
    /// dependencies were shown before ends in `(*)` and shows none.
    fn add(&mut self, tree: &str, in_program: bool) {
        let mut path: Vec<String> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let digits = line.chars().take_while(char::is_ascii_digit).count();
            let depth: usize = line[..digits].parse().expect("a line begins with its depth");
            let (package, licence) = line[digits..].split_once('|').expect("a licence follows");
            let id = package.split(' ').take(2).collect::<Vec<_>>().join(" ");
            let entry = self.packages.entry(id.clone()).or_default();
            entry.name = id.split(' ').next().unwrap_or_default().to_owned();
            entry.licence = licence.trim_end_matches(" (*)").to_owned();
            path.truncate(depth);
            match path.last() {
                Some(parent) => {
                    let parent = self.packages.get_mut(parent).expect("the parent came before");
                    *parent.dependencies.entry(id.clone()).or_default() |= in_program;
                }
                None => self.root.clone_from(&id),
            }
            path.push(id);
        }
    }

    /// Names of all crates that the program needs (`tests`: or its tests do),
    /// on ways that do not lead through `without`.
    fn names(&self, tests: bool) -> BTreeSet<&str> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![&self.root]);
        while let Some(id) = open.pop() {
            let package = &self.packages[id];
            if seen.insert(id) {
                let needed = package.dependencies.iter().filter(|(_, in_program)| tests || **in_program);
                open.extend(needed.map(|(id, _)| id));
            }
        }
        seen.into_iter().map(|id| self.packages[id].name.as_str()).collect()
    }

    /// Names of crates that directly depend on one.
    fn brought_by(&self, name: &str) -> String {
        let brings = |package: &&Package| package.dependencies.keys().any(|id| self.packages[id].name == name);
        self.packages.values().filter(brings).map(|package| package.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn cargo_tree(edges: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", edges, "--prefix", "depth", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo tree writes UTF-8")
}

fn none_of(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n\n  {}\n\n", complaints.join("\n  "));
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// ---- what is refused ------------------------------------------------------

#[test]
fn there_is_one_of_each() {
    none_of(banned(&Graph::read()));
}

fn banned(graph: &Graph) -> Vec<String> {
    let (program, tests) = (graph.names(false), graph.names(true));
    let mut complaints = Vec::new();
    for ban in BANNED {
        for name in ban.names {
            let by = graph.brought_by(name);
            if program.contains(name) {
                complaints.push(format!("{name} (through {by}) is {}: {}", ban.reason, ban.instead));
            } else if tests.contains(name) {
                complaints.push(format!("{name} (through {by}, for tests) is {}: {}", ban.reason, ban.instead));
            }
        }
    }
    complaints
}

#[test]
fn cargo_toml_names_nothing_that_is_here_already() {
    none_of(named(&Graph::read()));
}

fn named(graph: &Graph) -> Vec<String> {
    let direct: Vec<&str> =
        graph.packages[&graph.root].dependencies.keys().map(|id| graph.packages[id].name.as_str()).collect();
    let named = NOT_BY_NAME.iter().filter(|(name, _)| direct.contains(name));
    named.map(|(name, instead)| format!("Cargo.toml names {name}: {instead}")).collect()
}

// ---- where crates come from ------------------------------------------------

#[test]
fn every_crate_comes_from_the_registry() {
    none_of(foreign(&read("Cargo.lock")));
}

/// Reads the lock file, because it holds the crates of all platforms.
fn foreign(lock: &str) -> Vec<String> {
    let field = |package: &str, name: &str| {
        let start = format!("{name} = \"");
        package.lines().find_map(|line| Some(line.strip_prefix(&start)?.trim_end_matches('"').to_owned()))
    };
    let mut complaints = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = field(package, "name").expect("a locked package has a name");
        match field(package, "source") {
            Some(source) if source == REGISTRY && field(package, "checksum").is_some() => {}
            None if name == "cairn-storage" => {}
            source => complaints.push(format!(
                "{name} comes from {}: publish it, or use a release from crates.io",
                source.as_deref().unwrap_or("a local path")
            )),
        }
    }
    complaints
}

// ---- licences -------------------------------------------------------------

#[test]
fn every_licence_goes_with_ours() {
    let graph = Graph::read();
    assert!(graph.packages.len() > 100, "cargo tree shows {} packages", graph.packages.len());
    none_of(graph.packages.values().filter_map(licence_complaint).collect());
}

fn licence_complaint(package: &Package) -> Option<String> {
    let Package { name, licence, .. } = package;
    if licence.is_empty() {
        return Some(format!("{name} declares no licence: do without it"));
    }
    let message = "is not among LICENCES: do without the crate, or add the licence with the duties it brings";
    (!allowed(licence)).then(|| format!("{name}: '{licence}' {message}"))
}

/// Whether an SPDX expression can be satisfied by allowed licences.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens: Vec<&str> = spaced.split_whitespace().rev().collect();
    let result = any_of(&mut tokens);
    assert!(tokens.is_empty(), "'{expression}' is no SPDX expression that this test can read");
    result
}

/// Terms with OR between them. The tokens are in reverse, next one last.
fn any_of(tokens: &mut Vec<&str>) -> bool {
    let mut result = all_of(tokens);
    while tokens.pop_if(|token| *token == "OR").is_some() {
        result |= all_of(tokens);
    }
    result
}

/// Terms with AND between them, which binds closer than OR.
fn all_of(tokens: &mut Vec<&str>) -> bool {
    let mut result = term(tokens);
    while tokens.pop_if(|token| *token == "AND").is_some() {
        result &= term(tokens);
    }
    result
}

fn term(tokens: &mut Vec<&str>) -> bool {
    let first = tokens.pop().expect("a licence follows");
    if first == "(" {
        let result = any_of(tokens);
        assert_eq!(tokens.pop(), Some(")"), "the parenthesis is closed");
        return result;
    }
    let name = match tokens.pop_if(|token| *token == "WITH") {
        Some(_) => format!("{first} WITH {}", tokens.pop().expect("an exception follows")),
        None => first.to_owned(),
    };
    LICENCES.contains(&name.as_str())
}

// ---- the rules themselves -------------------------------------------------

#[test]
fn licence_expressions_are_read() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "GPL-3.0 AND MIT OR ISC",
    ] {
        assert!(allowed(good), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "AGPL-3.0 OR GPL-3.0",
        "GPL-2.0 WITH Classpath-exception-2.0",
        "(MIT OR ISC) AND GPL-3.0",
    ] {
        assert!(!allowed(bad), "{bad}");
    }
}

/// A graph from trees as cargo prints them: one with tests, one without.
fn sample(with_tests: &str, program: &str) -> Graph {
    let mut graph = Graph { packages: BTreeMap::new(), root: String::new() };
    graph.add(with_tests, false);
    graph.add(program, true);
    graph
}

#[test]
fn a_refusal_says_what_to_do() {
    let program = "0root v1 (/here)|MIT\n1a v1|\n2ring v1|ISC\n1sha2 v1|MIT\n1a v1| (*)\n";
    let graph = sample(program, program);
    let ring = "ring (through a) is a second cryptography library: use aws-lc-rs, or turn the dependency's feature on \
                that selects it";
    assert_eq!(banned(&graph), [ring]);
    assert_eq!(named(&graph), ["Cargo.toml names sha2: use aws-lc-rs"]);
    assert_eq!(licence_complaint(&graph.packages["a v1"]).as_deref(), Some("a declares no licence: do without it"));
    assert_eq!(licence_complaint(&graph.packages["ring v1"]), None);
}

#[test]
fn tests_bring_nothing_that_is_banned_either() {
    let root = "0root v1|MIT\n";
    let for_tests = "0root v1|MIT\n1sdk v1|MIT\n2openssl v1|MIT\n";
    assert_eq!(banned(&sample(for_tests, root)).len(), 1);
}

#[test]
fn a_crate_from_elsewhere_is_noticed() {
    let lock = "[[package]]\nname = \"cairn-storage\"\n\n[[package]]\nname = \"a\"\nsource = \"git+https://b\"\n\n\
                [[package]]\nname = \"c\"\nversion = \"1\"\n";
    let complaints = foreign(lock);
    assert_eq!(complaints.len(), 2);
    assert_eq!(complaints[0], "a comes from git+https://b: publish it, or use a release from crates.io");
}
