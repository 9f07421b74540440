//! ListObjectVersions of buckets without versioning: every object is the one
//! version `null` of its key.

use super::Gateway;
use super::failure::Failure;
use super::list::{Wanted, located, write_object};
use super::reply::Reply;
use super::request::Request;
use super::xml::writer::{Writer, document};
use crate::objects::ListPage;

pub(super) async fn list(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    let key_marker = request.query.get("key-marker").unwrap_or_default();
    let version_marker = version_marker(&request)?;
    let wanted = Wanted::of(&request, Some(key_marker.to_owned()))?;
    let page = gateway.objects.list(&request.bucket()?, wanted.list.clone()).await?;
    let document = document("ListVersionsResult", |xml| {
        wanted.write_head(xml, &request);
        xml.leaf("KeyMarker", wanted.show(key_marker));
        xml.leaf("VersionIdMarker", version_marker);
        write_next(xml, &wanted, &page);
        write_versions(gateway, xml, &wanted, &page);
        wanted.write_common_prefixes(xml, &page.common_prefixes);
    });
    Ok(located(gateway, document))
}

/// The marker can only be `null`, and only within a key: the list then goes on
/// after that key, as it does with the key alone.
fn version_marker(request: &Request) -> Result<&str, Failure> {
    const NAME: &str = "version-id-marker";
    match request.query.get(NAME) {
        None => Ok(""),
        Some("") => Err(Failure::argument(NAME, "", "A version-id marker cannot be empty.")),
        Some(marker) if request.query.filled("key-marker").is_none() => {
            let sentence = "A version-id marker cannot be specified without a key marker.";
            Err(Failure::argument(NAME, marker, sentence))
        }
        Some("null") => Ok("null"),
        Some(other) => Err(Failure::argument(NAME, other, "Invalid version id specified")),
    }
}

fn write_next(xml: &mut Writer, wanted: &Wanted, page: &ListPage) {
    let next = wanted.next(page);
    if let Some(next) = next {
        xml.leaf("NextKeyMarker", wanted.show(next));
        if page.objects.last().is_some_and(|object| object.key == next) {
            xml.leaf("NextVersionIdMarker", "null");
        }
    }
    xml.leaf("IsTruncated", next.is_some());
}

fn write_versions(gateway: &Gateway, xml: &mut Writer, wanted: &Wanted, page: &ListPage) {
    for object in &page.objects {
        xml.element("Version", |xml| {
            xml.leaf("Key", wanted.show(&object.key));
            xml.leaf("VersionId", "null");
            xml.leaf("IsLatest", true);
            write_object(xml, object);
            xml.element("Owner", |xml| gateway.write_owner(xml));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_version_marker_is_null() {
        let of = |query: &str| {
            let request = Request::for_tests("GET", &format!("/bucket?versions&{query}"), &[]);
            version_marker(&request).map(str::to_owned).map_err(|failure| failure.code().to_owned())
        };
        assert_eq!(of("key-marker=k"), Ok(String::new()));
        assert_eq!(of("key-marker=k&version-id-marker=null"), Ok("null".into()));
        for bad in ["version-id-marker=null", "key-marker=k&version-id-marker=x", "key-marker=k&version-id-marker="] {
            assert_eq!(of(bad), Err("InvalidArgument".into()), "{bad}");
        }
    }
}
