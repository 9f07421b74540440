//! Keys and prefixes in lists: S3's URL encoding, and the tokens that say
//! where a page ended.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::S3ErrorCode;

use super::failure::Failure;
use super::request::Query;

/// What `encoding-type=url` leaves alone: Java's URLEncoder, and the slash.
/// A space becomes a plus.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// First byte of a token, so that another form can follow.
const TOKEN_FORMAT: u8 = 1;

/// How keys stand in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are.
    Plain,
    /// `encoding-type=url`.
    Url,
}

impl Encoding {
    pub(super) fn of(query: &Query) -> Result<Self, Failure> {
        match query.filled("encoding-type") {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(other) => {
                Err(Failure::argument("encoding-type", other, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    /// The name in `EncodingType`, where there is one.
    pub(super) fn name(self) -> Option<&'static str> {
        (self == Self::Url).then_some("url")
    }

    pub(super) fn show(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => utf8_percent_encode(text, &ESCAPED).to_string().replace("%20", "+"),
        }
    }
}

/// A key in a URL's path.
pub(super) fn path_of(key: &str) -> String {
    const PATH: AsciiSet = ESCAPED.remove(b'~').add(b'*');
    utf8_percent_encode(key, &PATH).to_string()
}

/// The token for a page that ended with this name.
pub(super) fn token(last: &str) -> String {
    let mut bytes = vec![TOKEN_FORMAT];
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The name in a token.
pub(super) fn from_token(token: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let name = bytes.and_then(|bytes| String::from_utf8(bytes.strip_prefix(&[TOKEN_FORMAT])?.to_vec()).ok());
    name.ok_or_else(|| {
        Failure::new(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect")
            .detail("ArgumentName", "continuation-token")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_s3_does() {
        let url = |key| Encoding::Url.show(key);
        assert_eq!(url("a/b c+d.e-f_g*h~i"), "a/b+c%2Bd.e-f_g*h%7Ei");
        assert_eq!(url("é\u{1}\r%&=?"), "%C3%A9%01%0D%25%26%3D%3F");
        assert_eq!(Encoding::Plain.show("a b\u{1}"), "a b\u{1}");
        assert_eq!(path_of("a b/c~+é"), "a%20b/c~%2B%C3%A9");
    }

    #[test]
    fn tokens_are_opaque_and_checked() {
        for name in ["a", "a/b\u{1}é", ""] {
            assert_eq!(from_token(&token(name)).unwrap(), name);
        }
        assert_ne!(token("abc"), "abc");
        for bad in ["", "abc", "!!", &URL_SAFE_NO_PAD.encode(b"\x02abc"), &URL_SAFE_NO_PAD.encode(b"\x01\xff")] {
            assert_eq!(from_token(bad).unwrap_err().code(), "InvalidArgument", "{bad}");
        }
    }
}
