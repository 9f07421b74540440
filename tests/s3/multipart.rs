//! Objects that come in parts.

use crate::kit::{Request, Site, random, site, xml};
use crate::uploads::{begin, completion, part};

const MIN: usize = 5 << 20;

fn complete(site: &Site, key: &str, upload: &str, parts: &[(u32, &str)]) -> Request {
    site.object("POST", key).query("uploadId", upload).body(completion(parts))
}

/// MD5 of the parts' MD5s, a dash, the number of parts.
fn multipart_etag(parts: &[&[u8]]) -> String {
    use md5::{Digest as _, Md5};
    let digests: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
    format!("\"{}-{}\"", crate::support::data::hex(&Md5::digest(digests)), parts.len())
}

#[tokio::test]
async fn parts_of_unequal_size_become_an_object() {
    let site = site().await;
    let parts = [random(1, MIN + 1), random(2, 2 * MIN), random(3, MIN), random(4, 1)];
    let etag = crate::uploads::upload(&site, "k", &[1, 2, 300, 10_000], &parts).await;
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    assert_eq!(etag, multipart_etag(&slices));
    let got = site.object("GET", "k").send().await.expect(200);
    assert!(got.body == parts.concat());
    assert_eq!(got.header("etag"), etag);
    assert_eq!(site.content().await["k"], etag);
}

#[tokio::test]
async fn an_upload_keeps_its_headers_and_shows_nothing_before_its_end() {
    let site = site().await;
    let create =
        site.object("POST", "k").query("uploads", "").header("content-type", "a/b").header("x-amz-meta-a", "1");
    let created = create.send().await.expect(200);
    assert_eq!((created.xml("Bucket"), created.xml("Key")), (site.bucket.clone(), "k".into()));
    let upload = created.xml("UploadId");
    let etag = part(&site, "k", &upload, 1, b"small").await;
    assert!(!site.exists("k").await && site.content().await.is_empty());
    let done = complete(&site, "k", &upload, &[(1, &etag)]).send().await.expect(200);
    assert_eq!(done.xml("ETag"), multipart_etag(&[b"small"]));
    assert!(done.xml("Location").ends_with(&format!("/{}/k", site.bucket)), "{done:?}");
    let head = site.object("HEAD", "k").send().await.expect(200);
    assert_eq!((head.header("content-type"), head.header("x-amz-meta-a")), ("a/b", "1"));
    // Who did not hear the answer asks again.
    let again = complete(&site, "k", &upload, &[(1, &etag)]).send().await.expect(200);
    assert_eq!(again.xml("ETag"), done.xml("ETag"));
    site.object("DELETE", "k").send().await.expect(204);
    complete(&site, "k", &upload, &[(1, &etag)]).send().await.expect_error(404, "NoSuchUpload");
}

#[tokio::test]
async fn a_part_is_replaced_and_one_may_be_left_out() {
    let site = site().await;
    let upload = begin(&site, "k").await;
    let (first, second) = (random(1, MIN), random(2, MIN));
    let old = part(&site, "k", &upload, 1, &first).await;
    let new = part(&site, "k", &upload, 1, &second).await;
    let left = part(&site, "k", &upload, 2, b"left out").await;
    let last = part(&site, "k", &upload, 3, b"last").await;
    complete(&site, "k", &upload, &[(1, &old), (3, &last)]).send().await.expect_error(400, "InvalidPart");
    assert!(!site.exists("k").await);
    complete(&site, "k", &upload, &[(1, &new), (3, &last)]).send().await.expect(200);
    assert!(site.get("k").await == [second.as_slice(), b"last"].concat());
    assert_ne!(left, last);
    site.object("GET", "k").query("uploadId", &upload).send().await.expect_error(404, "NoSuchUpload");
}

