//! The x-amz-copy-source header.

use percent_encoding::percent_decode;

use super::failure::Failure;
use super::request::Request;
use crate::objects::Address;
use crate::types::{BucketName, ObjectKey};

const HEADER: &str = "x-amz-copy-source";

/// What a copy copies.
pub(super) fn of(request: &Request) -> Result<Address, Failure> {
    parse(request.headers.get(HEADER).map(|value| value.as_bytes()).unwrap_or_default())
}

/// `[/]bucket/key[?versionId=id]`, percent-encoded. A plus is a plus.
fn parse(text: &[u8]) -> Result<Address, Failure> {
    let (path, version) = split_version(text);
    let decoded = percent_decode(path).decode_utf8().map_err(|_| refuse("Invalid copy source encoding.", text))?;
    let path = decoded.strip_prefix('/').unwrap_or(&decoded);
    if path.starts_with("arn:") {
        return Err(Failure::not_implemented("A copy source that is an ARN is not implemented."));
    }
    let (bucket, key) = path.split_once('/').ok_or_else(|| refuse("Invalid copy source object key", text))?;
    let bucket = BucketName::new(bucket).map_err(|_| refuse("Invalid copy source bucket name", text))?;
    let key = ObjectKey::new(key).map_err(|_| refuse("Invalid copy source object key", text))?;
    match version.as_deref() {
        None | Some("null") => Ok(Address { bucket, key }),
        Some("") => Err(refuse("Version id cannot be the empty string", text)),
        Some(id) => Err(Failure::no_such_version(id)),
    }
}

/// A question mark in a key is encoded; one before `versionId=` ends the key.
fn split_version(text: &[u8]) -> (&[u8], Option<String>) {
    const MARK: &[u8] = b"?versionId=";
    match text.windows(MARK.len()).rposition(|window| window == MARK) {
        Some(at) => {
            let id = percent_decode(&text[at + MARK.len()..]).decode_utf8_lossy().into_owned();
            (&text[..at], Some(id))
        }
        None => (text, None),
    }
}

fn refuse(sentence: &'static str, text: &[u8]) -> Failure {
    Failure::argument(HEADER, &String::from_utf8_lossy(text), sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_come_in_many_forms() {
        for (text, key) in [
            ("/bucket/key", "key"),
            ("bucket/key", "key"),
            ("bucket//key", "/key"),
            ("%2Fbucket%2Fa%2Fb", "a/b"),
            ("/bucket/a+b%20c%2B", "a+b c+"),
            ("/bucket/a%3FversionId=x", "a?versionId=x"),
            ("/bucket/a?versionId=null", "a"),
            ("/bucket/what?", "what?"),
            ("/bucket/%C3%A9/../\u{e9}", "é/../é"),
        ] {
            let address = parse(text.as_bytes()).unwrap();
            assert_eq!((address.bucket.as_str(), address.key.as_str()), ("bucket", key), "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for (text, code) in [
            ("", "InvalidArgument"),
            ("bucket", "InvalidArgument"),
            ("bucket/", "InvalidArgument"),
            ("/B_ucket/key", "InvalidArgument"),
            ("/bucket/%FF", "InvalidArgument"),
            ("/bucket/key?versionId=abc", "NoSuchVersion"),
            ("arn:aws:s3:eu-west-1:1:accesspoint/ap/object/key", "NotImplemented"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().code(), code, "{text}");
        }
    }
}
