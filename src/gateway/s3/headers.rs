//! The headers that are kept with an object: taken raw, given raw.

use http::{HeaderMap, StatusCode};
use s3s::S3ErrorCode;

use super::failure::Failure;
use super::reply::Reply;
use super::request::{Query, joined};
use crate::objects::ObjectHeaders;
use crate::types::limits::USER_METADATA_BYTES_MAX;

const USER_PREFIX: &str = "x-amz-meta-";
pub(super) const STORAGE_CLASS: &str = "x-amz-storage-class";
pub(super) const REDIRECT: &str = "x-amz-website-redirect-location";

/// The standard headers, besides Content-Encoding, which loses `aws-chunked`.
const KEPT: [&str; 7] =
    ["content-type", "cache-control", "content-disposition", "content-language", "expires", REDIRECT, STORAGE_CLASS];

/// Classes whose promises every object keeps, being readable at once. The
/// archives are not among them: clients would not dare to read from one.
const CLASSES: [&str; 6] =
    ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"];

/// Query parameters that replace a header in the reply to a read.
const OVERRIDES: [(&str, &str); 6] = [
    ("response-content-type", "content-type"),
    ("response-content-language", "content-language"),
    ("response-expires", "expires"),
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
];

/// What to keep of a request's headers.
pub(super) fn of_request(headers: &HeaderMap) -> Result<ObjectHeaders, Failure> {
    check_storage_class(headers)?;
    check_redirect(headers)?;
    let mut kept = Vec::new();
    for name in KEPT {
        kept.extend(joined(headers, name).filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)));
    }
    let encoding = joined(headers, "content-encoding").map(|value| without_framing(&value));
    kept.extend(encoding.filter(|value| !value.is_empty()).map(|value| ("content-encoding".to_owned(), value)));
    kept.extend(user_metadata(headers)?);
    Ok(ObjectHeaders(kept))
}

fn user_metadata(headers: &HeaderMap) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let names = headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with(USER_PREFIX));
    let metadata: Vec<_> =
        names.filter_map(|name| joined(headers, name).map(|value| (name.to_owned(), value))).collect();
    let size_bytes: usize = metadata.iter().map(|(name, value)| name.len() - USER_PREFIX.len() + value.len()).sum();
    if size_bytes <= USER_METADATA_BYTES_MAX {
        return Ok(metadata);
    }
    let sentence = "Your metadata headers exceed the maximum allowed metadata size";
    Err(Failure::new(S3ErrorCode::MetadataTooLarge, sentence)
        .detail("Size", size_bytes.to_string())
        .detail("MaxSizeAllowed", USER_METADATA_BYTES_MAX.to_string()))
}

fn check_storage_class(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(class) = joined(headers, STORAGE_CLASS) else { return Ok(()) };
    match std::str::from_utf8(&class) {
        Ok(class) if CLASSES.contains(&class) => Ok(()),
        Ok("GLACIER" | "DEEP_ARCHIVE") => {
            Err(Failure::not_implemented("Archive storage classes are not implemented.")
                .detail("Header", STORAGE_CLASS))
        }
        _ => Err(Failure::new(S3ErrorCode::InvalidStorageClass, "The storage class you specified is not valid")),
    }
}

fn check_redirect(headers: &HeaderMap) -> Result<(), Failure> {
    const BEGINNINGS: [&[u8]; 3] = [b"/", b"http://", b"https://"];
    let location = joined(headers, REDIRECT).unwrap_or_default();
    if location.is_empty() || BEGINNINGS.iter().any(|beginning| location.starts_with(beginning)) {
        return Ok(());
    }
    let code = S3ErrorCode::from_bytes(b"InvalidRedirectLocation").unwrap_or(S3ErrorCode::InvalidArgument);
    let sentence = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
    Err(Failure::new(code, sentence).status(StatusCode::BAD_REQUEST))
}

/// `aws-chunked` frames the upload; it is no encoding of the object.
fn without_framing(value: &[u8]) -> Vec<u8> {
    let is_framing = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"aws-chunked");
    if !value.split(|&byte| byte == b',').any(is_framing) {
        return value.to_vec();
    }
    let tokens: Vec<_> =
        value.split(|&byte| byte == b',').filter(|token| !is_framing(token)).map(<[u8]>::trim_ascii).collect();
    tokens.join(&b","[..])
}

