//! Writers and readers that go on while something happens: each request goes
//! to a gateway by dice, and what was acknowledged is in a ledger.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::client::{Body, Call, Client, Reply, between};
use super::data::random;
use super::ledger::{Ledger, TOKEN, Version};
use super::{poll, seed};

/// Inline, in a shared segment, in one of its own.
const SIZES: [u64; 4] = [700, 3_000, 40_000, 300_000];
/// The same, and one of many stripes.
pub const LARGER_SIZES: [u64; 5] = [700, 3_000, 40_000, 300_000, 2_500_000];
/// A writer that was refused tries again after this.
const PAUSE: Duration = Duration::from_millis(50);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    /// Told to come again: nothing was done.
    Refused,
    /// No answer, or one that nobody knows whether it was done.
    Unknown,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub gateway: usize,
    pub begun: Instant,
    pub took: Duration,
    pub outcome: Outcome,
    pub writes: bool,
}

type Book = Arc<Mutex<Vec<Entry>>>;

/// What a load consists of.
pub struct Terms {
    /// Bytes of its objects.
    pub sizes: &'static [u64],
    /// Of its dice.
    pub seed: u64,
    /// How long each writer waits after a request: repair yields to clients that never do.
    pub rest: Duration,
    /// Whether "internal error" is an answer that fits: a disk fails.
    pub may_fail: bool,
}

impl Terms {
    /// Small objects, dice of its own, and no excuse.
    pub fn of(drill: &str) -> Self {
        Self { sizes: &SIZES, seed: seed(drill), rest: Duration::ZERO, may_fail: false }
    }
}

/// A load that goes on until it is told to end.
pub struct Load {
    over: Arc<AtomicBool>,
    book: Book,
    writers: Vec<JoinHandle<Writer>>,
}

impl Load {
    /// So many writers in a bucket of their own, over all of these gateways.
    pub fn start(clients: &[Client], bucket: &str, writers: u64) -> Self {
        Self::start_with(clients, bucket, writers, &Terms::of(bucket))
    }

    /// The same on other terms.
    pub fn start_with(clients: &[Client], bucket: &str, writers: u64, terms: &Terms) -> Self {
        let bucket = format!("/{bucket}");
        clients[0].put(&bucket, b"").expect("an answer").ok("make a bucket");
        let (over, book) = (Arc::new(AtomicBool::new(false)), Book::default());
        let writers = (0..writers).map(|number| {
            let mut writer = Writer::new(clients, &bucket, number, terms, book.clone());
            let over = over.clone();
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    writer.step();
                }
                writer
            })
        });
        let writers = writers.collect();
        Self { over, book, writers }
    }

    /// What has ended so far.
    pub fn book(&self) -> Vec<Entry> {
        self.book.lock().expect("nobody panics with it").clone()
    }

    /// Waits until `count` more requests than now were answered well by each
    /// of these gateways; how long that took.
    pub fn wait_for(&self, count: usize, gateways: &[usize], limit: Duration) -> Duration {
        let begun = Instant::now();
        let good = |gateway: usize| {
            let fresh = |entry: &&Entry| entry.begun >= begun && entry.gateway == gateway;
            self.book().iter().filter(fresh).filter(|entry| entry.outcome == Outcome::Good).count()
        };
        let enough = || gateways.iter().all(|gateway| good(*gateway) >= count).then(|| begun.elapsed());
        let reached = poll(limit, Duration::from_millis(20), || {
            assert!(!self.writers.iter().any(JoinHandle::is_finished), "a writer has found a fault");
            enough()
        });
        reached.unwrap_or_else(|| {
            panic!("no {count} requests at each of {gateways:?} within {limit:?}: {}", figures(&self.book()))
        })
    }

    /// Ends it, and compares everything with what each of these gateways has.
    pub fn finish(self, clients: &[Client]) -> Vec<Entry> {
        self.over.store(true, Ordering::Relaxed);
        let writers: Vec<Writer> = self.writers.into_iter().map(|writer| writer.join().expect("no fault")).collect();
        for mut writer in writers {
            for client in clients {
                let (bucket, prefix) = (&writer.bucket, &writer.prefix);
                writer.ledger.verify(client, bucket, prefix, true).expect("all is well again");
            }
        }
        self.book.lock().expect("nobody panics with it").clone()
    }
}

/// What came of requests, in a line.
pub fn figures(book: &[Entry]) -> String {
    let count = |outcome| book.iter().filter(|entry| entry.outcome == outcome).count();
    let slowest = book.iter().map(|entry| entry.took).max().unwrap_or_default();
    let mut gateways: BTreeMap<usize, usize> = BTreeMap::new();
    book.iter().filter(|entry| entry.outcome == Outcome::Good).for_each(|entry| {
        *gateways.entry(entry.gateway).or_default() += 1;
    });
    format!(
        "{} requests well ({gateways:?} by gateway), {} refused, {} without an answer; the slowest took {slowest:.1?}",
        count(Outcome::Good),
        count(Outcome::Refused),
        count(Outcome::Unknown)
    )
}

/// The only one that writes below its prefix.
struct Writer {
    clients: Vec<Client>,
    bucket: String,
    prefix: String,
    ledger: Ledger,
    dice: SmallRng,
    bodies: Vec<Arc<Vec<u8>>>,
    written: u64,
    may_fail: bool,
    rest: Duration,
    book: Book,
}

impl Writer {
    fn new(clients: &[Client], bucket: &str, number: u64, terms: &Terms, book: Book) -> Self {
        let seed = terms.seed.wrapping_add(number);
        let bodies = terms.sizes.iter().map(|size| Arc::new(random(seed, *size))).collect();
        Self {
            clients: clients.to_vec(),
            bucket: bucket.to_owned(),
            prefix: format!("w{number}/"),
            ledger: Ledger::default(),
            dice: SmallRng::seed_from_u64(seed),
            bodies,
            written: 0,
            may_fail: terms.may_fail,
            rest: terms.rest,
            book,
        }
    }