#[tokio::test]
async fn a_wrong_completion_changes_nothing() {
    let site = site().await;
    site.put("k", "before").await;
    let upload = begin(&site, "k").await;
    let one = part(&site, "k", &upload, 1, b"one").await;
    let two = part(&site, "k", &upload, 2, b"two").await;
    for (parts, code) in [
        (vec![(2, two.as_str()), (1, one.as_str())], "InvalidPartOrder"),
        (vec![(1, &one), (1, &one)], "InvalidPartOrder"),
        (vec![(1, &two)], "InvalidPart"),
        (vec![(1, &one), (7, &two)], "InvalidPart"),
        (vec![(1, "rubbish")], "InvalidPart"),
        (vec![(1, &one), (2, &two)], "EntityTooSmall"),
        (vec![], "MalformedXML"),
    ] {
        let answer = complete(&site, "k", &upload, &parts).send().await;
        answer.expect_error(400, code);
        if code == "EntityTooSmall" {
            assert_eq!((answer.xml("PartNumber"), answer.xml("ProposedSize")), ("1".into(), "3".into()));
        }
    }
    for body in ["", "<CompleteMultipartUpload>", "<Other/>", "rubbish"] {
        let request = site.object("POST", "k").query("uploadId", &upload).body(body);
        request.send().await.expect_error(400, "MalformedXML");
    }
    let wrong_size = complete(&site, "k", &upload, &[(1, &one)]).header("x-amz-mp-object-size", "4");
    wrong_size.send().await.expect_error(400, "InvalidRequest");
    complete(&site, "other", &upload, &[(1, &one)]).send().await.expect_error(404, "NoSuchUpload");
    assert_eq!(site.get("k").await, b"before");
    complete(&site, "k", &upload, &[(2, &two)]).send().await.expect(200);
    assert_eq!(site.get("k").await, b"two");
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let site = site().await;
    let upload = begin(&site, "k").await;
    let etag = part(&site, "k", &upload, 1, &random(1, 100_000)).await;
    site.object("DELETE", "k").query("uploadId", &upload).send().await.expect(204);
    complete(&site, "k", &upload, &[(1, &etag)]).send().await.expect_error(404, "NoSuchUpload");
    let late = site.object("PUT", "k").query("partNumber", "2").query("uploadId", &upload).body("x").send().await;
    late.expect_error(404, "NoSuchUpload");
    site.object("DELETE", "k").query("uploadId", &upload).send().await.expect_error(404, "NoSuchUpload");
    assert!(!site.exists("k").await);
    for id in ["rubbish", "00000000000000000000000000000000"] {
        site.object("GET", "k").query("uploadId", id).send().await.expect_error(404, "NoSuchUpload");
    }
}

#[tokio::test]
async fn part_numbers_are_from_1_to_10000() {
    let site = site().await;
    let upload = begin(&site, "k").await;
    for number in ["0", "10001", "-1", "x", ""] {
        let request = site.object("PUT", "k").query("partNumber", number).query("uploadId", &upload).body("x");
        request.send().await.expect_error(400, "InvalidArgument");
    }
    for missing in ["partNumber", "uploadId"] {
        let request = site.object("PUT", "k").query(missing, "1").body("x");
        assert_eq!(request.send().await.status, 400);
    }
    assert!(!site.exists("k").await);
}

#[tokio::test]
async fn parts_list_in_pages() {
    let site = site().await;
    let key = "odd \u{1}\r&key";
    let upload = begin(&site, key).await;
    let mut etags = Vec::new();
    for number in [1, 2, 5, 9, 10_000] {
        etags.push(part(&site, key, &upload, number, number.to_string().as_bytes()).await);
    }
    let list = |after: String, size: &str| {
        let request = site.object("GET", key).query("uploadId", &upload).query("max-parts", size);
        request.query("part-number-marker", &after).send()
    };
    let (mut numbers, mut seen, mut after) = (Vec::new(), Vec::new(), "0".to_owned());
    loop {
        let page = list(after, "2").await.expect(200);
        assert_eq!((page.xml("UploadId"), page.xml("MaxParts")), (upload.clone(), "2".into()));
        numbers.extend(page.all("PartNumber"));
        seen.extend(page.all("ETag"));
        after = page.xml("NextPartNumberMarker");
        if page.xml("IsTruncated") != "true" {
            break;
        }
    }
    assert_eq!((numbers, seen), (["1", "2", "5", "9", "10000"].map(String::from).to_vec(), etags));
    assert_eq!(list("10000".into(), "").await.expect(200).all("Part").len(), 0);
    list("0".into(), "x").await.expect_error(400, "InvalidArgument");
    list("-1".into(), "1").await.expect_error(400, "InvalidArgument");
}

