//! What AWS's own signer signs is accepted; the same with anything changed is
//! not.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::echo::{Way, ask, config, front, request, send, sign_request};
use crate::gateway::front::encoding::{encode, parse_query, write_query};
use crate::gateway::front::refusal::Refusal;
use crate::gateway::front::verify::verify;

fn check(request: &Request<Bytes>) -> Result<(), Refusal> {
    let (parts, _) = request.clone().into_parts();
    let query = parse_query(parts.uri.query().unwrap_or_default())?;
    verify(&parts, &query, &config(SystemTime::now)).map(drop)
}

/// Ways to change a signed request, each of which must undo its validity.
fn mutations(signed: &Request<Bytes>) -> Vec<(&'static str, Request<Bytes>)> {
    let change = |name: &'static str, edit: &dyn Fn(&mut Request<Bytes>)| {
        let mut changed = signed.clone();
        edit(&mut changed);
        (name, changed)
    };
    let (path, query) = (signed.uri().path(), signed.uri().query().unwrap_or_default());
    let flip = |text: &str| {
        let last = text.len() - 1;
        format!("{}{}", &text[..last], if text.ends_with('0') { '1' } else { '0' })
    };
    let mut all = vec![
        change("method", &|r| *r.method_mut() = "DELETE".parse().unwrap()),
        change("path", &|r| *r.uri_mut() = format!("{path}x?{query}").parse().unwrap()),
        change("slash", &|r| *r.uri_mut() = format!("/{path}?{query}").parse().unwrap()),
        change("query", &|r| *r.uri_mut() = format!("{path}?{query}&acl").parse().unwrap()),
        change("host", &|r| drop(r.headers_mut().insert("host", HeaderValue::from_static("other")))),
        change("a header", &|r| drop(r.headers_mut().insert("x-amz-meta-a", HeaderValue::from_static("b")))),
        change("no header", &|r| drop(r.headers_mut().remove("x-amz-meta-a"))),
        change("one more", &|r| assert!(r.headers_mut().append("x-amz-meta-a", HeaderValue::from_static("b")))),
        change("a new one", &|r| drop(r.headers_mut().insert("x-amz-copy-source", HeaderValue::from_static("/b/k")))),
    ];
    match signed.headers().get(AUTHORIZATION) {
        Some(value) => {
            let value = HeaderValue::from_str(&flip(value.to_str().unwrap())).unwrap();
            all.push(change("signature", &|r| drop(r.headers_mut().insert(AUTHORIZATION, value.clone()))));
            let value = HeaderValue::from_static("UNSIGNED-PAYLOAD");
            all.push(change("hash", &|r| drop(r.headers_mut().insert("x-amz-content-sha256", value.clone()))));
        }
        None => {
            let at = query.find("X-Amz-Signature=").unwrap() + 16;
            let forged = format!("{}{}{}", &query[..at], flip(&query[at..at + 64]), &query[at + 64..]);
            all.push(change("signature", &|r| *r.uri_mut() = format!("{path}?{forged}").parse().unwrap()));
            let longer = query.replace("X-Amz-Expires=60", "X-Amz-Expires=61");
            all.push(change("expiry", &|r| *r.uri_mut() = format!("{path}?{longer}").parse().unwrap()));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_aws_signs_is_accepted_until_it_is_changed(
        key in "[^\\p{Cc}]{1,30}",
        pairs in proptest::collection::vec(("[a-z -]{1,8}", "[^\\p{Cc}]{0,12}"), 0..5),
        value in "[!-~]([ -~]{0,20}[!-~])?",
        body in proptest::collection::vec(any::<u8>(), 0..50),
        in_header: bool,
    ) {
        let way = if in_header { Way::Header } else { Way::Query };
        let path = format!("/bucket/{}", encode(key.as_bytes(), true));
        let query = write_query(&pairs);
        let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
        let signed = sign_request(request("PUT", &uri, &[("x-amz-meta-a", &value)], body), way);
        let accepted = check(&signed);
        prop_assert!(accepted.is_ok(), "{uri}: {accepted:?}");
        prop_assume!(value != "b");
        for (name, changed) in mutations(&signed) {
            prop_assert!(check(&changed).is_err(), "{name} was changed: {changed:?}");
        }
    }
}

#[tokio::test]
async fn a_request_is_only_for_its_time() {
    let uri = "/bucket/key";
    for (way, late_s, code) in [
        (Way::Header, -890, ""),
        (Way::Header, 890, ""),
        (Way::Header, 910, "RequestTimeTooSkewed"),
        (Way::Header, -910, "RequestTimeTooSkewed"),
        (Way::Query, 58, ""),
        (Way::Query, 62, "AccessDenied"),
        (Way::Query, -890, ""),
        (Way::Query, -910, "AccessDenied"),
    ] {
        let shift = Duration::from_secs(i64::unsigned_abs(late_s));
        let now = move || if late_s < 0 { SystemTime::now() - shift } else { SystemTime::now() + shift };
        let front = crate::gateway::front::Front::new(config(now), super::echo::Echo);
        let answered = send(&front, sign_request(request("GET", uri, &[], ""), way)).await;
        assert_eq!(answered.code(), code, "{way:?} {late_s}");
    }
}

#[tokio::test]
async fn a_mismatch_tells_what_was_computed() {
    let mut signed = sign_request(request("GET", "/bucket/a%20b?prefix=x", &[], ""), Way::Header);
    *signed.uri_mut() = "/bucket/other".parse().unwrap();
    let answered = send(&front(), signed).await;
    assert_eq!((answered.status, answered.code()), (403, "SignatureDoesNotMatch"));
    for part in [
        "<CanonicalRequest>GET\n/bucket/other\n\nhost:localhost\n",
        "<StringToSign>AWS4-HMAC-SHA256\n",
        "<AWSAccessKeyId>",
    ] {
        assert!(answered.body.contains(part), "{}", answered.body);
    }
}

#[tokio::test]
async fn a_presigned_url_carries_headers_in_its_query_and_none_unsigned() {
    let uri = "/bucket/key?x-amz-meta-a=b&x-amz-storage-class=STANDARD&x-id=PutObject";
    let signed = sign_request(request("PUT", uri, &[], "body"), Way::Query);
    let answered = send(&front(), signed.clone()).await;
    assert_eq!((answered.status, answered.header("echo-header-x-amz-meta-a")), (200, "b"), "{}", answered.body);
    assert_eq!(answered.header("echo-uri"), "/bucket/key");

    let mut copying = signed.clone();
    copying.headers_mut().insert("x-amz-copy-source", HeaderValue::from_static("/secret/key"));
    let answered = send(&front(), copying).await;
    assert_eq!((answered.status, answered.code()), (403, "AccessDenied"));
    assert!(answered.body.contains("<HeadersNotSigned>x-amz-copy-source<"), "{}", answered.body);

    for (value, code) in [("UNSIGNED-PAYLOAD", ""), ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "AccessDenied")] {
        let mut with_hash = signed.clone();
        with_hash.headers_mut().insert("x-amz-content-sha256", HeaderValue::from_static(value));
        assert_eq!(send(&front(), with_hash).await.code(), code);
    }
}

