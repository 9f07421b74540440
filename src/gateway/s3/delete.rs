//! DeleteObject and DeleteObjects.

use http::StatusCode;
use s3s::S3ErrorCode;

use super::failure::Failure;
use super::reply::Reply;
use super::request::Request;
use super::xml::reader::Element;
use super::xml::writer::{Writer, document};
use super::{Gateway, body, conditions};
use crate::objects::Delete;
use crate::types::ObjectKey;
use crate::types::limits::LIST_KEYS_MAX;

pub(super) async fn one(gateway: &Gateway, request: Request) -> Result<Reply, Failure> {
    match request.query.get("versionId") {
        None | Some("null") => {}
        Some(id) => return Err(Failure::argument("versionId", id, "Invalid version id specified")),
    }
    let address = request.address()?;
    let delete = Delete { key: address.key, if_match: conditions::of_delete(&request)? };
    gateway.objects.delete(&address.bucket, delete).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// An entry of a multi-object delete.
struct Entry {
    key: String,
    version: Option<String>,
    delete: Result<Delete, Failure>,
}

pub(super) async fn many(gateway: &Gateway, mut request: Request) -> Result<Reply, Failure> {
    let bucket = request.bucket()?;
    let body = body::xml(&mut request).await?;
    let body = body.ok_or_else(|| Failure::new(S3ErrorCode::MissingRequestBodyError, "Request Body is empty"))?;
    let mut entries = entries(&body)?;
    let is_quiet = body.value("Quiet").is_some_and(|quiet| quiet.eq_ignore_ascii_case("true"));
    let possible = entries.iter().filter_map(|entry| entry.delete.as_ref().ok().cloned()).collect();
    let mut answers = gateway.objects.delete_many(&bucket, possible).await?.into_iter();
    for entry in entries.iter_mut().filter(|entry| entry.delete.is_ok()) {
        if let Some(Err(error)) = answers.next() {
            entry.delete = Err(error.into());
        }
    }
    let document = document("DeleteResult", |xml| {
        for entry in &entries {
            write_entry(xml, entry, is_quiet);
        }
    });
    Ok(Reply::xml(StatusCode::OK, document))
}

fn entries(body: &Element) -> Result<Vec<Entry>, Failure> {
    let entries: Vec<_> = body.all("Object").map(entry).collect::<Result<_, _>>()?;
    let is_possible = body.name == "Delete" && (1..=LIST_KEYS_MAX as usize).contains(&entries.len());
    is_possible.then_some(entries).ok_or_else(Failure::malformed_xml)
}

fn entry(object: &Element) -> Result<Entry, Failure> {
    let key = object.exact("Key").filter(|key| !key.is_empty()).ok_or_else(Failure::malformed_xml)?.to_owned();
    let version = object.value("VersionId").filter(|id| !id.is_empty()).map(str::to_owned);
    Ok(Entry { delete: delete(object, &key, version.as_deref()), key, version })
}

fn delete(object: &Element, key: &str, version: Option<&str>) -> Result<Delete, Failure> {
    if let Some(id) = version.filter(|&id| id != "null") {
        return Err(Failure::no_such_version(id));
    }
    if ["LastModifiedTime", "Size"].iter().any(|name| object.all(name).next().is_some()) {
        return Err(Failure::not_implemented("Conditions on time and size are not implemented."));
    }
    Ok(Delete { key: ObjectKey::new(key)?, if_match: object.value("ETag").and_then(conditions::etags) })
}

fn write_entry(xml: &mut Writer, entry: &Entry, is_quiet: bool) {
    match &entry.delete {
        Ok(_) if is_quiet => {}
        Ok(_) => xml.element("Deleted", |xml| {
            xml.leaf("Key", &entry.key);
            xml.optional("VersionId", entry.version.as_deref());
        }),
        Err(failure) => xml.element("Error", |xml| {
            let (code, message) = failure.code_and_message();
            xml.leaf("Key", &entry.key);
            xml.optional("VersionId", entry.version.as_deref());
            xml.leaf("Code", code);
            xml.leaf("Message", message);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::xml::reader::parse;
    use super::*;
    use crate::objects::ETagMatch;

    fn read(text: &str) -> Result<Vec<Entry>, String> {
        entries(&parse(text.as_bytes()).unwrap()).map_err(|failure| failure.code().to_owned())
    }

    #[test]
    fn keys_and_conditions_are_read_exactly() {
        let entries = read(
            "<Delete xmlns='x'><Object><Key> a&#x1;&#13;</Key><ETag>\"e\"</ETag></Object>\
             <Object><Key>b</Key><VersionId>null</VersionId></Object></Delete>",
        );
        let entries = entries.unwrap();
        let first = entries[0].delete.as_ref().unwrap();
        assert_eq!(first.key.as_str(), " a\u{1}\r");
        assert_eq!(first.if_match, Some(ETagMatch::OneOf(vec!["e".into()])));
        assert!(entries[1].delete.is_ok());
    }

    #[test]
    fn entries_fail_alone() {
        let long = "k".repeat(1025);
        let entries = read(&format!(
            "<Delete><Object><Key>{long}</Key></Object><Object><Key>a</Key><VersionId>v</VersionId></Object>\
             <Object><Key>a</Key><Size>3</Size></Object><Object><Key>a</Key></Object></Delete>"
        ));
        let codes: Vec<_> =
            entries.unwrap().iter().map(|entry| entry.delete.as_ref().err().map(|f| f.code().to_owned())).collect();
        let wanted = ["KeyTooLongError", "NoSuchVersion", "NotImplemented"].map(|code| Some(code.to_owned()));
        assert_eq!(codes[..3], wanted);
        assert_eq!(codes[3], None);
    }

    #[test]
    fn a_delete_has_1_to_1000_keys() {
        let of = |count: usize| read(&format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(count)));
        assert_eq!(of(1000).map(|entries| entries.len()), Ok(1000));
        for bad in
            [of(0), of(1001), read("<Delete><Object/></Delete>"), read("<Else><Object><Key>k</Key></Object></Else>")]
        {
            assert_eq!(bad.map(|entries| entries.len()), Err("MalformedXML".into()));
        }
    }

    #[test]
    fn results_show_keys_exactly_and_quiet_ones_only_errors() {
        let entries = read(
            "<Delete><Object><Key>a&#1;</Key></Object><Object><Key>b</Key><VersionId>v</VersionId></Object></Delete>",
        );
        let entries = entries.unwrap();
        let text = |is_quiet| document("R", |xml| entries.iter().for_each(|entry| write_entry(xml, entry, is_quiet)));
        assert!(text(false).contains(
            "<Deleted><Key>a&#x1;</Key></Deleted><Error><Key>b</Key><VersionId>v</VersionId><Code>NoSuchVersion</Code>"
        ));
        assert!(!text(true).contains("Deleted"));
        assert!(text(true).contains("<Error>"));
    }
}
