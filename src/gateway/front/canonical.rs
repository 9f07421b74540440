//! The canonical request: what a client signs, built from exactly what arrived.

use http::{HeaderMap, Method};

use super::encoding::{Query, canonical_path, canonical_query, encode};
use super::refusal::Refusal;

/// The parts of a request that a signature covers.
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    /// The path as it arrived, escapes and all.
    pub(super) raw_path: &'a str,
    pub(super) query: &'a Query,
    pub(super) headers: &'a HeaderMap,
    /// Lower-case names, sorted.
    pub(super) signed_headers: &'a [String],
    /// The last line: a hash, or what stands for one.
    pub(super) payload: &'a str,
}

impl Signed<'_> {
    /// The canonical request with this path.
    pub(super) fn canonical_request(&self, path: &str) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        let mut line = |part: &[u8]| {
            text.extend_from_slice(part);
            text.push(b'\n');
        };
        line(self.method.as_str().as_bytes());
        line(path.as_bytes());
        line(canonical_query(self.query).as_bytes());
        for name in self.signed_headers {
            line(&self.header_line(name));
        }
        line(b"");
        line(self.signed_headers.join(";").as_bytes());
        text.extend_from_slice(self.payload.as_bytes());
        text
    }

    /// The ways in which clients canonicalise this path, the usual one first:
    /// each byte encoded once; an escaped slash as a slash; as it was sent.
    /// All of them name the same object.
    pub(super) fn paths(&self) -> Result<Vec<String>, Refusal> {
        let usual = canonical_path(self.raw_path)?;
        let decoded = super::encoding::decode(self.raw_path)?;
        let mut paths = vec![usual, encode(decoded.as_bytes(), true), self.raw_path.to_owned()];
        paths.dedup();
        Ok(paths)
    }

    fn header_line(&self, name: &str) -> Vec<u8> {
        let mut line = name.as_bytes().to_vec();
        for (index, value) in self.headers.get_all(name).iter().enumerate() {
            line.push(if index == 0 { b':' } else { b',' });
            push_collapsed(&mut line, value.as_bytes());
        }
        line
    }
}

/// Appends a header's value without outer spaces and with one where several
/// stand together.
fn push_collapsed(line: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            line.push(b' ');
        }
        line.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::front::encoding::parse_query;

    #[test]
    fn a_canonical_request_looks_as_aws_documents_it() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "examplebucket.s3.amazonaws.com".parse().unwrap());
        headers.insert("x-amz-meta-a", "  a   b\tc ".parse().unwrap());
        headers.append("x-amz-meta-a", "d".parse().unwrap());
        let query = parse_query("prefix=J&max-keys=2&acl").unwrap();
        let signed = Signed {
            method: &Method::GET,
            raw_path: "/a%2fb%20c+d",
            query: &query,
            headers: &headers,
            signed_headers: &["host".to_owned(), "x-amz-meta-a".to_owned()],
            payload: "UNSIGNED-PAYLOAD",
        };
        let paths = signed.paths().unwrap();
        assert_eq!(paths, ["/a%2Fb%20c%2Bd", "/a/b%20c%2Bd", "/a%2fb%20c+d"]);
        let expected = "GET\n/a%2Fb%20c%2Bd\nacl=&max-keys=2&prefix=J\nhost:examplebucket.s3.amazonaws.com\n\
                        x-amz-meta-a:a b c,d\n\nhost;x-amz-meta-a\nUNSIGNED-PAYLOAD";
        assert_eq!(String::from_utf8(signed.canonical_request(&paths[0])).unwrap(), expected);
    }
}
