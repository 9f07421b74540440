//! What `x-amz-content-sha256` says about the body.

use super::refusal::Refusal;

/// How a body's bytes are vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    /// Not at all: `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// By their SHA-256, in lower-case hexadecimal.
    Sha256(String),
    /// aws-chunked: by what the trailers say, if anything.
    UnsignedChunks,
    /// aws-chunked: by a signature for each chunk, and one for the trailers if
    /// there are any.
    SignedChunks {
        /// Whether trailers follow.
        trailers: bool,
    },
}

impl Payload {
    /// Reads the value of the header.
    pub(super) fn parse(value: &str) -> Result<Self, Refusal> {
        match value {
            "UNSIGNED-PAYLOAD" => Ok(Self::Unsigned),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunks),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks { trailers: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::SignedChunks { trailers: true }),
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                Err(Refusal::not_implemented("Chunks signed with AWS4-ECDSA-P256-SHA256 (SigV4A) are not implemented."))
            }
            _ if value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Self::Sha256(value.to_ascii_lowercase()))
            }
            _ => Err(Refusal::invalid_argument(
                "x-amz-content-sha256",
                value,
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER \
                 or a valid sha256 value.",
            )),
        }
    }

    /// Whether the body comes in aws-chunked framing.
    pub(super) fn is_chunked(&self) -> bool {
        matches!(self, Self::UnsignedChunks | Self::SignedChunks { .. })
    }

    /// Whether trailers may follow the body.
    pub(super) fn has_trailers(&self) -> bool {
        matches!(self, Self::UnsignedChunks | Self::SignedChunks { trailers: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_values_are_known() {
        let hash = "E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Payload::parse(hash).unwrap(), Payload::Sha256(hash.to_lowercase()));
        assert!(Payload::parse("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER").unwrap().has_trailers());
        assert!(!Payload::parse("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").unwrap().has_trailers());
        assert_eq!(Payload::parse("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD").unwrap_err().status, 501);
        for value in ["", "unsigned-payload", &hash[1..], &hash.replace('E', "g"), "STREAMING-"] {
            assert_eq!(Payload::parse(value).unwrap_err().code, "InvalidArgument", "{value}");
        }
    }
}
