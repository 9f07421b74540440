//! Ed25519 keys: a node's own, kept in its folder, and the cluster's.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::TransportError;
use crate::env::write_private;
use crate::types::{ClusterId, Generation, NodeId};
use crate::wire::generation_statement;

const FILE: &str = "identity.key";

/// A node's key. Whoever holds it is the node.
pub struct Identity {
    pkcs8: Zeroizing<Vec<u8>>,
    node: NodeId,
}

impl Identity {
    /// The identity in this folder (`identity.key`: PKCS#8, mode 0600); made
    /// and durable there before this returns, if there is none yet. The folder
    /// must exist.
    pub fn load_or_create(folder: &Path) -> Result<Self, TransportError> {
        if let Some(identity) = Self::load(folder)? {
            return Ok(identity);
        }
        let (path, identity) = (folder.join(FILE), Self::generate()?);
        write_private(folder, FILE, &identity.pkcs8).map_err(|error| TransportError::File { path, error })?;
        Ok(identity)
    }

    /// The identity in this folder; none if there is none yet.
    pub fn load(folder: &Path) -> Result<Option<Self>, TransportError> {
        let path = folder.join(FILE);
        let failed = |error| TransportError::File { path: path.clone(), error };
        match fs::read(&path) {
            Ok(bytes) => {
                warn_if_readable(&path).map_err(failed)?;
                let identity = Self::from_pkcs8(Zeroizing::new(bytes));
                identity.map(Some).ok_or_else(|| TransportError::NotAKey(path.clone()))
            }
            // Making one fails in a folder that is not there, and says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// A fresh identity that is nowhere but in memory.
    pub fn generate() -> Result<Self, TransportError> {
        let key = Ed25519KeyPair::generate().map_err(TransportError::crypto)?;
        let pkcs8 = key.to_pkcs8v1().map_err(TransportError::crypto)?;
        Self::from_pkcs8(Zeroizing::new(pkcs8.as_ref().to_vec()))
            .ok_or_else(|| TransportError::Crypto("a fresh key cannot be read".to_owned()))
    }

    /// The public key, which is the node's name.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Option<Self> {
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).ok()?;
        let node = NodeId::from_slice(key.public_key().as_ref()).ok()?;
        Some(Self { pkcs8, node })
    }
}

/// The cluster's key, which signs door certificates and generations.
pub struct ClusterIdentity {
    key: Ed25519KeyPair,
    cluster: ClusterId,
}

impl ClusterIdentity {
    /// The key pair with this Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, TransportError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(TransportError::crypto)?;
        let cluster = ClusterId::from_slice(key.public_key().as_ref()).map_err(TransportError::crypto)?;
        Ok(Self { key, cluster })
    }

    /// The public key, which nodes pin.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster
    }

    /// PKCS#8 for the certificate library.
    pub(super) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, TransportError> {
        let pkcs8 = self.key.to_pkcs8v1().map_err(TransportError::crypto)?;
        Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }

    /// Signs the generation for the connection with this binding.
    pub(super) fn sign_generation(&self, generation: Generation, binding: &[u8; 32]) -> [u8; 64] {
        let signature = self.key.sign(&generation_statement(self.cluster, generation, binding));
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// Whether the cluster's key signed this generation for this connection.
pub(super) fn generation_is_signed(
    cluster: ClusterId,
    generation: Generation,
    binding: &[u8; 32],
    signature: &[u8; 64],
) -> bool {
    let statement = generation_statement(cluster, generation, binding);
    UnparsedPublicKey::new(&ED25519, cluster.as_bytes()).verify(&statement, signature).is_ok()
}

fn warn_if_readable(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "other users can read this node's key: chmod 600 it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let made = Identity::load_or_create(folder.path()).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Identity::load_or_create(folder.path()).unwrap().node_id(), made.node_id());
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"not a key").unwrap();
        assert!(matches!(Identity::load_or_create(folder.path()), Err(TransportError::NotAKey(_))));
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), b"not a key");
        let gone = Identity::load_or_create(&folder.path().join("gone"));
        assert!(matches!(gone, Err(TransportError::File { .. })));
    }

    #[test]
    fn a_generation_is_signed_for_one_connection() {
        let cluster = ClusterIdentity::from_seed(&[1; 32]).unwrap();
        let signature = cluster.sign_generation(Generation(5), &[2; 32]);
        let check = |generation, binding| {
            generation_is_signed(cluster.cluster_id(), Generation(generation), binding, &signature)
        };
        assert!(check(5, &[2; 32]));
        assert!(!check(6, &[2; 32]));
        assert!(!check(5, &[3; 32]));
        let other = ClusterIdentity::from_seed(&[9; 32]).unwrap().cluster_id();
        assert!(!generation_is_signed(other, Generation(5), &[2; 32], &signature));
    }
}
