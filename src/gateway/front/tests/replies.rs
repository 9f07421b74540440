//! What every reply has, and what none has.

use http_body_util::{BodyExt, Full};

use super::echo::{Way, ask, front, request, send, sign_request};

#[tokio::test]
async fn every_error_is_a_whole_document() {
    for answered in
        [ask("GET", "/bucket/missing", &[], "").await, send(&front(), request("GET", "/bucket/a%3Cb", &[], "")).await]
    {
        for part in ["<Code>", "<Message>", "<Resource>/bucket/", "<RequestId>", "<HostId>"] {
            assert!(answered.body.contains(part), "{part} {}", answered.body);
        }
        assert_eq!(answered.header("content-type"), "application/xml");
        assert!(answered.body.contains(answered.header("x-amz-request-id")));
        assert_eq!(answered.header("x-amz-request-id").len(), 16);
        assert_eq!((answered.header("server"), answered.header("date").is_empty()), ("Cairn", false));
    }
}

#[tokio::test]
async fn replies_without_a_body_have_none() {
    let head = ask("HEAD", "/bucket/missing", &[], "").await;
    assert_eq!((head.status, &*head.body, head.header("etag")), (404, "", "\"kept\""));
    assert!(!head.headers.contains_key("content-length"));
    let unmodified = ask("GET", "/bucket/unmodified", &[], "").await;
    assert_eq!((unmodified.status, &*unmodified.body, unmodified.header("etag")), (304, "", "\"kept\""));
    assert!(!unmodified.headers.contains_key("content-type"));
}

#[tokio::test]
async fn ids_differ_from_request_to_request() {
    let ids = [ask("GET", "/bucket/a", &[], "").await, ask("GET", "/bucket/a", &[], "").await];
    assert_ne!(ids[0].header("x-amz-request-id"), ids[1].header("x-amz-request-id"));
}

#[tokio::test]
async fn a_defect_fails_one_request_alone() {
    let front = front();
    let signed = |uri: &str| sign_request(request("GET", uri, &[], ""), Way::Header);
    let answered = send(&front, signed("/bucket/broken-handler")).await;
    assert_eq!((answered.status, answered.code()), (500, "InternalError"));
    let reply = front.answer(signed("/bucket/broken-body").map(Full::new)).await;
    assert_eq!(reply.status(), 200);
    assert!(reply.into_body().collect().await.is_err(), "a reply that breaks off must not look whole");
    assert_eq!(send(&front, signed("/bucket/key")).await.status, 200);
}
