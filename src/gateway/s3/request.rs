//! A request as it came: method, bucket, key, query, raw headers, body.

use http::{Extensions, HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use s3s::host::S3Host;
use s3s::path::{S3Path, parse_virtual_hosted_style_with_validation};
use s3s::{Body, S3ErrorCode, S3Request};

use super::AnyName;
use super::failure::Failure;
use crate::objects::Address;
use crate::types::limits::{LIST_KEYS_MAX, PART_NUMBER_MAX};
use crate::types::{BucketName, ObjectKey, UploadId};

/// A request, taken apart but not yet judged.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) bucket: Option<String>,
    pub(super) key: Option<String>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) extensions: Extensions,
    pub(super) body: Body,
    /// Where the client believes the bucket to be, without the key.
    pub(super) base_url: String,
}

impl Request {
    pub(super) fn new(request: S3Request<Body>, hosts: Option<&dyn S3Host>) -> Result<Self, Failure> {
        let host = host_of(&request.uri, &request.headers);
        let virtual_bucket = bucket_of_host(&host, hosts)?;
        let (bucket, key) = path(virtual_bucket.as_deref(), request.uri.path())?;
        let scheme = request.uri.scheme_str().unwrap_or("http");
        let base_url = match (&virtual_bucket, &bucket) {
            (None, Some(bucket)) => format!("{scheme}://{host}/{bucket}"),
            _ => format!("{scheme}://{host}"),
        };
        Ok(Self {
            method: request.method,
            bucket,
            key,
            query: Query::parse(request.uri.query().unwrap_or_default())?,
            headers: request.headers,
            extensions: request.extensions,
            body: request.input,
            base_url,
        })
    }

    /// The bucket, if its name is possible.
    pub(super) fn bucket(&self) -> Result<BucketName, Failure> {
        Ok(BucketName::new(self.bucket.as_deref().unwrap_or_default())?)
    }

    /// Bucket and key, if both are possible.
    pub(super) fn address(&self) -> Result<Address, Failure> {
        let key = ObjectKey::new(self.key.as_deref().unwrap_or_default())?;
        Ok(Address { bucket: self.bucket()?, key })
    }

    /// A header as text; several of one name are joined by commas, as S3 does.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        joined(&self.headers, name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The owner that the client expects, of the bucket or of a copy's source.
    pub(super) fn check_owner(&self, owner_id: &str) -> Result<(), Failure> {
        let expected = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];
        if expected.iter().filter_map(|name| self.header(name)).all(|id| id == owner_id) {
            return Ok(());
        }
        Err(Failure::new(
            S3ErrorCode::AccessDenied,
            "Access Denied: the bucket has another owner than the expected one.",
        ))
    }

    /// `versionId` has to be absent or `null`, the only version there is.
    pub(super) fn check_version(&self) -> Result<(), Failure> {
        match self.query.get("versionId") {
            None | Some("null") => Ok(()),
            Some("") => Err(Failure::argument("versionId", "", "Version id cannot be the empty string")),
            Some(id) => Err(Failure::no_such_version(id)),
        }
    }

    /// `uploadId`; one that cannot be an upload's is none.
    pub(super) fn upload(&self) -> Result<UploadId, Failure> {
        let text = self.query.get("uploadId").unwrap_or_default();
        text.parse().map_err(|_| crate::objects::ObjectError::NoSuchUpload.into())
    }

    /// `partNumber`, where it is given.
    pub(super) fn part_number(&self) -> Result<Option<u32>, Failure> {
        self.query.get("partNumber").map(part_number).transpose()
    }

    /// A page size in the query: 1,000 if absent or above.
    pub(super) fn page_size(&self, name: &'static str) -> Result<u32, Failure> {
        self.query.get(name).map_or(Ok(LIST_KEYS_MAX), |text| page_size(name, text))
    }
}

