//! The command line as a script meets it: the real binary, its output and its
//! exit codes. Nothing here gets as far as starting a cluster.
#![cfg(feature = "server")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use cairn::seal::ClusterSecret;
use cairn::types::{ClusterId, TokenId};
use cairn::wire::{Credential, JoinToken};
use serde_json::Value;
use tempfile::TempDir;

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// The binary in an empty directory and with an empty environment.
struct Shell {
    dir: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Shell {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory"), environment: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a UTF-8 path").to_owned()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.dir.path().join(name), text).expect("a file");
        self.path(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(CAIRN).args(arguments).output().expect("the binary runs")
    }

    /// What the command prints on stdout when it does well.
    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
    }

    /// The one sentence of a command that could not start.
    fn refusal(&self, arguments: &[&str]) -> String {
        sentence(&self.run(arguments))
    }

    fn config(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = ["config", "--json"].iter().chain(arguments).copied().collect();
        serde_json::from_str(&self.stdout(&arguments)).expect("JSON")
    }

    /// A complete data directory whose key has these bytes.
    fn data(&self, key: &[u8]) -> String {
        let data = self.dir.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let cluster = ClusterSecret::from_bytes([7; 32]).cluster_id();
        fs::write(data.join("format"), format!("format = 1\ncluster = \"{cluster}\"\n")).expect("a marker");
        fs::write(data.join("cluster.key"), key).expect("a key");
        fs::set_permissions(data.join("cluster.key"), fs::Permissions::from_mode(0o600)).expect("a mode");
        self.path("data")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn sentence(output: &Output) -> String {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{stdout}{stderr}");
    assert_eq!(stdout, "");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
    for word in ["panicked", "backtrace", "os error", "Os {", "unwrap"] {
        assert!(!stderr.contains(word), "{stderr}");
    }
    stderr.strip_prefix("cairn: ").expect("says who speaks").trim_end().to_owned()
}

#[track_caller]
fn assert_says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "'{word}' is missing in: {sentence}");
    }
}

fn shown(config: &Value, name: &str) -> (Value, String, Option<String>) {
    let entry = &config[name];
    let word = |key: &str| entry[key].as_str().map(str::to_owned);
    (entry["value"].clone(), word("source").expect("a source"), word("place"))
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let shell = Shell::new().with("CAIRN_NODES", "5").with("CAIRN_REGION", "from-environment");
    let file =
        shell.write("c.toml", "nodes = 4\nregion = \"from-file\"\nmemory = \"64MiB\"\ndomains = [\"a.b\", \"c\"]\n");
    let config = shell.config(&["--config", &file, "--nodes", "6"]);
    let place = |place: &str| Some(place.to_owned());
    assert_eq!(shown(&config, "nodes"), (6.into(), "flag".into(), place("--nodes")));
    assert_eq!(shown(&config, "region"), ("from-environment".into(), "environment".into(), place("CAIRN_REGION")));
    assert_eq!(shown(&config, "memory"), ("64MiB".into(), "file".into(), Some(file.clone())));
    assert_eq!(shown(&config, "domains").0, serde_json::json!(["a.b", "c"]));
    assert_eq!(shown(&config, "listen"), ("127.0.0.1:9000".into(), "default".into(), None));
    assert_eq!(shown(&config, "scheme"), (Value::Null, "default".into(), None));
}

#[test]
fn the_file_may_be_named_by_the_environment_and_by_the_flag_before() {
    let shell = Shell::new().with("CAIRN_CONFIG", "one.toml");
    shell.write("one.toml", "nodes = 3\n");
    shell.write("two.toml", "nodes = 4\n");
    assert_eq!(shown(&shell.config(&[]), "nodes").0, 3);
    assert_eq!(shown(&shell.config(&["--config", "two.toml"]), "nodes").0, 4);
    let before = shell.stdout(&["--config", "two.toml", "config"]);
    assert!(before.contains("nodes = 4 "), "{before}");
}

