//! ListObjects of both versions, against a model.

use std::collections::BTreeSet;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::kit::{Answer, Site, site, xml};

/// What a list shows: keys and common prefixes in S3's order.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let (mut plain, mut rolled) = (Vec::new(), BTreeSet::new());
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let cut = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
        match cut {
            Some(at) => {
                let common = &key[..prefix.len() + at + delimiter.len()];
                if common > after {
                    rolled.insert(common.to_owned());
                }
            }
            None if key.as_str() > after => plain.push(key.clone()),
            None => {}
        }
    }
    (plain, rolled.into_iter().collect())
}

/// One page, everything in it decoded.
struct Page {
    keys: Vec<String>,
    prefixes: Vec<String>,
    next: Option<String>,
}

fn read(answer: &Answer, encoded: bool, next: &str) -> Page {
    let text = answer.text();
    let decode = |text: String| if encoded { xml::url_decode(&text) } else { text };
    let prefixes = xml::blocks(&text, "CommonPrefixes").into_iter().map(|block| decode(xml::one(block, "Prefix")));
    let (keys, prefixes): (Vec<_>, Vec<_>) =
        (xml::all(&text, "Key").into_iter().map(decode).collect(), prefixes.collect());
    let truncated = answer.xml("IsTruncated") == "true";
    let next = Some(answer.xml(next)).filter(|next| !next.is_empty());
    assert!(truncated || next.is_none(), "{answer:?}");
    if let Some(count) = answer.all("KeyCount").first() {
        assert_eq!(count, &(keys.len() + prefixes.len()).to_string());
    }
    Page { keys, prefixes, next: next.filter(|_| truncated) }
}

/// All pages of a list: what it showed, nothing twice, every page full.
async fn walk(
    site: &Site,
    version: u8,
    prefix: &str,
    delimiter: &str,
    size: usize,
    encoded: bool,
) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes, mut from) = (Vec::new(), Vec::new(), None::<String>);
    for _ in 0..1000 {
        let mut request = site.at_bucket("GET").query("max-keys", &size.to_string());
        for (name, value) in [("prefix", prefix), ("delimiter", delimiter)] {
            request = if value.is_empty() { request } else { request.query(name, value) };
        }
        request = if encoded { request.query("encoding-type", "url") } else { request };
        request = if version == 2 { request.query("list-type", "2") } else { request };
        if let Some(from) = &from {
            request = request.query(if version == 2 { "continuation-token" } else { "marker" }, from);
        }
        let answer = request.send().await.expect(200);
        let next = if version == 2 { "NextContinuationToken" } else { "NextMarker" };
        let page = read(&answer, encoded, next);
        let truncated = answer.xml("IsTruncated") == "true";
        assert!(page.keys.len() + page.prefixes.len() == size || !truncated, "a page is not full: {answer:?}");
        // Version 1 without a delimiter has no NextMarker: the last key serves.
        let last = page.keys.last().cloned();
        let marker = page.next.map(|next| if version == 1 && encoded { xml::url_decode(&next) } else { next });
        keys.extend(page.keys);
        prefixes.extend(page.prefixes);
        if !truncated {
            return (keys, prefixes);
        }
        from = marker.or(last);
        assert!(from.is_some(), "no way on: {answer:?}");
    }
    panic!("the list of {prefix:?} with {delimiter:?} does not end");
}

#[tokio::test]
async fn pages_show_everything_once() {
    let site = site().await;
    let mut dice = SmallRng::seed_from_u64(7);
    let alphabet = ["a", "b", "/", "//", "ab", "-", "é", "\u{1}", " ", "+", "%2F", "\u{10ffff}", "z"];
    let mut keys = BTreeSet::new();
    while keys.len() < 120 {
        let length = dice.random_range(1..7);
        keys.insert((0..length).map(|_| alphabet[dice.random_range(0..alphabet.len())]).collect::<String>());
    }
    for chunk in keys.iter().collect::<Vec<_>>().chunks(12) {
        futures_util::future::join_all(chunk.iter().map(|key| site.put(key, "x"))).await;
    }
    for (prefix, delimiter) in [
        ("", ""),
        ("", "/"),
        ("", "//"),
        ("", "ab"),
        ("a", "/"),
        ("a/", "/"),
        ("/", "/"),
        ("b", "é"),
        ("", "\u{1}"),
        ("é", ""),
        ("zz", "/"),
        ("", "\u{10ffff}"),
        ("a", "a"),
    ] {
        let expected = model(&keys, prefix, delimiter, "");
        for (version, size, encoded) in [(1, 1000, false), (2, 1, true), (1, 3, true), (2, 7, false), (1, 1, false)] {
            let found = walk(&site, version, prefix, delimiter, size, encoded).await;
            assert_eq!(found, expected, "v{version} {prefix:?} {delimiter:?} by {size}");
        }
    }
    for after in ["", "a", "a/", "ab", "é", "zzzzzz", "\u{10ffff}"] {
        let request = site.at_bucket("GET").query("list-type", "2").query("start-after", after);
        let page = read(&request.send().await.expect(200), false, "NextContinuationToken");
        assert_eq!((page.keys, page.prefixes), model(&keys, "", "", after), "after {after:?}");
    }
}

