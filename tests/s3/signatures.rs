//! SigV4: whoever signed wrongly is refused with S3's code, and nothing changes.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;

use crate::kit::sign::Chunks;
use crate::kit::{Request, Site, random, site};

/// A signed PUT of `after` over `k`.
fn signed(site: &Site) -> Request {
    site.object("PUT", "k").header("x-amz-meta-a", "1").body("after").sign()
}

type Tampering = (&'static str, fn(&mut Request), u16, &'static str);

#[tokio::test]
async fn nothing_that_is_signed_can_be_changed() {
    let site = site().await;
    site.put("k", "before").await;
    let cases: &[Tampering] = &[
        ("the method", |request| request.method = "DELETE".into(), 403, "SignatureDoesNotMatch"),
        ("the key", |request| request.path += "x", 403, "SignatureDoesNotMatch"),
        ("the query", |request| request.query.push(("x-id".into(), "PutObject".into())), 403, "SignatureDoesNotMatch"),
        ("metadata", |request| request.set("x-amz-meta-a", "2"), 403, "SignatureDoesNotMatch"),
        ("more metadata", |request| request.set("x-amz-meta-b", "2"), 403, "AccessDenied"),
        ("less metadata", |request| request.remove("x-amz-meta-a"), 403, "SignatureDoesNotMatch"),
        ("a copy source", |request| request.set("x-amz-copy-source", "/a/b"), 403, "AccessDenied"),
        ("the body", |request| request.body = b"aftex".into(), 400, "XAmzContentSHA256Mismatch"),
        (
            "the body's hash",
            |request| request.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            403,
            "SignatureDoesNotMatch",
        ),
        ("no hash", |request| request.remove("x-amz-content-sha256"), 403, "SignatureDoesNotMatch"),
        ("an odd hash", |request| request.set("x-amz-content-sha256", "rubbish"), 400, "InvalidArgument"),
        ("the host", |request| request.set("host", "example.com"), 403, "SignatureDoesNotMatch"),
        ("an empty header", |request| request.set("authorization", ""), 400, "InvalidRequest"),
        (
            "rubbish",
            |request| request.set("authorization", "AWS4-HMAC-SHA256 rubbish"),
            400,
            "AuthorizationHeaderMalformed",
        ),
        ("SigV2", |request| request.set("authorization", "AWS AKIA:c2lnbmF0dXJl"), 400, "InvalidRequest"),
        ("basic", |request| request.set("authorization", "Basic YTpi"), 400, "InvalidRequest"),
    ];
    for (what, tamper, status, code) in cases {
        let mut request = signed(&site);
        tamper(&mut request);
        let answer = request.send_unsigned().await;
        assert!(answer.status >= 400, "{what}: {answer:?}");
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{what}: {answer:?}");
        answer.expect_error(*status, code);
    }
    let nobody = site.object("PUT", "k").body("after").send_unsigned().await;
    nobody.expect_error(403, "AccessDenied");
    assert_eq!(site.get("k").await, b"before");
    assert_eq!(site.content().await.len(), 1);
    signed(&site).send().await.expect(200);
    assert_eq!(site.get("k").await, b"after");
}

#[tokio::test]
async fn the_scope_counts() {
    let site = site().await;
    site.put("k", "before").await;
    let with = |change: &dyn Fn(&mut crate::kit::sign::Signer)| {
        let mut request = site.object("PUT", "k").body("after");
        change(&mut request.signer);
        request
    };
    let hour = Duration::from_secs(3600);
    with(&|signer| signer.region = "eu-west-3".into()).send().await.expect_error(400, "AuthorizationHeaderMalformed");
    with(&|signer| signer.service = "sts".into()).send().await.expect_error(400, "AuthorizationHeaderMalformed");
    with(&|signer| signer.key = "AKIAIOSFODNN7EXAMPLE".into()).send().await.expect_error(403, "InvalidAccessKeyId");
    with(&|signer| signer.secret += "x").send().await.expect_error(403, "SignatureDoesNotMatch");
    for time in [SystemTime::now() - hour, SystemTime::now() + hour] {
        let answer = with(&|signer| signer.time = time).send().await;
        answer.expect_error(403, "RequestTimeTooSkewed");
        assert_eq!(answer.xml("MaxAllowedSkewMilliseconds"), "900000");
    }
    let ten = Duration::from_secs(600);
    assert_eq!(site.get("k").await, b"before");
    with(&|signer| signer.time = SystemTime::now() - ten).send().await.expect(200);
}

