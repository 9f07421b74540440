//! The AWS CLI: version 1 from PyPI, version 2 from Debian.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::data;
use crate::support::process::{Invocation, Outcome};
use crate::visit::{VENV_AWS, Visit};

const BIG_BYTES: u64 = 200 * data::MIB;

/// One version of the CLI at work in one bucket.
struct Cli {
    visit: Visit,
    program: &'static str,
}

impl Cli {
    fn new(program: &'static str, name: &str) -> Self {
        let cli = Self { visit: Visit::new(name), program };
        // Version 1 presigns with the signature of 2006 unless it is told.
        let config = cli.visit.work.folder(".aws").join("config");
        std::fs::write(config, "[default]\ns3 =\n  signature_version = s3v4\n").expect("room for a configuration");
        cli.run(&["s3", "mb", &cli.address("")]);
        cli
    }

    /// `s3://bucket/key`.
    fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.visit.bucket)
    }

    /// Debian's version 2 is older than `AWS_ENDPOINT_URL`, so it is told.
    fn call(&self, arguments: &[&str]) -> Invocation {
        let endpoint = self.visit.access().endpoint.clone();
        self.visit.call(self.program).args(["--endpoint-url", &endpoint]).args(arguments).limit_seconds(300)
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.call(arguments).run().text()
    }

    fn fails(&self, arguments: &[&str]) -> Outcome {
        self.call(arguments).fails()
    }

    /// `s3api OPERATION --bucket B --key K …`, its JSON answer.
    fn api(&self, operation: &str, key: &str, more: &[&str]) -> serde_json::Value {
        let text = self.api_call(operation, key, more).run().text();
        if text.trim().is_empty() {
            serde_json::Value::Null
        } else {
            serde_json::from_str(&text).expect("JSON as asked for")
        }
    }

    fn api_call(&self, operation: &str, key: &str, more: &[&str]) -> Invocation {
        self.call(&["s3api", operation, "--output", "json", "--bucket", &self.visit.bucket, "--key", key]).args(more)
    }
}

#[test]
fn version_1_copies_big_and_small_files() {
    copies_big_and_small_files(&Cli::new(VENV_AWS, "aws1-cp"));
}

#[test]
fn version_2_copies_big_and_small_files() {
    copies_big_and_small_files(&Cli::new("aws", "aws2-cp"));
}

#[test]
fn version_1_syncs_odd_names() {
    syncs_odd_names(&Cli::new(VENV_AWS, "aws1-sync"));
}

#[test]
fn version_2_syncs_odd_names() {
    syncs_odd_names(&Cli::new("aws", "aws2-sync"));
}

