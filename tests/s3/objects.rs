//! Objects: every key and every size comes back as it went in.

use aws_sdk_s3::primitives::ByteStream;

use crate::kit::sign::encode;
use crate::kit::{Request, etag_of, random, site, xml};

/// Keys that others trip over.
fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        ".",
        "..",
        "../up",
        "a/../b",
        "a/./b",
        "/",
        "//",
        "/lead",
        "a//b",
        "trail/",
        "a+b",
        "a b",
        " lead",
        "trail ",
        "%2F",
        "a%2Fb",
        "%",
        "%41",
        "100%",
        "a?b",
        "a#b",
        "a&b=c",
        "a;b",
        "a,b",
        "a:b@c",
        "a\"b'c",
        "<a>&amp;",
        "a\\b",
        "~!*()'$",
        "[]{}|^`",
        "\u{1}",
        "a\tb",
        "a\nb",
        "a\rb\r\n",
        "\u{7f}",
        "\u{0}nul",
        "\u{1f}x",
        "é",
        "e\u{301}",
        "日本語/鍵",
        "🪨🪨",
        "\u{feff}bom",
        "\u{fffe}x",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{202e}rtl",
        "null",
        "uploads",
        "robots.txt",
        "index.html",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    keys.push("k".repeat(1024));
    keys.push("é".repeat(512));
    keys
}

#[tokio::test]
async fn every_key_is_kept_exactly() {
    let site = site().await;
    let mut keys = odd_keys();
    for key in &keys {
        site.put(key, key.as_bytes()).await;
    }
    for key in &keys {
        assert_eq!(site.get(key).await, key.as_bytes(), "{key:?}");
        let head = site.object("HEAD", key).send().await.expect(200);
        assert_eq!(head.header("content-length"), key.len().to_string());
    }
    keys.sort();
    for encoded in [false, true] {
        let request = site.at_bucket("GET").query("list-type", "2");
        let request = if encoded { request.query("encoding-type", "url") } else { request };
        let answer = request.send().await.expect(200);
        let listed: Vec<String> = answer.all("Key");
        let listed: Vec<String> =
            if encoded { listed.iter().map(|key| xml::url_decode(key)).collect() } else { listed };
        assert_eq!(listed, keys, "encoded: {encoded}");
    }
    for key in &keys {
        site.object("DELETE", key).send().await.expect(204);
    }
    assert!(site.content().await.is_empty());
}

/// `%2F` and `/` are the same byte of the same key, however a client escapes.
#[tokio::test]
async fn escapes_do_not_make_another_key() {
    let site = site().await;
    site.put("a/b c+d", "1").await;
    let path = |key: &str| format!("/{}/{key}", site.bucket);
    for key in ["a/b%20c%2Bd", "a%2Fb%20c%2Bd", "a%2fb%20c%2bd", "%61/b%20c%2Bd"] {
        let mut request = site.at("GET", &path("a/b%20c%2Bd"));
        if key.contains("%2F") {
            request.path = path(key);
        }
        let mut request = request.sign();
        request.path = path(key);
        assert_eq!(request.send().await.expect(200).body, b"1", "{key}");
    }
}

#[tokio::test]
async fn a_key_has_1_to_1024_bytes() {
    let site = site().await;
    for key in ["k".repeat(1025), "é".repeat(513), "/".repeat(2000)] {
        for method in ["PUT", "GET", "DELETE"] {
            site.object(method, &key).send().await.expect_error(400, "KeyTooLongError");
        }
    }
    for path in ["%FF", "a%C3", "%ED%A0%80"] {
        let answer = site.at("PUT", &format!("/{}/{path}", site.bucket)).send().await;
        answer.expect_error(400, "InvalidURI");
    }
    for path in ["%zz", "%", "a%2"] {
        let mut request = site.object("PUT", "k").sign();
        request.path = format!("/{}/{path}", site.bucket);
        request.send().await.expect_error(400, "InvalidURI");
    }
    assert!(site.content().await.is_empty());
}

/// Around every boundary that the storage below has.
#[tokio::test]
async fn every_size_comes_back() {
    const MIB: usize = 1 << 20;
    let site = site().await;
    let sizes = [
        0,
        1,
        2,
        15,
        16,
        17,
        4095,
        4096,
        4097,
        16_383,
        16_384,
        16_385,
        65_519,
        65_520,
        65_535,
        65_536,
        65_537,
        131_071,
        131_072,
        131_073,
        262_143,
        262_144,
        262_145,
        MIB - 1,
        MIB,
        MIB + 1,
        8 * MIB - 1,
        8 * MIB,
        8 * MIB + 1,
        16 * MIB + 77_777,
    ];
    for (seed, size) in sizes.into_iter().enumerate() {
        let body = random(seed as u64, size);
        let put = site.client.put_object().bucket(&site.bucket).key("k").body(ByteStream::from(body.clone()));
        let put = put.send().await.expect("a put");
        assert_eq!(put.e_tag(), Some(etag_of(&body).as_str()), "{size}");
        let got = site.client.get_object().bucket(&site.bucket).key("k").send().await.expect("a get");
        assert_eq!(got.content_length(), Some(size as i64));
        assert!(got.body.collect().await.expect("a body").into_bytes() == body, "{size} bytes came back changed");
        check_edges(&site, &body).await;
    }
}

async fn check_edges(site: &crate::kit::Site, body: &[u8]) {
    for edge in [16_384, 65_536, 262_144, 8 << 20] {
        if body.len() > edge {
            let (first, last) = (edge - 1, edge.min(body.len() - 1));
            let range = format!("bytes={first}-{last}");
            let answer = site.object("GET", "k").header("range", range).send().await.expect(206);
            assert_eq!(answer.body, body[first..=last], "{} bytes, around {edge}", body.len());
        }
    }
}

