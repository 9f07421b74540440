//! What an object carries besides its bytes.

use crate::kit::{sign::Chunks, site};

#[tokio::test]
async fn headers_come_back_as_they_went_in() {
    let site = site().await;
    let kept: &[(&str, &[u8])] = &[
        ("content-type", b"text/plain; charset=\"utf-8\""),
        ("cache-control", b"max-age=0,  no-store"),
        ("content-disposition", b"attachment; filename=\"a;b.txt\"; filename*=UTF-8''%e2%82%ac"),
        ("content-encoding", b"gzip, x-own"),
        ("content-language", b"de-AT,en"),
        ("expires", b"0"),
        ("x-amz-meta-plain", b"value"),
        ("x-amz-meta-mixed-case", b"VaLuE"),
        ("x-amz-meta-empty", b""),
        ("x-amz-meta-2047", b"=?UTF-8?B?w6k=?="),
        ("x-amz-meta-utf8", "é日本🪨".as_bytes()),
        ("x-amz-meta-inner", b"a  b   c"),
        ("x-amz-meta-comma", b"a,b , c"),
        ("x-amz-website-redirect-location", b"/elsewhere"),
        ("x-amz-storage-class", b"STANDARD_IA"),
    ];
    let mut put = site.object("PUT", "k").body("x");
    for (name, value) in kept {
        put = put.header(name, value);
    }
    put.send().await.expect(200);
    for method in ["GET", "HEAD"] {
        let answer = site.object(method, "k").send().await.expect(200);
        for (name, value) in kept {
            assert_eq!(answer.header(name).as_bytes(), *value, "{method} {name}");
        }
        assert_eq!(answer.header("accept-ranges"), "bytes");
    }
    let list = site.at_bucket("GET").send().await.expect(200);
    assert_eq!(list.xml("StorageClass"), "STANDARD_IA");
}

#[tokio::test]
async fn what_was_not_given_is_not_invented() {
    let site = site().await;
    let etag = site.put("k", "x").await;
    let answer = site.object("GET", "k").send().await.expect(200);
    assert_eq!((answer.header("content-type"), answer.header("etag")), ("binary/octet-stream", etag.as_str()));
    for name in ["cache-control", "content-disposition", "content-encoding", "expires", "x-amz-storage-class"] {
        assert!(!answer.has_header(name), "{name}");
    }
    let modified = httpdate::parse_http_date(answer.header("last-modified")).expect("a date");
    assert!(modified.elapsed().is_ok_and(|age| age.as_secs() < 100), "{answer:?}");
    assert!(httpdate::parse_http_date(answer.header("date")).is_ok());
}

#[tokio::test]
async fn framing_is_no_encoding_of_the_object() {
    let site = site().await;
    let chunks = Chunks { size: 65_536, signed: true, trailer: None };
    site.object("PUT", "k").body("x").chunk(&chunks).send().await.expect(200);
    assert!(!site.object("HEAD", "k").send().await.has_header("content-encoding"));
    let put = site.client.put_object().bucket(&site.bucket).key("sdk").content_encoding("gzip");
    put.body(vec![1, 2, 3].into()).send().await.expect("a put");
    assert_eq!(site.object("HEAD", "sdk").send().await.header("content-encoding"), "gzip");
}

/// 2 KB for names and values together.
#[tokio::test]
async fn user_metadata_has_a_limit() {
    let site = site().await;
    let put = |length: usize| site.object("PUT", "k").header("x-amz-meta-ab", "v".repeat(length)).body("x").send();
    put(2046).await.expect(200);
    put(2047).await.expect_error(400, "MetadataTooLarge");
    assert_eq!(site.object("HEAD", "k").send().await.header("x-amz-meta-ab").len(), 2046);
}

#[tokio::test]
async fn a_signed_query_replaces_headers_of_the_reply() {
    let site = site().await;
    site.object("PUT", "k").header("content-type", "a/b").body("x").send().await.expect(200);
    let wanted = [
        ("response-content-type", "content-type", "text/x"),
        ("response-content-language", "content-language", "fr"),
        ("response-expires", "expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("response-cache-control", "cache-control", "no-cache"),
        ("response-content-disposition", "content-disposition", "attachment; filename=\"x y\""),
        ("response-content-encoding", "content-encoding", "br"),
    ];
    let mut get = site.object("GET", "k");
    for (parameter, _, value) in wanted {
        get = get.query(parameter, value);
    }
    let answer = get.send().await.expect(200);
    for (_, header, value) in wanted {
        assert_eq!(answer.header(header), value);
    }
    assert_eq!(site.object("GET", "k").send().await.header("content-type"), "a/b");
}

#[tokio::test]
async fn what_could_not_be_kept_is_refused() {
    let site = site().await;
    for (name, value, status, code) in [
        ("x-amz-storage-class", "FAST", 400, "InvalidStorageClass"),
        ("x-amz-website-redirect-location", "elsewhere", 400, "InvalidRedirectLocation"),
        ("content-md5", "AAAA", 400, "InvalidDigest"),
        ("x-amz-acl", "public-read", 501, "NotImplemented"),
        ("x-amz-tagging", "a=b", 501, "NotImplemented"),
        ("x-amz-object-lock-mode", "COMPLIANCE", 501, "NotImplemented"),
        ("x-amz-server-side-encryption", "aws:kms", 501, "NotImplemented"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", 501, "NotImplemented"),
        ("x-amz-write-offset-bytes", "1", 501, "NotImplemented"),
        ("x-amz-unheard-of", "1", 501, "NotImplemented"),
    ] {
        site.object("PUT", "k").header(name, value).body("x").send().await.expect_error(status, code);
    }
    assert!(!site.exists("k").await);
}

#[tokio::test]
async fn a_name_that_comes_twice_is_joined() {
    let site = site().await;
    let put = site.object("PUT", "k").header("x-amz-meta-a", "1").header("x-amz-meta-a", "2").body("x");
    put.send().await.expect(200);
    assert_eq!(site.object("HEAD", "k").send().await.header("x-amz-meta-a"), "1,2");
}
