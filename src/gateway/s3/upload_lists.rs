//! ListParts and ListMultipartUploads.

use http::StatusCode;

use super::failure::Failure;
use super::list::located;
use super::names::Encoding;
use super::read::part_marker;
use super::reply::Reply;
use super::request::Request;
use super::xml::writer::{Writer, document};
use super::{Gateway, checksums, dates};
use crate::objects::{ListUploads, PartInfo, UploadInfo, UploadPage};
use crate::types::UploadId;

pub(super) async fn parts(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let (address, upload) = (request.address()?, request.upload()?);
    let limit = request.page_size("max-parts")?;
    let after = part_marker(request.query.get("part-number-marker").unwrap_or_default())?;
    let page = gateway.objects.list_parts(&address, upload, after, limit).await?;
    let document = document("ListPartsResult", |xml| {
        xml.leaf("Bucket", &address.bucket);
        xml.echo("Key", address.key.as_str());
        xml.leaf("UploadId", upload);
        gateway.write_owners(xml, page.storage_class.as_deref());
        xml.leaf("PartNumberMarker", after);
        xml.leaf("NextPartNumberMarker", page.parts.last().map_or(0, |part| part.number));
        xml.leaf("MaxParts", limit);
        xml.leaf("IsTruncated", page.truncated && limit > 0);
        checksums::write_kind(xml, page.checksum);
        for part in &page.parts {
            xml.element("Part", |xml| write_part(xml, part));
        }
    });
    Ok(Reply::xml(StatusCode::OK, document))
}

fn write_part(xml: &mut Writer, part: &PartInfo) {
    xml.leaf("PartNumber", part.number);
    xml.leaf("LastModified", dates::iso(part.modified));
    xml.leaf("ETag", format_args!("\"{}\"", part.etag));
    xml.leaf("Size", part.size_bytes);
    checksums::write_part(xml, part.checksum.as_ref());
}

pub(super) async fn uploads(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let encoding = Encoding::of(&request.query)?;
    let list = wanted(&request)?;
    let page = gateway.objects.list_uploads(&request.bucket()?, list.clone()).await?;
    let document = document("ListMultipartUploadsResult", |xml| {
        xml.leaf("Bucket", request.bucket.as_deref().unwrap_or_default());
        xml.leaf("KeyMarker", encoding.show(list.key_marker.as_deref().unwrap_or_default()));
        xml.leaf("UploadIdMarker", request.query.get("upload-id-marker").unwrap_or_default());
        write_next(xml, encoding, &list, &page);
        xml.leaf("Prefix", encoding.show(&list.prefix));
        xml.optional("Delimiter", list.delimiter.as_deref().map(|delimiter| encoding.show(delimiter)));
        xml.optional("EncodingType", encoding.name());
        xml.leaf("MaxUploads", list.max_uploads);
        for upload in &page.uploads {
            xml.element("Upload", |xml| write_upload(gateway, xml, encoding, upload));
        }
        for prefix in &page.common_prefixes {
            xml.element("CommonPrefixes", |xml| xml.leaf("Prefix", encoding.show(prefix)));
        }
    });
    Ok(located(gateway, document))
}

fn wanted(request: &Request) -> Result<ListUploads, Failure> {
    let key_marker = request.query.filled("key-marker").map(str::to_owned);
    // Without a key, S3 ignores the marker within the key.
    let upload_marker = request.query.filled("upload-id-marker").filter(|_| key_marker.is_some());
    Ok(ListUploads {
        prefix: request.query.get("prefix").unwrap_or_default().to_owned(),
        delimiter: request.query.filled("delimiter").map(str::to_owned),
        upload_marker: upload_marker.map(upload_id).transpose()?,
        key_marker,
        max_uploads: request.page_size("max-uploads")?,
    })
}

fn upload_id(text: &str) -> Result<UploadId, Failure> {
    text.parse().map_err(|_| Failure::argument("upload-id-marker", text, "Invalid uploadId marker"))
}

fn write_next(xml: &mut Writer, encoding: Encoding, list: &ListUploads, page: &UploadPage) {
    let next = page.next.as_ref().filter(|_| list.max_uploads > 0);
    if let Some((key, upload)) = next {
        xml.leaf("NextKeyMarker", encoding.show(key));
        xml.optional("NextUploadIdMarker", upload.as_ref());
    }
    xml.leaf("IsTruncated", next.is_some());
}

fn write_upload(gateway: &Gateway, xml: &mut Writer, encoding: Encoding, upload: &UploadInfo) {
    xml.leaf("Key", encoding.show(&upload.key));
    xml.leaf("UploadId", upload.upload);
    gateway.write_owners(xml, upload.storage_class.as_deref());
    xml.leaf("Initiated", dates::iso(upload.initiated));
    checksums::write_kind(xml, upload.checksum);
}

impl Gateway {
    fn write_owners(&self, xml: &mut Writer, storage_class: Option<&str>) {
        xml.element("Initiator", |xml| self.write_owner(xml));
        xml.element("Owner", |xml| self.write_owner(xml));
        xml.leaf("StorageClass", storage_class.unwrap_or("STANDARD"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_checked() {
        let of = |query: &str| {
            let request = Request::for_tests("GET", &format!("/bucket?uploads&{query}"), &[]);
            wanted(&request).map_err(|failure| failure.code().to_owned())
        };
        let id = "0123456789abcdef0123456789abcdef";
        let list = of(&format!("key-marker=k&upload-id-marker={id}&max-uploads=5")).unwrap();
        assert_eq!(list.upload_marker.map(|id| id.to_string()).as_deref(), Some(id));
        assert_eq!((list.key_marker.as_deref(), list.max_uploads), (Some("k"), 5));
        assert_eq!(of("upload-id-marker=rubbish").unwrap().upload_marker, None);
        assert_eq!(of("key-marker=k&upload-id-marker=rubbish").map(drop), Err("InvalidArgument".into()));
    }
}
