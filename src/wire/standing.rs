//! How a node stands with the operator: the door tells it, so that the
//! volunteer can be shown.

use serde::{Deserialize, Serialize};

use super::{WireError, text};
use crate::types::limits::{DOOR_BYTES_MAX, DOORS_MAX, JSON_REPLY_BYTES_MAX, SENTENCE_BYTES_MAX};

/// Bytes of a standing's doors, at most.
const DOORS_ROOM_BYTES: usize = JSON_REPLY_BYTES_MAX / 2;

/// What the cluster thinks of a node. Fields that a later version adds are
/// ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How it stands.
    pub kind: StandingKind,
    /// Why, for the volunteer; at most 1,024 bytes, empty if there is nothing to say.
    #[serde(default)]
    pub sentence: String,
    /// When it joined, in milliseconds since 1970 by the database's clock.
    pub joined_ms: i64,
    /// How far it is trusted with new pieces, from 0 to 1,000.
    pub trust_permille: u16,
    /// Shares of it that were checked and were right.
    #[serde(default)]
    pub audits_passed: u64,
    /// Shares of it that were checked and were wrong or missing.
    #[serde(default)]
    pub audits_failed: u64,
    /// While it drains: pieces that are still to be moved away, once counted.
    #[serde(default)]
    pub pieces_to_move: Option<u64>,
    /// All doors of the cluster as `host:port`. Empty: as known so far.
    #[serde(default)]
    pub doors: Vec<String>,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingKind {
    /// It takes and gives pieces.
    Active,
    /// It gives pieces and is given none.
    Suspended,
    /// Its pieces are being moved elsewhere.
    Draining,
    /// It has left: its disk can be wiped.
    Left,
    /// A kind that a later version knows.
    #[serde(other)]
    Other,
}

impl Standing {
    /// The request's body. A sentence that is too long is cut, and so is a list
    /// of doors.
    pub fn encode(&self) -> Vec<u8> {
        let sentence = text::clipped(&self.sentence, SENTENCE_BYTES_MAX);
        let mut room = DOORS_ROOM_BYTES;
        let fits = |door: &&String| {
            room = room.saturating_sub(door.len() + 3);
            room > 0
        };
        let doors = self.doors.iter().take(DOORS_MAX).take_while(fits).cloned().collect();
        let clipped = Self { sentence, doors, ..self.clone() };
        serde_json::to_vec(&clipped).expect("structs of numbers and strings have a JSON form")
    }

    /// Reads the request's body.
    pub fn decode(json: &[u8]) -> Result<Self, WireError> {
        WireError::limit("standing", json.len(), JSON_REPLY_BYTES_MAX)?;
        let standing: Self = serde_json::from_slice(json).map_err(|error| WireError::malformed("standing", error))?;
        WireError::limit("sentence", standing.sentence.len(), SENTENCE_BYTES_MAX)?;
        WireError::limit("list of doors", standing.doors.len(), DOORS_MAX)?;
        standing.doors.iter().try_for_each(|door| WireError::limit("door's address", door.len(), DOOR_BYTES_MAX))?;
        if standing.sentence.chars().any(char::is_control) {
            return Err(WireError::malformed("standing", "a control character in its sentence"));
        }
        Ok(standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Standing {
        Standing {
            kind: StandingKind::Draining,
            sentence: "asked to leave".into(),
            joined_ms: 1_700_000_000_000,
            trust_permille: 420,
            audits_passed: 7,
            audits_failed: 1,
            pieces_to_move: Some(12),
            doors: Vec::new(),
        }
    }

    #[test]
    fn a_standing_survives_its_encoding() {
        assert_eq!(Standing::decode(&example().encode()), Ok(example()));
    }

    #[test]
    fn a_later_version_is_understood_as_far_as_may_be() {
        let json = br#"{"kind":"promoted","joined_ms":5,"trust_permille":1000,"colour":"blue"}"#;
        assert_eq!(Standing::decode(json).unwrap().kind, StandingKind::Other);
    }

    #[test]
    fn rubbish_is_refused() {
        let long = serde_json::json!({"kind":"active","joined_ms":5,"trust_permille":1,"sentence":"x".repeat(1025)});
        let control = serde_json::json!({"kind":"active","joined_ms":5,"trust_permille":1,"sentence":"\u{1b}[2J"});
        for json in [long.to_string(), control.to_string(), "{}".into(), "[]".into(), " ".repeat(20_000)] {
            assert!(Standing::decode(json.as_bytes()).is_err());
        }
    }
}
