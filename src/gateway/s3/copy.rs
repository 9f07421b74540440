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
use crate::objects::{Address, Copy, CopyHeaders, CopyPart, ObjectError, ObjectHeaders};

pub(super) async fn object(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let (source, destination) = (copy_source::of(&request)?, request.address()?);
    check_tagging(&request)?;
    let headers = copied(replaces_metadata(&request)?, headers::of_request(&request.headers)?);
    if source == destination && headers == CopyHeaders::Source(ObjectHeaders::default()) {
        return Err(Failure::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let copy = Copy {
        headers,
        source_condition: conditions::of_source(&request),
        algorithm: checksums::algorithm(&request)?,
        condition: conditions::of_write(&request)?,
        source,
        destination,
    };
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

/// The headers of a copy. Those that belong to a place come from the request
/// alone.
fn copied(replaces: bool, given: ObjectHeaders) -> CopyHeaders {
    match replaces {
        true => CopyHeaders::New(given),
        false => CopyHeaders::Source(ObjectHeaders(
            given.0.into_iter().filter(|(name, _)| ObjectHeaders::is_of_place(name)).collect(),
        )),
    }
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
        let given = headers::of_request(&request(&given).headers).unwrap();
        let of_place = ObjectHeaders(vec![("x-amz-storage-class".to_owned(), b"STANDARD_IA".to_vec())]);
        assert_eq!(copied(false, given.clone()), CopyHeaders::Source(of_place));
        assert_eq!(copied(true, given.clone()), CopyHeaders::New(given));
    }
}
