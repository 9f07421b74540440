//! Which cluster a node belongs to: `cluster.json` in its folder, written
//! before the first door is dialled.
//!
//! ```json
//! {"format":1, "cluster":"…", "doors":["door.example:9100"], "capacity_bytes":500000000000,
//!  "token":"…", "credential":"….…", "joined":false}
//! ```
//!
//! The credential is dropped as soon as a door has welcomed the node: from
//! then on its key is enough. `token` names the one that was brought last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::env::write_private;
use crate::types::{ClusterId, TokenId};
use crate::wire::JoinToken;

const FILE: &str = "cluster.json";
const FORMAT: u16 = 1;

/// A node's membership of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    format: u16,
    /// The cluster's key, which the node pins.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub cluster: ClusterId,
    /// Doors as the token named them. More are learned from them.
    pub doors: Vec<String>,
    /// Bytes that the node promises to take.
    pub capacity_bytes: u64,
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    token: TokenId,
    credential: Option<String>,
    joined: bool,
}

/// Why a membership could not be read, changed or written.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file is damaged or of a later version.
    #[error("{path} cannot be understood: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The node is a member of another cluster than the token's.
    #[error(
        "the token is for another cluster ({token}…) than this node belongs to ({own}…): use another folder for it"
    )]
    OtherCluster {
        /// The token's, in its short form.
        token: String,
        /// The folder's, in its short form.
        own: String,
    },
}

impl Membership {
    /// What the folder holds; none if it belongs to no cluster yet.
    pub fn load(folder: &Path) -> Result<Option<Self>, MembershipError> {
        let path = folder.join(FILE);
        let corrupt = |reason: String| MembershipError::Corrupt { path: path.clone(), reason };
        let json = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| MembershipError::Io { path: path.clone(), error })?,
        };
        let membership: Self = serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()))?;
        match membership.format {
            FORMAT => Ok(Some(membership)),
            other => Err(corrupt(format!("its format {other} is of another version"))),
        }
    }

    /// A membership that begins with this token.
    pub fn new(token: &JoinToken, capacity_bytes: u64) -> Self {
        Self {
            format: FORMAT,
            cluster: token.cluster,
            doors: token.doors.clone(),
            capacity_bytes,
            token: token.credential.id,
            credential: Some(token.credential.to_string()),
            joined: false,
        }
    }

    /// Takes another token. True if it is to be shown to the doors: one that
    /// was redeemed already changes nothing, so that it may be given at every
    /// start. A node that was never let in may change the cluster.
    pub fn rejoin(&mut self, token: &JoinToken) -> Result<bool, MembershipError> {
        if self.joined && token.cluster != self.cluster {
            let (token, own) = (short(token.cluster), short(self.cluster));
            return Err(MembershipError::OtherCluster { token, own });
        }
        if self.joined && token.credential.id == self.token {
            return Ok(self.credential.is_some());
        }
        let joined = self.joined && token.cluster == self.cluster;
        *self = Self { joined, ..Self::new(token, self.capacity_bytes) };
        Ok(true)
    }

    /// What to show to the doors, until one has welcomed the node.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Whether a door has ever let the node in.
    pub fn has_joined(&self) -> bool {
        self.joined
    }

    /// Notes that a door has welcomed the node. True if that is news.
    pub fn welcomed(&mut self) -> bool {
        let news = !self.joined || self.credential.is_some();
        (self.joined, self.credential) = (true, None);
        news
    }

    /// Writes it to the folder, readable by its owner alone; durable on return.
    pub fn save(&self, folder: &Path) -> Result<(), MembershipError> {
        let failed = |error| MembershipError::Io { path: folder.join(FILE), error };
        let json = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        write_private(folder, FILE, &json).map_err(failed)
    }
}

/// Enough of a cluster's id for people to tell two of them apart.
pub fn short(cluster: ClusterId) -> String {
    cluster.to_string()[..12].to_owned()
}

fn as_text<S: Serializer>(id: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.to_string())
}

fn from_text<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::wire::Credential;

    fn token(cluster: u8, id: u8) -> JoinToken {
        JoinToken {
            doors: vec![format!("door{cluster}.example:9100")],
            cluster: ClusterId::from_bytes([cluster; 32]),
            credential: Credential { id: TokenId::from_bytes([id; 16]), secret: [9; 32] },
            expires_ms: None,
            uses: None,
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn the_credential_is_kept_until_a_door_has_welcomed_the_node() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Membership::load(folder.path()).unwrap().is_none());
        let mut made = Membership::new(&token(1, 1), 500);
        made.save(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let kept = Membership::load(folder.path()).unwrap().unwrap();
        assert_eq!((kept.credential(), kept.has_joined()), (Some(&*token(1, 1).credential.to_string()), false));
        assert!(made.welcomed() && !made.welcomed());
        made.save(folder.path()).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("0909"), "the secret is gone");
        assert_eq!(Membership::load(folder.path()).unwrap(), Some(made));
    }

    #[test]
    fn a_member_takes_new_tokens_of_its_cluster_only_and_old_ones_change_nothing() {
        let mut membership = Membership::new(&token(1, 1), 500);
        membership.welcomed();
        let before = membership.clone();
        assert!(!membership.rejoin(&token(1, 1)).unwrap());
        assert_eq!(membership, before);
        let other = membership.rejoin(&token(2, 2)).unwrap_err().to_string();
        assert!(other.contains("another cluster (0202") && other.contains("belongs to (0101"), "{other}");
        assert!(membership.rejoin(&token(1, 3)).unwrap());
        assert!(membership.has_joined() && membership.credential().is_some());
        assert_eq!(membership.capacity_bytes, 500);
    }

    #[test]
    fn who_was_never_let_in_may_try_elsewhere() {
        let mut membership = Membership::new(&token(1, 1), 500);
        assert!(membership.rejoin(&token(2, 2)).unwrap());
        assert_eq!(membership, Membership::new(&token(2, 2), 500));
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"format":2}"#] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(matches!(Membership::load(folder.path()), Err(MembershipError::Corrupt { .. })));
        }
    }
}
