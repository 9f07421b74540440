//! Checksums: declared by headers and trailers, shown in headers and XML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use s3s::S3ErrorCode;

use super::failure::Failure;
use super::reply::Reply;
use super::request::{Request, joined};
use super::xml::reader::Element;
use super::xml::writer::Writer;
use crate::digest::{Algorithm, Checksum, ChecksumKind};
use crate::objects::{StoredChecksum, TrailingChecksum};

const PREFIX: &str = "x-amz-checksum-";
/// Headers of that prefix which do not carry a value.
const NOT_VALUES: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"];

/// What a request declares about its body's checksum.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) algorithm: Option<Algorithm>,
    pub(super) checksum: Option<Checksum>,
    pub(super) trailing: Option<TrailingChecksum>,
}

/// Reads the declaration. At most one checksum may be declared, and an
/// algorithm that is named needs one.
pub(super) fn declared(request: &Request) -> Result<Declared, Failure> {
    let checksum = of_header(&request.headers)?;
    let trailer = trailer(&request.headers)?;
    if checksum.is_some() && trailer.is_some() {
        return Err(several());
    }
    let carried = checksum.as_ref().map(|checksum| checksum.algorithm).or(trailer);
    let named = named(request)?;
    match (named, carried) {
        (Some(_), None) => Err(Failure::invalid_request(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
             were found.",
        )),
        (Some(named), Some(carried)) if named != carried => Err(bad_value("x-amz-sdk-checksum-algorithm")),
        _ => {
            let trailing = trailer.map(|_| trailing(request)).transpose()?;
            Ok(Declared { algorithm: carried, checksum, trailing })
        }
    }
}

/// Where the layer in front puts the trailer; without such a place the trailer
/// could never be compared.
fn trailing(request: &Request) -> Result<TrailingChecksum, Failure> {
    let sentence = "x-amz-trailer names a checksum, but the body is not framed so that a trailer can follow it.";
    request.extensions.get::<TrailingChecksum>().cloned().ok_or_else(|| Failure::invalid_request(sentence))
}

fn named(request: &Request) -> Result<Option<Algorithm>, Failure> {
    const HEADER: &str = "x-amz-sdk-checksum-algorithm";
    let Some(name) = request.header(HEADER).filter(|name| !name.is_empty()) else { return Ok(None) };
    Algorithm::from_name(&name).map(Some).ok_or_else(|| bad_value(HEADER))
}

fn trailer(headers: &HeaderMap) -> Result<Option<Algorithm>, Failure> {
    let names = joined(headers, "x-amz-trailer").unwrap_or_default();
    let names = String::from_utf8_lossy(&names).to_ascii_lowercase();
    let mut found = names.split(',').map(str::trim).filter(|name| name.starts_with(PREFIX));
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => Algorithm::from_header(name).map(Some).ok_or_else(unknown_header),
        _ => Err(several()),
    }
}

/// The checksum in an `x-amz-checksum-*` header.
pub(super) fn of_header(headers: &HeaderMap) -> Result<Option<Checksum>, Failure> {
    value_header(headers)?.map(|(algorithm, text)| of_text(algorithm, &text)).transpose()
}

/// The same of a whole multipart object, where `-N` may follow.
pub(super) fn of_object_header(headers: &HeaderMap) -> Result<Option<Checksum>, Failure> {
    let found = value_header(headers)?;
    found.map(|(algorithm, text)| of_text(algorithm, text.split('-').next().unwrap_or_default())).transpose()
}

fn value_header(headers: &HeaderMap) -> Result<Option<(Algorithm, String)>, Failure> {
    let is_value = |name: &&str| name.starts_with(PREFIX) && !NOT_VALUES.contains(name);
    let mut names = headers.keys().map(|name| name.as_str()).filter(is_value);
    let Some(name) = names.next() else { return Ok(None) };
    if names.next().is_some() {
        return Err(several());
    }
    let algorithm = Algorithm::from_header(name).ok_or_else(unknown_header)?;
    let value = joined(headers, name).unwrap_or_default();
    Ok(Some((algorithm, String::from_utf8_lossy(&value).into_owned())))
}

fn of_text(algorithm: Algorithm, text: &str) -> Result<Checksum, Failure> {
    let value = STANDARD.decode(text).ok().filter(|value| value.len() == algorithm.value_bytes());
    let value = value.ok_or_else(|| bad_value(algorithm.header()))?;
    Ok(Checksum { algorithm, value })
}

