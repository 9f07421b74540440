//! The join token: one string that a volunteer pastes.
//!
//! ```text
//! cairn-join-1-<base64url, without padding, of:>
//! offset  bytes  content
//!      0      4  the first bytes of the SHA-256 over what follows
//!      4      …  JSON (UTF-8): doors, cluster, id, secret, expires_ms, uses, labels
//! ```
//!
//! Only the id and the secret are shown to a door, and only in the hello, after
//! the door has shown a certificate of the cluster. The rest is for the node:
//! whom to dial and which key to pin. Expiry and uses are told to people; the
//! cluster's database decides.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::text;
use crate::types::limits::{DOOR_BYTES_MAX, DOORS_MAX, LABELS_MAX, TOKEN_BYTES_MAX};
use crate::types::{ClusterId, TokenId};

const PREFIX: &str = "cairn-join-";
const FORMAT: &str = "1-";
const CHECK_BYTES: usize = 4;

/// What a volunteer needs in order to join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Doors of the cluster as `host:port`, at least one.
    pub doors: Vec<String>,
    /// The key that the node pins.
    #[serde(with = "text")]
    pub cluster: ClusterId,
    /// What the door is shown.
    #[serde(flatten)]
    pub credential: Credential,
    /// When it stops being good, in milliseconds since 1970 by the database's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
    /// How many nodes may join with it; any number if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// What the operator says of whoever joins with it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// The part of a token that a door judges, written `id.secret`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Which token.
    #[serde(with = "text")]
    pub id: TokenId,
    /// What proves it.
    #[serde(with = "secret_text")]
    pub secret: [u8; 32],
}

/// Why a text is no join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin like one.
    #[error("this is not a join token: one begins with {PREFIX}{FORMAT}")]
    NotAToken,
    /// It is of a later format.
    #[error("this join token is of a format that this version does not know: update cairn")]
    Format,
    /// Something was lost or changed on the way.
    #[error("the join token is mangled: copy it again, whole ({0})")]
    Mangled(&'static str),
}

impl Credential {
    /// What the database keeps of the secret.
    pub fn secret_digest(&self) -> [u8; 32] {
        digest(&SHA256, &self.secret).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.id)?;
        self.secret.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, …)", self.id)
    }
}

impl FromStr for Credential {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mangled = TokenError::Mangled("its credential");
        let (id, secret) = text.split_once('.').ok_or(mangled.clone())?;
        let id = id.parse().map_err(|_| mangled.clone())?;
        let secret: ClusterId = secret.parse().map_err(|_| mangled)?;
        Ok(Self { id, secret: *secret.as_bytes() })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        let body = [&check(&json)[..], &json].concat();
        write!(f, "{PREFIX}{FORMAT}{}", URL_SAFE_NO_PAD.encode(body))
    }
}

/// The secret stays out of logs.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("doors", &self.doors).field("credential", &self.credential).finish()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let body = text.strip_prefix(PREFIX).ok_or(TokenError::NotAToken)?;
        let body = body.strip_prefix(FORMAT).ok_or(TokenError::Format)?;
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Mangled("it is too long"));
        }
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Mangled("a character that is none of its"))?;
        let (sum, json) = body.split_at_checked(CHECK_BYTES).ok_or(TokenError::Mangled("it is too short"))?;
        if check(json) != sum {
            return Err(TokenError::Mangled("its checksum does not fit"));
        }
        let token: Self = serde_json::from_slice(json).map_err(|_| TokenError::Mangled("its content"))?;
        token.sound().then_some(token).ok_or(TokenError::Mangled("its doors or labels"))
    }
}

impl JoinToken {
    fn sound(&self) -> bool {
        let door = |door: &String| !door.is_empty() && door.len() <= DOOR_BYTES_MAX;
        (1..=DOORS_MAX).contains(&self.doors.len()) && self.doors.iter().all(door) && self.labels.len() <= LABELS_MAX
    }
}

fn check(json: &[u8]) -> [u8; CHECK_BYTES] {
    let sum = digest(&SHA256, json);
    sum.as_ref()[..CHECK_BYTES].try_into().expect("SHA-256 has 32 bytes")
}

/// 32 bytes as hexadecimal digits.
mod secret_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::types::ClusterId;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&ClusterId::from_bytes(*bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let digits = String::deserialize(deserializer)?;
        let bytes: ClusterId = digits.parse().map_err(D::Error::custom)?;
        Ok(*bytes.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> JoinToken {
        JoinToken {
            doors: vec!["door.example.org:9100".into()],
            cluster: ClusterId::from_bytes([1; 32]),
            credential: Credential { id: TokenId::from_bytes([2; 16]), secret: [3; 32] },
            expires_ms: Some(1_700_000_000_000),
            uses: Some(1),
            labels: BTreeMap::from([("owner".into(), "alice".into())]),
        }
    }

    #[test]
    fn a_token_survives_its_text() {
        let text = example().to_string();
        assert!(text.starts_with("cairn-join-1-") && text.len() < 600, "{text}");
        assert_eq!(format!(" {text}\n").parse(), Ok(example()));
        let credential = example().credential;
        assert_eq!(credential.to_string().parse(), Ok(credential));
    }

    #[test]
    fn every_changed_or_lost_character_is_noticed() {
        let text = example().to_string();
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(changed.parse::<JoinToken>().is_err(), "{changed}");
            assert!(text[..at].parse::<JoinToken>().is_err());
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        assert_eq!("hello".parse::<JoinToken>(), Err(TokenError::NotAToken));
        assert_eq!("cairn-join-2-abc".parse::<JoinToken>(), Err(TokenError::Format));
        assert!(format!("cairn-join-1-{}", "A".repeat(5000)).parse::<JoinToken>().is_err());
        assert!("0.1".parse::<Credential>().is_err());
    }

    #[test]
    fn the_secret_is_in_no_log() {
        let text = format!("{:?}", example());
        assert!(!text.contains("0303"), "{text}");
    }
}