#[cfg(test)]
impl Request {
    pub(super) fn for_tests(method: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> Self {
        let mut request = S3Request {
            input: Body::empty(),
            method: method.parse().unwrap(),
            uri: uri.parse().unwrap(),
            headers: HeaderMap::new(),
            extensions: Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        for (name, value) in headers {
            request.headers.append(*name, value.parse().unwrap());
        }
        Self::new(request, None).unwrap()
    }
}

/// All values of a header, joined by commas.
pub(super) fn joined(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let mut values = headers.get_all(name).iter();
    let mut whole = values.next()?.as_bytes().to_vec();
    for value in values {
        whole.push(b',');
        whole.extend_from_slice(value.as_bytes());
    }
    Some(whole)
}

/// A part's number, 1 to 10,000.
pub(super) fn part_number(text: &str) -> Result<u32, Failure> {
    match text.parse() {
        Ok(number) if (1..=PART_NUMBER_MAX).contains(&number) => Ok(number),
        _ => {
            let sentence = "Part number must be an integer between 1 and 10000, inclusive";
            Err(Failure::argument("partNumber", text, sentence))
        }
    }
}

/// A page size: more than a page holds is a page, an empty one the default.
pub(super) fn page_size(name: &'static str, text: &str) -> Result<u32, Failure> {
    if text.is_empty() {
        return Ok(LIST_KEYS_MAX);
    }
    match text.parse::<i64>() {
        Ok(size @ 0..=0x7fff_ffff) => Ok(u32::try_from(size).unwrap_or(u32::MAX).min(LIST_KEYS_MAX)),
        Ok(_) => {
            let sentence = format!("Argument {name} must be an integer between 0 and 2147483647");
            Err(Failure::argument(name, text, sentence))
        }
        Err(_) => {
            let sentence = format!("Provided {name} not an integer or within integer range");
            Err(Failure::argument(name, text, sentence))
        }
    }
}

fn host_of(uri: &Uri, headers: &HeaderMap) -> String {
    let header = headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    header.or(uri.authority().map(|authority| authority.as_str())).unwrap_or("localhost").to_owned()
}

fn bucket_of_host(host: &str, hosts: Option<&dyn S3Host>) -> Result<Option<String>, Failure> {
    let Some(hosts) = hosts else { return Ok(None) };
    let found = hosts.parse_host_header(host).map_err(|error| {
        Failure::new(error.code().clone(), error.message().unwrap_or("The Host header is not valid.").to_owned())
    })?;
    Ok(found.bucket().map(str::to_owned))
}

/// Bucket and key of a path. The path is decoded once, `+` stays a plus, and
/// nothing is normalised: `..` and `//` are parts of keys.
fn path(virtual_bucket: Option<&str>, path: &str) -> Result<(Option<String>, Option<String>), Failure> {
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| bad_uri())?;
    match parse_virtual_hosted_style_with_validation(virtual_bucket, &decoded, &AnyName) {
        Ok(S3Path::Root) => Ok((None, None)),
        Ok(S3Path::Bucket { bucket }) => Ok((Some(bucket.into()), None)),
        Ok(S3Path::Object { bucket, key }) => Ok((Some(bucket.into()), Some(key.into()))),
        Err(s3s::path::ParseS3PathError::KeyTooLong) => Err(Failure::key_too_long(key_bytes(virtual_bucket, &decoded))),
        Err(_) => Err(bad_uri()),
    }
}

fn key_bytes(virtual_bucket: Option<&str>, path: &str) -> usize {
    let path = path.strip_prefix('/').unwrap_or(path);
    match virtual_bucket {
        Some(_) => path.len(),
        None => path.split_once('/').map_or(0, |(_, key)| key.len()),
    }
}

fn bad_uri() -> Failure {
    Failure::new(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI.")
}

/// The query's names and values, decoded, in their order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Result<Self, Failure> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode_form(name)?, decode_form(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The first value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The first value of that name, unless it is empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

fn decode_form(text: &str) -> Result<String, Failure> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| bad_uri())?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_through_exactly() {
        for (uri, key) in [
            ("/bucket/a/../b", "a/../b"),
            ("/bucket//a", "/a"),
            ("/bucket/a//b/", "a//b/"),
            ("/bucket/a+b", "a+b"),
            ("/bucket/a%2Bb%20c%2525", "a+b c%25"),
            ("/bucket/%01%0D%7F", "\u{1}\r\u{7f}"),
            ("/bucket/%C3%A9?x-id=GetObject", "é"),
        ] {
            let request = Request::for_tests("GET", uri, &[]);
            assert_eq!((request.bucket.as_deref(), request.key.as_deref()), (Some("bucket"), Some(key)));
        }
    }

    #[test]
    fn a_virtual_host_brings_the_bucket() {
        let of = |uri| path(Some("bucket"), uri).ok();
        assert_eq!(of("/"), Some((Some("bucket".into()), None)));
        assert_eq!(of("//k"), Some((Some("bucket".into()), Some("/k".into()))));
        assert_eq!(of("/other/k"), Some((Some("bucket".into()), Some("other/k".into()))));
    }

    #[test]
    fn bad_paths_and_names_have_codes() {
        assert_eq!(path(None, "/bucket/%FF").unwrap_err().code(), "InvalidURI");
        assert_eq!(path(None, &format!("/bucket/{}", "k".repeat(1025))).unwrap_err().code(), "KeyTooLongError");
        let request = Request::for_tests("PUT", "/Bad_Name/k", &[]);
        assert_eq!(request.address().unwrap_err().code(), "InvalidBucketName");
        let request = Request::for_tests("PUT", "//k", &[]);
        assert_eq!(request.address().unwrap_err().code(), "InvalidBucketName");
    }

    #[test]
    fn queries_are_forms() {
        let request = Request::for_tests("GET", "/b?prefix=a+b%2B%26&empty=&flag&prefix=second", &[]);
        assert_eq!(request.query.get("prefix"), Some("a b+&"));
        assert_eq!((request.query.get("flag"), request.query.filled("empty")), (Some(""), None));
        assert!(!request.query.has("absent"));
    }

    #[test]
    fn page_sizes_are_capped_and_checked() {
        let of = |text| page_size("max-keys", text).map_err(|failure| failure.code().to_owned());
        assert_eq!((of("0"), of("7"), of("5000"), of("")), (Ok(0), Ok(7), Ok(1000), Ok(1000)));
        for bad in ["-1", "2147483648", "x", "1.5", "99999999999999999999"] {
            assert_eq!(of(bad), Err("InvalidArgument".into()), "{bad}");
        }
    }

    #[test]
    fn parts_are_numbered_from_1_to_10000() {
        assert_eq!((part_number("1").ok(), part_number("10000").ok()), (Some(1), Some(10_000)));
        assert!(["0", "10001", "-1", "", "x"].iter().all(|text| part_number(text).is_err()));
    }

    #[test]
    fn another_owner_is_refused() {
        let request = |id| Request::for_tests("GET", "/b", &[("x-amz-expected-bucket-owner", id)]);
        assert!(request("me").check_owner("me").is_ok());
        assert_eq!(request("you").check_owner("me").unwrap_err().code(), "AccessDenied");
    }
}
