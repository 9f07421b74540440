//! Nodes' folders that vanish or fill with noise, while the cluster runs and
//! between runs: as many as the redundancy scheme promises to survive cost
//! nothing that was acknowledged.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use super::cluster::Cluster;
use crate::support::cairn::tell;
use crate::support::client::{Body, Call, Client, between};
use crate::support::ledger::{TOKEN, Version};
use crate::support::workdir::WorkDir;
use crate::support::{poll, seed};

const BUCKET: &str = "/folders";
/// Empty, in the row, sharing a segment, a segment of their own, several.
const SIZES: [usize; 11] = [0, 1, 4_096, 16_384, 16_385, 60_000, 300_000, 1_000_000, 3_000_000, 9_000_000, 21_000_000];
/// A lost folder must not cost a read its patience: the ten seconds for which a connection to a node is waited
/// for. A disk that stalls for some seconds is nobody's fault.
const READ_LIMIT: Duration = Duration::from_secs(9);
const REFUSAL_LIMIT: Duration = Duration::from_secs(9);
/// What such a loss may log.
const EXPECTED: [&str; 9] = [
    "a node gave wrong shares",
    "takes its place, and what only",
    "was set aside as",
    "has lost",
    "the piece store fails",
    "the piece store is gone",
    "a log cannot be written",
    "store did not close cleanly",
    "503",
];

/// What is done to a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Deleted,
    Noise,
    ShorterNoise,
    LongerNoise,
}

const DAMAGES: [Damage; 4] = [Damage::Deleted, Damage::Noise, Damage::ShorterNoise, Damage::LongerNoise];

#[test]
fn any_three_of_eight_folders() {
    let mut drill = Drill::new("any three of eight", &[]);
    let mut triples: Vec<Vec<usize>> = Vec::new();
    for one in 0..8 {
        for two in one + 1..8 {
            triples.extend((two + 1..8).map(|three| vec![one, two, three]));
        }
    }
    triples.shuffle(&mut drill.dice);
    for (at, triple) in triples.iter().take(8).enumerate() {
        let damage = DAMAGES[at % DAMAGES.len()];
        drill.while_it_runs(triple, damage, false);
        drill.between_runs(triple, DAMAGES[(at + 1) % DAMAGES.len()]);
    }
}

#[test]
fn one_and_two_of_eight_folders() {
    let mut drill = Drill::new("one and two of eight", &[]);
    for damage in DAMAGES {
        let one = vec![drill.dice.random_range(0..8)];
        drill.while_it_runs(&one, damage, true);
        let two: Vec<usize> = (0..8).collect::<Vec<_>>().choose_multiple(&mut drill.dice, 2).copied().collect();
        drill.while_it_runs(&two, damage, false);
        drill.between_runs(&two, damage);
    }
}

/// The default schemes of small clusters: 1/1/1/1, 1/1/2/2, 1/1/2/3, 3/4/5/6.
#[test]
fn small_clusters_lose_what_they_promise_to_survive() {
    for (nodes, losses) in [(1, 0), (2, 1), (3, 1), (6, 2)] {
        let count = nodes.to_string();
        let mut drill = Drill::new(&format!("{losses} of {nodes}"), &["--nodes", &count]);
        for damage in [Damage::Deleted, Damage::LongerNoise] {
            let lost: Vec<usize> =
                (0..nodes).collect::<Vec<_>>().choose_multiple(&mut drill.dice, losses).copied().collect();
            drill.while_it_runs(&lost, damage, nodes == 3);
            drill.between_runs(&lost, damage);
        }
    }
}

/// A cluster with objects of every size class, copied for every case.
struct Drill {
    name: String,
    dice: SmallRng,
    work: WorkDir,
    arguments: Vec<String>,
    objects: Vec<(String, Version)>,
    slowest_read: Duration,
}

impl Drill {
    fn new(name: &str, arguments: &[&str]) -> Self {
        let work = WorkDir::new("folders");
        let mut drill = Self {
            name: name.to_owned(),
            dice: SmallRng::seed_from_u64(seed(name)),
            work,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            objects: Vec::new(),
            slowest_read: Duration::ZERO,
        };
        let cluster = drill.start("template");
        let client = cluster.client();
        client.put(BUCKET, b"").expect("it runs").ok("create the bucket");
        drill.fill(&client);
        cluster.check_log(&[]);
        assert!(cluster.stop().0.success());
        drill
    }

    fn start(&self, data: &str) -> Cluster {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Cluster::start(self.work.path(), &self.work.join(data), &arguments)
    }

