//! The record of what was acknowledged: for every key the version that must be
//! there, and the one that an unanswered request may have made of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::client::{Call, Client, Reply};
use super::data::sha256;

/// Carries a word that no two versions share.
pub const TOKEN: &str = "x-amz-meta-token";

/// A version of an object.
#[derive(Clone, Debug)]
pub struct Version {
    pub body: Arc<Vec<u8>>,
    pub sha256: String,
    pub token: String,
    /// None until an answer has told it.
    pub etag: Option<String>,
}

impl Version {
    pub fn new(body: Arc<Vec<u8>>, token: String) -> Self {
        let sha256 = sha256(&body);
        Self { body, sha256, token, etag: None }
    }

    fn story(&self) -> String {
        format!("{} of {} bytes, sha256 {}, etag {:?}", self.token, self.body.len(), self.sha256, self.etag)
    }

    /// Why an answer is not this version; None if it is. A HEAD's body is not
    /// looked at.
    pub fn differs(&self, reply: &Reply, whole: bool) -> Option<String> {
        let length = reply.header("content-length");
        if reply.header(TOKEN) != self.token {
            return Some(format!("its token is {:?}", reply.header(TOKEN)));
        }
        if length != self.body.len().to_string() {
            return Some(format!("it has {length} bytes"));
        }
        if self.etag.as_ref().is_some_and(|etag| *etag != reply.etag()) {
            return Some(format!("its etag is {}", reply.etag()));
        }
        (whole && reply.body != *self.body).then(|| "its bytes differ".to_owned())
    }
}

/// What may be under a key.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Acknowledged: a version, or none after a delete.
    pub certain: Option<Version>,
    /// What a request that was not answered may have made of it.
    pub maybe: Option<Option<Version>>,
    /// Whether anything was done to it since it was last read in full.
    pub touched: bool,
}

/// One writer's keys in one bucket.
#[derive(Default)]
pub struct Ledger {
    pub keys: BTreeMap<String, State>,
}

impl Ledger {
    /// A request is about to be sent that makes `next` of a key.
    pub fn begin(&mut self, key: &str, next: Option<Version>) {
        let state = self.keys.entry(key.to_owned()).or_default();
        state.maybe = Some(next);
        state.touched = true;
    }

    /// It was acknowledged, with this ETag.
    pub fn done(&mut self, key: &str, etag: Option<String>) {
        let state = self.keys.get_mut(key).expect("it was begun");
        state.certain = state.maybe.take().expect("it was begun");
        if let Some(version) = &mut state.certain {
            version.etag = etag.or(version.etag.take());
        }
    }

    /// It was refused: nothing has changed.
    pub fn refused(&mut self, key: &str) {
        self.keys.get_mut(key).expect("it was begun").maybe = None;
    }

    /// Keys that hold something for certain.
    pub fn present(&self) -> Vec<String> {
        let present = self.keys.iter().filter(|(_, state)| state.certain.is_some() && state.maybe.is_none());
        present.map(|(key, _)| key.clone()).collect()
    }

    /// Compares every key below `bucket`/`prefix` with what the server has:
    /// in full where `all` or where it was touched, else by HEAD. Afterwards
    /// nothing is uncertain any more.
    pub fn verify(&mut self, client: &Client, bucket: &str, prefix: &str, all: bool) -> io::Result<()> {
        let mut listed = client.list(bucket, prefix)?;
        for (key, state) in &mut self.keys {
            let whole = all || state.touched;
            let path = format!("{bucket}/{key}");
            let reply = client.send(Call::new(if whole { "GET" } else { "HEAD" }, &path))?;
            state.resolve(key, &reply, whole);
            let entry = listed.remove(key);
            let expected = state.certain.as_ref().map(|version| (reply.etag(), version.body.len() as u64));
            assert_eq!(entry, expected, "the list and GET disagree on {key}");
        }
        assert!(listed.is_empty(), "listed and never written: {listed:?}");
        Ok(())
    }
}

impl State {
    fn resolve(&mut self, key: &str, reply: &Reply, whole: bool) {
        let certain = self.certain.take();
        let candidates = std::iter::once(certain).chain(self.maybe.take());
        let mut reasons = Vec::new();
        for candidate in candidates {
            let differs = match (&candidate, reply.status) {
                (None, 404) => None,
                (None, _) => Some("nothing was expected".to_owned()),
                (Some(version), 200) => version.differs(reply, whole),
                (Some(_), status) => Some(format!("it answers {status} {}", reply.text())),
            };
            let Some(reason) = differs else {
                self.certain = candidate;
                if let Some(version) = &mut self.certain {
                    version.etag = Some(reply.etag());
                }
                self.touched &= !whole;
                return;
            };
            let story = candidate.as_ref().map_or_else(|| "nothing".to_owned(), Version::story);
            reasons.push(format!("not {story}: {reason}"));
        }
        panic!("{key} is none of what it may be (the first was acknowledged):\n{}", reasons.join("\n"));
    }
}
