//! CopyObject and UploadPartCopy.

use crate::kit::sign::encode;
use crate::kit::{Request, Site, etag_of, random, site};
use crate::uploads::{begin, completion};

const MIN: usize = 5 << 20;

fn copy(site: &Site, from: &str, to: &str) -> Request {
    let source = format!("/{}/{}", site.bucket, encode(from.as_bytes(), true));
    site.object("PUT", to).header("x-amz-copy-source", source)
}

#[tokio::test]
async fn a_copy_is_the_same_object() {
    let site = site().await;
    for size in [0, 10, 16_384, 20_000, 700_000, 9 << 20] {
        let body = random(size as u64, size);
        let put =
            site.object("PUT", "from").header("content-type", "a/b").header("x-amz-meta-a", "1").body(body.clone());
        put.send().await.expect(200);
        let answer = copy(&site, "from", "to").send().await.expect(200);
        assert_eq!(answer.xml("ETag"), etag_of(&body));
        assert!(!answer.xml("LastModified").is_empty() && !answer.xml("ChecksumCRC64NVME").is_empty(), "{answer:?}");
        site.object("DELETE", "from").send().await.expect(204);
        let got = site.object("GET", "to").send().await.expect(200);
        assert!(got.body == body, "{size}");
        assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), ("a/b", "1"));
    }
}

#[tokio::test]
async fn keys_of_sources_are_exact() {
    let site = site().await;
    for key in ["a b", "a+b", "a%2Fb", "a?b", "é/日", "..", "a//b", "x?versionId=y", "\u{1}", "<&>"] {
        site.put(key, key.as_bytes()).await;
        copy(&site, key, "to").send().await.expect(200);
        assert_eq!(site.get("to").await, key.as_bytes());
    }
    let sdk = site.client.copy_object().bucket(&site.bucket).key("sdk").copy_source(format!("{}/a%20b", site.bucket));
    sdk.send().await.expect("a copy");
    assert_eq!(site.get("sdk").await, b"a b");
    for source in ["", "/", "no-slash", "/bucket/", "/UPPER/key", "/bucket/%FF"] {
        let request = site.object("PUT", "bad").header("x-amz-copy-source", source);
        request.send().await.expect_error(400, "InvalidArgument");
    }
    copy(&site, "none", "bad").send().await.expect_error(404, "NoSuchKey");
    let nowhere = site.object("PUT", "bad").header("x-amz-copy-source", "/no-such-bucket-here/k").send().await;
    nowhere.expect_error(404, "NoSuchBucket");
    assert!(!site.exists("bad").await);
}

#[tokio::test]
async fn a_copy_replaces_metadata_when_told_to() {
    let site = site().await;
    let put = site.object("PUT", "k").header("content-type", "a/b").header("x-amz-meta-a", "1");
    put.header("cache-control", "no-store").body("x").send().await.expect(200);
    let replace = copy(&site, "k", "to").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-b", "2");
    replace.send().await.expect(200);
    let head = site.object("HEAD", "to").send().await.expect(200);
    assert_eq!((head.header("x-amz-meta-b"), head.header("content-type")), ("2", "binary/octet-stream"));
    assert!(!head.has_header("x-amz-meta-a") && !head.has_header("cache-control"));
    // Without the directive, metadata of the request does not count.
    copy(&site, "k", "to").header("x-amz-meta-b", "3").header("content-type", "c/d").send().await.expect(200);
    let head = site.object("HEAD", "to").send().await.expect(200);
    assert_eq!((head.header("x-amz-meta-a"), head.header("content-type")), ("1", "a/b"));
    assert!(!head.has_header("x-amz-meta-b"));
    let odd = copy(&site, "k", "to").header("x-amz-metadata-directive", "MERGE").send().await;
    odd.expect_error(400, "InvalidArgument");
}

#[tokio::test]
async fn a_copy_onto_itself_must_change_something() {
    let site = site().await;
    site.object("PUT", "k").header("x-amz-meta-a", "1").body("x").send().await.expect(200);
    copy(&site, "k", "k").send().await.expect_error(400, "InvalidRequest");
    let replace = copy(&site, "k", "k").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-a", "2");
    replace.send().await.expect(200);
    assert_eq!(site.object("HEAD", "k").send().await.header("x-amz-meta-a"), "2");
    copy(&site, "k", "k").header("x-amz-storage-class", "STANDARD_IA").send().await.expect(200);
    let head = site.object("GET", "k").send().await.expect(200);
    assert_eq!((head.header("x-amz-meta-a"), head.header("x-amz-storage-class")), ("2", "STANDARD_IA"));
    assert_eq!(head.body, b"x");
}

