//! CreateMultipartUpload, UploadPart and AbortMultipartUpload.

use http::StatusCode;

use super::failure::Failure;
use super::reply::Reply;
use super::request::{Request, part_number};
use super::xml::writer::document;
use super::{Gateway, body, checksums, headers};
use crate::objects::{CreateUpload, PartAddress};

pub(super) async fn create(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let create = CreateUpload {
        address: request.address()?,
        headers: headers::of_request(&request.headers)?,
        checksum: checksums::of_upload(&request)?,
    };
    let (address, checksum) = (create.address.clone(), create.checksum);
    let upload = gateway.objects.create_upload(create).await?;
    let document = document("InitiateMultipartUploadResult", |xml| {
        xml.leaf("Bucket", &address.bucket);
        xml.echo("Key", address.key.as_str());
        xml.leaf("UploadId", upload);
    });
    let mut reply = Reply::xml(StatusCode::OK, document);
    if let Some((algorithm, kind)) = checksum {
        reply.set("x-amz-checksum-algorithm", algorithm.name());
        reply.set("x-amz-checksum-type", kind.name());
    }
    Ok(reply)
}

/// Which part a request is about.
pub(super) fn part_address(request: &Request) -> Result<PartAddress, Failure> {
    let number = part_number(request.query.get("partNumber").unwrap_or_default())?;
    Ok(PartAddress { address: request.address()?, upload: request.upload()?, number })
}

/// A part that declares no checksum gets the one its upload has: there is no
/// default of the part's own.
pub(super) async fn part(gateway: &Gateway, mut request: Request) -> Result<Reply, Failure> {
    let address = part_address(&request)?;
    let incoming = body::incoming(&mut request, None)?;
    let part = gateway.objects.put_part(address, incoming).await?;
    let mut reply = Reply::empty(StatusCode::OK);
    reply.set("etag", format!("\"{}\"", part.etag));
    if let Some(checksum) = &part.checksum {
        checksums::give_part(&mut reply, checksum);
    }
    Ok(reply)
}

pub(super) async fn abort(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    gateway.objects.abort_upload(&request.address()?, request.upload()?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_upload_and_number() {
        let of = |query: &str| {
            let request = Request::for_tests("PUT", &format!("/bucket/k?{query}"), &[]);
            part_address(&request).map(|part| part.number).map_err(|failure| failure.code().to_owned())
        };
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(&format!("partNumber=7&uploadId={id}")), Ok(7));
        assert_eq!(of("partNumber=7&uploadId=what"), Err("NoSuchUpload".into()));
        assert_eq!(of("partNumber=7"), Err("NoSuchUpload".into()));
        assert_eq!(of(&format!("partNumber=0&uploadId={id}")), Err("InvalidArgument".into()));
        assert_eq!(of(&format!("uploadId={id}")), Err("InvalidArgument".into()));
    }
}
