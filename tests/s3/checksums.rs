//! Checksums: declared, verified, kept, told.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};

use crate::kit::sign::Chunks;
use crate::kit::{Site, random, site, xml};
use crate::uploads::completion;

const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
const MIN: usize = 5 << 20;

fn raw(algorithm: &str, bytes: &[u8]) -> Vec<u8> {
    let crc = |kind, width: usize| crc_fast::checksum(kind, bytes).to_be_bytes()[8 - width..].to_vec();
    match algorithm {
        "CRC32" => crc(Crc32IsoHdlc, 4),
        "CRC32C" => crc(Crc32Iscsi, 4),
        "CRC64NVME" => crc(Crc64Nvme, 8),
        "SHA1" => digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec(),
        _ => digest(&SHA256, bytes).as_ref().to_vec(),
    }
}

fn checksum(algorithm: &str, bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(raw(algorithm, bytes))
}

fn header(algorithm: &str) -> String {
    format!("x-amz-checksum-{}", algorithm.to_lowercase())
}

fn element(algorithm: &str) -> String {
    format!("Checksum{algorithm}")
}

async fn check_told(site: &Site, key: &str, algorithm: &str, value: &str, kind: &str) {
    let plain = site.object("HEAD", key).send().await.expect(200);
    assert!(!plain.has_header(&header(algorithm)), "told without being asked: {plain:?}");
    for method in ["GET", "HEAD"] {
        let answer = site.object(method, key).header("x-amz-checksum-mode", "ENABLED").send().await.expect(200);
        assert_eq!(answer.header(&header(algorithm)), value, "{answer:?}");
        assert_eq!(answer.header("x-amz-checksum-type"), kind);
    }
    let attributes = site.object("GET", key).query("attributes", "").header("x-amz-object-attributes", "Checksum,ETag");
    let attributes = attributes.send().await.expect(200);
    assert_eq!((attributes.xml(&element(algorithm)), attributes.xml("ChecksumType")), (value.into(), kind.into()));
    let listed = site.at_bucket("GET").query("list-type", "2").query("prefix", key).send().await.expect(200);
    assert_eq!((listed.xml("ChecksumAlgorithm"), listed.xml("ChecksumType")), (algorithm.into(), kind.into()));
}

#[tokio::test]
async fn a_header_declares_it() {
    let site = site().await;
    for algorithm in ALGORITHMS {
        for body in [Vec::new(), random(1, 1000), random(2, 300_001)] {
            let value = checksum(algorithm, &body);
            let put = site.object("PUT", algorithm).header(&header(algorithm), &value).body(body.clone());
            let answer = put.send().await.expect(200);
            assert_eq!(answer.header(&header(algorithm)), value);
            check_told(&site, algorithm, algorithm, &value, "FULL_OBJECT").await;
            let wrong = checksum(algorithm, b"something else");
            let put = site.object("PUT", algorithm).header(&header(algorithm), &wrong).body([&body[..], b"!"].concat());
            put.send().await.expect_error(400, "BadDigest");
            assert!(site.get(algorithm).await == body);
        }
        let bad = site.object("PUT", "bad").header(&header(algorithm), "AAAA").body("x").send().await;
        bad.expect_error(400, "InvalidRequest");
    }
    assert!(!site.exists("bad").await);
}

#[tokio::test]
async fn a_trailer_declares_it() {
    let site = site().await;
    for algorithm in ALGORITHMS {
        for signed in [false, true] {
            for body in [Vec::new(), random(3, 1000), random(4, 200_001)] {
                let (value, name) = (checksum(algorithm, &body), header(algorithm));
                let put = |key: &str, value: &str| {
                    let chunks = Chunks { size: 65_536, signed, trailer: Some((&name, value)) };
                    site.object("PUT", key).body(body.clone()).chunk(&chunks).send()
                };
                let answer = put(algorithm, &value).await.expect(200);
                assert_eq!(answer.header(&name), value);
                assert!(site.get(algorithm).await == body);
                check_told(&site, algorithm, algorithm, &value, "FULL_OBJECT").await;
                put("bad", &checksum(algorithm, b"something else")).await.expect_error(400, "BadDigest");
                assert_eq!(put("bad", "AAAA").await.status, 400);
            }
        }
    }
    assert!(!site.exists("bad").await);
}

#[tokio::test]
async fn without_one_there_is_a_crc64nvme() {
    let site = site().await;
    let body = random(5, 70_000);
    site.put("k", body.clone()).await;
    check_told(&site, "k", "CRC64NVME", &checksum("CRC64NVME", &body), "FULL_OBJECT").await;
}

