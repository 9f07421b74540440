//! Conditions on reads and writes.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>

use std::time::{Duration, SystemTime};

use crate::kit::{Site, site};

#[tokio::test]
async fn reads_are_conditional() {
    let site = site().await;
    let etag = site.put("k", "x").await;
    let date = |offset: i64| {
        let now = SystemTime::now();
        let time = match offset < 0 {
            true => now - Duration::from_secs(offset.unsigned_abs()),
            false => now + Duration::from_secs(offset.unsigned_abs()),
        };
        httpdate::fmt_http_date(time)
    };
    let (past, future) = (date(-3600), date(3600));
    let bare = etag.trim_matches('"');
    let list = format!("\"a\", {etag}");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("if-match", &etag)], 200),
        (&[("if-match", bare)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", &list)], 200),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", &list)], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", &past)], 200),
        (&[("if-unmodified-since", &past)], 412),
        (&[("if-unmodified-since", &future)], 200),
        (&[("if-modified-since", "no date")], 200),
        // If-Match decides before If-Unmodified-Since, If-None-Match before If-Modified-Since.
        (&[("if-match", &etag), ("if-unmodified-since", &past)], 200),
        (&[("if-none-match", &etag), ("if-modified-since", &past)], 304),
        (&[("if-none-match", "\"other\""), ("if-modified-since", &future)], 200),
    ];
    for (headers, status) in cases {
        for method in ["GET", "HEAD"] {
            let mut request = site.object(method, "k");
            for (name, value) in *headers {
                request = request.header(name, value);
            }
            let answer = request.send().await;
            assert_eq!(answer.status, *status, "{method} {headers:?} {answer:?}");
            if *status == 304 {
                assert_eq!((answer.body.len(), answer.header("etag")), (0, etag.as_str()));
            }
            if *status == 412 && method == "GET" {
                answer.expect_error(412, "PreconditionFailed");
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let since = site.object("HEAD", "k").send().await.header("last-modified").to_owned();
    site.object("GET", "k").header("if-modified-since", since).send().await.expect(304);
    site.object("GET", "none").header("if-match", "*").send().await.expect_error(404, "NoSuchKey");
}

#[tokio::test]
async fn writes_are_conditional() {
    let site = site().await;
    let put = |name: &'static str, value: &str, body: &'static str| {
        site.object("PUT", "k").header(name, value).body(body).send()
    };
    put("if-match", "\"any\"", "0").await.expect_error(404, "NoSuchKey");
    put("if-none-match", "*", "1").await.expect(200);
    put("if-none-match", "*", "2").await.expect_error(412, "PreconditionFailed");
    let etag = site.object("HEAD", "k").send().await.header("etag").to_owned();
    put("if-match", "\"other\"", "3").await.expect_error(412, "PreconditionFailed");
    assert_eq!(site.get("k").await, b"1");
    put("if-match", &etag, "4").await.expect(200);
    put("if-match", &etag, "5").await.expect_error(412, "PreconditionFailed");
    assert_eq!(site.get("k").await, b"4");
    put("if-none-match", "\"tag\"", "6").await.expect_error(501, "NotImplemented");
    assert_eq!(site.get("k").await, b"4");
}

#[tokio::test]
async fn deletes_are_conditional() {
    let site = site().await;
    let etag = site.put("k", "1").await;
    let delete = |value: &str| site.object("DELETE", "k").header("if-match", value).send();
    delete("\"other\"").await.expect_error(412, "PreconditionFailed");
    assert!(site.exists("k").await);
    delete(&etag).await.expect(204);
    assert!(!site.exists("k").await);
    site.put("k", "1").await;
    delete("*").await.expect(204);
    assert!(!site.exists("k").await);
}

#[tokio::test]
async fn completions_are_conditional() {
    let site = site().await;
    let complete = async |name: &str, value: &str| {
        let upload = crate::uploads::begin(&site, "k").await;
        let etag = crate::uploads::part(&site, "k", &upload, 1, b"parts").await;
        let body = crate::uploads::completion(&[(1, &etag)]);
        let request = site.object("POST", "k").query("uploadId", &upload).header(name, value).body(body);
        (request.send().await, upload)
    };
    complete("if-none-match", "*").await.0.expect(200);
    let (refused, upload) = complete("if-none-match", "*").await;
    refused.expect_error(412, "PreconditionFailed");
    // The upload is still there and may be completed without the condition.
    site.object("GET", "k").query("uploadId", &upload).send().await.expect(200);
    let etag = site.object("HEAD", "k").send().await.header("etag").to_owned();
    complete("if-match", "\"other\"").await.0.expect_error(412, "PreconditionFailed");
    complete("if-match", &etag).await.0.expect(200);
}

/// Of many that want to be the first, one is.
#[tokio::test]
async fn one_of_many_creates() {
    for size in [10, 20_000, 400_000] {
        let site = site().await;
        let put = |number: u8| site.object("PUT", "k").header("if-none-match", "*").body(vec![number; size]).send();
        let answers = futures_util::future::join_all((0..16).map(put)).await;
        let won: Vec<usize> = (0..16).filter(|&number| answers[number].status == 200).collect();
        assert_eq!(won.len(), 1, "{size}: {answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert!(
                ["PreconditionFailed", "ConditionalRequestConflict"].contains(&answer.code().as_str()),
                "{answer:?}"
            );
        }
        assert_eq!(site.get("k").await, vec![won[0] as u8; size]);
    }
}

/// A counter that many clients raise by compare-and-swap loses nothing.
#[tokio::test]
async fn a_counter_counts() {
    const CLIENTS: u64 = 4;
    const EACH: u64 = 8;
    let site = site().await;
    site.put("counter", "0").await;
    futures_util::future::join_all((0..CLIENTS).map(|_| async {
        for _ in 0..EACH {
            raise(&site).await;
        }
    }))
    .await;
    assert_eq!(site.get("counter").await, (CLIENTS * EACH).to_string().into_bytes());
}

async fn raise(site: &Site) {
    for _ in 0..1000 {
        let seen = site.object("GET", "counter").send().await.expect(200);
        let next = seen.text().parse::<u64>().expect("a number") + 1;
        let put = site.object("PUT", "counter").header("if-match", seen.header("etag")).body(next.to_string());
        let answer = put.send().await;
        match (answer.status, answer.code().as_str()) {
            (200, _) => return,
            (412, "PreconditionFailed") | (409, "ConditionalRequestConflict") => {}
            _ => panic!("{answer:?}"),
        }
    }
    panic!("never came to raise the counter");
}
