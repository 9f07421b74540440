//! Takes the aws-chunked framing off a body.
//!
//! ```text
//! body     = *chunk last-chunk trailers
//! chunk    = size [";chunk-signature=" 64HEX] CRLF bytes CRLF     size: hexadecimal, not 0
//! last     = "0"  [";chunk-signature=" 64HEX] CRLF
//! trailers = *(name ":" value CRLF) CRLF                           up to the body's end
//! ```
//!
//! Knows bytes only: it neither waits nor reads. A signed chunk's bytes come
//! out when its signature has been verified, an unsigned one's at once.

use std::collections::VecDeque;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf, Bytes};

use super::body_error::BodyError;
use super::signature::Chain;
use super::trailers::{Trailer, parse_trailers};

/// Largest signed chunk: it is held until it is verified.
pub(super) const SIGNED_CHUNK_BYTES_MAX: u64 = 16 << 20;
/// Longest first line of a chunk.
const LINE_BYTES_MAX: usize = 1024;
/// Longest trailer section.
const TRAILERS_BYTES_MAX: usize = 16 << 10;

/// Where in the framing the next byte belongs.
enum State {
    /// In a chunk's first line, of which this is there.
    Line(Vec<u8>),
    /// In a chunk's bytes, of which so many are missing.
    Data(u64),
    /// In the line end after a chunk's bytes; how much of it was there.
    DataEnd(u8),
    /// After the last chunk.
    Trailers(Vec<u8>),
}

/// A chunk whose signature is not verified yet.
struct Unverified {
    sha256: Context,
    signature: String,
    bytes: Vec<Bytes>,
}

/// The decoder of one body.
pub(super) struct ChunkDecoder {
    state: State,
    /// Verifies signatures; `None` where chunks are not signed.
    chain: Option<Chain>,
    unverified: Option<Unverified>,
    declared_bytes: u64,
    received_bytes: u64,
    ready: VecDeque<Bytes>,
}

impl ChunkDecoder {
    /// A decoder for a body of `declared_bytes` once decoded.
    pub(super) fn new(declared_bytes: u64, chain: Option<Chain>) -> Self {
        Self {
            state: State::Line(Vec::new()),
            chain,
            unverified: None,
            declared_bytes,
            received_bytes: 0,
            ready: VecDeque::new(),
        }
    }

    /// Decoded bytes that may be used, in order.
    pub(super) fn ready(&mut self) -> &mut VecDeque<Bytes> {
        &mut self.ready
    }

    /// Takes the next bytes of the framed body. After an error it takes no more.
    pub(super) fn feed(&mut self, mut input: Bytes) -> Result<(), BodyError> {
        while input.has_remaining() {
            match &mut self.state {
                State::Line(line) => {
                    let end = input.iter().position(|&byte| byte == b'\n');
                    let taken = input.split_to(end.map_or(input.len(), |end| end + 1));
                    line.extend_from_slice(&taken);
                    if line.len() > LINE_BYTES_MAX {
                        return Err(BodyError::Malformed("a chunk's first line is too long"));
                    }
                    if end.is_some() {
                        let line = std::mem::take(line);
                        self.begin_chunk(&line)?;
                    }
                }
                State::Data(missing) => {
                    let length = (*missing).min(input.len() as u64);
                    *missing -= length;
                    let done = *missing == 0;
                    let bytes = input.split_to(length as usize);
                    self.take_data(bytes, done)?;
                }
                State::DataEnd(seen) => {
                    if input.get_u8() != b"\r\n"[usize::from(*seen)] {
                        return Err(BodyError::Malformed("a chunk does not end where its size says"));
                    }
                    self.state = if *seen == 0 { State::DataEnd(1) } else { State::Line(Vec::new()) };
                }
                State::Trailers(section) => {
                    if section.len() + input.len() > TRAILERS_BYTES_MAX {
                        return Err(BodyError::Malformed("there are too many bytes after the last chunk"));
                    }
                    section.extend_from_slice(&input);
                    input.clear();
                }
            }
        }
        Ok(())
    }

    /// The body is over: checks that it is whole and gives its trailers, which
    /// must be those of `expected` (lower-case names).
    pub(super) fn finish(&mut self, expected: &[String]) -> Result<Vec<Trailer>, BodyError> {
        let whole = self.received_bytes == self.declared_bytes;
        let State::Trailers(section) = &self.state else { return Err(self.incomplete()) };
        if !whole {
            return Err(self.incomplete());
        }
        parse_trailers(section, expected, self.chain.as_mut())
    }