#[test]
fn what_config_prints_says_where_from_and_is_a_configuration_file() {
    let shell = Shell::new().with("CAIRN_NODES", "12");
    let printed = shell.stdout(&["config", "--domains", "s3.test", "--node-capacity", "500GB"]);
    let line = |name: &str| printed.lines().find(|line| line.starts_with(name)).expect("a line per setting");
    assert!(line("nodes").ends_with("# environment CAIRN_NODES"), "{printed}");
    assert!(line("domains").ends_with("# flag --domains"), "{printed}");
    assert!(line("# scheme is not set").ends_with("# default"), "{printed}");

    let again = Shell::new();
    let file = again.write("printed.toml", &printed);
    let config = again.config(&["--config", &file]);
    assert_eq!(shown(&config, "nodes").0, 12);
    assert_eq!(shown(&config, "node_capacity").0, "500GB");
}

#[test]
fn an_unknown_key_is_refused_by_name_with_what_was_meant() {
    let shell = Shell::new();
    for (file, words) in [
        ("listn = \"x\"\n", ["'listn'", "did you mean 'listen'?"]),
        ("colour = 1\n", ["'colour'", "cairn config --reference"]),
        ("[gateway]\nlisten = \"x\"\n", ["'gateway'", "unknown key"]),
        ("root_secret_key = \"hunter2hunter2\"\n", ["root_secret_key", "CAIRN_ROOT_SECRET_KEY"]),
    ] {
        let file = shell.write("c.toml", file);
        for command in ["config", "up"] {
            let sentence = shell.refusal(&[command, "--config", &file]);
            assert_says(&sentence, &words);
            assert_says(&sentence, &[&file]);
            assert!(!sentence.contains("hunter2"));
        }
    }
}

#[test]
fn a_file_that_cannot_be_used_is_refused() {
    let shell = Shell::new();
    let broken = shell.write("broken.toml", "nodes = 8\nregion = \n");
    assert_says(&shell.refusal(&["config", "--config", &broken]), &["is not TOML", "line 2", &broken]);
    let noise = shell.write("noise.toml", [0xff, 0xfe, 0]);
    assert_says(&shell.refusal(&["config", "--config", &noise]), &["not UTF-8", &noise]);
    assert_says(
        &shell.refusal(&["config", "--config", "none.toml"]),
        &["could not be read", "none.toml", "no such file"],
    );
    assert_says(&shell.refusal(&["config", "--config", "."]), &["could not be read", "is a directory"]);
}

#[test]
fn a_bad_value_is_named_with_its_origin_and_what_is_expected() {
    for (name, value, expected) in [
        ("nodes", "many", "a whole number from 1 to 256"),
        ("scheme", "5/4/7/8", "four whole numbers K/R/O/N"),
        ("listen", "localhost", "an IP address and a port"),
        ("memory", "128Mb", "such as 128MiB"),
        ("log_format", "xml", "text or json"),
        ("log", "loud", "error, warn, info"),
        ("region", "US East", "lower-case letters"),
        ("domains", "https://x", "host names"),
        ("node_capacity", "1.5TB", "a whole number and a unit"),
    ] {
        let flag = format!("--{}", name.replace('_', "-"));
        let flagged = Shell::new().refusal(&["up", &flag, value]);
        assert_says(&flagged, &[&format!("{name} is '{value}' (flag {flag})"), expected]);

        let variable = format!("CAIRN_{}", name.to_ascii_uppercase());
        let sentence = Shell::new().with(variable.clone().leak(), value).refusal(&["up"]);
        assert_says(&sentence, &[&format!("(environment {variable})"), expected]);

        let shell = Shell::new();
        let file = shell.write("c.toml", format!("{name} = \"{value}\"\n"));
        assert_says(&shell.refusal(&["up", "--config", &file]), &[&format!("(file {file})"), expected]);
        let file = shell.write("c.toml", format!("{name} = true\n"));
        assert_says(&shell.refusal(&["up", "--config", &file]), &["is true or false", expected]);
    }
}