fn several() -> Failure {
    Failure::invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

fn unknown_header() -> Failure {
    Failure::invalid_request("The algorithm type you specified in x-amz-checksum- header is invalid.")
}

fn bad_value(header: &str) -> Failure {
    Failure::invalid_request(format!("Value for {header} header is invalid."))
}

/// Content-MD5.
pub(super) fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Failure> {
    let Some(text) = joined(headers, "content-md5") else { return Ok(None) };
    let value = STANDARD.decode(text).ok().and_then(|value| value.try_into().ok());
    let refusal = || Failure::new(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid.");
    value.map(Some).ok_or_else(refusal)
}

/// `x-amz-checksum-algorithm`.
pub(super) fn algorithm(request: &Request) -> Result<Option<Algorithm>, Failure> {
    let Some(name) = request.header("x-amz-checksum-algorithm").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let sentence = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                    [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]";
    Algorithm::from_name(&name).map(Some).ok_or_else(|| Failure::invalid_request(sentence))
}

/// `x-amz-checksum-type`.
pub(super) fn kind(request: &Request) -> Result<Option<ChecksumKind>, Failure> {
    match request.header("x-amz-checksum-type").as_deref() {
        None => Ok(None),
        Some("FULL_OBJECT") => Ok(Some(ChecksumKind::FullObject)),
        Some("COMPOSITE") => Ok(Some(ChecksumKind::Composite)),
        Some(_) => Err(bad_value("x-amz-checksum-type")),
    }
}

/// The checksum that a multipart upload declares for itself.
pub(super) fn of_upload(request: &Request) -> Result<Option<(Algorithm, ChecksumKind)>, Failure> {
    let (algorithm, kind) = (algorithm(request)?, kind(request)?);
    match (algorithm, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(algorithm), None) => Ok(Some((algorithm, default_kind(algorithm)))),
        (Some(algorithm), Some(kind)) if is_possible(algorithm, kind) => Ok(Some((algorithm, kind))),
        (Some(algorithm), Some(kind)) => Err(Failure::invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name().to_ascii_lowercase()
        ))),
    }
}

fn default_kind(algorithm: Algorithm) -> ChecksumKind {
    match algorithm {
        Algorithm::Crc64Nvme => ChecksumKind::FullObject,
        _ => ChecksumKind::Composite,
    }
}

/// CRCs of parts can be combined into one of the whole, hashes cannot.
fn is_possible(algorithm: Algorithm, kind: ChecksumKind) -> bool {
    match algorithm {
        Algorithm::Crc32 | Algorithm::Crc32c => true,
        Algorithm::Crc64Nvme => kind == ChecksumKind::FullObject,
        Algorithm::Sha1 | Algorithm::Sha256 => kind == ChecksumKind::Composite,
    }
}

/// A value as S3 writes it.
fn text(checksum: &Checksum) -> String {
    STANDARD.encode(&checksum.value)
}

fn object_text(stored: &StoredChecksum) -> String {
    match stored.parts {
        Some(parts) if stored.kind == ChecksumKind::Composite => format!("{}-{parts}", text(&stored.checksum)),
        _ => text(&stored.checksum),
    }
}

/// Shows a stored checksum in headers.
pub(super) fn give(reply: &mut Reply, stored: &StoredChecksum) {
    reply.set(stored.checksum.algorithm.header(), object_text(stored));
    reply.set("x-amz-checksum-type", stored.kind.name());
}

/// Shows a part's checksum in its header.
pub(super) fn give_part(reply: &mut Reply, checksum: &Checksum) {
    reply.set(checksum.algorithm.header(), text(checksum));
}

/// Shows a stored checksum in XML.
pub(super) fn write(xml: &mut Writer, stored: &StoredChecksum) {
    xml.leaf(&element(stored.checksum.algorithm), object_text(stored));
    xml.leaf("ChecksumType", stored.kind.name());
}

/// Shows a part's checksum in XML.
pub(super) fn write_part(xml: &mut Writer, checksum: Option<&Checksum>) {
    if let Some(checksum) = checksum {
        xml.leaf(&element(checksum.algorithm), text(checksum));
    }
}

/// Shows which checksum something has, without the value.
pub(super) fn write_kind(xml: &mut Writer, checksum: Option<(Algorithm, ChecksumKind)>) {
    if let Some((algorithm, kind)) = checksum {
        xml.leaf("ChecksumAlgorithm", algorithm.name());
        xml.leaf("ChecksumType", kind.name());
    }
}

/// The checksum of a part in the body of a completion.
pub(super) fn of_part(part: &Element) -> Result<Option<Checksum>, Failure> {
    for algorithm in Algorithm::ALL {
        if let Some(text) = part.value(&element(algorithm)).filter(|text| !text.is_empty()) {
            return of_text(algorithm, text).map(Some);
        }
    }
    Ok(None)
}

fn element(algorithm: Algorithm) -> String {
    format!("Checksum{}", algorithm.name())
}

#[cfg(test)]
#[path = "checksums_tests.rs"]
mod tests;
