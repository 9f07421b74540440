//! Percent-encoding as SigV4 wants it, and query strings.

use super::refusal::Refusal;

/// A decoded query: names and values in the order of arrival.
pub(super) type Query = Vec<(String, String)>;

/// Whether AWS leaves the byte as it is.
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

fn push_escape(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Encodes all but unreserved bytes, and `/` where `keep_slash`.
pub(super) fn encode(bytes: &[u8], keep_slash: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if unreserved(byte) || (keep_slash && byte == b'/') {
            text.push(char::from(byte));
        } else {
            push_escape(&mut text, byte);
        }
    }
    text
}

/// One byte of a text with escapes, and whether it was escaped.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = Result<(u8, bool), Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.0.split_first()?;
        if first != b'%' {
            self.0 = rest;
            return Some(Ok((first, false)));
        }
        let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16).map(|digit| digit as u8);
        match (digit(rest.first()), digit(rest.get(1))) {
            (Some(high), Some(low)) => {
                self.0 = &rest[2..];
                Some(Ok((high << 4 | low, true)))
            }
            _ => {
                self.0 = &[];
                Some(Err(Refusal::invalid_uri()))
            }
        }
    }
}

/// Undoes percent-encoding; `+` stays `+`. What is not UTF-8 then is refused.
pub(super) fn decode(text: &str) -> Result<String, Refusal> {
    let bytes = Unescaped(text.as_bytes()).map(|byte| byte.map(|(byte, _)| byte)).collect::<Result<Vec<_>, _>>()?;
    String::from_utf8(bytes).map_err(|_| Refusal::invalid_uri())
}

/// A path as AWS canonicalises it for S3: each byte decoded and encoded once,
/// nothing else touched. An escaped slash stays escaped.
pub(super) fn canonical_path(raw: &str) -> Result<String, Refusal> {
    let mut path = String::with_capacity(raw.len());
    for byte in Unescaped(raw.as_bytes()) {
        match byte? {
            (b'/', false) => path.push('/'),
            (byte, _) if unreserved(byte) => path.push(char::from(byte)),
            (byte, _) => push_escape(&mut path, byte),
        }
    }
    Ok(path)
}

/// Takes a query string apart. `+` is a space, as every S3 client has it.
pub(super) fn parse_query(raw: &str) -> Result<Query, Refusal> {
    let part = |text: &str| decode(&text.replace('+', "%20"));
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((part(name)?, part(value)?))
        })
        .collect()
}

/// A query string of these pairs, encoded, in their order.
pub(super) fn write_query<'a>(pairs: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&encode(name.as_bytes(), false));
        text.push('=');
        text.push_str(&encode(value.as_bytes(), false));
    }
    text
}

/// The canonical query string: encoded, then sorted by name and value; without
/// the signature that a presigned URL carries.
pub(super) fn canonical_query(query: &Query) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (encode(name.as_bytes(), false), encode(value.as_bytes(), false)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_keep_everything_but_the_way_they_are_escaped() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/b//a/../c/.", "/b//a/../c/."),
            ("/b/a%2fb%2Fc", "/b/a%2Fb%2Fc"),
            ("/b/a+b c!$'()*", "/b/a%2Bb%20c%21%24%27%28%29%2A"),
            ("/b/%41%7e%2e", "/b/A~."),
            ("/b/é", "/b/%C3%A9"),
            ("/b/%c3%a9", "/b/%C3%A9"),
        ] {
            assert_eq!(canonical_path(raw).unwrap(), canonical, "{raw}");
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        for raw in ["%", "/a%", "/a%2", "/a%zz", "/%-1", "%%20"] {
            assert!(canonical_path(raw).is_err(), "{raw}");
            assert!(decode(raw).is_err(), "{raw}");
            assert!(parse_query(raw).is_err(), "{raw}");
        }
        assert!(decode("%ff").is_err());
    }

    #[test]
    fn queries_are_sorted_after_encoding() {
        let query = parse_query("prefix=a+b%2B&list-type=2&&acl&x=%E2%82%AC&X-Amz-Signature=s&a=2&a=1&a-=0").unwrap();
        assert_eq!(query[0], ("prefix".into(), "a b+".into()));
        assert_eq!(canonical_query(&query), "a=1&a=2&a-=0&acl=&list-type=2&prefix=a%20b%2B&x=%E2%82%AC");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in "\\PC*", slash: bool) {
            prop_assert_eq!(decode(&encode(text.as_bytes(), slash)).unwrap(), text);
        }

        #[test]
        fn what_is_written_parses_to_itself(pairs in proptest::collection::vec(("\\PC+", "\\PC*"), 0..8)) {
            prop_assert_eq!(parse_query(&write_query(&pairs)).unwrap(), pairs);
        }
    }
}