#[tokio::test]
async fn a_presigned_url_is_good_for_what_it_says() {
    let site = site().await;
    site.put("a b+é/", "x").await;
    let get = || site.object("GET", "a b+é/");
    assert_eq!(get().presign(60).send().await.expect(200).body, b"x");
    assert_eq!(get().query("response-content-type", "a/b").presign(60).send().await.header("content-type"), "a/b");
    site.object("PUT", "new").body("by url").presign(60).send().await.expect(200);
    assert_eq!(site.get("new").await, b"by url");
    site.object("DELETE", "new").presign(60).send().await.expect(204);
    for (expires, code) in [(0, "AuthorizationQueryParametersError"), (604_801, "AuthorizationQueryParametersError")] {
        get().presign(expires).send().await.expect_error(400, code);
    }
    let at = |time: SystemTime, expires: u64| {
        let mut request = get();
        request.signer.time = time;
        request.presign(expires).send()
    };
    let day = Duration::from_secs(24 * 3600);
    at(SystemTime::now() - day, 3600).await.expect_error(403, "AccessDenied");
    at(SystemTime::now() - day, 2 * 24 * 3600).await.expect(200);
    at(SystemTime::now() + day, 3600).await.expect_error(403, "AccessDenied");
}

#[tokio::test]
async fn a_presigned_url_is_good_for_nothing_else() {
    let site = site().await;
    site.put("secret", "hidden").await;
    site.put("k", "before").await;
    let source = format!("/{}/secret", site.bucket);
    let url = || site.object("PUT", "k").body("after").presign(60);
    let copy = url().header("x-amz-copy-source", &source).send().await;
    copy.expect_error(403, "AccessDenied");
    url().header("x-amz-meta-a", "1").send().await.expect_error(403, "AccessDenied");
    url().query("X-Amz-Copy-Source", &source).send().await.expect_error(403, "SignatureDoesNotMatch");
    url().query("acl", "").send().await.expect_error(403, "SignatureDoesNotMatch");
    let mut other = url();
    other.method = "DELETE".into();
    other.send().await.expect_error(403, "SignatureDoesNotMatch");
    let mut longer = url();
    for (name, value) in &mut longer.query {
        if name == "X-Amz-Expires" {
            *value = "3600".to_owned();
        }
    }
    longer.send().await.expect_error(403, "SignatureDoesNotMatch");
    for missing in ["X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Credential", "X-Amz-Algorithm"] {
        let mut request = url();
        request.query.retain(|(name, _)| name != missing);
        let answer = request.send_unsigned().await;
        assert!([400, 403].contains(&answer.status), "{missing}: {answer:?}");
    }
    let mut twice = url();
    twice.signer.clone().header(&mut twice);
    assert_eq!(twice.send_unsigned().await.status, 400);
    let old = [("AWSAccessKeyId", "AKIA"), ("Expires", "4000000000"), ("Signature", "c2ln")];
    let request = old.iter().fold(site.object("GET", "k"), |request, (name, value)| request.query(name, value));
    assert!([400, 403].contains(&request.send_unsigned().await.status));
    assert_eq!(site.get("k").await, b"before");
}

#[tokio::test]
async fn the_sdk_presigns() {
    let site = site().await;
    let hour = PresigningConfig::expires_in(Duration::from_secs(3600)).expect("an hour is possible");
    let key = "a/b c+é";
    let put = site.client.put_object().bucket(&site.bucket).key(key).presigned(hour.clone()).await.expect("a URL");
    let get = site.client.get_object().bucket(&site.bucket).key(key).presigned(hour).await.expect("a URL");
    for (presigned, body) in [(put, "x"), (get, "")] {
        let (path, query) = presigned.uri().split_once('?').expect("a query");
        let path = &path[path.find("://").expect("a scheme") + 3..];
        let mut request = site.at(presigned.method(), &path[path.find('/').expect("a path")..]).body(body);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            request = request.query(&decode(name), &decode(value));
        }
        for (name, value) in presigned.headers() {
            request = request.header(name, value);
        }
        let answer = request.send_unsigned().await.expect(200);
        assert!(!body.is_empty() || answer.body == b"x");
    }
}

#[tokio::test]
async fn chunks_of_every_size_are_put_together() {
    let site = site().await;
    for (length, size) in
        [(0, 65_536), (1, 65_536), (65_536, 65_536), (65_537, 65_536), (200_000, 8192), (400_000, 400_000)]
    {
        let body = random(length as u64, length);
        for (signed, trailer) in [(true, false), (true, true), (false, true)] {
            use base64::Engine as _;
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &body) as u32;
            let value = base64::prelude::BASE64_STANDARD.encode(crc.to_be_bytes());
            let trailer = trailer.then_some(("x-amz-checksum-crc32", value.as_str()));
            let put = site.object("PUT", "k").body(body.clone()).chunk(&Chunks { size, signed, trailer });
            put.send().await.expect(200);
            assert!(site.get("k").await == body, "{length} by {size}");
        }
    }
}
