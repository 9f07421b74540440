//! The hello: the first thing that a node says on every connection it dialled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Usage, VERSION, WireError, text};
use crate::types::limits::{
    HELLO_BYTES_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, TOKEN_BYTES_MAX, WIRE_VERSIONS_MAX,
};
use crate::types::{ClusterId, Generation, InstanceId};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The first one: the node asks to be admitted, and dials it again
    /// whenever it is lost.
    Control,
    /// One more that the door asked for; it belongs to an admitted instance.
    Data,
}

/// What a node says of itself. Fields that a later version adds are ignored,
/// so that versions can be compared before anything else is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The wire's versions that the node speaks (1 to 16 of them).
    pub versions: Vec<u16>,
    /// The node's software and its version, for people.
    pub software: String,
    /// The cluster whose key the node pins.
    #[serde(with = "text")]
    pub cluster: ClusterId,
    /// Random for every start of the node's process.
    #[serde(with = "text")]
    pub instance: InstanceId,
    /// How often the node was started on this folder, this time included.
    pub starts: u64,
    /// How far the node's logs are durable, in its own unit; only ever rises.
    pub position: u64,
    /// What the node holds and has room for.
    pub usage: Usage,
    /// Labels that the volunteer set.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What this connection is for.
    pub purpose: Purpose,
    /// The secret that lets a node join which the cluster does not know yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The highest generation that the node has seen.
    pub generation: Generation,
}

#[derive(Deserialize)]
struct Versions {
    versions: Vec<u16>,
}

impl Hello {
    /// The JSON of a frame.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|error| WireError::malformed("hello", error))
    }

    /// Reads a frame's JSON: first the versions, and the rest only if one of
    /// them is this program's.
    pub fn decode(json: &[u8]) -> Result<Self, WireError> {
        WireError::limit("hello", json.len(), HELLO_BYTES_MAX)?;
        let malformed = |error: serde_json::Error| WireError::malformed("hello", error);
        let offered: Versions = serde_json::from_slice(json).map_err(malformed)?;
        if !offered.versions.contains(&VERSION) {
            let theirs = offered.versions.into_iter().take(WIRE_VERSIONS_MAX).collect();
            return Err(WireError::Versions { theirs });
        }
        let hello: Self = serde_json::from_slice(json).map_err(malformed)?;
        hello.check()?;
        Ok(hello)
    }

    fn check(&self) -> Result<(), WireError> {
        WireError::limit("list of versions", self.versions.len(), WIRE_VERSIONS_MAX)?;
        WireError::limit("software version", self.software.len(), LABEL_VALUE_BYTES_MAX)?;
        WireError::limit("list of labels", self.labels.len(), LABELS_MAX)?;
        for (name, value) in &self.labels {
            WireError::limit("label's name", name.len(), LABEL_NAME_BYTES_MAX)?;
            WireError::limit("label's value", value.len(), LABEL_VALUE_BYTES_MAX)?;
            check_text(name)?;
            check_text(value)?;
        }
        check_text(&self.software)?;
        self.usage.check()?;
        WireError::limit("token", self.token.as_ref().map_or(0, String::len), TOKEN_BYTES_MAX)
    }
}

/// Volunteers' text ends up in the operator's logs and terminal.
fn check_text(text: &str) -> Result<(), WireError> {
    if text.chars().any(char::is_control) {
        return Err(WireError::malformed("hello", "a control character in a label or software version"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn example() -> Hello {
    Hello {
        versions: vec![VERSION],
        software: "cairn 0.1.0".to_owned(),
        cluster: ClusterId::from_bytes([7; 32]),
        instance: InstanceId::from_bytes([9; 16]),
        starts: 3,
        position: 4096,
        usage: Usage { live_bytes: 10, capacity_bytes: 100, free_bytes: 90, pieces: 1, ..Usage::default() },
        labels: BTreeMap::from([("region".to_owned(), "eu-west".to_owned())]),
        purpose: Purpose::Control,
        token: None,
        generation: Generation(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn changed(change: impl FnOnce(&mut Value)) -> Result<Hello, WireError> {
        let mut value = serde_json::to_value(example()).unwrap();
        change(&mut value);
        Hello::decode(&serde_json::to_vec(&value).unwrap())
    }

    #[test]
    fn a_hello_survives_its_encoding() {
        let hello = example();
        assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello));
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let hello = changed(|value| {
            value["versions"] = json!([1, 2]);
            value["colour"] = json!("blue");
        });
        assert_eq!(hello.unwrap().versions, [1, 2]);
    }

    #[test]
    fn versions_are_compared_before_anything_else() {
        let json = br#"{"versions":[2,3],"instance":17}"#;
        assert_eq!(Hello::decode(json), Err(WireError::Versions { theirs: vec![2, 3] }));
    }

    #[test]
    fn limits_and_types_are_strict() {
        assert!(changed(|value| value["starts"] = json!(-1)).is_err());
        assert!(changed(|value| value["instance"] = json!("09")).is_err());
        assert!(changed(|value| value["purpose"] = json!("both")).is_err());
        assert!(changed(|value| value["token"] = json!("t".repeat(TOKEN_BYTES_MAX + 1))).is_err());
        assert!(changed(|value| value["labels"] = json!({"a": "x".repeat(256)})).is_err());
        assert!(changed(|value| value["labels"] = json!({"a": "\u{1b}[2J"})).is_err());
        assert!(changed(|value| value["versions"] = json!(vec![1; 17])).is_err());
        let many: BTreeMap<_, _> = (0..=LABELS_MAX).map(|label| (label.to_string(), "v")).collect();
        assert!(changed(|value| value["labels"] = json!(many)).is_err());
    }

    #[test]
    fn rubbish_is_refused() {
        for json in [&b""[..], b"{}", b"[]", b"null", b"{\"versions\":[1]}", b"\xff\xfe", &[b'['; 50_000]] {
            assert!(Hello::decode(json).is_err());
        }
        assert!(matches!(Hello::decode(&vec![b' '; HELLO_BYTES_MAX + 1]), Err(WireError::TooLarge { .. })));
    }
}
