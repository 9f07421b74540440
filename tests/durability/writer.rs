//! Writers that go on until they are stopped or hear nothing any more: puts of
//! all sizes, copies, conditions, deletes and uploads in parts, with a ledger of
//! what was acknowledged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use crate::support::client::{Body, Call, Client, Reply, between};
use crate::support::data::MIB;
use crate::support::ledger::{Ledger, TOKEN, Version};

/// Where they write.
pub const BUCKET: &str = "/drill";
/// Keys that each writer goes round.
const SMALL_KEYS: u32 = 12;
const LARGE_KEYS: u32 = 2;
/// A writer that was refused tries something else after this.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a step did not end well.
enum Stop {
    /// Told to come again: nothing was done.
    Refused,
    /// No answer, or one that nobody knows whether it was done.
    Gone,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Takes the answers apart that a server in trouble may give.
fn heard(reply: io::Result<Reply>) -> Result<Reply, Stop> {
    let reply = reply?;
    let text = reply.text();
    if reply.status != 503 {
        return Ok(reply);
    }
    assert_eq!(between(&text, "<Code>", "</Code>"), "SlowDown", "{text}");
    Err(if text.contains("not known") { Stop::Gone } else { Stop::Refused })
}

/// What a writer has done in one go.
#[derive(Default)]
pub struct Done {
    pub acknowledged: u64,
    pub refused: u64,
}

/// Compares what every writer was acknowledged with what is there.
pub fn verify(writers: &mut [Writer], client: &Client, all: bool) {
    std::thread::scope(|scope| {
        for writer in writers {
            let client = client.clone();
            scope.spawn(move || {
                writer.check_races(&client);
                let (bucket, prefix) = (BUCKET, writer.prefix());
                writer.ledger.verify(&client, bucket, &prefix, all).expect("the server answers");
                writer.settle_upload(&client);
            });
        }
    });
}

/// One key that every writer tries to be the first at, in one round.
pub struct Race {
    key: String,
    results: std::sync::Mutex<Vec<(Version, Option<bool>)>>,
}

impl Race {
    pub fn new(round: u32) -> Self {
        Self { key: format!("w0/race-{round}"), results: Default::default() }
    }

    fn run(&self, client: &Client, version: Version) -> Result<(), Stop> {
        let path = format!("{BUCKET}/{}", self.key);
        let outcome = heard(client.send(put(&path, &version).header("if-none-match", "*")));
        let won = match &outcome {
            Ok(reply) if reply.status == 200 => Some(true),
            Ok(reply) if matches!(reply.status, 409 | 412) => Some(false),
            Ok(reply) => panic!("{}: {} {}", self.key, reply.status, reply.text()),
            Err(Stop::Refused) => Some(false),
            Err(Stop::Gone) => None,
        };
        self.results.lock().expect("no panic holds it").push((version, won));
        outcome.map(drop)
    }
}

/// The winner is known when one was told so. Otherwise whoever is found there
/// must be one of those who heard nothing.
pub fn settle_race(writers: &mut [Writer], race: Race) {
    let results = race.results.into_inner().expect("no panic holds it");
    let won: Vec<_> = results.iter().filter(|(_, won)| *won == Some(true)).collect();
    assert!(won.len() <= 1, "{} writers were the first at {}", won.len(), race.key);
    let open: Vec<_> = results.iter().filter(|(_, won)| won.is_none()).map(|(version, _)| version.clone()).collect();
    writers[0].races.push((race.key, won.first().map(|(version, _)| version.clone()), open));
}

/// The only one that writes below its prefix.
pub struct Writer {
    number: usize,
    dice: SmallRng,
    count: u64,
    ledger: Ledger,
    upload: Option<Upload>,
    races: Vec<(String, Option<Version>, Vec<Version>)>,
}

/// A multipart upload that may outlive several kills.
struct Upload {
    key: String,
    id: String,
    token: String,
    parts: Vec<(Arc<Vec<u8>>, String)>,
    /// A completion was sent and not answered.
    completing: bool,
}

fn put<'a>(path: &'a str, version: &'a Version) -> Call<'a> {
    Call::new("PUT", path).header(TOKEN, version.token.clone()).body(Body::Bytes(&version.body))
}

impl Writer {
    pub fn new(number: usize, seed: u64) -> Self {
        let dice = SmallRng::seed_from_u64(seed);
        Self { number, dice, count: 0, ledger: Ledger::default(), upload: None, races: Vec::new() }
    }