#[test]
fn version_1_declares_each_checksum() {
    declares_checksums(&Cli::new(VENV_AWS, "aws1-sum"), &["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]);
}

#[test]
fn version_2_declares_each_checksum() {
    declares_checksums(&Cli::new("aws", "aws2-sum"), &["CRC32", "CRC32C", "SHA1", "SHA256"]);
}

/// mb, cp up (multipart), presigned GET, server-side copy (UploadPartCopy),
/// cp down, rm --recursive, rb.
fn copies_big_and_small_files(cli: &Cli) {
    let work = &cli.visit.work;
    let (big, small) = (work.join("big.bin"), work.join("small.txt"));
    let big_sum = data::random_file(&big, 1, BIG_BYTES);
    std::fs::write(&small, "a small file\n").expect("room for a small file");
    cli.run(&["s3", "cp", "--no-progress", text(&small), &cli.address("dir/small.txt")]);
    cli.run(&["s3", "cp", "--no-progress", text(&big), &cli.address("dir/big.bin")]);
    std::fs::remove_file(&big).expect("it was just written");

    let listing = cli.run(&["s3", "ls", "--recursive", &cli.address("")]);
    assert!(listing.contains(&format!("{BIG_BYTES} dir/big.bin")), "{listing}");
    assert_eq!(cli.run(&["s3", "cp", &cli.address("dir/small.txt"), "-"]), "a small file\n");
    let etag = cli.api("head-object", "dir/big.bin", &[])["ETag"].to_string();
    assert!(etag.contains('-'), "25 parts make a multipart ETag, not {etag}");

    presigned_get(cli, "dir/big.bin", &big_sum);
    cli.run(&["s3", "mv", "--no-progress", &cli.address("dir/big.bin"), &cli.address("copy/big.bin")]);
    let back = work.join("back.bin");
    cli.run(&["s3", "cp", "--no-progress", &cli.address("copy/big.bin"), text(&back)]);
    assert_eq!(data::sha256_file(&back), big_sum);

    cli.fails(&["s3", "rb", &cli.address("")]);
    cli.run(&["s3", "rm", "--recursive", &cli.address("")]);
    assert_eq!(cli.run(&["s3", "ls", "--recursive", &cli.address("")]), "");
    cli.run(&["s3", "rb", &cli.address("")]);
    cli.fails(&["s3", "ls", &cli.address("")]);
}

/// A presigned address works for whoever holds it, also with a range, and not
/// once it is changed.
fn presigned_get(cli: &Cli, key: &str, sum: &str) {
    let signed = cli.run(&["s3", "presign", "--expires-in", "300", &cli.address(key)]);
    let signed = signed.trim();
    let got = cli.visit.work.join("presigned.bin");
    cli.visit.call("curl").args(["-sSf", "-o", text(&got), signed]).run();
    assert_eq!(data::sha256_file(&got), sum);
    let range = cli.visit.call("curl").args(["-sSf", "-r", "1000000-1000999", signed]).run();
    let whole = std::fs::read(&got).expect("it was just fetched");
    assert!(range.stdout == whole[1_000_000..1_001_000], "the range differs from the same bytes of the whole");
    let forged = signed.replace(key, "dir/small.txt");
    let status = cli.visit.call("curl").args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", &forged]).run();
    assert_eq!(status.text(), "403");
    std::fs::remove_file(got).expect("it was just fetched");
}

/// sync up, list, sync down, change, sync --delete.
fn syncs_odd_names(cli: &Cli) {
    let work = &cli.visit.work;
    let (from, to) = (work.folder("from"), work.join("to"));
    data::odd_tree(&from, 7);
    data::plain_tree(&from.join("plain"), 100, 60);
    cli.run(&["s3", "sync", "--no-progress", text(&from), &cli.address("tree")]);
    cli.run(&["s3", "sync", "--no-progress", &cli.address("tree"), text(&to)]);
    data::assert_same_tree(&from, &to);

    let count = data::digests_of_tree(&from).len();
    let listing = cli.run(&["s3", "ls", "--recursive", "--summarize", &cli.address("tree")]);
    assert!(listing.contains(&format!("Total Objects: {count}")), "{listing}");
    assert!(listing.contains("tree/100%.txt") && listing.contains("tree/ünïcødé-日本語-🪨.txt"), "{listing}");

    std::fs::remove_file(from.join("plus+plus.txt")).expect("the tree has it");
    let changed = from.join("two  spaces .bin");
    std::fs::write(&changed, "changed, and of another size").expect("the tree has it");
    // S3 keeps whole seconds: a file as young as its upload would look newer.
    let touched = File::options().write(true).open(changed).and_then(|file| file.set_modified(an_hour_ago()));
    touched.expect("the file is ours");
    cli.run(&["s3", "sync", "--delete", "--no-progress", text(&from), &cli.address("tree")]);
    cli.run(&["s3", "sync", "--delete", "--no-progress", &cli.address("tree"), text(&to)]);
    data::assert_same_tree(&from, &to);
    let again = cli.run(&["s3", "sync", "--delete", "--no-progress", text(&from), &cli.address("tree")]);
    assert_eq!(again, "", "nothing had changed");
}

/// put-object with each checksum: computed by the client, verified, stored and
/// returned; a wrong one is refused and stores nothing.
fn declares_checksums(cli: &Cli, algorithms: &[&str]) {
    let file = cli.visit.work.join("body.bin");
    let sum = data::random_file(&file, 3, 300_001);
    for algorithm in algorithms {
        let key = format!("sum/{algorithm}");
        let field = format!("Checksum{algorithm}");
        let put = cli.api("put-object", &key, &["--body", text(&file), "--checksum-algorithm", algorithm]);
        let head = cli.api("head-object", &key, &["--checksum-mode", "ENABLED"]);
        assert!(head[&field].is_string() && head[&field] == put[&field], "{algorithm}: {put} and then {head}");
        let back = cli.visit.work.join("back.bin");
        cli.api("get-object", &key, &["--checksum-mode", "ENABLED", text(&back)]);
        assert_eq!(data::sha256_file(&back), sum, "{algorithm}");
        let wrong = checksum_option(algorithm);
        let other = wrong_checksum(head[&field].as_str().expect("a string"));
        // It would try again four times.
        let refused = cli.api_call("put-object", "sum/wrong", &["--body", text(&file), &wrong, &other]);
        let refused = refused.env("AWS_MAX_ATTEMPTS", "1").fails();
        assert!(
            refused.stderr.contains("(BadDigest)") || refused.stderr.contains("(InvalidRequest)"),
            "{}",
            refused.story()
        );
        cli.api_call("head-object", "sum/wrong", &[]).fails();
    }
}

fn an_hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3_600)
}

