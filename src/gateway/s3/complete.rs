//! CompleteMultipartUpload.

use http::StatusCode;

use super::failure::Failure;
use super::reply::Reply;
use super::request::{Request, part_number};
use super::write::write_error;
use super::xml::reader::Element;
use super::xml::writer::document;
use super::{Gateway, body, checksums, conditions, names};
use crate::objects::{CompleteUpload, CompletedPart, ObjectError, WriteCondition};
use crate::types::limits::PART_NUMBER_MAX;

pub(super) async fn complete(gateway: &Gateway, mut request: Request) -> Result<Reply, Failure> {
    let (address, upload) = (request.address()?, request.upload()?);
    let checksum = checksums::of_object_header(&request.headers)?;
    let body = body::completion(&mut request).await?;
    let complete = CompleteUpload {
        parts: parts(&body.ok_or_else(Failure::malformed_xml)?)?,
        checksum,
        checksum_kind: checksums::kind(&request)?,
        size_bytes: size(&request)?,
        condition: conditions::of_write(&request)?,
        address: address.clone(),
        upload,
    };
    let (parts, condition) = (complete.parts.clone(), complete.condition.clone());
    let stored = gateway.objects.complete_upload(complete).await;
    let stored = stored.map_err(|error| complete_error(error, &parts, &condition, &upload.to_string()))?;
    let document = document("CompleteMultipartUploadResult", |xml| {
        xml.leaf("Location", format_args!("{}/{}", request.base_url, names::path_of(address.key.as_str())));
        xml.leaf("Bucket", &address.bucket);
        xml.echo("Key", address.key.as_str());
        xml.leaf("ETag", format_args!("\"{}\"", stored.etag));
        if let Some(checksum) = &stored.checksum {
            checksums::write(xml, checksum);
        }
    });
    Ok(Reply::xml(StatusCode::OK, document))
}

fn parts(body: &Element) -> Result<Vec<CompletedPart>, Failure> {
    let parts: Vec<_> = body.all("Part").map(part).collect::<Result<_, _>>()?;
    let is_possible = body.name == "CompleteMultipartUpload" && (1..=PART_NUMBER_MAX as usize).contains(&parts.len());
    is_possible.then_some(parts).ok_or_else(Failure::malformed_xml)
}

fn part(part: &Element) -> Result<CompletedPart, Failure> {
    let etag = part.value("ETag").ok_or_else(Failure::malformed_xml)?;
    Ok(CompletedPart {
        number: part_number(part.value("PartNumber").ok_or_else(Failure::malformed_xml)?)?,
        etag: etag.trim_matches('"').to_owned(),
        checksum: checksums::of_part(part)?,
    })
}

fn size(request: &Request) -> Result<Option<u64>, Failure> {
    const HEADER: &str = "x-amz-mp-object-size";
    let Some(text) = request.header(HEADER) else { return Ok(None) };
    let refusal = |_| Failure::invalid_request(format!("Value for {HEADER} header is invalid."));
    text.parse().map(Some).map_err(refusal)
}

/// Adds what the request said to an error about it.
fn complete_error(error: ObjectError, parts: &[CompletedPart], condition: &WriteCondition, upload: &str) -> Failure {
    match error {
        ObjectError::InvalidPart { number, .. } => {
            let named = parts.iter().find(|part| part.number == number);
            let failure = Failure::from(error).detail("UploadId", upload);
            named.map(|part| part.etag.clone()).into_iter().fold(failure, |failure, etag| failure.detail("ETag", etag))
        }
        ObjectError::NoSuchUpload => Failure::from(error).detail("UploadId", upload),
        error => write_error(error, condition),
    }
}

#[cfg(test)]
mod tests {
    use super::super::xml::reader::parse;
    use super::*;

    fn read(text: &str) -> Result<Vec<CompletedPart>, String> {
        parts(&parse(text.as_bytes()).unwrap()).map_err(|failure| failure.code().to_owned())
    }

    #[test]
    fn parts_are_read_with_or_without_quotes() {
        let parts = read(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>\
             <Part><ETag>b</ETag><PartNumber> 7 </PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32><New/></Part>\
             </CompleteMultipartUpload>",
        );
        let parts = parts.unwrap();
        assert_eq!((parts[0].number, parts[0].etag.as_str()), (1, "a"));
        assert_eq!((parts[1].number, parts[1].etag.as_str()), (7, "b"));
        assert!(parts[0].checksum.is_none() && parts[1].checksum.is_some());
    }

    #[test]
    fn others_are_refused() {
        for (text, code) in [
            ("<CompleteMultipartUpload/>", "MalformedXML"),
            ("<Else><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></Else>", "MalformedXML"),
            ("<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>", "MalformedXML"),
            (
                "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
                "MalformedXML",
            ),
            (
                "<CompleteMultipartUpload><Part><PartNumber>10001</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
                "InvalidArgument",
            ),
        ] {
            assert_eq!(read(text), Err(code.into()), "{text}");
        }
    }

    #[test]
    fn a_missing_part_is_named() {
        let parts = [CompletedPart { number: 2, etag: "abc".into(), checksum: None }];
        let error = ObjectError::InvalidPart { number: 2, reason: "never uploaded" };
        let reply = complete_error(error, &parts, &WriteCondition::default(), "u").into_reply();
        let text = String::from_utf8(reply.body.bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains("<PartNumber>2</PartNumber><UploadId>u</UploadId><ETag>abc</ETag>"), "{text}");
    }
}