/// Uploads as the model has them: by key, then by age.
#[tokio::test]
async fn uploads_list_in_pages() {
    let site = site().await;
    let keys = ["a", "a", "a", "b/1", "b/2", "c\u{1}", "c\u{1}d/x", "d é+", "d é+", "e/f/g"];
    let mut all = Vec::new();
    for key in keys {
        all.push((key.to_owned(), begin(&site, key).await));
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    for encoded in [false, true] {
        for size in [1, 2, 3, 1000] {
            assert_eq!(walk_uploads(&site, size, "", encoded).await.0, all, "by {size}");
        }
    }
    let (found, prefixes) = walk_uploads(&site, 1, "/", true).await;
    assert_eq!(prefixes, ["b/", "c\u{1}d/", "e/"]);
    let plain: Vec<_> = all.iter().filter(|(key, _)| !key.contains('/')).cloned().collect();
    assert_eq!(found, plain);
    let some = site.at_bucket("GET").query("uploads", "").query("prefix", "b/").send().await.expect(200);
    assert_eq!(some.all("Key"), ["b/1", "b/2"]);
    let none = site.at_bucket("GET").query("uploads", "").query("max-uploads", "0").send().await.expect(200);
    assert_eq!((none.all("Key").len(), none.xml("IsTruncated").as_str()), (0, "false"));
}

async fn walk_uploads(
    site: &Site,
    size: usize,
    delimiter: &str,
    encoded: bool,
) -> (Vec<(String, String)>, Vec<String>) {
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
    let (mut key, mut upload) = (String::new(), String::new());
    let decode = |text: String| if encoded { xml::url_decode(&text) } else { text };
    for _ in 0..100 {
        let mut request = site.at_bucket("GET").query("uploads", "").query("max-uploads", &size.to_string());
        for (name, value) in [("delimiter", delimiter), ("key-marker", &key), ("upload-id-marker", &upload)] {
            request = if value.is_empty() { request } else { request.query(name, value) };
        }
        request = if encoded { request.query("encoding-type", "url") } else { request };
        let page = request.send().await.expect(200);
        let text = page.text();
        for block in xml::blocks(&text, "Upload") {
            uploads.push((decode(xml::one(block, "Key")), xml::one(block, "UploadId")));
        }
        let common = xml::blocks(&text, "CommonPrefixes");
        prefixes.extend(common.into_iter().map(|block| decode(xml::one(block, "Prefix"))));
        if page.xml("IsTruncated") != "true" {
            return (uploads, prefixes);
        }
        (key, upload) = (decode(page.xml("NextKeyMarker")), page.xml("NextUploadIdMarker"));
    }
    panic!("the list of uploads does not end");
}

/// Each of many completions at once gives the one object; none half an object.
#[tokio::test]
async fn completions_at_once_agree() {
    let site = site().await;
    let upload = begin(&site, "k").await;
    let etag = part(&site, "k", &upload, 1, &random(1, 300_000)).await;
    let parts = [(1, etag.as_str())];
    let answers = futures_util::future::join_all((0..6).map(|_| complete(&site, "k", &upload, &parts).send())).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.xml("ETag"), answers[0].xml("ETag"));
    }
    assert!(site.get("k").await == random(1, 300_000));
}

#[tokio::test]
async fn an_upload_of_one_empty_part_is_an_empty_object() {
    let site = site().await;
    crate::uploads::upload(&site, "k", &[1], &[Vec::new()]).await;
    let got = site.object("GET", "k").send().await.expect(200);
    assert_eq!((got.body.len(), got.header("etag")), (0, multipart_etag(&[b""]).as_str()));
}

/// Whoever uploads the same part at the same time wins or loses as a whole.
#[tokio::test]
async fn one_part_is_uploaded_by_many() {
    let site = site().await;
    let upload = begin(&site, "k").await;
    let bodies: Vec<Vec<u8>> = (0..6).map(|seed| random(seed, 200_000)).collect();
    let etags = futures_util::future::join_all(bodies.iter().map(|body| part(&site, "k", &upload, 1, body))).await;
    let listed = site.object("GET", "k").query("uploadId", &upload).send().await.expect(200).all("ETag");
    assert_eq!(listed.len(), 1);
    let winner = etags.iter().position(|etag| *etag == listed[0]).expect("one of them");
    complete(&site, "k", &upload, &[(1, &listed[0])]).send().await.expect(200);
    assert!(site.get("k").await == bodies[winner]);
}