#[tokio::test]
async fn content_md5_is_verified() {
    use md5::Digest as _;
    let site = site().await;
    let md5 = |bytes: &[u8]| BASE64_STANDARD.encode(md5::Md5::digest(bytes));
    for size in [0, 10, 100_000] {
        let body = random(6, size);
        site.object("PUT", "k").header("content-md5", md5(&body)).body(body.clone()).send().await.expect(200);
        let wrong = site.object("PUT", "bad").header("content-md5", md5(b"else")).body(body).send().await;
        wrong.expect_error(400, "BadDigest");
    }
    site.object("PUT", "bad")
        .header("content-md5", "rubbish")
        .body("x")
        .send()
        .await
        .expect_error(400, "InvalidDigest");
    assert!(!site.exists("bad").await);
}

#[tokio::test]
async fn declarations_that_contradict_are_refused() {
    let site = site().await;
    let crc = checksum("CRC32", b"x");
    let two = site
        .object("PUT", "k")
        .header("x-amz-checksum-crc32", &crc)
        .header("x-amz-checksum-sha1", checksum("SHA1", b"x"));
    two.body("x").send().await.expect_error(400, "InvalidRequest");
    let other =
        site.object("PUT", "k").header("x-amz-checksum-crc32", &crc).header("x-amz-sdk-checksum-algorithm", "SHA256");
    other.body("x").send().await.expect_error(400, "InvalidRequest");
    let none = site.object("PUT", "k").header("x-amz-sdk-checksum-algorithm", "CRC32").body("x");
    none.send().await.expect_error(400, "InvalidRequest");
    let unknown = site.object("PUT", "k").header("x-amz-checksum-md5", "AAAA").body("x");
    unknown.send().await.expect_error(501, "NotImplemented");
    assert!(!site.exists("k").await);
}

/// A checksum of the parts' checksums, a dash, their number; or that of the
/// whole, which S3 computes from those of the parts.
#[tokio::test]
async fn uploads_have_checksums_of_both_kinds() {
    let site = site().await;
    let parts = [random(7, MIN), random(8, MIN + 77), random(9, 5)];
    let whole = parts.concat();
    for (algorithm, kind) in [
        ("CRC32", "COMPOSITE"),
        ("CRC32C", "COMPOSITE"),
        ("SHA1", "COMPOSITE"),
        ("SHA256", "COMPOSITE"),
        ("CRC32", "FULL_OBJECT"),
        ("CRC32C", "FULL_OBJECT"),
        ("CRC64NVME", "FULL_OBJECT"),
    ] {
        let key = format!("{algorithm}-{kind}");
        let digests: Vec<u8> = parts.iter().flat_map(|part| raw(algorithm, part)).collect();
        let expected = match kind {
            "COMPOSITE" => format!("{}-3", checksum(algorithm, &digests)),
            _ => checksum(algorithm, &whole),
        };
        let create = site.client.create_multipart_upload().bucket(&site.bucket).key(&key);
        let create =
            create.checksum_algorithm(ChecksumAlgorithm::from(algorithm)).checksum_type(ChecksumType::from(kind));
        let create = create.send().await.expect("an upload");
        let upload = create.upload_id().expect("an id");
        let mut done = Vec::new();
        for (number, part) in (1..).zip(&parts) {
            done.push((number, upload_part(&site, &key, upload, number, algorithm, part).await));
        }
        let wrong = format!("{}-3", checksum(algorithm, b"else"));
        let complete = |value: &str| {
            let parts: Vec<_> = done.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
            site.object("POST", &key)
                .query("uploadId", upload)
                .header(&header(algorithm), value)
                .header("x-amz-checksum-type", kind)
                .body(with_checksums(&completion(&parts), algorithm, &self::values(algorithm)))
        };
        let refused = complete(if kind == "COMPOSITE" { &wrong } else { &wrong[..wrong.len() - 2] }).send().await;
        refused.expect_error(400, "BadDigest");
        assert!(!site.exists(&key).await);
        let answer = complete(&expected).send().await.expect(200);
        assert_eq!((answer.xml(&element(algorithm)), answer.xml("ChecksumType")), (expected.clone(), kind.to_owned()));
        check_told(&site, &key, algorithm, &expected, kind).await;
        check_parts(&site, &key, algorithm).await;
    }
}

fn values(algorithm: &str) -> Vec<String> {
    let parts = [random(7, MIN), random(8, MIN + 77), random(9, 5)];
    parts.iter().map(|part| checksum(algorithm, part)).collect()
}

