//! Tests of what requests may declare about checksums.

use super::super::xml::reader::parse;
use super::super::xml::writer::document;
use super::*;

type Headers<'a> = &'a [(&'static str, &'static str)];

fn request(headers: Headers) -> Request {
    Request::for_tests("PUT", "/b/k", headers)
}

fn code(headers: Headers) -> String {
    declared(&request(headers)).map(drop).map_or_else(|failure| failure.code().to_owned(), |()| "fine".into())
}

#[test]
fn one_checksum_is_taken() {
    let found = declared(&request(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "crc32")]));
    let checksum = Checksum { algorithm: Algorithm::Crc32, value: vec![0; 4] };
    assert_eq!(found.unwrap().checksum, Some(checksum));
    assert!(declared(&request(&[])).unwrap().algorithm.is_none());
}

#[test]
fn contradictions_are_refused() {
    for headers in [
        &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")][..],
        &[("x-amz-checksum-crc32", "AAAAAA==="), ("content-type", "x")],
        &[("x-amz-checksum-crc32", "AAAA")],
        &[("x-amz-checksum-sha512", "AAAA")],
        &[("x-amz-sdk-checksum-algorithm", "CRC32")],
        &[("x-amz-sdk-checksum-algorithm", "CRC16"), ("x-amz-checksum-crc32", "AAAAAA==")],
        &[("x-amz-sdk-checksum-algorithm", "SHA1"), ("x-amz-checksum-crc32", "AAAAAA==")],
        &[("x-amz-trailer", "x-amz-checksum-crc32c"), ("x-amz-checksum-crc32", "AAAAAA==")],
        &[("x-amz-trailer", "x-amz-checksum-md5")],
        &[("x-amz-trailer", "x-amz-checksum-crc32c")],
    ] {
        assert_eq!(code(headers), "InvalidRequest", "{headers:?}");
    }
}

#[test]
fn a_trailer_is_found_where_the_front_left_it() {
    let mut request =
        request(&[("x-amz-trailer", "x-amz-checksum-crc32c"), ("x-amz-sdk-checksum-algorithm", "CRC32C")]);
    request.extensions.insert(TrailingChecksum::default());
    let found = declared(&request).unwrap();
    assert_eq!(found.algorithm, Some(Algorithm::Crc32c));
    assert!(found.trailing.is_some());
}

#[test]
fn md5_is_16_bytes_of_base64() {
    let of = |text| content_md5(&request(&[("content-md5", text)]).headers).map_err(|f| f.code().to_owned());
    assert_eq!(of("1B2M2Y8AsgTpgAmY7PhCfg==").unwrap().map(|value| value[0]), Some(0xd4));
    assert_eq!(of("1B2M2Y8AsgTpgAmY7PhC"), Err("InvalidDigest".into()));
    assert_eq!(of("no"), Err("InvalidDigest".into()));
}

#[test]
fn uploads_declare_what_can_be_computed() {
    let of = |algorithm, kind: Option<&'static str>| {
        let mut headers = vec![("x-amz-checksum-algorithm", algorithm)];
        headers.extend(kind.map(|kind| ("x-amz-checksum-type", kind)));
        of_upload(&request(&headers)).map_err(|failure| failure.code().to_owned())
    };
    assert_eq!(of("CRC32", None), Ok(Some((Algorithm::Crc32, ChecksumKind::Composite))));
    assert_eq!(of("CRC32", Some("FULL_OBJECT")), Ok(Some((Algorithm::Crc32, ChecksumKind::FullObject))));
    assert_eq!(of("CRC64NVME", None), Ok(Some((Algorithm::Crc64Nvme, ChecksumKind::FullObject))));
    for (algorithm, kind) in [
        ("CRC64NVME", "COMPOSITE"),
        ("SHA1", "FULL_OBJECT"),
        ("SHA256", "FULL_OBJECT"),
        ("CRC32", "HALF"),
        ("MD4", "COMPOSITE"),
    ] {
        assert_eq!(of(algorithm, Some(kind)), Err("InvalidRequest".into()), "{algorithm} {kind}");
    }
    assert!(of_upload(&request(&[("x-amz-checksum-type", "COMPOSITE")])).is_err());
    assert_eq!(of_upload(&request(&[])).unwrap(), None);
}

#[test]
fn composite_values_show_their_parts() {
    let checksum = Checksum { algorithm: Algorithm::Crc32, value: vec![0; 4] };
    let stored = |kind| StoredChecksum { checksum: checksum.clone(), kind, parts: Some(3) };
    let text = document("R", |xml| write(xml, &stored(ChecksumKind::Composite)));
    assert!(text.contains("<ChecksumCRC32>AAAAAA==-3</ChecksumCRC32><ChecksumType>COMPOSITE</ChecksumType>"), "{text}");
    let text = document("R", |xml| write(xml, &stored(ChecksumKind::FullObject)));
    assert!(text.contains("<ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>"), "{text}");
}

#[test]
fn completions_bring_checksums() {
    let part = parse(b"<Part><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C></Part>").unwrap();
    assert_eq!(of_part(&part).unwrap().unwrap().algorithm, Algorithm::Crc32c);
    assert!(of_part(&parse(b"<Part><ChecksumSHA1>AA==</ChecksumSHA1></Part>").unwrap()).is_err());
    let headers = request(&[("x-amz-checksum-crc32", "AAAAAA==-7")]).headers;
    assert_eq!(of_object_header(&headers).unwrap().unwrap().value, [0; 4]);
}
