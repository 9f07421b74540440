//! What follows the last chunk of an aws-chunked body.

use super::body_error::BodyError;
use super::signature::Chain;

/// A lower-case name and its value.
pub(super) type Trailer = (String, String);

const SIGNATURE: &str = "x-amz-trailer-signature";

/// Reads all that came after the last chunk. Every expected trailer must be
/// there once, no other may be; where chunks are signed, so are trailers.
///
/// Empty lines between are allowed: AWS's own example has one before the
/// signature.
pub(super) fn parse_trailers(
    section: &[u8],
    expected: &[String],
    chain: Option<&mut Chain>,
) -> Result<Vec<Trailer>, BodyError> {
    if !section.ends_with(b"\n") {
        return Err(BodyError::Malformed("the body ends in the middle of a line after its last chunk"));
    }
    let section = std::str::from_utf8(section).map_err(|_| BodyError::Malformed("a trailer is not text"))?;
    let mut trailers = section
        .lines()
        .filter(|line| !line.trim_end_matches('\r').is_empty())
        .map(parse_line)
        .collect::<Result<Vec<_>, _>>()?;
    let signature = match trailers.last() {
        Some((name, _)) if name == SIGNATURE => trailers.pop().map(|(_, value)| value),
        _ => None,
    };
    check_names(&trailers, expected)?;
    if let Some(chain) = chain.filter(|_| !expected.is_empty() || signature.is_some()) {
        let signature = signature.ok_or_else(|| BodyError::BadTrailer(format!("{SIGNATURE} is missing")))?;
        let canonical: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        if !chain.verify_trailers(canonical.as_bytes(), &signature) {
            return Err(BodyError::ChunkSignature("the trailers"));
        }
    }
    Ok(trailers)
}

fn parse_line(line: &str) -> Result<Trailer, BodyError> {
    let (name, value) =
        line.split_once(':').ok_or(BodyError::Malformed("a line after the last chunk is no trailer"))?;
    let blank = [' ', '\t', '\r'];
    Ok((name.trim_matches(blank).to_ascii_lowercase(), value.trim_matches(blank).to_owned()))
}

fn check_names(trailers: &[Trailer], expected: &[String]) -> Result<(), BodyError> {
    for name in expected {
        match trailers.iter().filter(|(other, _)| other == name).count() {
            0 => return Err(BodyError::BadTrailer(format!("{name} is missing"))),
            1 => {}
            _ => return Err(BodyError::BadTrailer(format!("{name} came more than once"))),
        }
    }
    match trailers.iter().find(|(name, _)| !expected.contains(name)) {
        Some((name, _)) => Err(BodyError::BadTrailer(format!("x-amz-trailer does not name '{}'", name.escape_debug()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_must_come_once_and_nothing_else() {
        let expected = ["a".to_owned()];
        let parse = |section: &str| parse_trailers(section.as_bytes(), &expected, None);
        for good in ["a:1\r\n\r\n", "A: 1 \r\n", "a:1\n\r\n\r\n", "\r\na:1\r\n\r\n"] {
            assert_eq!(parse(good).unwrap(), [("a".to_owned(), "1".to_owned())], "{good:?}");
        }
        for bad in ["", "\r\n", "b:1\r\n\r\n", "a:1\r\nb:2\r\n\r\n", "a:1\r\na:1\r\n\r\n", "a:1", "a\r\n\r\n"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse_trailers(b"\r\n", &[], None), Ok(vec![]));
    }
}