    fn incomplete(&self) -> BodyError {
        BodyError::Incomplete { received_bytes: self.received_bytes, declared_bytes: self.declared_bytes }
    }

    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), BodyError> {
        let (size, signature) = parse_line(line)?;
        if size > self.declared_bytes.saturating_sub(self.received_bytes) {
            return Err(BodyError::TooLong { declared_bytes: self.declared_bytes });
        }
        if self.chain.is_some() {
            let signature = signature.ok_or(BodyError::Malformed("a chunk has no signature"))?;
            if size > SIGNED_CHUNK_BYTES_MAX {
                return Err(BodyError::TooLarge { size_bytes: size, max_bytes: SIGNED_CHUNK_BYTES_MAX });
            }
            self.unverified = Some(Unverified { sha256: Context::new(&SHA256), signature, bytes: Vec::new() });
        }
        if size == 0 {
            self.state = State::Trailers(Vec::new());
            return self.release();
        }
        self.state = State::Data(size);
        Ok(())
    }

    fn take_data(&mut self, bytes: Bytes, done: bool) -> Result<(), BodyError> {
        self.received_bytes += bytes.len() as u64;
        match &mut self.unverified {
            None => self.ready.push_back(bytes),
            Some(chunk) => {
                chunk.sha256.update(&bytes);
                chunk.bytes.push(bytes);
            }
        }
        if done {
            self.release()?;
            self.state = State::DataEnd(0);
        }
        Ok(())
    }

    /// Verifies the chunk that is whole now, if it is a signed one.
    fn release(&mut self) -> Result<(), BodyError> {
        let (Some(chunk), Some(chain)) = (self.unverified.take(), &mut self.chain) else { return Ok(()) };
        if !chain.verify_chunk(chunk.sha256.finish().as_ref(), &chunk.signature) {
            return Err(BodyError::ChunkSignature("a chunk"));
        }
        self.ready.extend(chunk.bytes);
        Ok(())
    }
}

