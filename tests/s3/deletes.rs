//! DeleteObjects: many at once.

use crate::kit::{Request, Site, etag_of, site, xml};

/// A multi-object delete with the digest that S3 wants of it.
pub fn delete(site: &Site, xml: &str) -> Request {
    use base64::Engine as _;
    use md5::Digest as _;
    let md5 = base64::prelude::BASE64_STANDARD.encode(md5::Md5::digest(xml));
    site.at_bucket("POST").query("delete", "").header("content-md5", md5).body(xml)
}

fn objects(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", xml::escape(key))).collect()
}

#[tokio::test]
async fn odd_keys_are_deleted_exactly() {
    let site = site().await;
    let keys = ["a", " a", "a ", "a\r\nb", "\u{1}\u{1f}", "<&>\"'", "é", "../..", "//", "\u{ffff}", "a+b", "a%2Bb"];
    for key in keys {
        site.put(key, "x").await;
    }
    site.put("stays", "x").await;
    let answer = delete(&site, &format!("<Delete>{}</Delete>", objects(&keys))).send().await.expect(200);
    assert_eq!(answer.all("Key"), keys);
    assert_eq!(xml::blocks(&answer.text(), "Deleted").len(), keys.len());
    assert_eq!(site.content().await.into_keys().collect::<Vec<_>>(), ["stays"]);
}

#[tokio::test]
async fn what_is_not_there_counts_as_deleted() {
    let site = site().await;
    site.put("a", "x").await;
    let answer = delete(&site, &format!("<Delete>{}</Delete>", objects(&["a", "never", "a"]))).send().await.expect(200);
    assert_eq!((answer.all("Key").len(), answer.text().contains("<Error>")), (3, false));
}

#[tokio::test]
async fn a_quiet_delete_tells_only_what_failed() {
    let site = site().await;
    let etag = site.put("a", "x").await;
    site.put("b", "x").await;
    let long = "k".repeat(1025);
    let entries = format!(
        "<Delete><Quiet>true</Quiet><Object><Key>a</Key><ETag>{}</ETag></Object><Object><Key>b</Key><ETag>other</ETag></Object>\
         <Object><Key>{long}</Key></Object><Object><Key>b</Key><VersionId>v1</VersionId></Object></Delete>",
        xml::escape(&etag)
    );
    let answer = delete(&site, &entries).send().await.expect(200);
    assert_eq!(answer.all("Code"), ["PreconditionFailed", "KeyTooLongError", "NoSuchVersion"], "{answer:?}");
    assert_eq!(answer.all("Key"), ["b", long.as_str(), "b"]);
    assert!(!answer.text().contains("<Deleted>"));
    assert!(!site.exists("a").await && site.exists("b").await);
    assert_eq!(etag, etag_of(b"x"));
}

#[tokio::test]
async fn a_delete_that_is_not_understood_deletes_nothing() {
    let site = site().await;
    site.put("a", "x").await;
    let good = format!("<Delete>{}</Delete>", objects(&["a"]));
    for (body, code) in [
        ("<Delete><Object><Key>a</Key></Object>".to_owned(), "MalformedXML"),
        ("<Delete/>".to_owned(), "MalformedXML"),
        ("<Delete><Object><Key></Key></Object></Delete>".to_owned(), "MalformedXML"),
        (format!("<!DOCTYPE x [<!ENTITY e 'a'>]>{good}"), "MalformedXML"),
        (format!("<Delete>{}</Delete>", objects(&["a"]).repeat(1001)), "MalformedXML"),
    ] {
        delete(&site, &body).send().await.expect_error(400, code);
    }
    let mut tampered = delete(&site, &good);
    tampered.body = good.replace("<Key>a<", "<Key>b<").into_bytes();
    tampered.send().await.expect_error(400, "BadDigest");
    delete(&site, &good).header("x-amz-checksum-crc32", "AAAAAA==").send().await.expect_error(400, "BadDigest");
    // Without the sub-resource it is a form's upload, which has no such body.
    site.at_bucket("POST").body(good).send().await.expect_error(405, "MethodNotAllowed");
    assert!(site.exists("a").await);
}

#[tokio::test]
async fn the_sdk_deletes_many() {
    use aws_sdk_s3::types::{Delete, ObjectIdentifier};
    let site = site().await;
    let keys = ["a/b", "é", "c d"];
    for key in keys {
        site.put(key, "x").await;
    }
    let identifiers = keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build().expect("a key"));
    let delete = Delete::builder().set_objects(Some(identifiers.collect())).build().expect("keys");
    let answer = site.client.delete_objects().bucket(&site.bucket).delete(delete).send().await.expect("a delete");
    assert_eq!((answer.deleted().len(), answer.errors().len()), (3, 0));
    assert!(site.content().await.is_empty());
}