/// Storage class and redirect belong to the place, not to the object.
#[tokio::test]
async fn what_belongs_to_the_place_stays_there() {
    let site = site().await;
    let put = site.object("PUT", "k").header("x-amz-storage-class", "STANDARD_IA").header("x-amz-meta-a", "1");
    put.header("x-amz-website-redirect-location", "/there").body("x").send().await.expect(200);
    copy(&site, "k", "plain").send().await.expect(200);
    let head = site.object("HEAD", "plain").send().await.expect(200);
    assert!(!head.has_header("x-amz-storage-class") && !head.has_header("x-amz-website-redirect-location"), "{head:?}");
    assert_eq!(head.header("x-amz-meta-a"), "1");
    let own = copy(&site, "k", "own").header("x-amz-website-redirect-location", "/own");
    own.header("x-amz-storage-class", "ONEZONE_IA").send().await.expect(200);
    let head = site.object("HEAD", "own").send().await.expect(200);
    assert_eq!(head.header("x-amz-website-redirect-location"), "/own");
    assert_eq!((head.header("x-amz-storage-class"), head.header("x-amz-meta-a")), ("ONEZONE_IA", "1"));
}

#[tokio::test]
async fn copies_are_conditional() {
    let site = site().await;
    let etag = site.put("k", "x").await;
    let (past, future) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Wed, 06 Nov 2097 08:49:37 GMT");
    for (name, value, passes) in [
        ("x-amz-copy-source-if-match", etag.as_str(), true),
        ("x-amz-copy-source-if-match", "\"other\"", false),
        ("x-amz-copy-source-if-none-match", &etag, false),
        ("x-amz-copy-source-if-none-match", "\"other\"", true),
        ("x-amz-copy-source-if-modified-since", past, true),
        ("x-amz-copy-source-if-unmodified-since", past, false),
        ("x-amz-copy-source-if-unmodified-since", future, true),
    ] {
        let answer = copy(&site, "k", "to").header(name, value).send().await;
        match passes {
            true => drop(answer.expect(200)),
            false => answer.expect_error(412, "PreconditionFailed"),
        }
        assert_eq!(site.exists("to").await, passes, "{name}: {value}");
        site.object("DELETE", "to").send().await.expect(204);
    }
    copy(&site, "k", "to").header("if-none-match", "*").send().await.expect(200);
    copy(&site, "k", "to").header("if-none-match", "*").send().await.expect_error(412, "PreconditionFailed");
    copy(&site, "k", "to").header("if-match", "\"other\"").send().await.expect_error(412, "PreconditionFailed");
    copy(&site, "k", "to").header("if-match", &etag).send().await.expect(200);
}

#[tokio::test]
async fn a_copy_may_get_another_checksum() {
    let site = site().await;
    site.put("k", "123456789").await;
    let answer = copy(&site, "k", "to").header("x-amz-checksum-algorithm", "CRC32").send().await.expect(200);
    assert_eq!(answer.xml("ChecksumCRC32"), "y/Q5Jg==");
    let head = site.object("HEAD", "to").header("x-amz-checksum-mode", "ENABLED").send().await.expect(200);
    assert_eq!((head.header("x-amz-checksum-crc32"), head.header("x-amz-checksum-crc64nvme")), ("y/Q5Jg==", ""));
}

#[tokio::test]
async fn objects_of_parts_are_copied_across_buckets() {
    let site = site().await;
    let parts = [random(1, MIN), random(2, MIN + 100_001), random(3, 1000)];
    let etag = crate::uploads::upload(&site, "k", &[1, 2, 3], &parts).await;
    let other = site.new_bucket().await;
    let path = format!("/{other}/copy");
    let copied =
        site.at("PUT", &path).header("x-amz-copy-source", format!("/{}/k", site.bucket)).send().await.expect(200);
    assert_eq!(copied.xml("ETag"), etag);
    site.object("DELETE", "k").send().await.expect(204);
    let got = site.at("GET", &path).send().await.expect(200);
    assert!(got.body == parts.concat() && got.header("etag") == etag);
    let second = site.at("GET", &path).query("partNumber", "2").send().await.expect(206);
    assert!(second.body == parts[1]);
}

/// A copy is of one version, whatever happens to the source meanwhile.
#[tokio::test]
async fn the_source_is_overwritten_while_it_is_copied() {
    let site = site().await;
    let versions: Vec<Vec<u8>> = (0..6).map(|seed| random(100 + seed, 300_000)).collect();
    site.put("from", versions[0].clone()).await;
    let writer = async {
        for version in &versions {
            site.put("from", version.clone()).await;
        }
    };
    let copier = async {
        for number in 0..12 {
            let answer = copy(&site, "from", &format!("to-{number}")).send().await.expect(200);
            let got = site.get(&format!("to-{number}")).await;
            assert!(versions.contains(&got) && etag_of(&got) == answer.xml("ETag"));
        }
    };
    tokio::join!(writer, copier);
    site.object("DELETE", "from").send().await.expect(204);
    for number in 0..12 {
        assert!(versions.contains(&site.get(&format!("to-{number}")).await));
    }
}