#[test]
fn the_root_key_pair_comes_whole_and_is_never_shown() {
    let half = Shell::new().with("CAIRN_ROOT_ACCESS_KEY", "admin");
    assert_says(&half.refusal(&["up"]), &["CAIRN_ROOT_ACCESS_KEY is set", "CAIRN_ROOT_SECRET_KEY is not"]);

    let both = Shell::new().with("CAIRN_ROOT_ACCESS_KEY", "admin-name").with("CAIRN_ROOT_SECRET_KEY", "hunter2hunter2");
    for output in [both.run(&["config"]), both.run(&["config", "--json"])] {
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(all.contains("CAIRN_ROOT_SECRET_KEY") && all.contains("set"), "{all}");
        assert!(!all.contains("hunter2") && !all.contains("admin-name"), "{all}");
    }

    let twice = both.with("CAIRN_ROOT_SECRET_KEY_FILE", "/run/secrets/key");
    assert_says(&twice.refusal(&["up"]), &["CAIRN_ROOT_SECRET_KEY is set, and so is root_secret_key_file"]);
    let file =
        Shell::new().with("CAIRN_ROOT_SECRET_KEY_FILE", "/run/secrets/key").with("CAIRN_ROOT_ACCESS_KEY", "admin");
    let shown = file.stdout(&["config"]);
    assert!(shown.contains("root_secret_key_file = \"/run/secrets/key\""), "{shown}");
    assert_says(&file.refusal(&["up"]), &["the file with the root secret key", "no such file"]);

    let odd = Shell::new().with("CAIRN_ROOT_ACCESS_KEY", "admin").with("CAIRN_ROOT_SECRET_KEY", "$(reboot) now");
    let sentence = odd.refusal(&["up"]);
    assert_says(&sentence, &["CAIRN_ROOT_SECRET_KEY", "letters, digits"]);
    assert!(!sentence.contains("reboot"), "{sentence}");
}

#[test]
fn a_worker_needs_the_database_and_the_secret_of_a_cluster() {
    let shell = Shell::new();
    assert_says(&shell.refusal(&["worker"]), &["the cluster's secret", "--cluster-key-file"]);
    let refused = shell.refusal(&["worker", "--cluster-key-file", "key"]);
    assert_says(&refused, &["a worker needs the PostgreSQL", "--metadata"]);
    let refused = shell.refusal(&["gateway", "--workers", "false"]);
    assert_says(&refused, &["workers is false (flag --workers)", "SQLite", "--metadata"]);
    assert_says(&shell.refusal(&["gateway", "--workers", "no"]), &["workers is 'no'", "expected: true or false"]);
    assert_says(&shell.refusal(&["gateway", "--start-wait", "1 min"]), &["start_wait is '1 min'", "such as 60s"]);
    assert!(!Path::new(&shell.path("cairn-data")).exists());
}

