//! CopyObject and UploadPartCopy.

use http::StatusCode;
use s3s::S3ErrorCode;

use super::failure::Failure;
use super::reply::Reply;
use super::request::Request;
use super::upload::part_address;
use super::write::write_error;
use super::xml::writer::document;
use super::{Gateway, checksums, conditions, copy_source, dates, headers, range};
use crate::objects::{Address, Copy, CopyPart, ETagMatch, Get, ObjectError, ObjectHeaders, ReadCondition};

pub(super) async fn object(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let (source, destination) = (copy_source::of(&request)?, request.address()?);
    let replaces = replaces_metadata(&request)?;
    check_tagging(&request)?;
    let placed = placed_headers(&headers::of_request(&request.headers)?);
    if source == destination && !replaces && placed.0.is_empty() {
        return Err(Failure::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let mut copy = Copy {
        headers: replaces.then(|| headers::of_request(&request.headers)).transpose()?,
        source_condition: conditions::of_source(&request),
        algorithm: checksums::algorithm(&request)?,
        condition: conditions::of_write(&request)?,
        source,
        destination,
    };
    if !replaces && !placed.0.is_empty() {
        keep_metadata(gateway, &mut copy, placed).await?;
    }
    let condition = copy.condition.clone();
    let stored = gateway.objects.copy(copy).await.map_err(|error| write_error(error, &condition))?;
    let document = document("CopyObjectResult", |xml| {
        xml.leaf("LastModified", dates::iso(stored.modified));
        xml.leaf("ETag", format_args!("\"{}\"", stored.etag));
        if let Some(checksum) = &stored.checksum {
            checksums::write(xml, checksum);
        }
    });
    Ok(Reply::xml(StatusCode::OK, document))
}

fn replaces_metadata(request: &Request) -> Result<bool, Failure> {
    const HEADER: &str = "x-amz-metadata-directive";
    match request.header(HEADER).as_deref() {
        None | Some("" | "COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(Failure::argument(HEADER, other, "Unknown metadata directive.")),
    }
}

/// No object has tags, so that copying and replacing them is the same.
fn check_tagging(request: &Request) -> Result<(), Failure> {
    const HEADER: &str = "x-amz-tagging-directive";
    match request.header(HEADER).as_deref() {
        None | Some("" | "COPY" | "REPLACE") => Ok(()),
        Some(other) => Err(Failure::argument(HEADER, other, "Unknown tagging directive.")),
    }
}

/// The headers that belong to a place rather than to the object: a copy never
/// takes them from its source.
fn placed_headers(headers: &ObjectHeaders) -> ObjectHeaders {
    ObjectHeaders(headers.0.iter().filter(|(name, _)| is_placed(name)).cloned().collect())
}

fn is_placed(name: &str) -> bool {
    name == headers::STORAGE_CLASS || name == headers::REDIRECT
}

/// The source's metadata together with headers of this request. What was seen
/// is what is copied: the source must still have the ETag it had.
async fn keep_metadata(gateway: &Gateway, copy: &mut Copy, placed: ObjectHeaders) -> Result<(), Failure> {
    let condition = ReadCondition::default();
    let get = Get { address: copy.source.clone(), range: None, part_number: None, condition };
    let info = gateway.objects.head(get).await?.info;
    let mut kept: Vec<_> = info.headers.0.into_iter().filter(|(name, _)| !is_placed(name)).collect();
    kept.extend(placed.0);
    copy.headers = Some(ObjectHeaders(kept));
    if copy.source_condition.if_match.is_none() {
        copy.source_condition.if_match = Some(ETagMatch::OneOf(vec![info.etag]));
    }
    Ok(())
}

pub(super) async fn part(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let copy = CopyPart {
        source: copy_source::of(&request)?,
        range: request.header("x-amz-copy-source-range").map(|text| range::of_copy(&text)).transpose()?,
        source_condition: conditions::of_source(&request),
        part: part_address(&request)?,
    };
    let source = copy.source.clone();
    let part = gateway.objects.copy_part(copy).await.map_err(|error| part_error(error, &request, &source))?;
    let document = document("CopyPartResult", |xml| {
        xml.leaf("LastModified", dates::iso(part.modified));
        xml.leaf("ETag", format_args!("\"{}\"", part.etag));
        checksums::write_part(xml, part.checksum.as_ref());
    });
    Ok(Reply::xml(StatusCode::OK, document))
}

/// A range beyond the source's end is a bad argument, for a copy.
fn part_error(error: ObjectError, request: &Request, source: &Address) -> Failure {
    match error {
        ObjectError::InvalidRange { size_bytes } => {
            let range = request.header("x-amz-copy-source-range").unwrap_or_default();
            let sentence = format!("Range specified is not valid for source object of size: {size_bytes}");
            Failure::argument("x-amz-copy-source-range", &range, sentence)
        }
        ObjectError::NoSuchKey => {
            Failure::new(S3ErrorCode::NoSuchKey, "The specified key does not exist.").detail("Key", source.key.as_str())
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> Request {
        Request::for_tests("PUT", "/bucket/k", headers)
    }

    #[test]
    fn directives_are_checked() {
        let of = |value| {
            replaces_metadata(&request(&[("x-amz-metadata-directive", value)])).map_err(|f| f.code().to_owned())
        };
        assert_eq!((of("COPY"), of("REPLACE")), (Ok(false), Ok(true)));
        assert_eq!(of("replace"), Err("InvalidArgument".into()));
        assert!(!replaces_metadata(&request(&[])).unwrap());
        assert!(check_tagging(&request(&[("x-amz-tagging-directive", "REPLACE")])).is_ok());
        assert!(check_tagging(&request(&[("x-amz-tagging-directive", "MOVE")])).is_err());
    }

    #[test]
    fn places_are_told_from_metadata() {
        let given = [("x-amz-storage-class", "STANDARD_IA"), ("content-type", "a/b"), ("x-amz-meta-a", "b")];
        let placed = placed_headers(&headers::of_request(&request(&given).headers).unwrap());
        assert_eq!(placed.0, [("x-amz-storage-class".to_owned(), b"STANDARD_IA".to_vec())]);
    }
}
