//! Bodies that are not what they should be leave no object behind.

use std::time::Duration;

use crate::kit::sign::Chunks;
use crate::kit::{Request, Site, random, site};

const TRAILER: Chunks<'static> =
    Chunks { size: 65_536, signed: true, trailer: Some(("x-amz-checksum-crc32", "AAAAAA==")) };
const SIGNED: Chunks<'static> = Chunks { size: 65_536, signed: true, trailer: None };

async fn expect_unchanged(site: &Site) {
    assert_eq!(site.get("k").await, b"before");
    assert_eq!(site.content().await.len(), 1);
}

/// Changes the body of a chunked PUT at the first place where `from` stands.
fn broken(site: &Site, chunks: &Chunks<'_>, length: usize, from: &[u8], to: &[u8]) -> Request {
    let mut request = site.object("PUT", "k").body(random(1, length)).chunk(chunks);
    let at = request.body.windows(from.len()).position(|window| window == from).expect("something to break");
    request.body.splice(at..at + from.len(), to.iter().copied());
    request
}

#[tokio::test]
async fn chunks_that_were_tampered_with_are_refused() {
    let site = site().await;
    site.put("k", "before").await;
    for length in [100, 200_000] {
        let mut flipped = site.object("PUT", "k").body(random(1, length)).chunk(&SIGNED);
        let middle = flipped.body.len() / 2;
        flipped.body[middle] ^= 1;
        flipped.send().await.expect_error(403, "SignatureDoesNotMatch");
        let signature = broken(&site, &SIGNED, length, b"chunk-signature=", b"chunk-signature=0");
        assert!(signature.send().await.status >= 400);
        let mut unsigned = broken(&site, &SIGNED, length, b";chunk-signature=", b";chunk-signaturx=");
        unsigned.body.truncate(unsigned.body.len());
        assert!(unsigned.send().await.status >= 400);
        let trailer = broken(&site, &TRAILER, length, b"AAAAAA==", b"BAAAAA==");
        trailer.send().await.expect_error(403, "SignatureDoesNotMatch");
        let other = broken(&site, &TRAILER, length, b"x-amz-checksum-crc32:", b"x-amz-checksum-crc3x:");
        assert!(other.send().await.status >= 400);
        expect_unchanged(&site).await;
    }
}

#[tokio::test]
async fn framing_that_does_not_add_up_is_refused() {
    let site = site().await;
    site.put("k", "before").await;
    let unsigned = Chunks { size: 65_536, signed: false, trailer: Some(("x-amz-checksum-crc32", "AAAAAA==")) };
    for length in [10, 150_000] {
        // Without its last chunk, in the middle, without the trailer.
        let whole = site.object("PUT", "k").body(random(1, length)).chunk(&unsigned).body.len();
        for cut in [1, 2, 5, 30, 40, 45, whole / 2] {
            let mut request = site.object("PUT", "k").body(random(1, length)).chunk(&unsigned);
            request.body.truncate(whole - cut);
            let answer = request.send().await;
            assert_eq!(answer.status, 400, "{cut} of {whole}: {answer:?}");
        }
        for declared in [length - 1, length + 1, 0] {
            let mut request = site.object("PUT", "k").body(random(1, length));
            request.chunk_as(&unsigned, declared);
            let answer = request.send().await;
            assert_eq!(answer.status, 400, "{declared} for {length}: {answer:?}");
        }
    }
    for size in ["zz", "-1", "ffffffffffffffff0", ""] {
        let mut request = site.object("PUT", "k").body(vec![7; 10]).chunk(&unsigned);
        request.body.splice(0..1, size.bytes());
        assert_eq!(request.send().await.status, 400, "{size}");
    }
    expect_unchanged(&site).await;
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing() {
    let site = site().await;
    site.put("k", "before").await;
    for length in [1000, 300_000, 9 << 20] {
        for part in [0, 1, length / 2, length - 1] {
            for payload in [None, Some("UNSIGNED-PAYLOAD")] {
                let mut request = site.object("PUT", "k").body(random(1, length));
                if let Some(payload) = payload {
                    request.set("x-amz-content-sha256", payload);
                }
                // The sending half is closed: an answer may still come.
                if let Ok(answer) = request.clone().sign().send_answer(part).await {
                    answer.expect_error(400, "IncompleteBody");
                }
                // The connection is cut.
                drop(request.sign().begin(part).await.expect("a connection"));
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    expect_unchanged(&site).await;
}

#[tokio::test]
async fn a_part_that_ends_early_is_no_part() {
    let site = site().await;
    let upload = crate::uploads::begin(&site, "k").await;
    let request = site.object("PUT", "k").query("partNumber", "1").query("uploadId", &upload).body(random(1, 300_000));
    drop(request.sign().begin(200_000).await.expect("a connection"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let listed = site.object("GET", "k").query("uploadId", &upload).send().await.expect(200);
    assert_eq!(listed.all("PartNumber").len(), 0);
}

#[tokio::test]
async fn a_body_has_a_length_and_a_limit() {
    let site = site().await;
    site.put("k", "before").await;
    let too_long = site.object("PUT", "k").header("content-length", "5368709121").sign();
    too_long.send().await.expect_error(400, "EntityTooLarge");
    let unknown = site.object("PUT", "k").header("transfer-encoding", "chunked").body("5\r\nafter\r\n0\r\n\r\n");
    let unknown = unknown.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    unknown.send().await.expect_error(411, "MissingContentLength");
    let none = site.object("PUT", "k").header("content-length", "rubbish").sign();
    assert_eq!(none.send_part(0).await.expect("an answer").status, 400);
    expect_unchanged(&site).await;
}

/// Whoever is refused while still sending can read why.
#[tokio::test]
async fn a_refusal_in_the_middle_can_be_read() {
    let site = site().await;
    let body = random(1, 12 << 20);
    let mut request = site.object("PUT", "k").body(body.clone());
    request.signer.secret += "x";
    request.send().await.expect_error(403, "SignatureDoesNotMatch");
    let nowhere = site.at("PUT", "/no-such-bucket-here/k").body(body).send().await;
    nowhere.expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let site = site().await;
    site.object("PUT", "k").header("expect", "100-continue").body("x").send().await.expect(200);
    let refused = site.at("PUT", "/no-such-bucket-here/k").header("expect", "100-continue").body("x").send().await;
    refused.expect_error(404, "NoSuchBucket");
}

/// Clients that do not know their length frame twice: aws-chunked within
/// HTTP's own chunks.
#[tokio::test]
async fn framing_within_framing_is_taken_off() {
    let site = site().await;
    for length in [0, 10, 200_000] {
        let body = random(1, length);
        let mut request = site.object("PUT", "k").body(body.clone()).chunk(&SIGNED);
        request.set("transfer-encoding", "chunked");
        let framed: Vec<u8> = request
            .body
            .chunks(30_000)
            .flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
            .collect();
        request.body = [&framed[..], b"0\r\n\r\n"].concat();
        request.send().await.expect(200);
        assert!(site.get("k").await == body, "{length}");
    }
}