    fn prefix(&self) -> String {
        format!("w{}/", self.number)
    }

    fn key(&mut self, large: bool) -> String {
        let (kind, keys) = if large { ("large", LARGE_KEYS) } else { ("small", SMALL_KEYS) };
        format!("{}{kind}-{}", self.prefix(), self.dice.random_range(0..keys))
    }

    fn version(&mut self, length: usize) -> Version {
        self.count += 1;
        let mut body = vec![0; length];
        self.dice.fill_bytes(&mut body);
        Version::new(Arc::new(body), format!("w{}-{}", self.number, self.count))
    }

    /// Writes until the server is gone or it is `over`.
    pub fn write(&mut self, client: &Client, race: &Race, over: &AtomicBool) -> Done {
        let mut done = Done::default();
        let contender = self.version(30_000);
        let mut outcome = race.run(client, contender);
        while !matches!(outcome, Err(Stop::Gone)) && !over.load(Ordering::Relaxed) {
            outcome = self.step(client);
            match outcome {
                Ok(()) => done.acknowledged += 1,
                Err(_) => done.refused += 1,
            }
            if matches!(outcome, Err(Stop::Refused)) {
                std::thread::sleep(PAUSE);
            }
        }
        done
    }

    /// What came of a change of a key that was begun; a refusal changes nothing.
    fn answer(&mut self, key: &str, reply: io::Result<Reply>) -> Result<Reply, Stop> {
        let reply = heard(reply);
        if matches!(reply, Err(Stop::Refused)) {
            self.ledger.refused(key);
        }
        reply
    }

    fn step(&mut self, client: &Client) -> Result<(), Stop> {
        match self.dice.random_range(0..100) {
            0..30 => self.put(client, false, 0, 16 << 10),
            30..52 => self.put(client, false, 16 << 10, MIB as usize),
            52..55 => self.put(client, true, 9 << 20, 20 << 20),
            55..68 => self.copy(client),
            68..78 => self.delete(client),
            78..88 => self.conditional(client),
            _ => self.multipart(client),
        }
    }

    fn put(&mut self, client: &Client, large: bool, least: usize, most: usize) -> Result<(), Stop> {
        let length = self.dice.random_range(least..most);
        let (key, version) = (self.key(large), self.version(length));
        self.ledger.begin(&key, Some(version.clone()));
        let path = format!("{BUCKET}/{key}");
        let reply = self.answer(&key, client.send(put(&path, &version)))?.ok("put");
        self.ledger.done(&key, Some(reply.etag()));
        Ok(())
    }

    fn copy(&mut self, client: &Client) -> Result<(), Stop> {
        let present = self.ledger.present();
        if present.is_empty() {
            return Ok(());
        }
        let source = present[self.dice.random_range(0..present.len())].clone();
        let version = self.ledger.keys[&source].certain.clone().expect("it is present");
        let key = self.key(version.body.len() > MIB as usize);
        if key == source {
            return Ok(());
        }
        self.ledger.begin(&key, Some(version));
        let path = format!("{BUCKET}/{key}");
        let call = Call::new("PUT", &path).header("x-amz-copy-source", format!("{BUCKET}/{source}"));
        let reply = self.answer(&key, client.send(call))?.ok("copy");
        self.ledger.done(&key, Some(copied_etag(&reply)));
        Ok(())
    }

    fn delete(&mut self, client: &Client) -> Result<(), Stop> {
        let key = self.key(false);
        self.ledger.begin(&key, None);
        self.answer(&key, client.delete(&format!("{BUCKET}/{key}")))?.ok("delete");
        self.ledger.done(&key, None);
        Ok(())
    }

