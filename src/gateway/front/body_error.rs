//! Why a request's body cannot be trusted.

/// What is wrong with a body. It arrives as an item of the body's stream, so
/// that whatever was made of the bytes before it is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body ended before its declared length, or its final chunk is missing.
    #[error("The request body ended after {received_bytes} bytes; {declared_bytes} were declared.")]
    Incomplete {
        /// Decoded bytes that came.
        received_bytes: u64,
        /// Decoded bytes that were declared.
        declared_bytes: u64,
    },
    /// The body goes on after its declared length.
    #[error("The request body is longer than the {declared_bytes} bytes that were declared.")]
    TooLong {
        /// Decoded bytes that were declared.
        declared_bytes: u64,
    },
    /// The signature of a chunk, or of the trailers, does not match.
    #[error("The signature of {0} does not match: its bytes are not what was signed.")]
    ChunkSignature(&'static str),
    /// A trailer is missing, unknown, repeated or has no value.
    #[error("The trailer of the request body is not acceptable: {0}.")]
    BadTrailer(String),
    /// The body's SHA-256 differs from `x-amz-content-sha256`.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    PayloadHash {
        /// What the header says.
        declared: String,
        /// What the bytes give.
        computed: String,
    },
    /// A signed chunk is larger than can be held until it is verified.
    #[error("A signed chunk has {size_bytes} bytes; at most {max_bytes} are possible. Send smaller chunks.")]
    TooLarge {
        /// The chunk's size.
        size_bytes: u64,
        /// The largest possible.
        max_bytes: u64,
    },
    /// The aws-chunked framing is broken.
    #[error("The aws-chunked framing of the request body is broken: {0}.")]
    Malformed(&'static str),
    /// The client sent nothing for too long.
    #[error("Your socket connection to the server was not read from or written to within the timeout period.")]
    TimedOut,
    /// The connection ended in the middle of the body.
    #[error("The connection ended in the middle of the request body.")]
    Disconnected,
}

impl BodyError {
    /// S3's error code and HTTP status.
    pub fn code(&self) -> (&'static str, u16) {
        match self {
            Self::Incomplete { .. } | Self::TooLong { .. } | Self::Disconnected => ("IncompleteBody", 400),
            Self::ChunkSignature(_) => ("SignatureDoesNotMatch", 403),
            Self::BadTrailer(_) => ("MalformedTrailerError", 400),
            Self::PayloadHash { .. } => ("XAmzContentSHA256Mismatch", 400),
            Self::TooLarge { .. } | Self::Malformed(_) => ("InvalidRequest", 400),
            Self::TimedOut => ("RequestTimeout", 400),
        }
    }
}