    fn step(&mut self) {
        let present = self.ledger.present();
        let known = (!present.is_empty()).then(|| present[self.dice.random_range(0..present.len())].clone());
        let outcome = match (self.dice.random_range(0..100), known) {
            (0..30, _) | (_, None) => self.put(format!("{}{}", self.prefix, self.written)),
            (30..45, Some(key)) => self.put(key),
            (45..60, Some(key)) => self.delete(&key),
            (60..90, Some(key)) => self.get(&key),
            (_, Some(_)) => self.list(),
        };
        std::thread::sleep(if outcome == Outcome::Good { self.rest } else { PAUSE });
    }

    fn put(&mut self, key: String) -> Outcome {
        self.written += 1;
        let body = self.bodies[self.dice.random_range(0..self.bodies.len())].clone();
        let version = Version::new(body, format!("{}{}", self.prefix, self.written));
        self.ledger.begin(&key, Some(version.clone()));
        let path = format!("{}/{key}", self.bucket);
        let call = Call::new("PUT", &path).header(TOKEN, version.token.clone()).body(Body::Bytes(&version.body));
        let (outcome, reply) = self.send(call, true);
        self.settle(&key, outcome, reply.map(|reply| reply.etag()));
        outcome
    }

    fn delete(&mut self, key: &str) -> Outcome {
        self.ledger.begin(key, None);
        let path = format!("{}/{key}", self.bucket);
        let (outcome, _) = self.send(Call::new("DELETE", &path), true);
        self.settle(key, outcome, None);
        outcome
    }

    fn settle(&mut self, key: &str, outcome: Outcome, etag: Option<String>) {
        match outcome {
            Outcome::Good => self.ledger.done(key, etag),
            Outcome::Refused => self.ledger.refused(key),
            Outcome::Unknown => {}
        }
    }

    /// What was acknowledged by one gateway is read from another.
    fn get(&mut self, key: &str) -> Outcome {
        let path = format!("{}/{key}", self.bucket);
        let (outcome, reply) = self.send(Call::new("GET", &path), false);
        if let Some(reply) = reply {
            let version = self.ledger.keys[key].certain.as_ref().expect("it is present");
            let differs = version.differs(&reply, true);
            assert!(differs.is_none(), "{path} is not what was acknowledged: {differs:?}");
        }
        outcome
    }

    fn list(&mut self) -> Outcome {
        let query = [("list-type", "2"), ("prefix", &self.prefix), ("max-keys", "1000")];
        let call = query.iter().fold(Call::new("GET", &self.bucket), |call, (name, value)| call.query(name, *value));
        let (clients, book, bucket) = (&self.clients, &self.book, self.bucket.clone());
        let gateway = self.dice.random_range(0..clients.len());
        let (outcome, reply) = ask(&clients[gateway], gateway, book, call, false, self.may_fail);
        if let Some(page) = reply.map(|reply| reply.text()) {
            self.compare(&page, &bucket);
        }
        outcome
    }

    fn compare(&self, page: &str, bucket: &str) {
        let listed: Vec<&str> = page.split("<Key>").skip(1).map(|rest| between(rest, "", "</Key>")).collect();
        let whole = between(page, "<IsTruncated>", "</IsTruncated>") != "true";
        let last = listed.last().copied().unwrap_or_default();
        for (key, state) in self.ledger.keys.iter().filter(|(_, state)| state.maybe.is_none()) {
            let there = listed.contains(&key.as_str());
            let beyond = !whole && key.as_str() > last;
            assert!(there == state.certain.is_some() || beyond, "the list of {bucket} is wrong about {key}");
        }
    }

    fn send(&mut self, call: Call<'_>, writes: bool) -> (Outcome, Option<Reply>) {
        let gateway = self.dice.random_range(0..self.clients.len());
        ask(&self.clients[gateway], gateway, &self.book, call, writes, self.may_fail)
    }
}

fn ask(
    client: &Client,
    gateway: usize,
    book: &Book,
    call: Call<'_>,
    writes: bool,
    may_fail: bool,
) -> (Outcome, Option<Reply>) {
    let begun = Instant::now();
    let reply = client.send(call);
    let outcome = outcome(&reply, may_fail);
    let entry = Entry { gateway, begun, took: begun.elapsed(), outcome, writes };
    book.lock().expect("nobody panics with it").push(entry);
    (outcome, reply.ok().filter(|_| outcome == Outcome::Good))
}

fn outcome(reply: &io::Result<Reply>, may_fail: bool) -> Outcome {
    match reply {
        Err(_) => Outcome::Unknown,
        Ok(reply) if reply.status < 300 => Outcome::Good,
        // A disk that fails; what became of the request nobody can say.
        Ok(reply) if may_fail && reply.status == 500 && reply.text().contains("<Code>InternalError") => {
            Outcome::Unknown
        }
        Ok(reply) => {
            let text = reply.text();
            let (code, message) = (between(&text, "<Code>", "</Code>"), between(&text, "<Message>", "</Message>"));
            // A gateway that has just started may not have heard from enough nodes yet.
            let away = code == "ServiceUnavailable" && message.contains("pieces are away");
            assert!(reply.status == 503 && (code == "SlowDown" || away), "an answer of {}: {text}", reply.status);
            assert!(!reply.header("retry-after").is_empty(), "no Retry-After with {text}");
            match message.contains("not known") {
                true => Outcome::Unknown,
                false => Outcome::Refused,
            }
        }
    }
}