#[test]
fn an_unknown_variable_is_warned_about_and_does_no_harm() {
    let output = Shell::new().with("CAIRN_NODE", "3").run(&["config"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        "cairn: warning: the environment variable CAIRN_NODE means nothing: did you mean CAIRN_NODES?\n"
    );
}

#[test]
fn usage_follows_the_customs() {
    let shell = Shell::new();
    for arguments in [&["--help"][..], &["up", "--help"], &["config", "-h"], &["help", "up"]] {
        assert!(shell.stdout(arguments).contains("Usage: cairn"));
    }
    assert!(shell.stdout(&["--help"]).contains("Examples:"));
    assert!(shell.stdout(&["up", "--help"]).contains("[default: 127.0.0.1:9000]"));
    assert_eq!(shell.stdout(&["--version"]), concat!("cairn ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(shell.stdout(&["version"]).starts_with(concat!("cairn ", env!("CARGO_PKG_VERSION"), "\n")));
    let version: Value = serde_json::from_str(&shell.stdout(&["version", "--json"])).expect("JSON");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    for arguments in [&[][..], &["upp"], &["up", "--nodse", "3"], &["up", "extra"], &["up", "--nodes"]] {
        let output = shell.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_stops_reading_is_no_failure() {
    let output = Shell::new().command("sh").args(["-c", &format!("{CAIRN} config --reference | true")]).output();
    assert_eq!(text(&output.expect("sh runs").stderr), "");
}

#[test]
fn an_address_that_cannot_be_had_is_refused_before_anything_is_made() {
    let shell = Shell::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let sentence = shell.refusal(&["up", "--listen", &address]);
    assert_says(&sentence, &[&address, "(flag --listen)", "another program uses this port"]);
    // 192.0.2.0/24 is for documentation: no machine has it.
    assert_says(&shell.refusal(&["up", "--listen", "192.0.2.1:9000"]), &["192.0.2.1:9000", "no such address"]);
    assert!(!Path::new(&shell.path("cairn-data/cluster.key")).exists());
}

#[test]
fn a_scheme_that_the_nodes_cannot_keep_is_refused() {
    let sentence = Shell::new().with("CAIRN_NODES", "4").refusal(&["up", "--scheme", "4/5/7/8"]);
    assert_says(&sentence, &["4/5/7/8", "(flag --scheme)", "needs 8 nodes", "nodes is 4", "CAIRN_NODES"]);
}

#[test]
fn tls_files_that_cannot_be_read_are_refused() {
    let shell = Shell::new();
    let cert = shell.write("cert.pem", "");
    assert_says(&shell.refusal(&["up", "--tls-cert", &cert]), &["tls_cert is set", "tls_key is not"]);
    let sentence = shell.refusal(&["up", "--tls-cert", &cert, "--tls-key", "none.pem"]);
    assert_says(&sentence, &["tls_key could not be read", "none.pem", "no such file"]);
}

#[test]
fn a_place_that_cannot_be_a_data_directory_is_refused() {
    let shell = Shell::new();
    let file = shell.write("file", "");
    assert_says(&shell.refusal(&["up", "--data", &file]), &[&file, "is a file"]);
    assert_says(&shell.refusal(&["up", "--data", &format!("{file}/below")]), &["a file, not a directory"]);
    assert_says(&shell.refusal(&["up", "--data", "."]), &["not empty", "'file'"]);
    assert_says(&shell.refusal(&["up", "--data", "/proc/cairn"]), &["/proc/cairn", "could not be made"]);
    assert_says(&shell.refusal(&["up", "--data", ""]), &["expected: a path"]);
}

#[test]
fn a_directory_of_another_version_is_refused() {
    let shell = Shell::new();
    let data = shell.data(&[7; 32]);
    fs::write(format!("{data}/format"), "format = 2\nnews = true\n").expect("a marker");
    assert_says(&shell.refusal(&["up", "--data", &data]), &[&data, "has format 2", "reads format 1"]);
    fs::write(format!("{data}/format"), "noise").expect("a marker");
    assert_says(&shell.refusal(&["up", "--data", &data]), &["format is damaged"]);
}

#[test]
fn a_directory_in_use_is_refused() {
    let shell = Shell::new();
    let data = shell.data(&[7; 32]);
    let lock = File::create(format!("{data}/lock")).expect("a lock file");
    lock.try_lock().expect("nobody else has it");
    fs::write(format!("{data}/lock"), "4711\n").expect("a process id");
    assert_says(&shell.refusal(&["up", "--data", &data, "--listen", "127.0.0.1:0"]), &["in use by process 4711"]);
}

#[test]
fn a_cluster_key_that_does_not_fit_is_refused_and_kept() {
    for (key, words) in [(&[8; 32][..], "is another cluster's"), (&[7; 31][..], "is damaged"), (b"", "is damaged")] {
        let shell = Shell::new();
        let data = shell.data(key);
        let sentence = shell.refusal(&["up", "--data", &data, "--listen", "127.0.0.1:0"]);
        assert_says(&sentence, &["cluster.key", words, "restore the file"]);
        assert_eq!(fs::read(format!("{data}/cluster.key")).expect("still there"), key);
    }
    let shell = Shell::new();
    let data = shell.data(&[7; 32]);
    let up = ["up", "--data", &data, "--listen", "127.0.0.1:0"];
    fs::set_permissions(format!("{data}/cluster.key"), fs::Permissions::from_mode(0o604)).expect("a mode");
    assert_says(&shell.refusal(&up), &["every user of this machine", "chmod 600"]);
    fs::remove_file(format!("{data}/cluster.key")).expect("it was there");
    assert_says(&shell.refusal(&up), &["cluster.key is missing"]);
}

/// Runs `cairn up` on a small file system of its own that was mounted with
/// these options. Needs a kernel that grants mount namespaces.
fn up_on_tmpfs(options: &str) -> Output {
    let shell = Shell::new();
    let disk = shell.path("disk");
    fs::create_dir(&disk).expect("a mount point");
    let script =
        format!("mount -t tmpfs -o {options} none {disk} && exec {CAIRN} up --data {disk} --listen 127.0.0.1:0");
    let namespace = ["--user", "--map-root-user", "--mount", "sh", "-c", &script];
    shell.command("unshare").args(namespace).output().expect("unshare runs")
}

#[test]
fn a_full_or_read_only_disk_is_refused() {
    // Room for the root and the lock file, and for nothing else.
    assert_says(&sentence(&up_on_tmpfs("nr_inodes=2")), &["cluster.key", "the disk is full"]);
    assert_says(&sentence(&up_on_tmpfs("nr_inodes=1")), &["lock", "the disk is full"]);
    assert_says(&sentence(&up_on_tmpfs("ro")), &["the file system is read-only"]);
}

#[test]
fn a_directory_that_may_not_be_written_is_refused() {
    let shell = Shell::new();
    let closed = shell.path("closed");
    fs::create_dir(&closed).expect("a folder");
    let data = format!("{closed}/data");
    let root = fs::metadata(&closed).expect("it is there").uid() == 0;
    let output = if root {
        // Root without its powers, before a folder of somebody else.
        chown(&closed, Some(65534), Some(65534)).expect("root may");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("a mode");
        let powerless = ["--bounding-set=-all", "--inh-caps=-all", CAIRN, "up", "--data", &data];
        shell.command("setpriv").args(powerless).output().expect("setpriv runs")
    } else {
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).expect("a mode");
        shell.run(&["up", "--data", &data])
    };
    assert_says(&sentence(&output), &[&data, "permission denied"]);
}

/// A token for the cluster with this number, whose door nobody keeps.
fn token(cluster: u8) -> String {
    let token = JoinToken {
        doors: vec!["127.0.0.1:1".to_owned()],
        cluster: ClusterId::from_bytes([cluster; 32]),
        credential: Credential { id: TokenId::from_bytes([cluster; 16]), secret: [9; 32] },
        expires_ms: None,
        uses: None,
        labels: Default::default(),
    };
    token.to_string()
}

/// The folder of a node that is a member of cluster 1.
fn member(shell: &Shell) -> String {
    let node = shell.path("node");
    fs::create_dir(&node).expect("a folder");
    let (cluster, token) = ("01".repeat(32), "01".repeat(16));
    let text = format!(
        r#"{{"format":1,"cluster":"{cluster}","doors":["127.0.0.1:1"],"capacity_bytes":100000000,"token":"{token}","credential":null,"joined":true}}"#
    );
    fs::write(format!("{node}/cluster.json"), text).expect("a membership");
    node
}

/// Every file below a folder, with what it holds.
fn contents(folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_node_without_a_good_token_is_refused_before_anything_is_made() {
    let shell = Shell::new();
    let node = shell.path("node");
    let whole = token(1);
    for (given, words) in [
        ("hello".to_owned(), "not a join token"),
        (whole[..whole.len() - 3].to_owned(), "mangled"),
        (whole.replacen("cairn-join-1", "cairn-join-7", 1), "update cairn"),
    ] {
        let sentence = shell.refusal(&["node", "--data", &node, "--join", &given]);
        assert_says(&sentence, &[words]);
        assert!(!Path::new(&node).exists());
        let sentence = Shell::new().with("CAIRN_JOIN", given).refusal(&["node", "--data", &node]);
        assert_says(&sentence, &[words]);
    }
    let folder = shell.path("folder");
    fs::create_dir(&folder).expect("a folder");
    assert_says(&shell.refusal(&["node", "--data", &node, "--join-file", &folder]), &["join token", "is a directory"]);
    let noise = shell.write("noise", "hello\n");
    assert_says(&shell.refusal(&["node", "--data", &node, "--join-file", &noise]), &["every user", "chmod 600"]);
    fs::set_permissions(&noise, fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_says(&shell.refusal(&["node", "--data", &node, "--join-file", &noise]), &["not a join token"]);
    assert!(!Path::new(&node).exists());
    let sentence = shell.refusal(&["node", "--data", &node]);
    assert_says(&sentence, &["belongs to no cluster yet", "--join"]);
    assert!(!Path::new(&node).exists(), "a folder of its own would be in the way of `cairn up`");
}

#[test]
fn a_node_that_has_joined_does_not_become_another_one() {
    let shell = Shell::new();
    let node = member(&shell);
    assert_says(&shell.refusal(&["node", "--data", &node]), &["identity.key is missing", "restore it from a copy"]);
    assert!(!Path::new(&format!("{node}/identity.key")).exists());
}

#[test]
fn a_nodes_folder_belongs_to_one_cluster() {
    let shell = Shell::new();
    let node = member(&shell);
    let before = contents(&node);
    let sentence = shell.refusal(&["node", "--data", &node, "--join", &token(2)]);
    assert_says(&sentence, &["another cluster", "020202020202", "010101010101", "another folder"]);
    let after: Vec<_> = contents(&node).into_iter().filter(|(path, _)| !path.ends_with("node.lock")).collect();
    assert_eq!(after, before);
    for text in ["", "{}", r#"{"format":2}"#] {
        fs::write(format!("{node}/cluster.json"), text).expect("a file");
        assert_says(&shell.refusal(&["node", "--data", &node]), &["cluster.json", "cannot be understood"]);
    }
}

#[test]
fn a_place_that_cannot_be_a_nodes_folder_is_refused() {
    let (shell, token) = (Shell::new(), token(1));
    let refusal = |data: &str| shell.refusal(&["node", "--join", &token, "--data", data]);
    let file = shell.write("file", "");
    assert_says(&refusal(&file), &[&file, "is a file"]);
    assert_says(&refusal("."), &["not a node's folder", "'file'"]);
    assert_says(&refusal(&shell.data(&[7; 32])), &["data directory of a gateway"]);
    let node = member(&shell);
    let lock = File::create(format!("{node}/node.lock")).expect("a lock file");
    lock.try_lock().expect("nobody else has it");
    fs::write(format!("{node}/node.lock"), "4711\n").expect("a process id");
    assert_says(&refusal(&node), &["runs on", "process 4711"]);
    drop(lock);
    let store = File::create(format!("{node}/lock")).expect("a lock file");
    store.try_lock().expect("nobody else has it");
    assert_says(&refusal(&node), &["is run by `cairn up`", "stop that process"]);
}

#[test]
fn a_node_that_promises_what_its_disk_has_not_is_refused() {
    let (shell, token) = (Shell::new(), token(1));
    let node = shell.path("node");
    let sentence = shell.refusal(&["node", "--join", &token, "--data", &node, "--capacity", "15000PB"]);
    assert_says(&sentence, &["capacity is 15.0 EB (flag --capacity)", "whole disk", "promise no more"]);
    let sentence = shell.refusal(&["node", "--join", &token, "--data", &node, "--capacity", "1MB"]);
    assert_says(&sentence, &["capacity is '1MB'", "at least 16MiB"]);
    for (flag, value) in [("--bandwidth", "fast"), ("--label", "noequals"), ("--capacity", "much")] {
        assert_says(&shell.refusal(&["node", "--join", &token, flag, value]), &[value, "expected"]);
    }
}

#[test]
fn the_status_of_a_stopped_node_changes_nothing() {
    let shell = Shell::new();
    assert_says(&shell.refusal(&["node", "status", "--data", "none"]), &["there is no node in none"]);
    let empty = shell.path("empty");
    fs::create_dir(&empty).expect("a folder");
    assert_says(&shell.refusal(&["node", "status", "--data", &empty]), &["there is no node in"]);
    assert_says(&shell.refusal(&["node", "leave", "--data", &empty]), &["there is no node in"]);
    assert_eq!(contents(&empty), []);

    let node = member(&shell);
    let before = contents(&node);
    let status: Value =
        serde_json::from_str(&shell.stdout(&["node", "status", "--json", "--data", &node])).expect("JSON");
    assert_eq!((&status["state"], &status["leaving"]), (&"stopped".into(), &false.into()), "{status:#}");
    assert!(shell.stdout(&["node", "status", "--data", &node]).contains("not running"));
    let leave = shell.run(&["node", "leave", "--data", &node]);
    assert_eq!(leave.status.code(), Some(1));
    assert_says(&text(&leave.stderr), &["is not running", "start it with"]);
    assert_eq!(contents(&node), before);
    fs::write(format!("{node}/node.json"), r#"{"format":2,"starts":1,"generation":1,"doors":[],"left":true}"#)
        .expect("a memory");
    assert!(shell.stdout(&["node", "leave", "--data", &node]).contains("can be wiped"));
}
