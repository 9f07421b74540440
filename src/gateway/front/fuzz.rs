//! Doors for the fuzzers of what comes from outside: built for them only.

use bytes::Bytes;

use super::authorization::{parse_header, parse_query_claim};
use super::chunks::ChunkDecoder;
use super::encoding::{canonical_path, canonical_query, parse_query, write_query};
use super::host::Domains;
use super::target::Target;

/// Decodes an aws-chunked body that arrives in pieces of `step` bytes. Gives
/// the decoded bytes if it is whole.
pub fn chunks(body: &[u8], declared_bytes: u64, step: usize) -> Option<Vec<u8>> {
    let mut decoder = ChunkDecoder::new(declared_bytes, None);
    for piece in body.chunks(step.max(1)) {
        decoder.feed(Bytes::copy_from_slice(piece)).ok()?;
    }
    let trailers = decoder.finish(&["x-amz-checksum-crc32".to_owned()]).or_else(|_| decoder.finish(&[]));
    trailers.ok()?;
    Some(decoder.ready().iter().flat_map(|bytes| bytes.to_vec()).collect())
}

/// Takes a path and a query apart, and what signatures they claim.
pub fn request_line(host: &str, path: &str, query: &str, authorization: &str) {
    let domains = Domains::new(["example.com"]).expect("a good domain");
    let _ = Target::parse(&domains, host, path);
    if let Ok(path) = canonical_path(path) {
        assert_eq!(canonical_path(&path).ok(), Some(path.clone()), "a canonical path stays as it is");
    }
    if let Ok(query) = parse_query(query) {
        let _ = parse_query_claim(&query, "us-east-1");
        let _ = canonical_query(&query);
        assert_eq!(parse_query(&write_query(&query)).ok(), Some(query), "a query survives being written");
    }
    let _ = parse_header(authorization, "us-east-1");
}
