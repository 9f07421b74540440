//! Virtual-host style: which bucket a `Host` names, if any.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Why a base domain was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a domain: only labels of letters, digits and '-' with dots between are possible, no port")]
pub struct DomainError(String);

/// The base domains whose sub-domains are buckets, the longest first.
///
/// `localhost` and `s3.localhost` always are, so that
/// `http://bucket.localhost:9000` works without being set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains(Vec<String>);

impl Domains {
    /// The built-in domains and these.
    pub fn new<D: AsRef<str>>(domains: impl IntoIterator<Item = D>) -> Result<Self, DomainError> {
        let mut all = vec!["s3.localhost".to_owned(), "localhost".to_owned()];
        for domain in domains {
            let domain = domain.as_ref().trim_end_matches('.').to_ascii_lowercase();
            if !is_domain(&domain) {
                return Err(DomainError(domain));
            }
            all.push(domain);
        }
        all.sort_unstable();
        all.dedup();
        all.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Ok(Self(all))
    }

    /// The bucket that a `Host` (with or without a port) names. A host that is
    /// a base domain or lies outside all of them names none: path style.
    pub fn bucket(&self, host: &str) -> Option<String> {
        let host = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        if self.0.contains(&host) {
            return None;
        }
        let name = self.0.iter().find_map(|domain| host.strip_suffix(domain.as_str())?.strip_suffix('.'))?;
        (!name.is_empty()).then(|| name.to_owned())
    }
}

impl Default for Domains {
    fn default() -> Self {
        Self(vec!["s3.localhost".to_owned(), "localhost".to_owned()])
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}

/// The host parser to give to s3s, which then sees buckets where the front does.
pub fn s3_host(domains: &Domains) -> impl S3Host + use<> {
    domains.clone()
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    domain.split('.').all(label) && domain.parse::<std::net::Ipv4Addr>().is_err()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_domains_are_buckets_and_nothing_else_is() {
        let domains = Domains::new(["S3.example.com", "example.com."]).unwrap();
        for (host, bucket) in [
            ("photos.s3.example.com", Some("photos")),
            ("photos.S3.Example.COM:9000", Some("photos")),
            ("a.b.s3.example.com.", Some("a.b")),
            ("photos.example.com", Some("photos")),
            ("s3.example.com", None),
            ("example.com:9000", None),
            ("bucket.localhost:9000", Some("bucket")),
            ("bucket.s3.localhost", Some("bucket")),
            ("s3.localhost:1", None),
            ("localhost", None),
            (".localhost", None),
            ("notexample.com", None),
            ("other.org", None),
            ("127.0.0.1:9000", None),
            ("[::1]:9000", None),
            ("", None),
        ] {
            assert_eq!(domains.bucket(host).as_deref(), bucket, "{host}");
            assert_eq!(domains.parse_host_header(host).unwrap().bucket(), bucket, "{host}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        for text in ["", "a..b", "a_b", "example.com:9000", "127.0.0.1", "*.example.com"] {
            assert!(Domains::new([text]).is_err(), "{text}");
        }
    }
}
