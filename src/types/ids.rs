//! Identifiers. All are random or derived bytes, never row numbers, so that
//! they mean the same after a move to another database.

use std::fmt;
use std::str::FromStr;

/// A string that is not the lower-case hexadecimal form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {expected} hexadecimal digits")]
pub struct IdError {
    expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $bytes;

            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The id with these bytes, if there are exactly as many as it needs.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError { expected: 2 * $bytes })
            }

            /// The bytes, as stored and sent.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $bytes];
                decode_hex(text.as_bytes(), &mut bytes).ok_or(IdError { expected: 2 * $bytes })?;
                Ok(Self(bytes))
            }
        }
    };
}

id! {
    /// The immutable bytes of one PUT or one uploaded part. Random.
    StreamId, 16
}
id! {
    /// A piece of erasure-coded ciphertext with one fixed coding. Random.
    SegmentId, 16
}
id! {
    /// An immutable list of spans that object versions share. Random.
    BodyId, 16
}
id! {
    /// A multipart upload in progress. Random.
    UploadId, 16
}
id! {
    /// A version of an object, as clients name it. Random.
    VersionId, 16
}
id! {
    /// What a node knows a piece by: derived, so that two nodes cannot tell
    /// that they hold the same segment.
    PieceId, 16
}
id! {
    /// A storage node: its Ed25519 public key.
    NodeId, 32
}
id! {
    /// One start of a node's process. Random; tells a node that came back from
    /// a second one with a copied identity.
    InstanceId, 16
}
id! {
    /// A join token, as the operator names it. Random, no secret.
    TokenId, 16
}
id! {
    /// A cluster: its Ed25519 public key, which its nodes pin.
    ClusterId, 32
}

fn decode_hex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = StreamId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "00", "zz", &"0".repeat(31), &"0".repeat(33), &"G".repeat(32), &"A".repeat(32)] {
            assert!(text.parse::<StreamId>().is_err(), "{text}");
        }
    }
}