    /// Half of them with a condition that holds.
    fn conditional(&mut self, client: &Client) -> Result<(), Stop> {
        let length = self.dice.random_range(0..100_000);
        let (key, version) = (self.key(false), self.version(length));
        let holds: bool = self.dice.random();
        let present = self.ledger.keys.get(&key).and_then(|state| state.certain.clone());
        let (name, value) = match (&present, holds) {
            (Some(present), true) => ("if-match", present.etag.clone().expect("it was acknowledged or read")),
            (None, true) | (Some(_), false) => ("if-none-match", "*".to_owned()),
            (None, false) => ("if-match", "0123456789abcdef0123456789abcdef".to_owned()),
        };
        self.ledger.begin(&key, Some(version.clone()));
        let path = format!("{BUCKET}/{key}");
        let value = if value == "*" { value } else { format!("\"{value}\"") };
        let reply = self.answer(&key, client.send(put(&path, &version).header(name, value)))?;
        match holds {
            true => self.ledger.done(&key, Some(reply.ok("a condition that holds").etag())),
            false => {
                assert!(matches!(reply.status, 404 | 412), "{name} on {key}: {} {}", reply.status, reply.text());
                self.ledger.refused(&key);
            }
        }
        Ok(())
    }

    /// The next step of an upload in parts; begins one where there is none.
    fn multipart(&mut self, client: &Client) -> Result<(), Stop> {
        let Some(upload) = &self.upload else { return self.begin_upload(client) };
        match upload.parts.len() {
            0 => self.copy_part(client),
            1 => {
                let length = self.dice.random_range(1..3_000_000);
                let body = self.version(length).body;
                self.upload_part(client, body)
            }
            _ if self.dice.random_ratio(1, 8) => self.abort(client),
            _ => self.complete(client),
        }
    }

    fn begin_upload(&mut self, client: &Client) -> Result<(), Stop> {
        let (key, token) = (self.key(true), self.version(0).token);
        let path = format!("{BUCKET}/{key}");
        let call = Call::new("POST", &path).query("uploads", "").header(TOKEN, token.clone());
        let reply = heard(client.send(call))?.ok("create an upload").text();
        let id = between(&reply, "<UploadId>", "</UploadId>").to_owned();
        self.upload = Some(Upload { key, id, token, parts: Vec::new(), completing: false });
        Ok(())
    }

    /// A range of a large object as the first part, or new bytes where there
    /// is none.
    fn copy_part(&mut self, client: &Client) -> Result<(), Stop> {
        let large = |key: &String| self.ledger.keys[key].certain.as_ref().is_some_and(|it| it.body.len() > 8 << 20);
        let Some(source) = self.ledger.present().into_iter().find(large) else {
            let body = self.version(5 << 20).body;
            return self.upload_part(client, body);
        };
        let body = self.ledger.keys[&source].certain.as_ref().expect("it is present").body.clone();
        let first = self.dice.random_range(0..body.len() - (6 << 20));
        let last = first + (5 << 20) + self.dice.random_range(0..1 << 20) - 1;
        let upload = self.upload.as_mut().expect("an upload was begun");
        let path = format!("{BUCKET}/{}", upload.key);
        let call = Call::new("PUT", &path).query("partNumber", "1").query("uploadId", upload.id.clone());
        let call = call.header("x-amz-copy-source", format!("{BUCKET}/{source}"));
        let call = call.header("x-amz-copy-source-range", format!("bytes={first}-{last}"));
        let reply = heard(client.send(call))?;
        upload.parts.push((Arc::new(body[first..=last].to_vec()), copied_etag(&reply.ok("copy a part"))));
        Ok(())
    }

    fn upload_part(&mut self, client: &Client, body: Arc<Vec<u8>>) -> Result<(), Stop> {
        let upload = self.upload.as_mut().expect("an upload was begun");
        let path = format!("{BUCKET}/{}", upload.key);
        let call = Call::new("PUT", &path).query("partNumber", (upload.parts.len() + 1).to_string());
        let reply = heard(client.send(call.query("uploadId", upload.id.clone()).body(Body::Bytes(&body))))?;
        let etag = reply.ok("upload a part").etag();
        upload.parts.push((body, etag));
        Ok(())
    }

