//! Tests of what replies to reads say.

use super::*;
use crate::digest::{Algorithm, Checksum, ChecksumKind};
use crate::objects::{ByteRange, ObjectHeaders, StoredChecksum};
use crate::types::UnixMillis;

fn found(range: Option<(u64, u64)>) -> Found {
    let checksum = Checksum { algorithm: Algorithm::Crc32, value: vec![0; 4] };
    let stored = StoredChecksum { checksum, kind: ChecksumKind::Composite, parts: Some(2) };
    let headers =
        [("expires", "0"), ("cache-control", "no-store"), ("x-amz-meta-a", "b"), ("x-amz-storage-class", "STANDARD")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let info = ObjectInfo {
        size_bytes: 10,
        etag: "abc-2".into(),
        modified: UnixMillis(784_111_777_123),
        headers: ObjectHeaders(headers.to_vec()),
        checksum: Some(stored),
        part_count: Some(2),
    };
    Found { info, range, part_checksum: None }
}

fn get(uri: &str, headers: &[(&'static str, &'static str)]) -> Request {
    Request::for_tests("GET", uri, headers)
}

fn shown<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn a_whole_object_shows_all_it_keeps() {
    let request = get("/b/k", &[("x-amz-checksum-mode", "ENABLED")]);
    let reply = found_reply(&request, &found(None)).unwrap();
    assert_eq!(reply.status, 200);
    for (name, value) in [
        ("etag", "\"abc-2\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("accept-ranges", "bytes"),
        ("content-length", "10"),
        ("content-type", "binary/octet-stream"),
        ("expires", "0"),
        ("x-amz-meta-a", "b"),
        ("x-amz-checksum-crc32", "AAAAAA==-2"),
        ("x-amz-checksum-type", "COMPOSITE"),
    ] {
        assert_eq!(shown(&reply, name), Some(value), "{name}");
    }
    for absent in ["content-range", "x-amz-storage-class", "x-amz-mp-parts-count"] {
        assert_eq!(shown(&reply, absent), None, "{absent}");
    }
}

#[test]
fn a_range_says_which_bytes_and_has_no_checksum() {
    let request = get("/b/k", &[("x-amz-checksum-mode", "ENABLED"), ("range", "bytes=3-5")]);
    let reply = found_reply(&request, &found(Some((3, 3)))).unwrap();
    assert_eq!(reply.status, 206);
    assert_eq!(shown(&reply, "content-range"), Some("bytes 3-5/10"));
    assert_eq!(shown(&reply, "content-length"), Some("3"));
    assert_eq!(shown(&reply, "x-amz-checksum-crc32"), None);
}

#[test]
fn a_part_has_a_checksum_of_its_own() {
    let request = get("/b/k?partNumber=2", &[("x-amz-checksum-mode", "enabled")]);
    let mut found = found(Some((5, 5)));
    found.part_checksum = Some(Checksum { algorithm: Algorithm::Crc32, value: vec![1; 4] });
    let reply = found_reply(&request, &found).unwrap();
    assert_eq!(reply.status, 206);
    assert_eq!(shown(&reply, "x-amz-checksum-crc32"), Some("AQEBAQ=="));
    assert_eq!(shown(&reply, "x-amz-mp-parts-count"), Some("2"));
}

#[test]
fn not_modified_repeats_little() {
    let error = ObjectError::NotModified(Box::new(found(None).info));
    let reply = not_found(error, &get("/b/k", &[])).unwrap();
    assert_eq!(reply.status, 304);
    assert_eq!(reply.body.bytes().unwrap().len(), 0);
    let mut names: Vec<_> = reply.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "etag", "expires", "last-modified"]);
}

#[test]
fn reads_are_understood() {
    let of = |uri: &str, headers: &[(&'static str, &'static str)]| {
        wanted(&get(uri, headers)).map_err(|failure| failure.code().to_owned())
    };
    assert_eq!(of("/bucket/k", &[("range", "bytes=1-2")]).unwrap().range, Some(ByteRange::Inclusive(1, 2)));
    assert_eq!(of("/bucket/k", &[("range", "bytes=1-2,4-5")]).unwrap().range, None);
    assert_eq!(of("/bucket/k?versionId=null&partNumber=3", &[]).unwrap().part_number, Some(3));
    assert_eq!(of("/bucket/k?versionId=x", &[]).unwrap_err(), "NoSuchVersion");
    assert_eq!(of("/bucket/k?partNumber=0", &[]).unwrap_err(), "InvalidArgument");
    assert_eq!(of("/bucket/k?partNumber=1", &[("range", "bytes=0-1")]).unwrap_err(), "InvalidRequest");
}

#[test]
fn attributes_have_to_be_named() {
    let of = |names| {
        let request = get("/bucket/k?attributes", &[("x-amz-object-attributes", names)]);
        wanted_attributes(&request).map_err(|failure| failure.code().to_owned())
    };
    assert_eq!(of("ETag, ObjectSize").unwrap(), ["ETag", "ObjectSize"]);
    assert_eq!(of("").unwrap_err(), "InvalidRequest");
    assert_eq!(of("ETag,Colour").unwrap_err(), "InvalidArgument");
}
