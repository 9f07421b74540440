//! `aws-chunked` in Content-Encoding: it describes the transfer, not the object.

use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

/// Takes it out, so that it is not kept with the object. Other codings stay.
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut headers: HeaderMap =
                values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value))).collect();
            remove_aws_chunked(&mut headers);
            assert!(headers.get_all(CONTENT_ENCODING).iter().eq(left.iter()), "{values:?}: {headers:?}");
        }
    }
}
