//! Bodies that are read whole before s3s sees them: the XML of a request.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use http::HeaderMap;
use http_body::Body;
use md5::{Digest, Md5};

use super::body::RequestBody;
use super::operation::Operation;
use super::refusal::Refusal;
use crate::digest::{Algorithm, Checksum};

/// Room for 10,000 parts with checksums, or 1,000 long keys, with white space.
pub(super) const XML_BYTES_MAX: u64 = 4 << 20;

/// Reads a body to its end.
pub(super) async fn read_whole(mut body: RequestBody) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| Refusal::from(&error))?;
        if let Ok(bytes) = frame.into_data() {
            whole.extend_from_slice(&bytes);
        }
    }
    Ok(whole.freeze())
}

/// Compares a request's XML with the digests that its headers and its trailer
/// declare, which s3s does not.
///
/// The checksum header of a completion is the object's, not the XML's.
pub(super) fn check_digests(
    operation: Operation,
    xml: &[u8],
    headers: &HeaderMap,
    trailing: Option<&Checksum>,
) -> Result<(), Refusal> {
    if let Some(declared) = headers.get("content-md5") {
        let declared = BASE64_STANDARD.decode(declared).ok().filter(|value| value.len() == 16);
        let declared = declared
            .ok_or_else(|| Refusal::new(400, "InvalidDigest", "The Content-MD5 you specified is not valid."))?;
        if Md5::digest(xml)[..] != declared[..] {
            return Err(Refusal::new(
                400,
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
    }
    let of_xml = operation != Operation::CompleteMultipartUpload;
    for algorithm in Algorithm::ALL.into_iter().filter(|_| of_xml) {
        let Some(declared) = headers.get(algorithm.header()) else { continue };
        let value = BASE64_STANDARD.decode(declared).ok().filter(|value| value.len() == algorithm.value_bytes());
        let value = value
            .ok_or_else(|| Refusal::invalid_request(format!("Value for {} header is invalid.", algorithm.header())))?;
        check(xml, &Checksum { algorithm, value })?;
    }
    trailing.map_or(Ok(()), |checksum| check(xml, checksum))
}

fn check(xml: &[u8], declared: &Checksum) -> Result<(), Refusal> {
    if compute(declared.algorithm, xml) == declared.value {
        return Ok(());
    }
    let name = declared.algorithm.name();
    let message = format!("The {name} you specified did not match the calculated checksum.");
    Err(Refusal::new(400, "BadDigest", message))
}

fn compute(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    let crc32 = |kind| (crc_fast::checksum(kind, bytes) as u32).to_be_bytes().to_vec();
    match algorithm {
        Algorithm::Crc32 => crc32(Crc32IsoHdlc),
        Algorithm::Crc32c => crc32(Crc32Iscsi),
        Algorithm::Crc64Nvme => crc_fast::checksum(Crc64Nvme, bytes).to_be_bytes().to_vec(),
        Algorithm::Sha1 => digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec(),
        Algorithm::Sha256 => digest(&SHA256, bytes).as_ref().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of "123456789", as catalogues of check sums list them.
    #[test]
    fn declared_digests_are_compared() {
        for (name, value) in [
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
            ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
            ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
        ] {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
            let check = |headers: &HeaderMap, xml| check_digests(Operation::DeleteObjects, xml, headers, None);
            assert!(check(&headers, b"123456789").is_ok(), "{name}");
            assert_eq!(check(&headers, b"12345678").unwrap_err().code, "BadDigest", "{name}");
            let completion = check_digests(Operation::CompleteMultipartUpload, b"12345678", &headers, None);
            assert_eq!(completion.is_err(), name == "content-md5", "{name}");
            let broken = HeaderMap::from_iter([(http::HeaderName::from_static(name), "AAAA".parse().unwrap())]);
            assert_eq!(check(&broken, b"123456789").unwrap_err().status, 400, "{name}");
        }
    }
}
