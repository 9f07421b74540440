//! The little XML that S3 speaks, exact for every key: XML 1.0 cannot carry
//! most control characters, S3 and its clients write them as character
//! references all the same, and so does this.

pub(super) mod reader;
pub(super) mod writer;
