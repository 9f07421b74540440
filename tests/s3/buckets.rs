//! Buckets: their names, their lives, where they are.

use aws_sdk_s3::error::ProvideErrorMetadata as _;

use crate::kit::site;

#[tokio::test]
async fn a_bucket_is_made_once_and_found() {
    let site = site().await;
    let name = site.free_name();
    let path = format!("/{name}");
    let made = site.at("PUT", &path).send().await.expect(200);
    assert_eq!(made.header("location"), path);
    site.at("PUT", &path).send().await.expect_error(409, "BucketAlreadyOwnedByYou");
    let head = site.at("HEAD", &path).send().await.expect(200);
    assert_eq!((head.header("x-amz-bucket-region"), head.body.len()), (site.access().region.as_str(), 0));
    let found = site.client.list_buckets().prefix(&name).send().await.expect("a list");
    assert!(found.buckets().iter().any(|bucket| bucket.name() == Some(&name) && bucket.creation_date().is_some()));
    site.at("DELETE", &path).send().await.expect(204);
    assert_eq!(site.at("HEAD", &path).send().await.expect(404).body, b"");
    site.at("DELETE", &path).send().await.expect_error(404, "NoSuchBucket");
    site.at("GET", &path).send().await.expect_error(404, "NoSuchBucket");
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
#[tokio::test]
async fn names_follow_the_rules() {
    let site = site().await;
    for name in [
        "ab",
        "Upper",
        "under_score",
        "-begins",
        "ends-",
        "two..dots",
        ".dot",
        "dot.",
        "192.168.5.4",
        "xn--name",
        "sthree-name",
        "amzn-s3-demo-name",
        "name-s3alias",
        "name--ol-s3",
        "sp%20ace",
        &"a".repeat(64),
    ] {
        site.at("PUT", &format!("/{name}")).send().await.expect_error(400, "InvalidBucketName");
    }
    for name in [site.free_name() + ".with.dots", site.free_name() + &"x".repeat(50), "0-9".to_owned()] {
        site.at("PUT", &format!("/{name}")).send().await.expect(200);
        site.at("DELETE", &format!("/{name}")).send().await.expect(204);
    }
}

#[tokio::test]
async fn only_an_empty_bucket_is_deleted() {
    let site = site().await;
    site.put("a", "1").await;
    site.at_bucket("DELETE").send().await.expect_error(409, "BucketNotEmpty");
    assert_eq!(site.get("a").await, b"1");
    site.object("DELETE", "a").send().await.expect(204);
    // An upload in progress is no object: S3 deletes the bucket with it.
    site.client.create_multipart_upload().bucket(&site.bucket).key("k").send().await.expect("an upload");
    site.at_bucket("DELETE").send().await.expect(204);
    site.object("GET", "a").send().await.expect_error(404, "NoSuchBucket");
    site.object("PUT", "a").body("x").send().await.expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn a_bucket_is_in_this_region() {
    let site = site().await;
    let answer = site.at_bucket("GET").query("location", "").send().await.expect(200);
    assert!(answer.text().contains("<LocationConstraint"), "{answer:?}");
    let constraint = |region: &str| {
        format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}\
             </LocationConstraint></CreateBucketConfiguration>"
        )
    };
    let path = format!("/{}", site.free_name());
    let elsewhere = site.at("PUT", &path).body(constraint("eu-west-3")).send().await;
    elsewhere.expect_error(400, "IllegalLocationConstraintException");
    site.at("PUT", &path).body("<CreateBucketConfiguration>").send().await.expect_error(400, "MalformedXML");
    site.at("HEAD", &path).send().await.expect(404);
    site.at("PUT", &path).body(constraint(&site.access().region.clone())).send().await.expect(200);
}

#[tokio::test]
async fn buckets_list_in_pages() {
    let site = site().await;
    let prefix = site.free_name();
    let mut names: Vec<String> = (0..5).map(|number| format!("{prefix}-{number}")).collect();
    for name in &names {
        site.client.create_bucket().bucket(name).send().await.expect("a bucket");
    }
    let mut pages = site.client.list_buckets().prefix(format!("{prefix}-")).max_buckets(2).into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.expect("a page");
        sizes.push(page.buckets().len());
        for bucket in page.buckets() {
            assert_eq!(bucket.name(), Some(names.remove(0).as_str()));
        }
    }
    assert_eq!((sizes, names.len()), (vec![2, 2, 1], 0));
    let bad = site.client.list_buckets().max_buckets(0).send().await.expect_err("no page is that small");
    assert_eq!(bad.code(), Some("InvalidArgument"));
}

#[tokio::test]
async fn settings_that_nobody_made_are_told_as_s3_does() {
    let site = site().await;
    for (setting, status, says) in [
        ("versioning", 200, "<VersioningConfiguration"),
        ("acl", 200, "FULL_CONTROL"),
        ("policy", 404, "NoSuchBucketPolicy"),
        ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
        ("cors", 404, "NoSuchCORSConfiguration"),
        ("tagging", 404, "NoSuchTagSet"),
        ("object-lock", 404, "ObjectLockConfigurationNotFoundError"),
    ] {
        let answer = site.at_bucket("GET").query(setting, "").send().await.expect(status);
        assert!(answer.text().contains(says), "{setting}: {answer:?}");
        let nowhere = site.at("GET", "/no-such-bucket-here").query(setting, "").send().await;
        nowhere.expect_error(404, "NoSuchBucket");
    }
}
