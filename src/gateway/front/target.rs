//! What a request is about: the service, a bucket or an object.

use http::header::HOST;
use http::{HeaderValue, Version, request::Parts};

use super::encoding::decode;
use super::host::Domains;
use super::refusal::Refusal;

/// How deep a request reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// `/`
    Service,
    /// `/bucket`
    Bucket,
    /// `/bucket/key`
    Object,
}

/// A request's bucket and key, decoded but not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) bucket: Option<String>,
    pub(super) key: Option<String>,
}

impl Target {
    /// Takes a host and a raw path apart, in the way that s3s does.
    pub(super) fn parse(domains: &Domains, host: &str, raw_path: &str) -> Result<Self, Refusal> {
        let path = decode(raw_path)?;
        let path = path.strip_prefix('/').ok_or_else(Refusal::invalid_uri)?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        if let Some(bucket) = domains.bucket(host) {
            return Ok(Self { bucket: Some(bucket), key: some(path) });
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() && !path.is_empty() {
            return Err(Refusal::new(
                400,
                "InvalidBucketName",
                "The specified bucket is not valid: its name is empty.",
            ));
        }
        Ok(Self { bucket: some(bucket), key: some(key) })
    }

    pub(super) fn level(&self) -> Level {
        match (&self.bucket, &self.key) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        }
    }
}

/// The request's one host. HTTP/2 has it outside the headers; it is put among
/// them, because signatures cover it there.
pub(super) fn settle_host(parts: &mut Parts) -> Result<String, Refusal> {
    if let Some(authority) = parts.uri.authority().filter(|_| parts.version >= Version::HTTP_2) {
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| invalid_host())?;
        if parts.headers.get(HOST).is_some_and(|host| *host != value) {
            return Err(Refusal::invalid_request("The Host header and the :authority of the request differ."));
        }
        parts.headers.insert(HOST, value);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host.to_str().map_err(|_| invalid_host())?.to_owned()),
        _ => Err(Refusal::invalid_request("The request must have exactly one Host header.")),
    }
}

fn invalid_host() -> Refusal {
    Refusal::invalid_request("The Host header is not valid.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(host: &str, path: &str) -> (Option<String>, Option<String>) {
        let target = Target::parse(&Domains::default(), host, path).unwrap();
        (target.bucket, target.key)
    }

    #[test]
    fn both_styles_give_bucket_and_key() {
        let pair = |bucket: &str, key: &str| (Some(bucket.to_owned()), Some(key.to_owned()));
        assert_eq!(parse("h", "/"), (None, None));
        assert_eq!(parse("h", "/b"), (Some("b".into()), None));
        assert_eq!(parse("h", "/b/"), (Some("b".into()), None));
        assert_eq!(parse("h", "/b//k"), pair("b", "/k"));
        assert_eq!(parse("h", "/b/../x%2Fy+z%20"), pair("b", "../x/y+z "));
        assert_eq!(parse("b.localhost", "/"), (Some("b".into()), None));
        assert_eq!(parse("b.localhost:9000", "/k/l"), pair("b", "k/l"));
        assert_eq!(parse("b.localhost", "//k"), pair("b", "/k"));
    }

    #[test]
    fn paths_that_name_nothing_are_refused() {
        for path in ["", "*", "b/k", "//k", "/b/%ff"] {
            assert!(Target::parse(&Domains::default(), "h", path).is_err(), "{path}");
        }
    }
}
