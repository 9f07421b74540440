//! Content keys: a fresh one for each stream, wrapped for its row.

use std::sync::Arc;

use super::ObjectError;
use crate::env::Env;
use crate::seal::{ClusterSecret, ContentKey, KeyEncryptionKey, Opener, Sealer};
use crate::types::{KeyVersion, StreamId};

/// Makes and unwraps content keys. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    secret: Arc<ClusterSecret>,
    current: Arc<KeyEncryptionKey>,
    env: Env,
}

/// A new stream's id, its key wrapped for the row, and what seals its blocks.
pub struct NewStreamKey {
    /// The stream.
    pub stream: StreamId,
    /// Which key-encryption key wrapped the key.
    pub key_version: KeyVersion,
    /// The wrapped key.
    pub wrapped_key: [u8; 48],
    /// Seals the stream's blocks.
    pub sealer: Sealer,
}

impl KeyRing {
    /// Wraps new keys under that version.
    pub fn new(secret: ClusterSecret, version: KeyVersion, env: Env) -> Self {
        let current = Arc::new(secret.key_encryption_key(version));
        Self { secret: Arc::new(secret), current, env }
    }

    /// A fresh key for a fresh stream.
    pub fn new_stream(&self) -> NewStreamKey {
        let stream = StreamId::from_bytes(self.env.random());
        let key = ContentKey::from_bytes(self.env.random());
        NewStreamKey {
            stream,
            key_version: self.current.version(),
            wrapped_key: self.current.wrap(stream, &key),
            sealer: Sealer::new(&key, stream),
        }
    }

    /// What opens a stream's blocks.
    pub fn opener(&self, version: KeyVersion, stream: StreamId, wrapped: &[u8]) -> Result<Opener, ObjectError> {
        let key = match version == self.current.version() {
            true => self.current.unwrap(version, stream, wrapped),
            false => self.secret.key_encryption_key(version).unwrap(version, stream, wrapped),
        };
        let key = key.map_err(|error| ObjectError::Internal(format!("the key of stream {stream}: {error}")))?;
        Ok(Opener::new(&key, stream))
    }
}