#[tokio::test]
async fn a_page_has_at_most_1000_entries() {
    let site = site().await;
    let keys: Vec<String> = (0..1005).map(|number| format!("{number:04}")).collect();
    for chunk in keys.chunks(40) {
        futures_util::future::join_all(chunk.iter().map(|key| site.put(key, ""))).await;
    }
    for (asked, given) in
        [(None, 1000), (Some("1000"), 1000), (Some("5000"), 1000), (Some("2147483647"), 1000), (Some("7"), 7)]
    {
        let request = site.at_bucket("GET").query("list-type", "2");
        let request = asked.into_iter().fold(request, |request, asked| request.query("max-keys", asked));
        let answer = request.send().await.expect(200);
        assert_eq!((answer.all("Key").len(), answer.xml("IsTruncated").as_str()), (given, "true"));
        assert_eq!(answer.xml("MaxKeys"), given.to_string());
    }
    let listed: Vec<String> = site.content().await.into_keys().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(listed, keys);
    // A thousand deletes in one request.
    let (first, rest) = keys.split_at(1000);
    let objects: String = first.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let delete = |objects: &str| crate::deletes::delete(&site, &format!("<Delete>{objects}</Delete>")).send();
    let answer = delete(&objects).await.expect(200);
    assert_eq!(answer.all("Key"), first);
    assert_eq!(site.content().await.len(), rest.len());
    delete(&(objects + "<Object><Key>more</Key></Object>")).await.expect_error(400, "MalformedXML");
}

#[tokio::test]
async fn no_keys_are_wanted_and_none_are_given() {
    let site = site().await;
    site.put("k", "").await;
    for version in ["1", "2"] {
        let answer = site.at_bucket("GET").query("list-type", version).query("max-keys", "0").send().await.expect(200);
        assert_eq!((answer.all("Key").len(), answer.xml("IsTruncated").as_str()), (0, "false"), "{answer:?}");
    }
}

#[tokio::test]
async fn an_entry_says_what_the_object_is() {
    let site = site().await;
    let etag = site.put("k", "hello").await;
    let list = |query: &[(&str, &str)]| {
        let mut request = site.at_bucket("GET");
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.send()
    };
    let first = list(&[]).await.expect(200);
    assert_eq!(
        (first.xml("ETag"), first.xml("Size"), first.xml("StorageClass")),
        (etag, "5".into(), "STANDARD".into())
    );
    assert_eq!((first.xml("Name"), first.xml("ChecksumAlgorithm")), (site.bucket.clone(), "CRC64NVME".into()));
    assert!(first.xml("LastModified").ends_with('Z') && !first.xml("ID").is_empty());
    let second = list(&[("list-type", "2")]).await.expect(200);
    assert!(!second.text().contains("<Owner>"));
    let owned = list(&[("list-type", "2"), ("fetch-owner", "true")]).await.expect(200);
    assert_eq!(owned.xml("ID"), first.xml("ID"));
    let echoed = list(&[
        ("list-type", "2"),
        ("prefix", "a b"),
        ("delimiter", "/"),
        ("start-after", "x+"),
        ("encoding-type", "url"),
    ]);
    let echoed = echoed.await.expect(200);
    assert_eq!(
        (echoed.xml("Prefix"), echoed.xml("Delimiter"), echoed.xml("StartAfter"), echoed.xml("EncodingType")),
        ("a+b".into(), "/".into(), "x%2B".into(), "url".into())
    );
}

#[tokio::test]
async fn questions_without_sense_are_refused() {
    let site = site().await;
    for (name, value) in [
        ("max-keys", "-1"),
        ("max-keys", "x"),
        ("max-keys", "2147483648"),
        ("encoding-type", "gzip"),
        ("list-type", "3"),
        ("continuation-token", "rubbish"),
    ] {
        let request = site.at_bucket("GET").query(name, value);
        let request = if name == "list-type" { request } else { request.query("list-type", "2") };
        request.send().await.expect_error(400, "InvalidArgument");
    }
}

#[tokio::test]
async fn the_sdk_pages_through_folders() {
    let site = site().await;
    for folder in 0..6 {
        for file in 0..5 {
            site.put(&format!("f{folder}/{file}"), "").await;
        }
    }
    let pages = site.client.list_objects_v2().bucket(&site.bucket).delimiter("/").max_keys(2);
    let mut pages = pages.into_paginator().send();
    let mut folders = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.expect("a page");
        assert_eq!((page.key_count(), page.contents().len()), (Some(2), 0));
        folders.extend(page.common_prefixes().iter().filter_map(|prefix| prefix.prefix().map(str::to_owned)));
    }
    assert_eq!(folders, (0..6).map(|folder| format!("f{folder}/")).collect::<Vec<_>>());
    let nowhere = site.client.list_objects_v2().bucket("no-such-bucket-here").send().await.expect_err("no bucket");
    assert_eq!(nowhere.code(), Some("NoSuchBucket"));
}

#[tokio::test]
async fn a_token_goes_before_start_after_and_is_repeated() {
    let site = site().await;
    for key in ["a", "b", "c", "d"] {
        site.put(key, "").await;
    }
    let list = || site.at_bucket("GET").query("list-type", "2").query("max-keys", "2").query("start-after", "a");
    let first = list().send().await.expect(200);
    assert_eq!(first.all("Key"), ["b", "c"]);
    let token = first.xml("NextContinuationToken");
    let second = list().query("continuation-token", &token).send().await.expect(200);
    assert_eq!((second.all("Key"), second.xml("ContinuationToken")), (vec!["d".to_owned()], token));
    let first = site.at_bucket("GET").query("marker", "b").send().await.expect(200);
    assert_eq!((first.all("Key"), first.xml("Marker")), (vec!["c".to_owned(), "d".to_owned()], "b".to_owned()));
}
