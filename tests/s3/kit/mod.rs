//! What the tests of this suite share: one server, a bucket for each test, an
//! SDK's client and requests made by hand.

pub mod raw;
pub mod sdk;
pub mod sign;
pub mod xml;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::Client;

use crate::support::cairn::{Server, Shared};
pub use raw::{Answer, Request};

static SERVER: Shared = Shared::new();
static BUCKET: AtomicU32 = AtomicU32::new(0);

/// A test's place: the shared server and a bucket that nobody else uses.
pub struct Site {
    server: Arc<Server>,
    /// The SDK's client, path style.
    pub client: Client,
    /// A bucket that exists and is empty.
    pub bucket: String,
}

/// The server with a fresh bucket.
pub async fn site() -> Site {
    let server = tokio::task::spawn_blocking(|| SERVER.get(|| Server::start(&[]))).await.expect("the server starts");
    let client = sdk::client(server.access());
    let site = Site { server, client, bucket: String::new() };
    let bucket = site.new_bucket().await;
    Site { bucket, ..site }
}

impl Site {
    /// Where the server is and how to sign.
    pub fn access(&self) -> &crate::support::cairn::Access {
        self.server.access()
    }

    /// Another bucket.
    pub async fn new_bucket(&self) -> String {
        let name = self.free_name();
        self.client.create_bucket().bucket(&name).send().await.expect("a bucket");
        name
    }

    /// A bucket's name that is not taken.
    pub fn free_name(&self) -> String {
        format!("bucket-{}", BUCKET.fetch_add(1, Ordering::Relaxed))
    }

    /// A request about `key` of the test's bucket.
    pub fn object(&self, method: &str, key: &str) -> Request {
        Request::new(self, method, &format!("/{}/{}", self.bucket, sign::encode(key.as_bytes(), true)))
    }

    /// A request about the test's bucket.
    pub fn at_bucket(&self, method: &str) -> Request {
        Request::new(self, method, &format!("/{}", self.bucket))
    }

    /// A request about any path, which must be encoded.
    pub fn at(&self, method: &str, path: &str) -> Request {
        Request::new(self, method, path)
    }

    /// Stores an object and returns its ETag with quotes.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let answer = self.object("PUT", key).body(body).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("etag").to_owned()
    }

    /// An object's bytes. Panics unless it is there.
    pub async fn get(&self, key: &str) -> Vec<u8> {
        let answer = self.object("GET", key).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Whether there is an object.
    pub async fn exists(&self, key: &str) -> bool {
        match self.object("HEAD", key).send().await.status {
            200 => true,
            404 => false,
            other => panic!("HEAD of {key:?} gave {other}"),
        }
    }

    /// Every key of the test's bucket with its ETag: what a refused request
    /// must leave as it was.
    pub async fn content(&self) -> HashMap<String, String> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).into_paginator().send();
        let mut content = HashMap::new();
        while let Some(page) = pages.next().await {
            for object in page.expect("a page").contents() {
                let (key, etag) = (object.key().unwrap_or_default(), object.e_tag().unwrap_or_default());
                content.insert(key.to_owned(), etag.to_owned());
            }
        }
        content
    }
}

/// Random bytes from a seed.
pub fn random(seed: u64, length: usize) -> Vec<u8> {
    crate::support::data::random(seed, length as u64)
}

/// The ETag of bytes that were put whole, with quotes.
pub fn etag_of(bytes: &[u8]) -> String {
    use md5::Digest as _;
    format!("\"{}\"", crate::support::data::hex(&md5::Md5::digest(bytes)))
}