/// Gives an object's headers back.
pub(super) fn give(reply: &mut Reply, headers: &ObjectHeaders) {
    reply.set("content-type", "binary/octet-stream");
    for (name, value) in &headers.0 {
        if !(name == STORAGE_CLASS && value == b"STANDARD") {
            reply.set(name, value);
        }
    }
}

/// The headers of a reply as the query wants them.
pub(super) fn replace(reply: &mut Reply, query: &Query) -> Result<(), Failure> {
    for (parameter, header) in OVERRIDES {
        let Some(value) = query.filled(parameter) else { continue };
        http::HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| Failure::argument(parameter, value, "The value cannot stand in a header."))?;
        reply.set(header, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::s3::request::Request;
    use http::HeaderValue;

    fn kept(headers: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let headers = of_request(&Request::for_tests("PUT", "/b/k", headers).headers).unwrap();
        headers.0.into_iter().map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect()
    }

    #[test]
    fn headers_are_kept_raw() {
        let given = [
            ("expires", "0"),
            ("x-amz-meta-mail", "=?UTF-8?Q?caf=C3=A9?="),
            ("x-amz-meta-two", "a"),
            ("x-amz-meta-two", "b"),
            ("content-length", "5"),
            ("authorization", "no"),
        ];
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted =
            vec![pair("expires", "0"), pair("x-amz-meta-mail", "=?UTF-8?Q?caf=C3=A9?="), pair("x-amz-meta-two", "a,b")];
        assert_eq!(kept(&given), wanted);
    }

    #[test]
    fn framing_is_no_encoding() {
        let encoding = |value| kept(&[("content-encoding", value)]).pop().map(|(_, value)| value);
        assert_eq!(encoding("aws-chunked"), None);
        assert_eq!(encoding("aws-chunked, gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding("gzip,aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(encoding("gzip, br").as_deref(), Some("gzip, br"));
    }

    #[test]
    fn bytes_beyond_ascii_survive() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-x", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let kept = of_request(&headers).unwrap();
        let mut reply = Reply::empty(StatusCode::OK);
        give(&mut reply, &kept);
        assert_eq!(reply.headers["x-amz-meta-x"].as_bytes(), b"caf\xe9");
        assert_eq!(reply.headers["content-type"], "binary/octet-stream");
    }

    #[test]
    fn metadata_has_a_limit() {
        let of = |length: usize| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-meta-ab", HeaderValue::from_str(&"v".repeat(length)).unwrap());
            of_request(&headers).map(drop).map_err(|failure| failure.code().to_owned())
        };
        assert_eq!(of(2046), Ok(()));
        assert_eq!(of(2047), Err("MetadataTooLarge".into()));
    }

    #[test]
    fn storage_classes_are_checked() {
        let of = |class| {
            let request = Request::for_tests("PUT", "/b/k", &[(STORAGE_CLASS, class)]);
            of_request(&request.headers).map(drop).map_err(|failure| failure.code().to_owned())
        };
        assert_eq!(of("STANDARD_IA"), Ok(()));
        assert_eq!(of("GLACIER"), Err("NotImplemented".into()));
        assert_eq!(of("standard"), Err("InvalidStorageClass".into()));
    }

    #[test]
    fn redirects_lead_somewhere() {
        let of = |location| {
            let request = Request::for_tests("PUT", "/b/k", &[(REDIRECT, location)]);
            of_request(&request.headers).map(drop).map_err(|failure| failure.code().to_owned())
        };
        assert_eq!((of("/other"), of("https://a.b/c")), (Ok(()), Ok(())));
        assert_eq!(of("other"), Err("InvalidRedirectLocation".into()));
    }

    #[test]
    fn queries_replace_headers() {
        let request = Request::for_tests("GET", "/b/k?response-content-type=text/x&response-expires=0", &[]);
        let mut reply = Reply::empty(StatusCode::OK);
        give(&mut reply, &ObjectHeaders(vec![("content-type".into(), b"a/b".to_vec())]));
        replace(&mut reply, &request.query).unwrap();
        assert_eq!(
            (&reply.headers["content-type"], &reply.headers["expires"]),
            (&"text/x".parse().unwrap(), &"0".parse().unwrap())
        );
        let request = Request::for_tests("GET", "/b/k?response-content-type=a%0Ab", &[]);
        assert_eq!(replace(&mut reply, &request.query).unwrap_err().code(), "InvalidArgument");
    }
}