    fn fill(&mut self, client: &Client) {
        for size in SIZES {
            let version = self.version(size, "old");
            put(client, &version.0, &version.1).expect("it runs").ok("put");
            self.objects.push(version);
        }
        let crowd: Vec<_> = (0..24).map(|number| self.version(20_000 + 3_000 * number, "crowd")).collect();
        std::thread::scope(|scope| {
            for (key, version) in &crowd {
                scope.spawn(|| put(client, key, version).expect("it runs").ok("put"));
            }
        });
        self.objects.extend(crowd);
        let (source, version) = self.objects[9].clone();
        let path = format!("{BUCKET}/copy");
        let call = Call::new("PUT", &path).header("x-amz-copy-source", format!("{BUCKET}/{source}"));
        client.send(call).expect("it runs").ok("copy");
        self.objects.push(("copy".to_owned(), version));
        self.multipart(client);
    }

    /// Two parts, the first of which is a range of another object.
    fn multipart(&mut self, client: &Client) {
        let path = format!("{BUCKET}/parts");
        let (source, whole) = self.objects[10].clone();
        let call = Call::new("POST", &path).query("uploads", "").header(TOKEN, "parts");
        let text = client.send(call).expect("it runs").ok("create").text();
        let id = between(&text, "<UploadId>", "</UploadId>");
        let part = |number: &str| Call::new("PUT", &path).query("partNumber", number.to_owned()).query("uploadId", id);
        let call = part("1").header("x-amz-copy-source", format!("{BUCKET}/{source}"));
        let call = call.header("x-amz-copy-source-range", "bytes=7000000-15999999");
        let one = client.send(call).expect("it runs").ok("copy a part").text();
        let tail = self.version(2_500_000, "tail").1.body;
        let two = client.send(part("2").body(Body::Bytes(&tail))).expect("it runs").ok("a part").etag();
        let one = between(&one, "<ETag>", "</ETag>").replace("&quot;", "").replace('"', "");
        let parts = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{one}</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>{two}</ETag></Part></CompleteMultipartUpload>"
        );
        let call = Call::new("POST", &path).query("uploadId", id).body(Body::Bytes(parts.as_bytes()));
        client.send(call).expect("it runs").ok("complete");
        let mut body = whole.body[7_000_000..16_000_000].to_vec();
        body.extend_from_slice(&tail);
        self.objects.push(("parts".to_owned(), Version::new(Arc::new(body), "parts".to_owned())));
    }

    fn version(&mut self, size: usize, kind: &str) -> (String, Version) {
        let mut body = vec![0; size];
        self.dice.fill_bytes(&mut body);
        let key = format!("{kind}-{size}-{:08x}", self.dice.random::<u32>());
        (key.clone(), Version::new(Arc::new(body), key))
    }

    /// Folders are lost under a running cluster, which is then started anew.
    fn while_it_runs(&mut self, lost: &[usize], damage: Damage, must_accept: bool) {
        tell(&format!("{}: {damage:?} of {lost:?} while it runs", self.name));
        copy_tree(&self.work.join("template"), &self.work.join("case"));
        let kept = self.objects.len();
        let cluster = self.start("case");
        self.damage(&cluster, lost, damage);
        self.read_all(&cluster.client(), "after the loss");
        self.write_some(&cluster.client(), must_accept || lost.is_empty());
        self.read_all(&cluster.client(), "after more writes");
        cluster.check_log(&EXPECTED);
        if self.dice.random() {
            cluster.kill();
        } else {
            assert!(cluster.stop().0.success());
        }
        self.recover(!lost.is_empty());
        self.objects.truncate(kept);
    }

    /// Folders are lost while nothing runs.
    fn between_runs(&mut self, lost: &[usize], damage: Damage) {
        tell(&format!("{}: {damage:?} of {lost:?} between runs", self.name));
        copy_tree(&self.work.join("template"), &self.work.join("case"));
        let kept = self.objects.len();
        for index in lost {
            self.hurt(&self.work.join("case/nodes").join(index.to_string()), damage);
        }
        self.recover(!lost.is_empty());
        self.objects.truncate(kept);
    }

    /// Started again, fresh nodes take the places of the lost ones.
    fn recover(&mut self, lost: bool) {
        let cluster = self.start("case");
        let client = cluster.client();
        let warned = cluster.log().contains("takes its place, and what only");
        assert_eq!(warned, lost, "a warning about a fresh node in {}", cluster.log());
        self.read_all(&client, "after a restart");
        self.write_some(&client, true);
        self.read_all(&client, "after writes on fresh nodes");
        cluster.check_log(&EXPECTED);
        assert!(cluster.stop().0.success());
        let cluster = self.start("case");
        self.read_all(&cluster.client(), "after another restart");
        assert!(cluster.stop().0.success());
        fs::remove_dir_all(self.work.join("case")).expect("it is ours");
    }

    fn damage(&mut self, cluster: &Cluster, lost: &[usize], damage: Damage) {
        for index in lost {
            self.hurt(&cluster.node(*index), damage);
        }
    }

    fn hurt(&mut self, folder: &Path, damage: Damage) {
        if damage == Damage::Deleted {
            return remove(folder);
        }
        for path in files(folder) {
            // A file that a node was about to rename is gone.
            let Ok(mut file) = File::options().write(true).open(&path) else { continue };
            let size = file.metadata().expect("it is open").len();
            let size = match damage {
                Damage::ShorterNoise => size / 2,
                Damage::LongerNoise => size + 100_000,
                _ => size,
            };
            let mut noise = vec![0; usize::try_from(size).expect("it fits in memory")];
            self.dice.fill_bytes(&mut noise);
            file.set_len(size).and_then(|()| file.write_all(&noise)).expect("noise can be written");
        }
    }

    /// Everything that was acknowledged, whole and by ranges.
    fn read_all(&mut self, client: &Client, when: &str) {
        for (key, version) in &self.objects {
            let path = format!("{BUCKET}/{key}");
            let begun = Instant::now();
            let reply = client.get(&path).expect("it runs");
            let took = begun.elapsed();
            self.slowest_read = self.slowest_read.max(took);
            assert_eq!(reply.status, 200, "{key} {when}: {}", reply.text());
            assert!(reply.body == *version.body, "{key} {when}: its bytes differ");
            assert_eq!(reply.header(TOKEN), version.token, "{key} {when}");
            assert!(took < READ_LIMIT, "{key} {when} took {took:?}");
            for _ in 0..2 {
                let Some(last) = version.body.len().checked_sub(1) else { break };
                let first = self.dice.random_range(0..=last);
                let last = self.dice.random_range(first..=last.min(first + 400_000));
                let call = Call::new("GET", &path).header("range", format!("bytes={first}-{last}"));
                let reply = client.send(call).expect("it runs");
                assert_eq!(reply.status, 206, "{key} {first}-{last} {when}: {}", reply.text());
                assert!(reply.body == version.body[first..=last], "{key} {first}-{last} {when}: its bytes differ");
            }
        }
    }

    /// New objects of every size class. A refusal says how many nodes are
    /// missing, comes soon and leaves nothing.
    fn write_some(&mut self, client: &Client, must_accept: bool) {
        for size in SIZES {
            let (key, version) = self.version(size, "new");
            let begun = Instant::now();
            let reply = put(client, &key, &version).expect("it runs");
            let (took, text) = (begun.elapsed(), reply.text());
            if reply.status == 200 {
                self.objects.push((key, version));
                continue;
            }
            assert!(!must_accept, "{size} bytes were refused: {} {text}", reply.status);
            assert_eq!(reply.status, 503, "{text}");
            assert_eq!(between(&text, "<Code>", "</Code>"), "SlowDown", "{text}");
            let message = between(&text, "<Message>", "</Message>");
            assert!(nodes_missing(message).is_some_and(|count| (1..=3).contains(&count)), "{message}");
            assert!(message.contains("storage node"), "{message}");
            assert!(took < REFUSAL_LIMIT, "a refusal of {size} bytes took {took:?}");
            let gone = client.get(&format!("{BUCKET}/{key}")).expect("it runs");
            assert_eq!(gone.status, 404, "what was refused is there");
        }
        let listed = client.list(BUCKET, "").expect("it runs");
        assert_eq!(listed.len(), self.objects.len(), "the list has other objects than were acknowledged");
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        tell(&format!("{}: the slowest read took {:?}", self.name, self.slowest_read));
    }
}

/// How many nodes a refusal says are missing, or how many it takes and how many
/// there are.
fn nodes_missing(message: &str) -> Option<usize> {
    let first: usize = message.split_once(' ')?.0.parse().ok()?;
    if message.contains("missing") {
        return Some(first);
    }
    let there: usize = between(message, ", and ", " can").parse().ok()?;
    first.checked_sub(there)
}

fn put(client: &Client, key: &str, version: &Version) -> std::io::Result<crate::support::client::Reply> {
    let path = format!("{BUCKET}/{key}");
    client.send(Call::new("PUT", &path).header(TOKEN, version.token.clone()).body(Body::Bytes(&version.body)))
}

/// All of it, also where a node that still runs puts a file into it meanwhile.
fn remove(folder: &Path) {
    assert!(folder.exists(), "the node's folder was there");
    let gone = || (fs::remove_dir_all(folder).is_ok() || !folder.exists()).then_some(());
    poll(Duration::from_secs(60), Duration::from_millis(10), gone).expect("a folder can be removed");
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn copy_tree(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(copied.expect("cp can be started").success());
}
