//! GetObject, HeadObject and GetObjectAttributes.

use futures_util::{StreamExt, TryStreamExt};
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::{Body, S3ErrorCode};

use super::failure::Failure;
use super::reply::Reply;
use super::request::{Request, page_size};
use super::xml::writer::{Writer, document};
use super::{Gateway, checksums, conditions, dates, headers, range};
use crate::objects::{ByteStream, Found, Get, ObjectError, ObjectInfo, PartInfo, ReadCondition};

pub(super) async fn get(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    match gateway.objects.get(wanted(&request)?).await {
        Ok((found, stream)) => {
            let mut reply = found_reply(&request, &found)?;
            reply.body = body(stream);
            Ok(reply)
        }
        Err(error) => not_found(error, &request),
    }
}

pub(super) async fn head(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    match gateway.objects.head(wanted(&request)?).await {
        Ok(found) => found_reply(&request, &found),
        Err(error) => not_found(error, &request),
    }
}

fn wanted(request: &Request) -> Result<Get, Failure> {
    request.check_version()?;
    let range = request.header("range");
    let part_number = request.part_number()?;
    if range.is_some() && part_number.is_some() {
        return Err(Failure::invalid_request("Cannot specify both Range header and partNumber query parameter"));
    }
    Ok(Get {
        address: request.address()?,
        // If-Range asks for the whole object unless it is still the same: the
        // whole object is always a right answer.
        range: range.as_deref().filter(|_| request.header("if-range").is_none()).and_then(range::of_read),
        part_number,
        condition: conditions::of_read(request),
    })
}

/// What is said instead of the object: a 304 is a success of a kind.
fn not_found(error: ObjectError, request: &Request) -> Result<Reply, Failure> {
    match error {
        ObjectError::NotModified(info) => Ok(not_modified(&info)),
        ObjectError::InvalidRange { .. } => {
            let range = request.header("range").unwrap_or_default();
            Err(Failure::from(error).detail("RangeRequested", range))
        }
        ObjectError::InvalidPartNumber => {
            let number = request.query.get("partNumber").unwrap_or_default();
            Err(Failure::from(error).detail("PartNumberRequested", number))
        }
        error => Err(error.into()),
    }
}

/// A 304 repeats what a cache has to know (RFC 9110, 15.4.5).
fn not_modified(info: &ObjectInfo) -> Reply {
    const REPEATED: [&str; 2] = ["cache-control", "expires"];
    let mut reply = Reply::empty(StatusCode::NOT_MODIFIED);
    give_identity(&mut reply, info);
    for (name, value) in info.headers.0.iter().filter(|(name, _)| REPEATED.contains(&name.as_str())) {
        reply.set(name, value);
    }
    reply
}

fn give_identity(reply: &mut Reply, info: &ObjectInfo) {
    reply.set("etag", format!("\"{}\"", info.etag));
    reply.set("last-modified", dates::http(info.modified));
}

fn found_reply(request: &Request, found: &Found) -> Result<Reply, Failure> {
    let info = &found.info;
    let mut reply = Reply::empty(StatusCode::OK);
    headers::give(&mut reply, &info.headers);
    headers::replace(&mut reply, &request.query)?;
    give_identity(&mut reply, info);
    reply.set("accept-ranges", "bytes");
    let length = give_range(&mut reply, found);
    reply.set("content-length", length.to_string());
    if request.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED")) {
        give_checksum(&mut reply, found, request.query.has("partNumber"));
    }
    if let Some(count) = info.part_count.filter(|_| request.query.has("partNumber")) {
        reply.set("x-amz-mp-parts-count", count.to_string());
    }
    Ok(reply)
}

/// Says which bytes follow; how many there are. An empty part has no first
/// byte to name, and so comes as a whole.
fn give_range(reply: &mut Reply, found: &Found) -> u64 {
    let size_bytes = found.info.size_bytes;
    match found.range {
        None => size_bytes,
        Some((_, 0)) => 0,
        Some((first, length)) => {
            reply.status = StatusCode::PARTIAL_CONTENT;
            reply.set("content-range", format!("bytes {first}-{}/{size_bytes}", first + length - 1));
            length
        }
    }
}

