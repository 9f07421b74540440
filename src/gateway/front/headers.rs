//! Which `x-amz-*` headers a request may bring: an allow-list like that of the
//! query's parameters, because a header that is ignored changes what a request
//! means as well.

use http::header::{AUTHORIZATION, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};

use super::authorization::QUERY_PARAMETERS;
use super::encoding::Query;
use super::operation::Operation;
use super::refusal::Refusal;

/// Storage classes whose objects are read like any other. They are kept as
/// declared; all are stored alike.
const STORAGE_CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// Used up by this front, or without effect by their nature.
const DROPPED: &[&str] = &[
    "x-amz-bypass-governance-retention",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-optional-object-attributes",
    "x-amz-request-payer",
    "x-amz-security-token",
    "x-amz-user-agent",
];

/// Acted on by whoever answers.
const KEPT: &[&str] = &[
    "x-amz-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-expected-bucket-owner",
    "x-amz-max-parts",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-part-number-marker",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-source-expected-bucket-owner",
    "x-amz-trailer",
    "x-amz-website-redirect-location",
];

const COPY_SOURCE: &[&str] = &[
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-copy-source-range",
];

enum Verdict {
    Keep,
    Drop,
    Refuse(Refusal),
}

/// What the headers asked for that the reply has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wishes {
    /// `x-amz-server-side-encryption: AES256`, which is what always happens.
    pub(super) encryption: bool,
}