#[tokio::test]
async fn parts_are_copied_whole_and_in_ranges() {
    let site = site().await;
    let source = random(4, 3 * MIN);
    site.put("from", source.clone()).await;
    let pieces = [random(5, MIN), random(6, MIN + 50_000)];
    crate::uploads::upload(&site, "parts", &[1, 2], &pieces).await;
    let upload = begin(&site, "k").await;
    let part = |number: u32, from: &str, range: Option<String>| {
        let request = copy(&site, from, "k").query("partNumber", &number.to_string()).query("uploadId", &upload);
        range.into_iter().fold(request, |request, range| request.header("x-amz-copy-source-range", range)).send()
    };
    let range = |first: usize, last: usize| Some(format!("bytes={first}-{last}"));
    let ranges = [
        part(1, "from", None).await.expect(200),
        part(2, "from", range(65_535, 65_535 + MIN)).await.expect(200),
        part(3, "parts", range(MIN - 100, 2 * MIN)).await.expect(200),
        part(4, "from", range(0, 0)).await.expect(200),
    ];
    let expected = [&source[..], &source[65_535..=65_535 + MIN], &pieces.concat()[MIN - 100..=2 * MIN], &source[..1]];
    for bad in ["bytes=0-", "bytes=-5", "0-5", "bytes=5-2", "bytes=0-1,3-4", "bytes=0-99999999"] {
        part(5, "from", Some(bad.to_owned())).await.expect_error(400, "InvalidArgument");
    }
    part(5, "none", None).await.expect_error(404, "NoSuchKey");
    let etags: Vec<String> = ranges.iter().map(|answer| answer.xml("ETag")).collect();
    let listed = site.object("GET", "k").query("uploadId", &upload).send().await.expect(200);
    assert_eq!(listed.all("ETag"), etags);
    // The source may go before the end.
    site.object("DELETE", "from").send().await.expect(204);
    site.object("DELETE", "parts").send().await.expect(204);
    let parts: Vec<_> = (1..).zip(etags.iter().map(String::as_str)).collect();
    let complete = site.object("POST", "k").query("uploadId", &upload).body(completion(&parts));
    complete.send().await.expect(200);
    assert!(site.get("k").await == expected.concat());
}

#[tokio::test]
async fn a_copied_part_of_a_checked_upload_has_its_checksum() {
    let site = site().await;
    let source = random(7, 2 * MIN);
    site.put("from", source.clone()).await;
    let create = site.object("POST", "k").query("uploads", "").header("x-amz-checksum-algorithm", "CRC32");
    let upload = create.send().await.expect(200).xml("UploadId");
    let request = copy(&site, "from", "k").query("partNumber", "1").query("uploadId", &upload);
    let answer = request.header("x-amz-copy-source-range", format!("bytes=3-{MIN}")).send().await.expect(200);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &source[3..=MIN]) as u32;
    use base64::Engine as _;
    let value = base64::prelude::BASE64_STANDARD.encode(crc.to_be_bytes());
    assert_eq!(answer.xml("ChecksumCRC32"), value);
    assert_eq!(answer.xml("ETag"), etag_of(&source[3..=MIN]));
}

#[tokio::test]
async fn copied_parts_are_conditional_and_may_come_from_the_object_itself() {
    let site = site().await;
    let body = random(8, MIN);
    let etag = site.put("k", body.clone()).await;
    let upload = begin(&site, "k").await;
    let part = |number: &str| copy(&site, "k", "k").query("partNumber", number).query("uploadId", &upload);
    let refused = part("1").header("x-amz-copy-source-if-match", "\"other\"").send().await;
    refused.expect_error(412, "PreconditionFailed");
    let refused = part("1").header("x-amz-copy-source-if-none-match", &etag).send().await;
    refused.expect_error(412, "PreconditionFailed");
    let one = part("1").header("x-amz-copy-source-if-match", &etag).send().await.expect(200).xml("ETag");
    let two = crate::uploads::part(&site, "k", &upload, 2, b" and more").await;
    let complete = site.object("POST", "k").query("uploadId", &upload).body(completion(&[(1, &one), (2, &two)]));
    complete.send().await.expect(200);
    assert!(site.get("k").await == [&body[..], b" and more"].concat());
}
