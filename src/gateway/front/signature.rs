//! SigV4's key derivation and signatures: of a request, of its chunks and of
//! its trailers.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

use super::authorization::{ALGORITHM, Scope};

/// SHA-256 of nothing, in hexadecimal.
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The key of one day, region and service, with the scope that it belongs to.
#[derive(Clone)]
pub(super) struct Signer {
    key: Key,
    /// `date/region/s3/aws4_request`
    scope: String,
    /// `YYYYMMDDTHHMMSSZ`
    timestamp: String,
}

impl Signer {
    pub(super) fn new(secret_key: &str, scope: &Scope, timestamp: &str) -> Self {
        let mut first = zeroize::Zeroizing::new(Vec::with_capacity(4 + secret_key.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret_key.as_bytes());
        let mut key = Key::new(HMAC_SHA256, &first);
        for part in [scope.date.as_str(), scope.region.as_str(), "s3", "aws4_request"] {
            key = Key::new(HMAC_SHA256, sign(&key, part.as_bytes()).as_ref());
        }
        let scope = format!("{}/{}/s3/aws4_request", scope.date, scope.region);
        Self { key, scope, timestamp: timestamp.to_owned() }
    }

    /// The string that is signed for a canonical request.
    pub(super) fn string_to_sign(&self, canonical_request: &[u8]) -> String {
        let hash = hex(digest(&SHA256, canonical_request).as_ref());
        format!("{ALGORITHM}\n{}\n{}\n{hash}", self.timestamp, self.scope)
    }

    /// Whether `signature` is that of `string_to_sign`; takes equally long for
    /// every wrong one.
    pub(super) fn verify(&self, string_to_sign: &str, signature: &str) -> bool {
        let expected = hex(sign(&self.key, string_to_sign.as_bytes()).as_ref());
        verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok()
    }
}

/// The chain of a body's signatures: each covers the one before it, the first
/// of all is the request's own.
#[derive(Clone)]
pub(super) struct Chain {
    signer: Signer,
    previous: String,
}

impl Chain {
    pub(super) fn new(signer: Signer, request_signature: &str) -> Self {
        Self { signer, previous: request_signature.to_owned() }
    }

    /// Whether `signature` is the next chunk's, whose bytes have this SHA-256.
    pub(super) fn verify_chunk(&mut self, sha256: &[u8], signature: &str) -> bool {
        let tail = format!("{}\n{EMPTY_SHA256}\n{}", self.previous, hex(sha256));
        self.verify_next("AWS4-HMAC-SHA256-PAYLOAD", &tail, signature)
    }

    /// Whether `signature` is that of the trailers: `name:value\n` each.
    pub(super) fn verify_trailers(&mut self, canonical: &[u8], signature: &str) -> bool {
        let tail = format!("{}\n{}", self.previous, hex(digest(&SHA256, canonical).as_ref()));
        self.verify_next("AWS4-HMAC-SHA256-TRAILER", &tail, signature)
    }

    fn verify_next(&mut self, kind: &str, tail: &str, signature: &str) -> bool {
        let text = format!("{kind}\n{}\n{}\n{tail}", self.signer.timestamp, self.signer.scope);
        let good = self.signer.verify(&text, signature);
        if good {
            signature.clone_into(&mut self.previous);
        }
        good
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let pair = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(pair).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn signer() -> Signer {
        let scope = Scope { access_key_id: String::new(), date: "20130524".into(), region: "us-east-1".into() };
        Signer::new(SECRET, &scope, "20130524T000000Z")
    }

    /// "Example: GET Object" of AWS's documentation.
    #[test]
    fn the_documented_string_has_the_documented_signature() {
        let canonical = format!(
            "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\n\
             x-amz-content-sha256:{EMPTY_SHA256}\nx-amz-date:20130524T000000Z\n\n\
             host;range;x-amz-content-sha256;x-amz-date\n{EMPTY_SHA256}"
        );
        let signer = signer();
        let text = signer.string_to_sign(canonical.as_bytes());
        let hash = "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        assert_eq!(text, format!("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{hash}"));
        assert!(signer.verify(&text, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
        assert!(!signer.verify(&text, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb40"));
        assert!(!signer.verify(&text, ""));
    }

    /// The chunked upload of AWS's documentation: 65,536 and 1,024 times 'a'.
    #[test]
    fn the_documented_chunks_have_the_documented_signatures() {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let mut chain = Chain::new(signer(), seed);
        let hash = |length: usize| digest(&SHA256, &vec![b'a'; length]);
        let signatures = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        assert!(!chain.verify_chunk(hash(65_536).as_ref(), signatures[1]));
        assert!(chain.verify_chunk(hash(65_536).as_ref(), signatures[0]));
        assert!(chain.verify_chunk(hash(1024).as_ref(), signatures[1]));
        assert!(chain.verify_chunk(hash(0).as_ref(), signatures[2]));
    }
}
