//! Ranges of bytes: those of reads, which are ignored where they make no
//! sense, and those of part copies, which are refused.

use super::failure::Failure;
use crate::objects::ByteRange;

/// The range that a Range header asks for; none if it is malformed or asks for
/// several, as S3 (and RFC 9110) then gives the whole.
pub(super) fn of_read(text: &str) -> Option<ByteRange> {
    let (unit, spec) = text.trim().split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match spec.trim().split_once('-')? {
        ("", length) => number(length).map(ByteRange::Last),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::Inclusive(first, last))
        }
    }
}

/// The range of x-amz-copy-source-range: `bytes=first-last` and nothing else.
pub(super) fn of_copy(text: &str) -> Result<(u64, u64), Failure> {
    match of_read(text) {
        Some(ByteRange::Inclusive(first, last)) if text.starts_with("bytes=") => Ok((first, last)),
        _ => {
            let sentence = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and \
                            last are the zero-based offsets of the first and last bytes to copy";
            Err(Failure::argument("x-amz-copy-source-range", text, sentence))
        }
    }
}

/// Digits alone; a number beyond all sizes is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_are_taken() {
        assert_eq!(of_read("bytes=0-0"), Some(ByteRange::Inclusive(0, 0)));
        assert_eq!(of_read("Bytes=5-9"), Some(ByteRange::Inclusive(5, 9)));
        assert_eq!(of_read("bytes=7-"), Some(ByteRange::From(7)));
        assert_eq!(of_read("bytes=-3"), Some(ByteRange::Last(3)));
        assert_eq!(of_read("bytes=-0"), Some(ByteRange::Last(0)));
        assert_eq!(of_read("bytes=0-99999999999999999999"), Some(ByteRange::Inclusive(0, u64::MAX)));
    }

    #[test]
    fn others_are_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            assert_eq!(of_read(text), None, "{text}");
        }
    }

    #[test]
    fn copies_are_strict() {
        assert_eq!(of_copy("bytes=0-9").unwrap(), (0, 9));
        for text in ["bytes=0-", "bytes=-9", "0-9", "bytes=9-0", "bytes=0-1,2-3", "BYTES=0-9"] {
            assert_eq!(of_copy(text).unwrap_err().code(), "InvalidArgument", "{text}");
        }
    }
}