async fn upload_part(site: &Site, key: &str, upload: &str, number: u32, algorithm: &str, part: &[u8]) -> String {
    let request = || site.object("PUT", key).query("partNumber", &number.to_string()).query("uploadId", upload);
    let other = if algorithm == "SHA1" { "SHA256" } else { "SHA1" };
    let refused = request().header(&header(other), checksum(other, part)).body(part).send().await;
    refused.expect_error(400, "InvalidRequest");
    let answer = request().header(&header(algorithm), checksum(algorithm, part)).body(part).send().await.expect(200);
    assert_eq!(answer.header(&header(algorithm)), checksum(algorithm, part));
    answer.header("etag").to_owned()
}

/// Puts each part's checksum into a completion.
fn with_checksums(body: &str, algorithm: &str, values: &[String]) -> String {
    let mut values = values.iter();
    body.split_inclusive("</ETag>")
        .map(|piece| match piece.ends_with("</ETag>").then(|| values.next()).flatten() {
            Some(value) => format!("{piece}<Checksum{algorithm}>{value}</Checksum{algorithm}>"),
            None => piece.to_owned(),
        })
        .collect()
}

async fn check_parts(site: &Site, key: &str, algorithm: &str) {
    let request = site.object("GET", key).query("attributes", "");
    let request = request.header("x-amz-object-attributes", "ObjectParts, ObjectSize,StorageClass");
    let answer = request.send().await.expect(200);
    let text = answer.text();
    let parts: Vec<String> =
        xml::blocks(&text, "Part").iter().map(|part| xml::one(part, &element(algorithm))).collect();
    assert_eq!(parts, values(algorithm), "{answer:?}");
    assert_eq!((answer.xml("PartsCount"), answer.xml("ObjectSize")), ("3".into(), (2 * MIN + 82).to_string()));
    let page = site.object("GET", key).query("attributes", "").header("x-amz-object-attributes", "ObjectParts");
    let page = page.header("x-amz-max-parts", "1").header("x-amz-part-number-marker", "1").send().await.expect(200);
    assert_eq!((page.all("PartNumber"), page.xml("IsTruncated").as_str()), (vec!["2".to_owned()], "true"));
    assert_eq!(page.xml("NextPartNumberMarker"), "2");
}

#[tokio::test]
async fn kinds_that_do_not_exist_are_refused() {
    let site = site().await;
    for (algorithm, kind) in [("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")] {
        let create = site.object("POST", "k").query("uploads", "").header("x-amz-checksum-algorithm", algorithm);
        create.header("x-amz-checksum-type", kind).send().await.expect_error(400, "InvalidRequest");
    }
    let unknown = site.object("POST", "k").query("uploads", "").header("x-amz-checksum-algorithm", "MD4").send().await;
    unknown.expect_error(400, "InvalidRequest");
}

/// What SDKs do by themselves since 2025.
#[tokio::test]
async fn the_sdk_verifies_what_it_gets() {
    let site = site().await;
    let body = random(10, 100_000);
    for algorithm in ALGORITHMS {
        let put = site.client.put_object().bucket(&site.bucket).key(algorithm).body(body.clone().into());
        put.checksum_algorithm(ChecksumAlgorithm::from(algorithm)).send().await.expect("a put");
        let get = site.client.get_object().bucket(&site.bucket).key(algorithm).checksum_mode(ChecksumMode::Enabled);
        let got = get.send().await.expect("a get");
        assert!(got.body.collect().await.expect("a body that matches").into_bytes() == body);
    }
    let create =
        site.client.create_multipart_upload().bucket(&site.bucket).key("parts").send().await.expect("an upload");
    let upload = create.upload_id().expect("an id");
    let part = site.client.upload_part().bucket(&site.bucket).key("parts").upload_id(upload).part_number(1);
    let part = part.body(body.clone().into()).send().await.expect("a part");
    let part = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(part.e_tag().map(str::to_owned))
        .set_checksum_crc32(part.checksum_crc32().map(str::to_owned))
        .set_checksum_crc64_nvme(part.checksum_crc64_nvme().map(str::to_owned))
        .build();
    let done = site.client.complete_multipart_upload().bucket(&site.bucket).key("parts").upload_id(upload);
    done.multipart_upload(CompletedMultipartUpload::builder().parts(part).build()).send().await.expect("a completion");
    let got = site.client.get_object().bucket(&site.bucket).key("parts").checksum_mode(ChecksumMode::Enabled);
    assert!(got.send().await.expect("a get").body.collect().await.expect("a body").into_bytes() == body);
}
