//! What the front lets nobody ask.

use super::echo::{ask, front, request, send};

#[tokio::test]
async fn what_is_not_built_is_refused_and_never_reaches_s3s() {
    for (method, uri, headers, status) in [
        ("DELETE", "/bucket?acl", &[][..], 501),
        ("PUT", "/bucket/key?encryption", &[], 501),
        ("PUT", "/bucket?versioning", &[], 501),
        ("GET", "/bucket?analytics", &[], 501),
        ("PUT", "/bucket/key?partNumber=1", &[], 400),
        ("PUT", "/bucket/key", &[("x-amz-tagging", "a=b")], 501),
        ("PUT", "/bucket/key", &[("x-amz-server-side-encryption", "aws:kms")], 501),
        ("DELETE", "/", &[], 405),
        ("PATCH", "/bucket/key", &[], 405),
        ("OPTIONS", "/bucket/key", &[], 403),
        ("GET", "/bucket/%ff", &[], 400),
        ("GET", "/bucket/%zz", &[], 400),
    ] {
        let answered = ask(method, uri, headers, "").await;
        assert_eq!(answered.status, status, "{method} {uri} {}", answered.body);
        assert!(!answered.headers.contains_key("echo-uri"));
    }
    let form = request("POST", "/bucket", &[("content-type", "multipart/form-data; boundary=x")], "x");
    assert_eq!(send(&front(), form).await.status, 501);
}

#[tokio::test]
async fn settings_are_answered_for_what_exists() {
    for (uri, status, part) in [
        ("/bucket?acl", 200, "<Owner><ID>owner</ID></Owner>"),
        ("/bucket?policy", 404, "NoSuchBucketPolicy"),
        ("/bucket/key?tagging", 200, "<TagSet>"),
        ("/missing?policy", 404, "NoSuchKey"),
        ("/bucket/missing?acl", 404, "NoSuchKey"),
    ] {
        let answered = ask("GET", uri, &[], "").await;
        assert_eq!(answered.status, status, "{uri}");
        assert!(answered.body.contains(part), "{uri}: {}", answered.body);
    }
}

#[tokio::test]
async fn encryption_that_happens_anyway_is_confirmed() {
    let answered = ask("PUT", "/bucket/key", &[("x-amz-server-side-encryption", "AES256")], "x").await;
    assert_eq!((answered.status, answered.header("x-amz-server-side-encryption")), (200, "AES256"));
    assert!(!answered.headers.contains_key("echo-header-x-amz-server-side-encryption"));
}

#[tokio::test]
async fn a_request_has_one_host() {
    let mut request = request("GET", "/bucket/key", &[("host", "other")], "");
    assert_eq!(send(&front(), request.clone()).await.code(), "InvalidRequest");
    request.headers_mut().remove("host");
    assert_eq!(send(&front(), request).await.code(), "InvalidRequest");
}