/// Reads `size[;extensions]CRLF`.
fn parse_line(line: &[u8]) -> Result<(u64, Option<String>), BodyError> {
    let text = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let text = text.ok_or(BodyError::Malformed("a chunk's first line does not end with CR LF"))?;
    let (size, extensions) = text.split_once(';').unwrap_or((text, ""));
    if size.is_empty() || size.len() > 16 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(BodyError::Malformed("a chunk's size is not a hexadecimal number"));
    }
    let size = u64::from_str_radix(size, 16).map_err(|_| BodyError::Malformed("a chunk's size is too large"))?;
    let signature = extensions.split(';').find_map(|extension| extension.trim().strip_prefix("chunk-signature="));
    Ok((size, signature.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::front::authorization::Scope;
    use crate::gateway::front::signature::Signer;

    fn decode(
        declared: u64,
        chain: Option<Chain>,
        pieces: &[&[u8]],
        expected: &[&str],
    ) -> Result<(Vec<u8>, Vec<Trailer>), BodyError> {
        let mut decoder = ChunkDecoder::new(declared, chain);
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece))?;
        }
        let expected: Vec<String> = expected.iter().map(|&name| name.to_owned()).collect();
        let trailers = decoder.finish(&expected)?;
        Ok((decoder.ready().iter().flatten().copied().collect(), trailers))
    }

    fn documented_chain(seed: &str) -> Chain {
        let scope = Scope { access_key_id: String::new(), date: "20130524".into(), region: "us-east-1".into() };
        Chain::new(Signer::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope, "20130524T000000Z"), seed)
    }

    /// The example upload of AWS's documentation, without trailers.
    fn documented_body() -> Vec<u8> {
        let mut body =
            b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n".to_vec();
        body.extend([b'a'; 65_536]);
        body.extend(b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n");
        body.extend([b'a'; 1024]);
        body.extend(b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n");
        body
    }
    const DOCUMENTED_SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";

    /// The same with a trailer, of which the documentation gives every signature.
    fn documented_body_with_trailer() -> Vec<u8> {
        let mut body =
            b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n".to_vec();
        body.extend([b'a'; 65_536]);
        body.extend(b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n");
        body.extend([b'a'; 1024]);
        body.extend(b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n");
        body.extend(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
        body.extend(
            b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
        );
        body
    }
    const TRAILER_SEED: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";

    #[test]
    fn the_documented_uploads_decode() {
        let body = documented_body();
        let (bytes, trailers) = decode(66_560, Some(documented_chain(DOCUMENTED_SEED)), &[&body], &[]).unwrap();
        assert_eq!((bytes.len(), trailers.len()), (66_560, 0));
        let body = documented_body_with_trailer();
        let chain = documented_chain(TRAILER_SEED);
        let (bytes, trailers) = decode(66_560, Some(chain), &[&body], &["x-amz-checksum-crc32c"]).unwrap();
        assert_eq!(bytes, vec![b'a'; 66_560]);
        assert_eq!(trailers, [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]);
    }

    #[test]
    fn a_signed_body_with_any_bit_changed_is_refused() {
        let body = documented_body_with_trailer();
        for at in (0..300).chain(30_000..30_003).chain(body.len() - 1400..body.len() - 4) {
            let mut changed = body.clone();
            changed[at] ^= 1;
            let chain = documented_chain(TRAILER_SEED);
            assert!(decode(66_560, Some(chain), &[&changed], &["x-amz-checksum-crc32c"]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn nothing_of_a_signed_chunk_comes_out_before_it_is_verified() {
        let body = documented_body();
        let mut decoder = ChunkDecoder::new(66_560, Some(documented_chain(DOCUMENTED_SEED)));
        let first_chunk = 88 + 65_536;
        for piece in body[..65_600].chunks(1000) {
            decoder.feed(Bytes::copy_from_slice(piece)).unwrap();
            assert!(decoder.ready().is_empty());
        }
        decoder.feed(Bytes::copy_from_slice(&body[65_600..first_chunk])).unwrap();
        assert_eq!(decoder.ready().iter().map(Bytes::len).sum::<usize>(), 65_536);
    }

    #[test]
    fn an_unsigned_body_decodes_however_it_is_cut() {
        let body = b"5\r\nhello\r\n0006;any=thing\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
        let expected = ["x-amz-checksum-crc32"];
        for first in 0..=body.len() {
            for second in first..=body.len() {
                let pieces = [&body[..first], &body[first..second], &body[second..]];
                let (bytes, trailers) = decode(11, None, &pieces, &expected).unwrap();
                assert_eq!(bytes, b"hello world");
                assert_eq!(trailers[0].1, "DUoRhQ==");
            }
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let body = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
        for length in 0..body.len() - 2 {
            assert!(decode(11, None, &[&body[..length]], &["x-amz-checksum-crc32"]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_unsigned_chunk_comes_out_while_it_arrives() {
        let mut decoder = ChunkDecoder::new(5 << 30, None);
        decoder.feed(Bytes::from_static(b"140000000\r\n")).unwrap();
        decoder.feed(Bytes::from(vec![7; 100_000])).unwrap();
        assert_eq!(decoder.ready().pop_front().map(|bytes| bytes.len()), Some(100_000));
    }

    #[test]
    fn lengths_must_agree_with_the_declared_one() {
        let body: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";
        assert!(decode(5, None, &[body], &[]).is_ok());
        assert_eq!(decode(4, None, &[body], &[]), Err(BodyError::TooLong { declared_bytes: 4 }));
        let incomplete = BodyError::Incomplete { received_bytes: 5, declared_bytes: 6 };
        assert_eq!(decode(6, None, &[body], &[]), Err(incomplete));
        assert!(matches!(decode(5, None, &[b"5\r\nhello\r\n"], &[]), Err(BodyError::Incomplete { .. })));
    }

    #[test]
    fn broken_framing_is_refused() {
        for body in [
            b"5\r\nhelloX\n0\r\n\r\n".as_slice(),
            b"5\r\nhello\r0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"10000000000000000\r\n",
            b"ffffffffffffffff\r\n",
            b"5\r\nhello\r\n0\r\n\r\nmore",
            b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
        ] {
            assert!(decode(5, None, &[body], &[]).is_err(), "{}", String::from_utf8_lossy(body));
        }
        let line = [b'1'; LINE_BYTES_MAX + 1];
        assert!(decode(5, None, &[&line], &[]).is_err());
    }

    #[test]
    fn a_signed_chunk_above_the_cap_is_refused_before_it_is_held() {
        let line = format!("1000001;chunk-signature={}\r\n", "0".repeat(64));
        let result = decode(1 << 30, Some(documented_chain(DOCUMENTED_SEED)), &[line.as_bytes()], &[]);
        assert_eq!(result, Err(BodyError::TooLarge { size_bytes: (16 << 20) + 1, max_bytes: 16 << 20 }));
        let unsigned = decode(5, Some(documented_chain(DOCUMENTED_SEED)), &[b"5\r\nhello\r\n"], &[]);
        assert!(matches!(unsigned, Err(BodyError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = decode(20, None, &pieces, &["x-amz-checksum-crc32"]);
        }
    }
}