/// A part has a checksum of its own, another range has none.
fn give_checksum(reply: &mut Reply, found: &Found, is_part: bool) {
    match (&found.part_checksum, &found.info.checksum) {
        (Some(part), stored) => {
            checksums::give_part(reply, part);
            if let Some(stored) = stored {
                reply.set("x-amz-checksum-type", stored.kind.name());
            }
        }
        (None, Some(stored)) if found.range.is_none() || (is_part && found.info.part_count.is_none()) => {
            checksums::give(reply, stored);
        }
        _ => {}
    }
}

fn body(stream: ByteStream) -> Body {
    let stream = stream.inspect_err(|error| tracing::error!(%error, "a read broke off after its reply had begun"));
    Body::http_body_unsync(StreamBody::new(stream.map(|item| item.map(Frame::data))))
}

const ATTRIBUTES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

pub(super) async fn attributes(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    request.check_version()?;
    let wanted = wanted_attributes(&request)?;
    let limit = request.header("x-amz-max-parts").map_or(Ok(1000), |text| page_size("max-parts", &text))?;
    let after = request.header("x-amz-part-number-marker").map_or(Ok(0), |text| part_marker(&text))?;
    let get = Get { address: request.address()?, range: None, part_number: None, condition: ReadCondition::default() };
    let (info, parts, more) = gateway.objects.attributes(get, after, limit).await?;
    let has = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let document = document("GetObjectAttributesResponse", |xml| {
        xml.optional("ETag", has("ETag").then_some(&info.etag));
        if let Some(checksum) = info.checksum.as_ref().filter(|_| has("Checksum")) {
            xml.element("Checksum", |xml| checksums::write(xml, checksum));
        }
        if let Some(count) = info.part_count.filter(|_| has("ObjectParts")) {
            xml.element("ObjectParts", |xml| write_parts(xml, count, &parts, after, limit, more));
        }
        xml.optional("StorageClass", has("StorageClass").then(|| storage_class(&info)));
        xml.optional("ObjectSize", has("ObjectSize").then_some(info.size_bytes));
    });
    let mut reply = Reply::xml(StatusCode::OK, document);
    reply.set("last-modified", dates::http(info.modified));
    Ok(reply)
}

fn wanted_attributes(request: &Request) -> Result<Vec<String>, Failure> {
    let header = request.header("x-amz-object-attributes").unwrap_or_default();
    let wanted: Vec<_> = header.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if wanted.is_empty() {
        let sentence = "The x-amz-object-attributes header specifying the attributes to be retrieved is either \
                        missing or empty";
        return Err(Failure::new(S3ErrorCode::InvalidRequest, sentence));
    }
    match wanted.iter().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
        None => Ok(wanted),
        Some(other) => Err(Failure::argument("x-amz-object-attributes", other, "Invalid attribute name specified.")),
    }
}

/// A part number after which a page begins.
pub(super) fn part_marker(text: &str) -> Result<u32, Failure> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse::<u32>().ok().filter(|&number| number <= 0x7fff_ffff).ok_or_else(|| {
        let sentence = "Argument part-number-marker must be an integer between 0 and 2147483647";
        Failure::argument("part-number-marker", text, sentence)
    })
}

fn write_parts(xml: &mut Writer, count: u32, parts: &[PartInfo], after: u32, limit: u32, more: bool) {
    xml.leaf("PartsCount", count);
    xml.leaf("PartNumberMarker", after);
    xml.leaf("NextPartNumberMarker", parts.last().map_or(0, |part| part.number));
    xml.leaf("MaxParts", limit);
    xml.leaf("IsTruncated", more && limit > 0);
    for part in parts {
        xml.element("Part", |xml| {
            xml.leaf("PartNumber", part.number);
            xml.leaf("Size", part.size_bytes);
            checksums::write_part(xml, part.checksum.as_ref());
        });
    }
}

fn storage_class(info: &ObjectInfo) -> String {
    let kept = info.headers.0.iter().find(|(name, _)| name == headers::STORAGE_CLASS);
    kept.map_or_else(|| "STANDARD".to_owned(), |(_, class)| String::from_utf8_lossy(class).into_owned())
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
