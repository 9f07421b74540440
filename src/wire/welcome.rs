//! The door's answer to a hello.

use serde::{Deserialize, Serialize};

use super::{VERSION, WireError, text};
use crate::types::limits::{DOOR_BYTES_MAX, DOORS_MAX, HELLO_BYTES_MAX, SENTENCE_BYTES_MAX};
use crate::types::{ClusterId, Generation};

/// Welcome or refusal. After a refusal the door closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Come in: requests follow.
    Welcome(Welcome),
    /// Stay out, and why.
    Refused(Refusal),
}

/// What a door says to a node that it lets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The wire's version that was chosen from the hello.
    pub version: u16,
    /// The cluster's generation.
    pub generation: Generation,
    /// The cluster key's Ed25519 signature (64 bytes) over
    /// [`generation_statement`] for this very connection.
    #[serde(with = "signature_text")]
    pub signature: [u8; 64],
    /// All doors of the cluster as `host:port`. Empty: as known so far.
    pub doors: Vec<String>,
}

/// Why a door does not let a node in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// For the program.
    pub kind: RefusalKind,
    /// For the volunteer, at most 1,024 bytes.
    pub sentence: String,
}

/// What a refused node can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// No version of the wire in common: update the older side.
    Version,
    /// The hello is malformed or too large.
    Malformed,
    /// The node pins another cluster.
    Cluster,
    /// The node has seen a higher generation: this door is out of date.
    Generation,
    /// The node is not registered and brought no token: join with one.
    UnknownNode,
    /// The token is expired, used up, forged or for another cluster.
    Token,
    /// Another instance with the same identity is connected.
    Duplicate,
    /// A data connection of an instance that is not admitted: dial a control
    /// connection first.
    NotAdmitted,
    /// The operator has banned the node, or its record has.
    Banned,
    /// The node has left the cluster: its pieces are elsewhere, and its disk
    /// can be wiped.
    Left,
    /// The door cannot take it now: try again later.
    Busy,
    /// A reason that a later version knows.
    #[serde(other)]
    Other,
}

impl Refusal {
    /// A refusal; a sentence that is too long is cut.
    pub fn new(kind: RefusalKind, sentence: impl AsRef<str>) -> Self {
        Self { kind, sentence: text::clipped(sentence.as_ref(), SENTENCE_BYTES_MAX) }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        let kind = match error {
            WireError::Versions { .. } => RefusalKind::Version,
            _ => RefusalKind::Malformed,
        };
        Self::new(kind, error.to_string())
    }
}

impl Answer {
    /// The JSON of a frame.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|error| WireError::malformed("answer", error))
    }

    /// Reads a frame's JSON.
    pub fn decode(json: &[u8]) -> Result<Self, WireError> {
        WireError::limit("answer", json.len(), HELLO_BYTES_MAX)?;
        let answer: Self = serde_json::from_slice(json).map_err(|error| WireError::malformed("answer", error))?;
        answer.check()?;
        Ok(answer)
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Refused(refusal) => WireError::limit("sentence", refusal.sentence.len(), SENTENCE_BYTES_MAX),
            Self::Welcome(welcome) if welcome.version != VERSION => {
                Err(WireError::Versions { theirs: vec![welcome.version] })
            }
            Self::Welcome(welcome) => {
                WireError::limit("list of doors", welcome.doors.len(), DOORS_MAX)?;
                welcome.doors.iter().try_for_each(|door| WireError::limit("door's address", door.len(), DOOR_BYTES_MAX))
            }
        }
    }
}

/// What a door signs with the cluster key. `binding` is exported from the TLS
/// connection, so a statement proves that the door holds the key *now* and is
/// worth nothing on another connection.
///
/// ```text
/// offset  bytes  content
///      0     24  "cairn door generation 1" and a zero
///     24     32  cluster id
///     56      8  generation, big-endian
///     64     32  binding
/// ```
pub fn generation_statement(cluster: ClusterId, generation: Generation, binding: &[u8; 32]) -> Vec<u8> {
    [&b"cairn door generation 1\0"[..], cluster.as_bytes(), &generation.0.to_be_bytes(), binding].concat()
}

/// 64 bytes as 128 hexadecimal digits.
mod signature_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
        digits
            .map(|digits| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>())
            .and_then(|bytes| bytes.try_into().ok())
            .filter(|_| text.len() == 128)
            .ok_or_else(|| D::Error::custom("a signature has 128 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome() -> Answer {
        Answer::Welcome(Welcome {
            version: VERSION,
            generation: Generation(7),
            signature: std::array::from_fn(|index| index as u8 * 3),
            doors: vec!["door.example:9100".to_owned()],
        })
    }

    #[test]
    fn answers_survive_their_encoding() {
        let refused = Answer::Refused(Refusal::new(RefusalKind::UnknownNode, "join with a token"));
        for answer in [welcome(), refused] {
            assert_eq!(Answer::decode(&answer.encode().unwrap()), Ok(answer));
        }
    }

    #[test]
    fn a_later_kind_of_refusal_is_still_a_refusal() {
        let answer = Answer::decode(br#"{"refused":{"kind":"moon_phase","sentence":"wait"}}"#).unwrap();
        assert_eq!(answer, Answer::Refused(Refusal::new(RefusalKind::Other, "wait")));
    }

    #[test]
    fn long_sentences_are_cut_at_a_character() {
        let refusal = Refusal::new(RefusalKind::Busy, "é".repeat(1000));
        assert_eq!(refusal.sentence.len(), 1024);
        assert_eq!(Refusal::new(RefusalKind::Busy, format!("a{}", "é".repeat(1000))).sentence.len(), 1023);
    }

    #[test]
    fn rubbish_is_refused() {
        let good = String::from_utf8(welcome().encode().unwrap()).unwrap();
        for (old, new) in [
            ("\"version\":1", "\"version\":2"),
            ("0003", "003"),
            ("0003", "zz03"),
            ("\"generation\":7", "\"generation\":-7"),
        ] {
            let bad = good.replacen(old, new, 1);
            assert_ne!(bad, good);
            assert!(Answer::decode(bad.as_bytes()).is_err(), "{bad}");
        }
        for json in [&b""[..], b"{}", b"{\"welcome\":{}}", b"\"welcome\""] {
            assert!(Answer::decode(json).is_err());
        }
    }

    #[test]
    fn the_statement_has_its_layout() {
        let statement = generation_statement(ClusterId::from_bytes([1; 32]), Generation(2), &[3; 32]);
        assert_eq!(statement.len(), 96);
        assert_eq!(statement[56..64], [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(statement[64..], [3; 32]);
    }
}