    fn abort(&mut self, client: &Client) -> Result<(), Stop> {
        let Some(upload) = self.upload.take() else { return Ok(()) };
        let path = format!("{BUCKET}/{}", upload.key);
        let reply = heard(client.send(Call::new("DELETE", &path).query("uploadId", upload.id.clone())));
        if matches!(reply, Err(Stop::Refused)) {
            self.upload = Some(upload);
        }
        reply?.ok("abort");
        Ok(())
    }

    fn complete(&mut self, client: &Client) -> Result<(), Stop> {
        let upload = self.upload.as_mut().expect("an upload was begun");
        let whole: Vec<u8> = upload.parts.iter().flat_map(|(body, _)| body.iter().copied()).collect();
        self.ledger.begin(&upload.key, Some(Version::new(Arc::new(whole), upload.token.clone())));
        upload.completing = true;
        let path = format!("{BUCKET}/{}", upload.key);
        let parts: String = (1..)
            .zip(&upload.parts)
            .map(|(number, (_, etag))| format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>"))
            .collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let call = Call::new("POST", &path).query("uploadId", upload.id.clone()).body(Body::Bytes(body.as_bytes()));
        let key = upload.key.clone();
        let reply = self.answer(&key, client.send(call));
        if matches!(reply, Err(Stop::Refused))
            && let Some(upload) = &mut self.upload
        {
            upload.completing = false;
        }
        let reply = reply?.ok("complete");
        let etag = between(&reply.text(), "<ETag>", "</ETag>").replace("&quot;", "").replace('"', "");
        assert!(!etag.is_empty(), "no ETag in {}", reply.text());
        let upload = self.upload.take().expect("it was there");
        self.ledger.done(&upload.key, Some(etag));
        Ok(())
    }

    /// After a restart: an upload whose completion was not answered is done if
    /// its object is there; every other one still has all acknowledged parts.
    fn settle_upload(&mut self, client: &Client) {
        let Some(upload) = &mut self.upload else { return };
        let now = self.ledger.keys.get(&upload.key).and_then(|state| state.certain.as_ref());
        if upload.completing && now.is_some_and(|now| now.token == upload.token) {
            self.upload = None;
            return;
        }
        upload.completing = false;
        let path = format!("{BUCKET}/{}", upload.key);
        let listed = client.send(Call::new("GET", &path).query("uploadId", upload.id.clone()));
        let listed = listed.expect("the server answers");
        if listed.status == 404 {
            // Only an abort that was not answered may have ended it; then
            // `self.upload` was taken already.
            panic!("the upload {} of {} is gone", upload.id, upload.key);
        }
        let text = listed.ok("list parts").text();
        for (_, etag) in &upload.parts {
            assert!(text.contains(etag.as_str()), "an acknowledged part {etag} is not in {text}");
        }
    }

    /// What was raced for is as it was told, and goes.
    fn check_races(&mut self, client: &Client) {
        for (key, winner, open) in self.races.drain(..) {
            check_race(client, &key, winner, &open);
        }
    }
}

fn check_race(client: &Client, key: &str, winner: Option<Version>, open: &[Version]) {
    let reply = client.get(&format!("{BUCKET}/{key}")).expect("the server answers");
    let here = |version: &Version| reply.header(TOKEN) == version.token && reply.body == *version.body;
    match winner {
        Some(winner) => assert!(reply.status == 200 && here(&winner), "{key} does not hold who was the first"),
        None => assert!(reply.status == 404 || open.iter().any(here), "{key} holds what nobody wrote"),
    }
    client.delete(&format!("{BUCKET}/{key}")).expect("the server answers").ok("delete");
}

fn copied_etag(reply: &Reply) -> String {
    let etag = between(&reply.text(), "<ETag>", "</ETag>").replace("&quot;", "").replace('"', "");
    assert!(!etag.is_empty(), "no ETag in {}", reply.text());
    etag
}