/// How the CLI writes the parameter `ChecksumALGORITHM`.
fn checksum_option(algorithm: &str) -> String {
    let name = match algorithm {
        "CRC32C" => "crc32-c".to_owned(),
        "CRC64NVME" => "crc64-nvme".to_owned(),
        other => other.to_lowercase(),
    };
    format!("--checksum-{name}")
}

/// The same base64 with its first letter changed: as long, and wrong.
fn wrong_checksum(right: &str) -> String {
    let first = if right.starts_with('A') { 'B' } else { 'A' };
    format!("{first}{}", &right[1..])
}

#[test]
fn version_1_writes_on_conditions() {
    let cli = Cli::new(VENV_AWS, "aws1-if");
    let (one, two) = (cli.visit.work.join("one"), cli.visit.work.join("two"));
    std::fs::write(&one, "one").expect("room for a small file");
    std::fs::write(&two, "two").expect("room for a small file");
    let first = cli.api("put-object", "lock", &["--body", text(&one), "--if-none-match", "*"]);
    let refused = cli.api_call("put-object", "lock", &["--body", text(&two), "--if-none-match", "*"]).fails();
    assert!(refused.stderr.contains("PreconditionFailed"), "{}", refused.story());
    assert_eq!(cli.run(&["s3", "cp", &cli.address("lock"), "-"]), "one");

    let etag = first["ETag"].as_str().expect("an ETag").to_owned();
    cli.api("put-object", "lock", &["--body", text(&two), "--if-match", &etag]);
    let refused = cli.api_call("put-object", "lock", &["--body", text(&one), "--if-match", &etag]).fails();
    assert!(refused.stderr.contains("PreconditionFailed"), "{}", refused.story());
    let refused = cli.api_call("delete-object", "lock", &["--if-match", &etag]).fails();
    assert!(refused.stderr.contains("PreconditionFailed"), "{}", refused.story());
    assert_eq!(cli.run(&["s3", "cp", &cli.address("lock"), "-"]), "two");
    let missing = cli.api_call("put-object", "absent", &["--body", text(&one), "--if-match", &etag]).fails();
    assert!(missing.stderr.contains("NoSuchKey"), "{}", missing.story());
}

/// A path as text: all names in these tests are UTF-8.
fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
