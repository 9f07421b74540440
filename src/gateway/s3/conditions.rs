//! If-Match and its relatives, of reads, writes and the sources of copies.

use super::dates;
use super::failure::Failure;
use super::request::Request;
use crate::objects::{ETagMatch, ReadCondition, WriteCondition};

/// The conditions of a GET or HEAD.
pub(super) fn of_read(request: &Request) -> ReadCondition {
    read(request, "")
}

/// The conditions on a copy's source.
pub(super) fn of_source(request: &Request) -> ReadCondition {
    read(request, "x-amz-copy-source-")
}

/// A date that cannot be read is as good as none (RFC 9110, 13.1.3).
fn read(request: &Request, prefix: &str) -> ReadCondition {
    let header = |name: &str| request.header(&format!("{prefix}{name}"));
    ReadCondition {
        if_match: header("if-match").as_deref().and_then(etags),
        if_none_match: header("if-none-match").as_deref().and_then(etags),
        if_modified_since: header("if-modified-since").as_deref().and_then(dates::parse),
        if_unmodified_since: header("if-unmodified-since").as_deref().and_then(dates::parse),
    }
}

/// The conditions of a write. S3 has no others than these two, and of
/// If-None-Match only `*`; the rest is refused rather than forgotten.
pub(super) fn of_write(request: &Request) -> Result<WriteCondition, Failure> {
    for (name, shown) in [("if-modified-since", "If-Modified-Since"), ("if-unmodified-since", "If-Unmodified-Since")] {
        if request.headers.contains_key(name) {
            return Err(Failure::header_not_implemented(shown));
        }
    }
    let condition = |name| request.header(name).as_deref().and_then(etags);
    let if_none_match = condition("if-none-match");
    if matches!(if_none_match, Some(ETagMatch::OneOf(_))) {
        return Err(Failure::header_not_implemented("If-None-Match"));
    }
    Ok(WriteCondition { if_match: condition("if-match"), if_none_match })
}

/// The condition of a delete: If-Match alone.
pub(super) fn of_delete(request: &Request) -> Result<Option<ETagMatch>, Failure> {
    for name in ["if-none-match", "x-amz-if-match-last-modified-time", "x-amz-if-match-size"] {
        if request.headers.contains_key(name) {
            return Err(Failure::header_not_implemented(name));
        }
    }
    Ok(request.header("if-match").as_deref().and_then(etags))
}

/// A list of ETags: quoted or bare, weak or strong, or `*`. An empty header is
/// no condition; a list of nothing is one that no object meets.
pub(super) fn etags(text: &str) -> Option<ETagMatch> {
    let text = text.trim();
    if text.trim_matches('"') == "*" {
        return Some(ETagMatch::Any);
    }
    let mut rest = text.trim_start_matches(SEPARATORS);
    let mut tags = Vec::new();
    while !rest.is_empty() {
        let (tag, after) = next_etag(rest);
        tags.push(tag.to_owned());
        rest = after.trim_start_matches(SEPARATORS);
    }
    (!text.is_empty()).then_some(ETagMatch::OneOf(tags))
}

const SEPARATORS: [char; 3] = [',', ' ', '\t'];

/// The first tag of a list without its dress, and what follows it.
fn next_etag(text: &str) -> (&str, &str) {
    let text = text.strip_prefix("W/").unwrap_or(text);
    let quoted = text.strip_prefix('"').and_then(|inner| inner.split_once('"'));
    quoted.unwrap_or_else(|| {
        let (tag, after) = text.split_once(',').unwrap_or((text, ""));
        (tag.trim().trim_matches('"'), after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[&str]) -> Option<ETagMatch> {
        Some(ETagMatch::OneOf(list.iter().map(|&tag| tag.to_owned()).collect()))
    }

    #[test]
    fn etags_come_in_every_dress() {
        assert_eq!(etags("\"abc\""), tags(&["abc"]));
        assert_eq!(etags("abc"), tags(&["abc"]));
        assert_eq!(etags("W/\"abc\""), tags(&["abc"]));
        assert_eq!(etags("\"a\", W/\"b\" ,c,\"d,e\""), tags(&["a", "b", "c", "d,e"]));
        assert_eq!(etags("\"abc"), tags(&["abc"]));
        assert_eq!(
            (etags("*"), etags(" * "), etags("\"*\"")),
            (Some(ETagMatch::Any), Some(ETagMatch::Any), Some(ETagMatch::Any))
        );
        assert_eq!((etags(""), etags(" , "), etags("\"\"")), (None, tags(&[]), tags(&[""])));
    }

    #[test]
    fn reads_take_all_four() {
        let request = Request::for_tests(
            "GET",
            "/b/k",
            &[
                ("if-match", "\"a\""),
                ("if-match", "\"b\""),
                ("if-none-match", "*"),
                ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("if-unmodified-since", "never"),
            ],
        );
        let condition = of_read(&request);
        assert_eq!(condition.if_match, tags(&["a", "b"]));
        assert_eq!(condition.if_none_match, Some(ETagMatch::Any));
        assert_eq!((condition.if_modified_since, condition.if_unmodified_since), (Some(784_111_777), None));
    }

    #[test]
    fn sources_have_conditions_of_their_own() {
        let request = Request::for_tests("PUT", "/b/k", &[("x-amz-copy-source-if-match", "a"), ("if-match", "b")]);
        assert_eq!(of_source(&request).if_match, tags(&["a"]));
        assert_eq!(of_write(&request).unwrap().if_match, tags(&["b"]));
    }

    #[test]
    fn writes_refuse_what_s3_does_not_have() {
        let of = |name, value| {
            of_write(&Request::for_tests("PUT", "/b/k", &[(name, value)])).map_err(|f| f.code().to_owned())
        };
        assert_eq!(of("if-none-match", "*").unwrap().if_none_match, Some(ETagMatch::Any));
        assert_eq!(of("if-none-match", "\"a\"").unwrap_err(), "NotImplemented");
        assert_eq!(of("if-modified-since", "x").unwrap_err(), "NotImplemented");
        let delete = Request::for_tests("DELETE", "/b/k", &[("x-amz-if-match-size", "3")]);
        assert_eq!(of_delete(&delete).unwrap_err().code(), "NotImplemented");
    }
}
