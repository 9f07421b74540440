//! Standard headers that s3s refuses where S3 does not: they are taken out of
//! its sight. What still counts can be read from `RawHeaders`.

use http::Method;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, EXPIRES, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};

/// Takes `aws-chunked` out of Content-Encoding: it describes the transfer, not
/// the object. The other codings stay as they are.
pub(super) fn remove_aws_chunked(headers: &mut HeaderMap) {
    let values: Vec<HeaderValue> = headers.get_all(CONTENT_ENCODING).iter().cloned().collect();
    if !values.iter().any(has_aws_chunked) {
        return;
    }
    headers.remove(CONTENT_ENCODING);
    for value in values {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let others = text.split(',').map(str::trim).filter(|coding| !is_aws_chunked(coding) && !coding.is_empty());
        let others = others.collect::<Vec<_>>().join(",");
        if let Ok(others) = HeaderValue::from_str(&others)
            && !others.is_empty()
        {
            headers.append(CONTENT_ENCODING, others);
        }
    }
}

/// Whether a Content-Encoding names `aws-chunked`.
pub(super) fn has_aws_chunked(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| text.split(',').any(|coding| is_aws_chunked(coding.trim())))
}

fn is_aws_chunked(coding: &str) -> bool {
    coding.eq_ignore_ascii_case("aws-chunked")
}

/// Takes out what S3 ignores and s3s answers with 400: ranges that are several
/// or none, dates that are none.
pub(super) fn remove_ignored(headers: &mut HeaderMap) {
    if !headers.get_all(RANGE).iter().map(is_single_range).eq([true]) {
        headers.remove(RANGE);
    }
    for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        if !headers.get_all(&name).iter().map(is_date).eq([true]) {
            headers.remove(&name);
        }
    }
}

/// Takes out what counts but what s3s cannot read.
pub(super) fn hide_from_s3s(headers: &mut HeaderMap, method: &Method) {
    let mut hide_unless = |name: HeaderName, good: fn(&HeaderValue) -> bool| {
        if !headers.get_all(&name).iter().map(good).eq([true]) {
            headers.remove(&name);
        }
    };
    hide_unless(EXPIRES, is_date);
    hide_unless(IF_MATCH, is_single_tag);
    hide_unless(IF_NONE_MATCH, is_single_tag);
    if *method == Method::POST {
        // s3s takes a POST of this content type for a form.
        headers.remove(CONTENT_TYPE);
    }
}

fn is_single_range(value: &HeaderValue) -> bool {
    let Some(range) = value.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes=")) else { return false };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match range.split_once('-') {
        Some(("", length)) => number(length).is_some(),
        Some((first, "")) => number(first).is_some(),
        Some((first, last)) => matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last),
        None => false,
    }
}

fn is_date(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| text.ends_with(" GMT") && httpdate::parse_http_date(text).is_ok())
}

fn is_single_tag(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let tag = text.strip_prefix("W/").unwrap_or(text);
    text == "*" || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).is_some_and(|tag| !tag.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn aws_chunked_is_not_kept_with_the_object() {
        for (values, left) in [
            (&["aws-chunked"][..], &[][..]),
            (&["aws-chunked,gzip"], &["gzip"]),
            (&["gzip, AWS-Chunked , br"], &["gzip,br"]),
            (&["gzip", "aws-chunked"], &["gzip"]),
            (&["gzip , br"], &["gzip , br"]),
            (&["aws-chunked,"], &[]),
        ] {
            let mut headers = headers(CONTENT_ENCODING, values);
            remove_aws_chunked(&mut headers);
            assert!(headers.get_all(CONTENT_ENCODING).iter().eq(left.iter()), "{values:?}: {headers:?}");
        }
    }

    #[test]
    fn a_range_that_s3_ignores_is_not_seen() {
        for (value, stays) in [
            ("bytes=0-9", true),
            ("bytes=5-", true),
            ("bytes=-5", true),
            ("bytes=0-1,3-4", false),
            ("bytes=9-0", false),
            ("bytes=", false),
            ("bytes=-", false),
            ("bytes=a-b", false),
            ("items=0-9", false),
        ] {
            let mut headers = headers(RANGE, &[value]);
            remove_ignored(&mut headers);
            assert_eq!(headers.contains_key(RANGE), stays, "{value}");
        }
    }

    #[test]
    fn s3s_sees_only_what_it_can_read() {
        for (name, value, seen) in [
            (EXPIRES, "0", false),
            (EXPIRES, "Wed, 21 Oct 2015 07:28:00 GMT", true),
            (IF_MATCH, "\"a\", \"b\"", false),
            (IF_MATCH, "\"a\"", true),
            (IF_NONE_MATCH, "*", true),
            (IF_NONE_MATCH, "a", false),
            (CONTENT_TYPE, "a/b", false),
        ] {
            let mut headers = headers(name.clone(), &[value]);
            hide_from_s3s(&mut headers, &Method::POST);
            assert_eq!(headers.contains_key(&name), seen, "{name}: {value}");
        }
    }
}
