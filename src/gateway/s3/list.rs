//! ListObjects, of both versions.

use http::StatusCode;

use super::failure::Failure;
use super::names::{self, Encoding};
use super::reply::Reply;
use super::request::Request;
use super::xml::writer::{Writer, document};
use super::{Gateway, checksums, dates};
use crate::objects::{List, ListPage, ListedObject};

/// What all lists of keys have in common.
pub(super) struct Wanted {
    pub(super) encoding: Encoding,
    pub(super) list: List,
}

impl Wanted {
    pub(super) fn of(request: &Request, after: Option<String>) -> Result<Self, Failure> {
        let list = List {
            prefix: request.query.get("prefix").unwrap_or_default().to_owned(),
            delimiter: request.query.filled("delimiter").map(str::to_owned),
            after: after.filter(|after| !after.is_empty()),
            max_keys: request.page_size("max-keys")?,
        };
        Ok(Self { encoding: Encoding::of(&request.query)?, list })
    }

    /// Name, prefix, delimiter, encoding and size of the page.
    pub(super) fn write_head(&self, xml: &mut Writer, request: &Request) {
        xml.leaf("Name", request.bucket.as_deref().unwrap_or_default());
        xml.leaf("Prefix", self.show(&self.list.prefix));
        xml.optional("Delimiter", self.list.delimiter.as_deref().map(|delimiter| self.show(delimiter)));
        xml.optional("EncodingType", self.encoding.name());
        xml.leaf("MaxKeys", self.list.max_keys);
    }

    pub(super) fn write_common_prefixes(&self, xml: &mut Writer, prefixes: &[String]) {
        for prefix in prefixes {
            xml.element("CommonPrefixes", |xml| xml.leaf("Prefix", self.show(prefix)));
        }
    }

    /// Where the next page begins. A page that was asked to be empty has none.
    pub(super) fn next<'a>(&self, page: &'a ListPage) -> Option<&'a str> {
        page.next.as_deref().filter(|_| self.list.max_keys > 0)
    }

    pub(super) fn show(&self, text: &str) -> String {
        self.encoding.show(text)
    }
}

pub(super) async fn version_1(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let marker = request.query.get("marker").unwrap_or_default();
    let wanted = Wanted::of(&request, Some(marker.to_owned()))?;
    let page = gateway.objects.list(&request.bucket()?, wanted.list.clone()).await?;
    let next = wanted.next(&page);
    let document = document("ListBucketResult", |xml| {
        wanted.write_head(xml, &request);
        xml.leaf("Marker", wanted.show(marker));
        // Without a delimiter, the last key is the next marker and S3 says no more.
        let shown = next.filter(|_| wanted.list.delimiter.is_some());
        xml.optional("NextMarker", shown.map(|next| wanted.show(next)));
        xml.leaf("IsTruncated", next.is_some());
        write_objects(gateway, xml, &wanted, &page.objects, true);
        wanted.write_common_prefixes(xml, &page.common_prefixes);
    });
    Ok(located(gateway, document))
}

pub(super) async fn version_2(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let (token, start_after) = (query.get("continuation-token"), query.filled("start-after"));
    let after = match token {
        Some(token) => Some(names::from_token(token)?),
        None => start_after.map(str::to_owned),
    };
    let wanted = Wanted::of(&request, after)?;
    let with_owner = query.get("fetch-owner").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let page = gateway.objects.list(&request.bucket()?, wanted.list.clone()).await?;
    let next = wanted.next(&page);
    let document = document("ListBucketResult", |xml| {
        wanted.write_head(xml, &request);
        xml.optional("ContinuationToken", token);
        xml.optional("NextContinuationToken", next.map(names::token));
        xml.optional("StartAfter", start_after.map(|start| wanted.show(start)));
        xml.leaf("KeyCount", page.objects.len() + page.common_prefixes.len());
        xml.leaf("IsTruncated", next.is_some());
        write_objects(gateway, xml, &wanted, &page.objects, with_owner);
        wanted.write_common_prefixes(xml, &page.common_prefixes);
    });
    Ok(located(gateway, document))
}

/// A list's reply, which says where the bucket is.
pub(super) fn located(gateway: &Gateway, document: String) -> Reply {
    let mut reply = Reply::xml(StatusCode::OK, document);
    reply.set("x-amz-bucket-region", &gateway.config.region);
    reply
}

fn write_objects(gateway: &Gateway, xml: &mut Writer, wanted: &Wanted, objects: &[ListedObject], with_owner: bool) {
    for object in objects {
        xml.element("Contents", |xml| {
            xml.leaf("Key", wanted.show(&object.key));
            write_object(xml, object);
            if with_owner {
                xml.element("Owner", |xml| gateway.write_owner(xml));
            }
        });
    }
}

/// What a list says of an object besides its key.
pub(super) fn write_object(xml: &mut Writer, object: &ListedObject) {
    xml.leaf("LastModified", dates::iso(object.modified));
    xml.leaf("ETag", format_args!("\"{}\"", object.etag));
    checksums::write_kind(xml, object.checksum);
    xml.leaf("Size", object.size_bytes);
    xml.leaf("StorageClass", object.storage_class.as_deref().unwrap_or("STANDARD"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algorithm, ChecksumKind};
    use crate::types::UnixMillis;

    fn wanted(query: &str) -> Result<Wanted, String> {
        let request = Request::for_tests("GET", &format!("/bucket?{query}"), &[]);
        Wanted::of(&request, None).map_err(|failure| failure.code().to_owned())
    }

    #[test]
    fn queries_become_lists() {
        let list = wanted("prefix=a%20b&delimiter=/&max-keys=3").unwrap().list;
        assert_eq!((list.prefix.as_str(), list.delimiter.as_deref(), list.max_keys), ("a b", Some("/"), 3));
        let list = wanted("delimiter=").unwrap().list;
        assert_eq!((list.delimiter, list.max_keys), (None, 1000));
        assert_eq!(wanted("encoding-type=gzip").map(drop), Err("InvalidArgument".into()));
        assert_eq!(wanted("max-keys=-1").map(drop), Err("InvalidArgument".into()));
    }

    #[test]
    fn an_empty_page_has_no_next() {
        let page = ListPage { next: Some("k".into()), ..ListPage::default() };
        assert_eq!(wanted("max-keys=0").unwrap().next(&page), None);
        assert_eq!(wanted("max-keys=1").unwrap().next(&page), Some("k"));
    }

    #[test]
    fn objects_are_shown_with_quotes_dates_and_checksums() {
        let object = ListedObject {
            key: "k".into(),
            size_bytes: 7,
            etag: "abc".into(),
            modified: UnixMillis(1),
            checksum: Some((Algorithm::Crc32, ChecksumKind::Composite)),
            storage_class: None,
        };
        let text = document("R", |xml| write_object(xml, &object));
        let wanted = "<LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>&quot;abc&quot;</ETag>\
                      <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>\
                      <Size>7</Size><StorageClass>STANDARD</StorageClass></R>";
        assert!(text.ends_with(wanted), "{text}");
    }
}
