//! Bodies: framing, lengths, hashes, trailers, small XML.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::echo::{Answered, ask};

const TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// A PUT in unsigned chunks that announces a CRC32 of "hello world" and brings
/// what is said here.
async fn put_chunked(key: &str, declared: &str, framed: &str) -> Answered {
    let headers = [
        ("x-amz-content-sha256", TRAILER),
        ("x-amz-decoded-content-length", declared),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("content-encoding", "gzip,aws-chunked"),
    ];
    ask("PUT", &format!("/bucket/{key}"), &headers, Bytes::from(framed.to_owned())).await
}

#[tokio::test]
async fn unsigned_chunks_and_their_trailer_arrive() {
    let framed = "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    let answered = put_chunked("key", "11", framed).await;
    assert_eq!((answered.status, &*answered.body), (200, "hello world"));
    assert_eq!(answered.header("echo-header-content-encoding"), "gzip");
    assert_eq!(answered.header("echo-length"), "Some(11)");
    let slot = format!(
        "{:?}",
        Some(Some(crate::digest::Checksum {
            algorithm: crate::digest::Algorithm::Crc32,
            value: vec![13, 74, 17, 133],
        }))
    );
    assert_eq!(answered.header("echo-trailing"), crate::gateway::front::signature::hex(slot.as_bytes()));
}

#[tokio::test]
async fn framing_that_does_not_fit_fails_the_body() {
    for (declared, framed, code) in [
        ("11", "5\r\nhello\r\n6\r\n world\r\n", "IncompleteBody"),
        ("11", "5\r\nhello\r\n6\r\n wor", "IncompleteBody"),
        ("11", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", "IncompleteBody"),
        ("4", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", "IncompleteBody"),
        ("5", "5\r\nhello\r\n0\r\n\r\n", "MalformedTrailerError"),
        ("5", "5\r\nhello\r\n0\r\nx-amz-checksum-sha1:DUoRhQ==\r\n\r\n", "MalformedTrailerError"),
        ("5", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:DUoRhQ\r\n\r\n", "MalformedTrailerError"),
        ("5", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\nmore", "InvalidRequest"),
        ("5", "hello\r\n", "InvalidRequest"),
        ("5", "hello", "IncompleteBody"),
        ("0", "0\r\n\r\n", "MalformedTrailerError"),
    ] {
        let answered = put_chunked("key", declared, framed).await;
        assert_eq!((answered.status, answered.code()), (400, code), "{declared} {framed:?}: {}", answered.body);
    }
    let answered = put_chunked("key", "0", "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n").await;
    assert_eq!((answered.status, &*answered.body), (200, ""));
}

#[tokio::test]
async fn an_error_that_s3s_cannot_explain_is_explained() {
    let answered = put_chunked("unexplained", "11", "5\r\nhello\r\n").await;
    assert_eq!((answered.status, answered.code()), (400, "IncompleteBody"));
    assert!(answered.body.contains("<NumberBytesExpected>11<"), "{}", answered.body);
}

#[tokio::test]
async fn a_plain_body_must_have_its_hash_and_length() {
    for (body, length, hash) in [("hello", "5", true), ("", "0", true), ("hello", "5", false), ("", "0", false)] {
        let other = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let headers = [("x-amz-content-sha256", other)];
        let answered = ask("PUT", "/bucket/key", if hash { &[] } else { &headers }, body).await;
        let expected = if hash { (200, "") } else { (400, "XAmzContentSHA256Mismatch") };
        assert_eq!((answered.status, answered.code()), expected, "{body} {length}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_or_late_fails() {
    for (declared, body, code) in [(6, "hello", "IncompleteBody"), (4, "hello", "IncompleteBody"), (5, "hello", "")] {
        let mut request =
            super::echo::request("PUT", "/bucket/key", &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], body);
        request.headers_mut().insert("content-length", http::HeaderValue::from(declared));
        let signed = super::echo::sign_request(request, super::echo::Way::Header);
        let answered = super::echo::send(&super::echo::front(), signed).await;
        assert_eq!(answered.code(), code, "{declared}");
    }
}

#[tokio::test]
async fn xml_is_whole_and_checked_before_anyone_acts_on_it() {
    let xml = "<Delete><Object><Key>a</Key></Object></Delete>";
    let md5 = |text: &str| {
        use md5::Digest;
        BASE64_STANDARD.encode(md5::Md5::digest(text))
    };
    let good = ask("POST", "/bucket?delete", &[("content-md5", &md5(xml))], xml).await;
    assert_eq!((good.status, &*good.body), (200, xml));
    let bad = ask("POST", "/bucket?delete", &[("content-md5", &md5("other"))], xml).await;
    assert_eq!((bad.status, bad.code()), (400, "BadDigest"));
    let bad = ask("POST", "/bucket?delete", &[("x-amz-checksum-crc32", "AAAAAA==")], xml).await;
    assert_eq!((bad.status, bad.code()), (400, "BadDigest"));
    let framed = format!("{:x}\r\n{xml}\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", xml.len());
    let length = xml.len().to_string();
    let headers = [
        ("x-amz-content-sha256", TRAILER),
        ("x-amz-decoded-content-length", length.as_str()),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    assert_eq!(ask("POST", "/bucket?delete", &headers, framed).await.code(), "BadDigest");
    let large = vec![b' '; (4 << 20) + 1];
    assert_eq!(ask("POST", "/bucket?delete", &[], large).await.code(), "MaxMessageLengthExceeded");
}
