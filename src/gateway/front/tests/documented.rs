//! The examples of AWS's SigV4 documentation for S3, whole requests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;

use super::echo::{ACCESS_KEY, Answered, Echo, config, send};
use crate::gateway::front::Front;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: &str = "examplebucket.s3.amazonaws.com";

fn documented_now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_369_353_600)
}

async fn answer(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    signature: &str,
    body: impl Into<Bytes>,
) -> Answered {
    let mut builder = Request::builder().method(method).uri(uri);
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in headers {
        builder = builder.header(*name, *value);
        names.push(name);
    }
    names.retain(|name| !["content-length"].contains(name) || uri.contains("chunkObject"));
    names.sort_unstable();
    if !signature.is_empty() {
        let names = names.join(";");
        let scope = format!("{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request");
        let value = format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={names},Signature={signature}");
        builder = builder.header("authorization", value);
    }
    send(&Front::new(config(documented_now), Echo), builder.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn get_object() {
    let headers =
        [("host", HOST), ("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")];
    let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    assert_eq!(answer("GET", "/test.txt", &headers, signature, "").await.status, 200);
    assert_eq!(answer("GET", "/test.txu", &headers, signature, "").await.code(), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn put_object() {
    let headers = [
        ("host", HOST),
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("content-length", "21"),
    ];
    let signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
    let answered = answer("PUT", "/test%24file.text", &headers, signature, "Welcome to Amazon S3.").await;
    assert_eq!((answered.status, &*answered.body), (200, "Welcome to Amazon S3."));
    let changed = answer("PUT", "/test%24file.text", &headers, signature, "Welcome to Amazon S4.").await;
    assert_eq!(changed.code(), "XAmzContentSHA256Mismatch");
}

#[tokio::test]
async fn lifecycle_and_list() {
    let headers = [("host", HOST), ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")];
    let signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
    let answered = answer("GET", "/?lifecycle", &headers, signature, "").await;
    assert_eq!((answered.status, answered.code()), (404, "NoSuchLifecycleConfiguration"));
    let signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
    let answered = answer("GET", "/?max-keys=2&prefix=J", &headers, signature, "").await;
    assert_eq!((answered.status, answered.header("echo-uri")), (200, "/?max-keys=2&prefix=J"));
}

#[tokio::test]
async fn presigned() {
    let uri = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
               &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
               &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
               &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let answered = answer("GET", uri, &[("host", HOST)], "", "").await;
    assert_eq!((answered.status, answered.header("echo-uri")), (200, "/test.txt"));
}

#[tokio::test]
async fn chunked_upload() {
    let headers = [
        ("content-encoding", "aws-chunked"),
        ("content-length", "66824"),
        ("host", "s3.amazonaws.com"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ];
    let mut body = String::new();
    for (length, signature) in [
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ] {
        body += &format!("{length:x};chunk-signature={signature}\r\n{}\r\n", "a".repeat(length));
    }
    assert_eq!(body.len(), 66_824);
    let signature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let answered = answer("PUT", "/examplebucket/chunkObject.txt", &headers, signature, body.clone()).await;
    assert_eq!((answered.status, answered.body.len()), (200, 66_560), "{}", answered.body);
    assert_eq!(answered.header("echo-length"), "Some(66560)");
    assert_eq!(answered.header("echo-header-content-length"), "66560");
    assert!(!answered.headers.contains_key("echo-header-content-encoding"));

    let changed = body.replacen("aaaa", "aaab", 1);
    let answered = answer("PUT", "/examplebucket/chunkObject.txt", &headers, signature, changed).await;
    assert_eq!((answered.status, answered.code()), (403, "SignatureDoesNotMatch"));
}
