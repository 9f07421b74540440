//! Request bodies: streams of objects, and small XML documents.

use aws_lc_rs::digest as sha;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use md5::{Digest, Md5};
use s3s::S3ErrorCode;

use super::checksums::{self, Declared};
use super::failure::{Failure, body_error};
use super::request::Request;
use super::xml::reader::{Element, parse};
use crate::digest::{Algorithm, Checksum};
use crate::objects::{Incoming, ObjectError};

/// Bytes of an XML body, at most: 10,000 parts with checksums fit well.
const XML_BYTES_MAX: usize = 8 << 20;

/// The body of a PUT with all that is declared about it. S3 wants to know the
/// length beforehand.
pub(super) fn incoming(request: &mut Request, default: Option<Algorithm>) -> Result<Incoming, Failure> {
    let declared = checksums::declared(request)?;
    Ok(Incoming {
        length: Some(length(request)?),
        md5: checksums::content_md5(&request.headers)?,
        algorithm: declared.algorithm.or(default),
        checksum: declared.checksum,
        trailing: declared.trailing,
        stream: Box::pin(std::mem::take(&mut request.body)),
    })
}

/// The length without framing, where the upload is framed.
fn length(request: &Request) -> Result<u64, Failure> {
    let text = request.header("x-amz-decoded-content-length").or_else(|| request.header("content-length"));
    let text = text.ok_or_else(|| {
        Failure::new(S3ErrorCode::MissingContentLength, "You must provide the Content-Length HTTP header.")
    })?;
    text.parse().map_err(|_| Failure::invalid_request(format!("The declared length \"{text}\" is not a number.")))
}

/// A body as XML, verified against what was declared. None if it is empty.
pub(super) async fn xml(request: &mut Request) -> Result<Option<Element>, Failure> {
    let declared = checksums::declared(request)?;
    read_xml(request, declared).await
}

/// The same of a completion, whose checksum header speaks of the object and
/// not of the body.
pub(super) async fn completion(request: &mut Request) -> Result<Option<Element>, Failure> {
    read_xml(request, Declared::default()).await
}

async fn read_xml(request: &mut Request, declared: Declared) -> Result<Option<Element>, Failure> {
    let md5 = checksums::content_md5(&request.headers)?;
    let limited = Limited::new(std::mem::take(&mut request.body), XML_BYTES_MAX);
    let collected = limited.collect().await;
    let bytes = collected
        .map_err(|error| if error.is::<LengthLimitError>() { too_long() } else { body_error(&*error) })?
        .to_bytes();
    if md5.is_some_and(|md5| md5 != Md5::digest(&bytes)[..]) {
        return Err(ObjectError::BadDigest.into());
    }
    let trailing = declared.trailing.as_ref().and_then(|trailing| trailing.get());
    for checksum in declared.checksum.iter().chain(trailing) {
        verify(checksum, &bytes)?;
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    parse(&bytes).map(Some).map_err(|_| Failure::malformed_xml())
}

fn too_long() -> Failure {
    Failure::new(S3ErrorCode::MaxMessageLengthExceeded, "Your request was too big.")
        .detail("MaxMessageLengthBytes", XML_BYTES_MAX.to_string())
}

fn verify(checksum: &Checksum, bytes: &[u8]) -> Result<(), Failure> {
    if digest(checksum.algorithm, bytes) == checksum.value {
        return Ok(());
    }
    Err(ObjectError::BadChecksum(checksum.algorithm.name()).into())
}

fn digest(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    let crc = |variant, width: usize| crc_fast::checksum(variant, bytes).to_be_bytes()[8 - width..].to_vec();
    match algorithm {
        Algorithm::Crc32 => crc(Crc32IsoHdlc, 4),
        Algorithm::Crc32c => crc(Crc32Iscsi, 4),
        Algorithm::Crc64Nvme => crc(Crc64Nvme, 8),
        Algorithm::Sha1 => sha::digest(&sha::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec(),
        Algorithm::Sha256 => sha::digest(&sha::SHA256, bytes).as_ref().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::Body;

    fn request(body: impl Into<Body>, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::for_tests("POST", "/b?delete", headers);
        request.body = body.into();
        request
    }

    async fn read(text: &str, headers: &[(&'static str, &'static str)]) -> Result<Option<Element>, String> {
        xml(&mut request(text.to_owned(), headers)).await.map_err(|failure| failure.code().to_owned())
    }

    #[tokio::test]
    async fn xml_bodies_are_verified() {
        assert_eq!(
            read("<A/>", &[("content-md5", "JKAJzlCv7/7oY1PaK0ki/A==")]).await.map(drop),
            Err("BadDigest".into())
        );
        assert_eq!(read("<A/>", &[("x-amz-checksum-crc32", "AAAAAA==")]).await.map(drop), Err("BadDigest".into()));
        assert_eq!(read("<A/>", &[]).await.unwrap().unwrap().name, "A");
        assert_eq!(read(" ", &[]).await, Ok(None));
        assert_eq!(read("<A>", &[]).await, Err("MalformedXML".into()));
    }

    /// The check values of the catalogue of CRCs, and of FIPS 180.
    #[test]
    fn digests_are_the_right_ones() {
        let hex = |algorithm, bytes: &[u8]| -> String {
            digest(algorithm, bytes).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(hex(Algorithm::Crc32, b"123456789"), "cbf43926");
        assert_eq!(hex(Algorithm::Crc32c, b"123456789"), "e3069283");
        assert_eq!(hex(Algorithm::Crc64Nvme, b"123456789"), "ae8b14860a799888");
        assert_eq!(hex(Algorithm::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(hex(Algorithm::Sha256, b"abc").starts_with("ba7816bf8f01cfea"));
    }

    #[tokio::test]
    async fn a_long_body_is_refused() {
        let chunks =
            (0..9).map(|_| Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(vec![b' '; 1 << 20]))));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(chunks));
        let failure = xml(&mut request(Body::http_body_unsync(body), &[])).await.unwrap_err();
        assert_eq!(failure.code(), "MaxMessageLengthExceeded");
    }

    #[test]
    fn uploads_declare_their_length() {
        let length = |headers| length(&request(Body::empty(), headers)).map_err(|failure| failure.code().to_owned());
        assert_eq!(length(&[("content-length", "7")]), Ok(7));
        assert_eq!(length(&[("content-length", "90"), ("x-amz-decoded-content-length", "7")]), Ok(7));
        assert_eq!(length(&[]), Err("MissingContentLength".into()));
        assert_eq!(length(&[("content-length", "-7")]), Err("InvalidRequest".into()));
    }
}
