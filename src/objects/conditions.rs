//! Conditions of reads and the arithmetic of ranges.

use super::{ByteRange, ObjectError, ObjectInfo, ReadCondition};
use crate::types::UnixMillis;

/// How a read's conditions came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They hold.
    Holds,
    /// The client has it already.
    NotModified,
    /// One does not hold; names the header.
    Failed(&'static str),
}

/// Evaluates a read's conditions in the order of RFC 9110, section 13.2.2: an
/// ETag condition overrides the date condition of its kind.
pub fn evaluate(condition: &ReadCondition, etag: &str, modified: UnixMillis) -> Verdict {
    match (&condition.if_match, condition.if_unmodified_since) {
        (Some(wanted), _) if !wanted.matches(etag) => return Verdict::Failed("If-Match"),
        (None, Some(since)) if modified.whole_seconds() > since => return Verdict::Failed("If-Unmodified-Since"),
        _ => {}
    }
    match (&condition.if_none_match, condition.if_modified_since) {
        (Some(unwanted), _) if unwanted.matches(etag) => Verdict::NotModified,
        (None, Some(since)) if modified.whole_seconds() <= since => Verdict::NotModified,
        _ => Verdict::Holds,
    }
}

/// Fails a GET or HEAD whose conditions do not hold.
pub fn check_read(condition: &ReadCondition, info: &ObjectInfo) -> Result<(), ObjectError> {
    match evaluate(condition, &info.etag, info.modified) {
        Verdict::Holds => Ok(()),
        Verdict::NotModified => Err(ObjectError::NotModified(Box::new(info.clone()))),
        Verdict::Failed(header) => Err(ObjectError::PreconditionFailed(header)),
    }
}

/// Fails a copy whose conditions on the source do not hold. There is no "not
/// modified" for a copy.
pub fn check_source(condition: &ReadCondition, etag: &str, modified: UnixMillis) -> Result<(), ObjectError> {
    match evaluate(condition, etag, modified) {
        Verdict::Holds => Ok(()),
        Verdict::NotModified if condition.if_none_match.is_some() => {
            Err(ObjectError::PreconditionFailed("x-amz-copy-source-If-None-Match"))
        }
        Verdict::NotModified => Err(ObjectError::PreconditionFailed("x-amz-copy-source-If-Modified-Since")),
        Verdict::Failed("If-Match") => Err(ObjectError::PreconditionFailed("x-amz-copy-source-If-Match")),
        Verdict::Failed(_) => Err(ObjectError::PreconditionFailed("x-amz-copy-source-If-Unmodified-Since")),
    }
}

/// First byte and number of bytes that a range means in an object of that size.
pub fn resolve(range: ByteRange, size_bytes: u64) -> Result<(u64, u64), ObjectError> {
    let unsatisfiable = ObjectError::InvalidRange { size_bytes };
    match range {
        ByteRange::Inclusive(first, last) if first <= last && first < size_bytes => {
            Ok((first, last.min(size_bytes - 1) - first + 1))
        }
        ByteRange::From(first) if first < size_bytes => Ok((first, size_bytes - first)),
        ByteRange::Last(length) if length > 0 && size_bytes > 0 => {
            let length = length.min(size_bytes);
            Ok((size_bytes - length, length))
        }
        _ => Err(unsatisfiable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ETagMatch;

    fn tag(etag: &str) -> Option<ETagMatch> {
        Some(ETagMatch::OneOf(vec![etag.into()]))
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(resolve(ByteRange::Inclusive(2, 3), 10).unwrap(), (2, 2));
        assert_eq!(resolve(ByteRange::Inclusive(2, 99), 10).unwrap(), (2, 8));
        assert_eq!(resolve(ByteRange::From(9), 10).unwrap(), (9, 1));
        assert_eq!(resolve(ByteRange::Last(3), 10).unwrap(), (7, 3));
        assert_eq!(resolve(ByteRange::Last(99), 10).unwrap(), (0, 10));
        for (range, size) in [
            (ByteRange::From(10), 10),
            (ByteRange::Last(0), 10),
            (ByteRange::Last(1), 0),
            (ByteRange::Inclusive(0, 0), 0),
        ] {
            assert!(matches!(resolve(range, size), Err(ObjectError::InvalidRange { .. })), "{range:?}");
        }
    }

    #[test]
    fn an_etag_overrides_the_date_of_its_kind() {
        let modified = UnixMillis(100_500);
        let holds = |condition| evaluate(&condition, "a", modified);
        let none = ReadCondition::default();
        let both = ReadCondition { if_match: tag("a"), if_unmodified_since: Some(1), ..none.clone() };
        assert_eq!(holds(both), Verdict::Holds);
        let other = ReadCondition { if_none_match: tag("b"), if_modified_since: Some(200), ..none.clone() };
        assert_eq!(holds(other), Verdict::Holds);
        assert_eq!(holds(ReadCondition { if_match: tag("b"), ..none.clone() }), Verdict::Failed("If-Match"));
        assert_eq!(holds(ReadCondition { if_none_match: tag("a"), ..none.clone() }), Verdict::NotModified);
        assert_eq!(holds(ReadCondition { if_modified_since: Some(100), ..none.clone() }), Verdict::NotModified);
        assert_eq!(holds(ReadCondition { if_modified_since: Some(99), ..none.clone() }), Verdict::Holds);
        assert_eq!(holds(ReadCondition { if_unmodified_since: Some(100), ..none.clone() }), Verdict::Holds);
        let early = ReadCondition { if_unmodified_since: Some(99), ..none };
        assert_eq!(holds(early), Verdict::Failed("If-Unmodified-Since"));
    }
}