/// Turns the `x-amz-*` parameters of a presigned URL into the headers that they
/// stand for, and takes those of the signature out.
pub(super) fn unhoist(query: Query, headers: &mut HeaderMap) -> Result<Query, Refusal> {
    let mut rest = Query::new();
    for (name, value) in query {
        let lower = name.to_ascii_lowercase();
        if QUERY_PARAMETERS.contains(&name.as_str())
            || ["x-amz-security-token", "x-amz-content-sha256"].contains(&&*lower)
        {
            continue;
        }
        if !lower.starts_with("x-amz-") {
            rest.push((name, value));
            continue;
        }
        let pair = (HeaderName::from_bytes(lower.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        let (Ok(header), Ok(value)) = pair else {
            return Err(Refusal::invalid_request("A query parameter that stands for a header is not a valid one."));
        };
        if headers.insert(&header, value).is_some() {
            let message = format!("'{header}' may be given only once, in the query or as a header.");
            return Err(Refusal::invalid_request(message));
        }
    }
    Ok(rest)
}

/// Takes out of `headers` what must not reach s3s and refuses what nobody acts
/// on.
pub(super) fn sift(headers: &mut HeaderMap, operation: Operation) -> Result<Wishes, Refusal> {
    let mut wishes = Wishes::default();
    if operation == Operation::PutObject && headers.contains_key(CONTENT_RANGE) {
        return Err(not_built("content-range"));
    }
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).cloned().collect();
    for name in names {
        let mut values = headers.get_all(&name).iter();
        let value = values.next().map(|value| value.to_str().unwrap_or_default().trim()).unwrap_or_default();
        let may_repeat = name.as_str().starts_with("x-amz-meta-") || name == "x-amz-object-attributes";
        if values.next().is_some() && !may_repeat {
            return Err(Refusal::invalid_request(format!("The header '{name}' may be sent only once.")));
        }
        wishes.encryption |= name == "x-amz-server-side-encryption";
        match judge(name.as_str(), value, operation) {
            Verdict::Keep => {}
            Verdict::Drop => drop(headers.remove(&name)),
            Verdict::Refuse(refusal) => return Err(refusal),
        }
    }
    headers.remove(AUTHORIZATION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(http::header::EXPECT);
    Ok(wishes)
}

fn judge(name: &str, value: &str, operation: Operation) -> Verdict {
    let accept = |good: bool| if good { Verdict::Drop } else { Verdict::Refuse(not_built(name)) };
    match name {
        _ if DROPPED.contains(&name) => Verdict::Drop,
        _ if KEPT.contains(&name) => Verdict::Keep,
        _ if name.starts_with("x-amz-meta-") => {
            if operation.makes_object() {
                Verdict::Keep
            } else {
                Verdict::Drop
            }
        }
        _ if COPY_SOURCE.contains(&name) => match operation.copies() {
            true => Verdict::Keep,
            false => Verdict::Refuse(Refusal::invalid_request(
                "You can only specify a copy source header for copy requests.",
            )),
        },
        "x-amz-acl" => accept(["private", "bucket-owner-full-control"].contains(&value)),
        "x-amz-bucket-object-lock-enabled" | "x-amz-server-side-encryption-bucket-key-enabled" => {
            accept(value.eq_ignore_ascii_case("false"))
        }
        "x-amz-object-ownership" => accept(value == "BucketOwnerEnforced"),
        "x-amz-server-side-encryption" => accept(value == "AES256"),
        "x-amz-tagging" => accept(value.is_empty()),
        // No object has tags, so copying them and replacing them with none is the same.
        "x-amz-tagging-directive" => accept(["COPY", "REPLACE"].contains(&value)),
        "x-amz-storage-class" => match STORAGE_CLASSES.contains(&value) {
            true => Verdict::Keep,
            false => Verdict::Refuse(Refusal::new(
                400,
                "InvalidStorageClass",
                "The storage class you specified is not valid",
            )),
        },
        _ => Verdict::Refuse(not_built(name)),
    }
}

fn not_built(name: &str) -> Refusal {
    Refusal::not_implemented(format!(
        "A header you provided implies functionality that is not implemented: '{name}' with this value."
    ))
    .with("Header", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(operation: Operation, pairs: &[(&'static str, &'static str)]) -> Result<(HeaderMap, Wishes), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        sift(&mut headers, operation).map(|wishes| (headers, wishes))
    }

    #[test]
    fn what_nobody_acts_on_is_refused_by_name() {
        for pair in [
            ("x-amz-acl", "public-read"),
            ("x-amz-grant-read", "id=x"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-copy-source-server-side-encryption-customer-key", "x"),
            ("x-amz-write-offset-bytes", "1"),
            ("x-amz-rename-source", "/a"),
            ("x-amz-if-match-size", "1"),
            ("x-amz-from-the-future", "1"),
            ("x-amz-checksum-md5", "x"),
            ("content-range", "bytes 0-1/2"),
        ] {
            let refusal = sifted(Operation::PutObject, &[pair]).unwrap_err();
            assert_eq!(refusal.status, 501, "{pair:?}");
            assert!(refusal.message.contains(pair.0), "{}", refusal.message);
        }
        let copy = [("x-amz-copy-source", "/b/k")];
        assert_eq!(sifted(Operation::PutObject, &copy).unwrap_err().code, "InvalidRequest");
        assert!(sifted(Operation::CopyObject, &copy).unwrap().0.contains_key("x-amz-copy-source"));
        assert_eq!(
            sifted(Operation::PutObject, &[("x-amz-storage-class", "FAST")]).unwrap_err().code,
            "InvalidStorageClass"
        );
    }

    #[test]
    fn what_is_harmless_or_true_anyway_passes() {
        let (headers, wishes) = sifted(
            Operation::PutObject,
            &[
                ("authorization", "secret"),
                ("x-amz-acl", "private"),
                ("x-amz-server-side-encryption", "AES256"),
                ("x-amz-date", "x"),
                ("x-amz-meta-a", "1"),
                ("x-amz-meta-a", "2"),
                ("x-amz-storage-class", "STANDARD_IA"),
                ("content-type", "a/b"),
            ],
        )
        .unwrap();
        assert!(wishes.encryption);
        let mut left: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "x-amz-meta-a", "x-amz-meta-a", "x-amz-storage-class"]);
    }

    #[test]
    fn a_header_with_one_value_may_not_have_two() {
        let twice = [("x-amz-copy-source", "/b/k"), ("x-amz-copy-source", "/b/l")];
        assert_eq!(sifted(Operation::CopyObject, &twice).unwrap_err().code, "InvalidRequest");
    }

    #[test]
    fn parameters_of_a_presigned_url_become_headers() {
        let query = super::super::encoding::parse_query(
            "X-Amz-Date=d&X-Amz-Meta-A=b&x-amz-acl=private&prefix=p&X-Amz-Security-Token=t&X-Amz-Content-Sha256=h",
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        let rest = unhoist(query.clone(), &mut headers).unwrap();
        assert_eq!(rest, [("prefix".to_owned(), "p".to_owned())]);
        assert_eq!((headers.len(), &headers["x-amz-meta-a"]), (2, &HeaderValue::from_static("b")));
        assert_eq!(unhoist(query, &mut headers).unwrap_err().code, "InvalidRequest");
    }
}