#[tokio::test]
async fn an_object_is_replaced_whole() {
    let site = site().await;
    site.object("PUT", "k").header("x-amz-meta-a", "1").header("content-type", "a/b").body("first").send().await;
    let first = site.object("HEAD", "k").send().await.expect(200);
    site.put("k", "the second").await;
    let second = site.object("GET", "k").send().await.expect(200);
    assert_eq!(second.body, b"the second");
    assert!(!second.has_header("x-amz-meta-a") && second.header("content-type") == "binary/octet-stream");
    assert_ne!(first.header("etag"), second.header("etag"));
    site.object("DELETE", "k").send().await.expect(204);
    site.object("GET", "k").send().await.expect_error(404, "NoSuchKey");
    site.object("DELETE", "k").send().await.expect(204);
}

#[tokio::test]
async fn what_is_missing_is_said_to_be_missing() {
    let site = site().await;
    let answer = site.object("GET", "no/such key").send().await;
    answer.expect_error(404, "NoSuchKey");
    assert_eq!(answer.xml("Key"), "no/such key");
    assert_eq!(answer.header("content-type"), "application/xml");
    assert_eq!(site.object("HEAD", "no").send().await.expect(404).body, b"");
    for (method, version, code) in [("GET", "3HL4kqtJlcpXroDTDmJ", "NoSuchVersion"), ("GET", "", "InvalidArgument")] {
        let answer = site.object(method, "k").query("versionId", version).send().await;
        assert_eq!(answer.code(), code, "{answer:?}");
    }
    site.put("k", "1").await;
    site.object("GET", "k").query("versionId", "null").send().await.expect(200);
}

/// Many at once, and each reader sees one whole version.
#[tokio::test]
async fn readers_see_one_version_while_it_is_replaced() {
    let site = site().await;
    let versions: Vec<Vec<u8>> = (0..8).map(|seed| random(seed, 300_000 + 1000 * seed as usize)).collect();
    site.put("k", versions[0].clone()).await;
    let writer = async {
        for version in &versions {
            site.put("k", version.clone()).await;
        }
    };
    let reader = async {
        for _ in 0..10 {
            let got = site.get("k").await;
            assert!(versions.contains(&got), "a mixture of {} bytes", got.len());
        }
    };
    tokio::join!(writer, reader, async {
        for _ in 0..10 {
            let got = site.get("k").await;
            assert!(versions.contains(&got), "a mixture of {} bytes", got.len());
        }
    });
    assert!(site.get("k").await == versions[7]);
}

/// The other way to name a bucket.
#[tokio::test]
async fn a_host_may_name_the_bucket() {
    let site = site().await;
    let port = site.access().authority().rsplit_once(':').expect("a port").1.to_owned();
    let at = |bucket: &str, method: &str, path: &str| -> Request {
        let mut request = site.at(method, path);
        request.set("host", format!("{bucket}.localhost:{port}"));
        request
    };
    for key in ["plain", "a/b//c", "/lead", "..", "é%2F+"] {
        let path = format!("/{}", encode(key.as_bytes(), true));
        at(&site.bucket, "PUT", &path).body("x").send().await.expect(200);
        assert_eq!(site.get(key).await, b"x", "{key}");
        assert_eq!(at(&site.bucket, "GET", &path).send().await.expect(200).body, b"x");
    }
    let list = at(&site.bucket, "GET", "/").query("list-type", "2").send().await.expect(200);
    assert_eq!((list.xml("Name"), list.all("Key").len()), (site.bucket.clone(), 5));
    at("no-such-bucket-here", "GET", "/k").send().await.expect_error(404, "NoSuchBucket");
    at("No_Bucket", "PUT", "/k").body("x").send().await.expect_error(400, "InvalidBucketName");
    at(&site.bucket, "PUT", &format!("/{}", "k".repeat(1025))).send().await.expect_error(400, "KeyTooLongError");
    // The bucket of the host is part of what is signed.
    let mut moved = at(&site.bucket, "DELETE", "/plain").sign();
    moved.set("host", format!("{}.localhost:{port}", site.new_bucket().await));
    moved.send().await.expect_error(403, "SignatureDoesNotMatch");
    assert!(site.exists("plain").await);
}

/// What a reader has begun it can finish.
#[tokio::test]
async fn an_object_is_read_to_its_end_while_it_is_deleted() {
    use tokio::io::AsyncReadExt as _;
    let site = site().await;
    let body = random(9, 24 << 20);
    for replace in [false, true] {
        site.put("k", body.clone()).await;
        let mut stream = site.object("GET", "k").sign().begin(0).await.expect("a connection");
        let mut got = vec![0; 100_000];
        stream.read_exact(&mut got).await.expect("the first bytes");
        match replace {
            true => drop(site.put("k", "another").await),
            false => drop(site.object("DELETE", "k").send().await.expect(204)),
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        stream.read_to_end(&mut got).await.expect("the rest");
        assert!(got.ends_with(&body[1000..]), "replaced: {replace}, {} bytes came", got.len());
    }
}

/// An object is never left in a bucket that is gone.
#[tokio::test]
async fn a_bucket_is_deleted_while_it_is_written_to() {
    let site = site().await;
    for _ in 0..10 {
        let path = format!("/{}", site.new_bucket().await);
        let key = format!("{path}/k");
        let (put, gone) = tokio::join!(site.at("PUT", &key).body("x").send(), site.at("DELETE", &path).send());
        match (put.status, gone.status) {
            (200, 409) => assert_eq!(site.at("GET", &key).send().await.expect(200).body, b"x"),
            (404, 204) => site.at("GET", &key).send().await.expect_error(404, "NoSuchBucket"),
            _ => panic!("{put:?} {gone:?}"),
        }
    }
}
