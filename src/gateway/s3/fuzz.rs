//! Doors for the fuzzers of what comes from outside: built for them only.

use super::{conditions, dates, xml};

/// Reads an XML body.
pub fn body(document: &[u8]) {
    let _ = xml::reader::parse(document);
}

/// Reads the values of conditional headers.
pub fn condition(text: &str) {
    let _ = conditions::etags(text);
    let _ = dates::parse(text);
}