#[tokio::test]
async fn two_mechanisms_or_none_are_refused() {
    let mut both = sign_request(request("GET", "/bucket/key", &[], ""), Way::Query);
    let header = sign_request(request("GET", "/bucket/key", &[], ""), Way::Header).headers()[AUTHORIZATION].clone();
    both.headers_mut().insert(AUTHORIZATION, header);
    assert_eq!(send(&front(), both).await.code(), "InvalidArgument");
    let none = send(&front(), request("GET", "/bucket/key", &[], "")).await;
    assert_eq!((none.status, none.code()), (403, "AccessDenied"));
    let old = request("GET", "/bucket/key", &[("authorization", "AWS AK:c2ln")], "");
    assert_eq!(send(&front(), old).await.code(), "InvalidRequest");
}

#[tokio::test]
async fn a_session_token_that_nobody_gave_out_is_refused() {
    let answered = ask("GET", "/bucket/key", &[("x-amz-security-token", "token")], "").await;
    assert_eq!((answered.status, answered.code()), (400, "InvalidToken"));
}

#[tokio::test]
async fn nothing_of_the_signature_goes_on_to_s3s() {
    let answered = ask("GET", "/bucket/key", &[], "").await;
    assert_eq!((answered.status, answered.header("echo-caller")), (200, "true"));
    let mut passed: Vec<&str> =
        answered.headers.keys().filter_map(|name| name.as_str().strip_prefix("echo-header-")).collect();
    passed.sort_unstable();
    assert_eq!(passed, ["host"]);
}
