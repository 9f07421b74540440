//! The cluster's one secret, its recovery phrase, and all that is derived
//! from it.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use super::derive::derive;
use super::key::secret;
use super::{GrantRoot, KeyEncryptionKey, PieceIdKey, SnapshotKey};
use crate::types::{ClusterId, KeyVersion};

secret! {
    /// 256 random bits that everything secret of a cluster derives from.
    /// Whoever holds it holds the cluster.
    ///
    /// Keys are HKDF-SHA-256 with the salt `cairn 1 cluster` and as info
    /// `sign`, `kek` and the version (4 bytes, big endian), `piece-id`,
    /// `grant`, `snapshot`, `root access` or `root secret`.
    ClusterSecret
}

/// The 32 letters of RFC 4648's base32: upper case, and no digit that looks
/// like one of them.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A recovery phrase that is none. Never repeats what was entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// The number of words is wrong.
    #[error("a recovery phrase has 24 words, and this has {0}")]
    Words(usize),
    /// A word is not in the list.
    #[error("word {0} of the recovery phrase is not one of the list's 2,048 words")]
    UnknownWord(usize),
    /// The words exist, but their checksum does not fit.
    #[error("the recovery phrase's checksum does not fit: a word is wrong or stands in the wrong place")]
    Checksum,
}

impl ClusterSecret {
    /// The bytes, to be kept in a file that its owner alone can read.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The recovery phrase: 24 English words of BIP-39, with single spaces.
    pub fn phrase(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, &self.0).expect("BIP-39 takes 256 bits");
        // Made long enough at once: growing would leave copies behind.
        let mut phrase = Zeroizing::new(String::with_capacity(24 * 9));
        for (at, word) in mnemonic.words().enumerate() {
            if at > 0 {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        phrase
    }

    /// The secret from its recovery phrase, in any case and with any white space.
    pub fn from_phrase(phrase: &str) -> Result<Self, PhraseError> {
        let words = phrase.split_whitespace().count();
        if words != 24 {
            return Err(PhraseError::Words(words));
        }
        let lower = Zeroizing::new(phrase.to_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &lower).map_err(|error| match error {
            bip39::Error::UnknownWord(at) => PhraseError::UnknownWord(at + 1),
            _ => PhraseError::Checksum,
        })?;
        let entropy = Zeroizing::new(mnemonic.to_entropy_array().0);
        Ok(Self(*entropy.first_chunk().expect("24 words have 32 bytes of entropy")))
    }

    /// The seed of the key pair that the cluster signs with.
    pub fn signing_seed(&self) -> Zeroizing<[u8; 32]> {
        self.key(&[b"sign"])
    }

    /// The key pair that the cluster signs with.
    pub fn signing_key_pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(self.signing_seed().as_ref()).expect("any 32 bytes are an Ed25519 seed")
    }

    /// The cluster's identity: its public key.
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId::from_slice(self.signing_key_pair().public_key().as_ref())
            .expect("an Ed25519 public key has 32 bytes")
    }

    /// What wraps content keys in this key version.
    pub fn key_encryption_key(&self, version: KeyVersion) -> KeyEncryptionKey {
        KeyEncryptionKey::new(self.key(&[b"kek", &version.0.to_be_bytes()]), version)
    }

    /// What piece ids are derived with.
    pub fn piece_id_key(&self) -> PieceIdKey {
        PieceIdKey::new(&self.key(&[b"piece-id"]))
    }

    /// The root key pair for S3, where the operator sets none: an access key id
    /// of 20 upper-case letters and digits, and a secret key of 43 letters. All
    /// gateways of a cluster come to the same.
    pub fn root_key_pair(&self) -> (String, Zeroizing<String>) {
        let letters = self.key(&[b"root access"]);
        let letters = letters[..15].iter().map(|byte| char::from(BASE32[usize::from(byte % 32)]));
        let secret_key = URL_SAFE_NO_PAD.encode(self.key(&[b"root secret"]).as_slice());
        (format!("CAIRN{}", letters.collect::<String>()), Zeroizing::new(secret_key))
    }

    /// What access grants begin from.
    pub fn grant_root(&self) -> GrantRoot {
        GrantRoot::from_bytes(*self.key(&[b"grant"]))
    }

    /// What shipped copies of the database are sealed under.
    pub fn snapshot_key(&self) -> SnapshotKey {
        SnapshotKey::from_bytes(*self.key(&[b"snapshot"]))
    }

    fn key(&self, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        derive(b"cairn 1 cluster", &self.0, info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn a_phrase_brings_the_secret_back() {
        let secret = ClusterSecret::from_bytes(std::array::from_fn(|i| i as u8 * 7));
        let phrase = secret.phrase();
        assert_eq!(phrase.split(' ').count(), 24);
        for written in [phrase.to_string(), phrase.to_uppercase(), phrase.replace(' ', "\n  ")] {
            assert_eq!(ClusterSecret::from_phrase(&written).unwrap().expose(), secret.expose());
        }
    }

    /// Test vector of BIP-39's reference implementation.
    #[test]
    fn the_phrase_is_bip39() {
        let expected = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth \
                        useful legal winner thank year wave sausage worth title";
        assert_eq!(*ClusterSecret::from_bytes([0x7f; 32]).phrase(), expected);
    }

    #[test]
    fn a_wrong_phrase_is_told_from_a_right_one() {
        let phrase = ClusterSecret::from_bytes([0x7f; 32]).phrase();
        let error = |phrase: &str| ClusterSecret::from_phrase(phrase).map(|_| ()).unwrap_err();
        assert_eq!(error(""), PhraseError::Words(0));
        assert_eq!(
            error("legal winner thank year wave sausage worth useful legal winner thank yellow"),
            PhraseError::Words(12)
        );
        assert_eq!(error(&phrase.replacen("year", "yaer", 1)), PhraseError::UnknownWord(4));
        assert_eq!(error(&phrase.replacen("year", "winner", 1)), PhraseError::Checksum);
    }

    #[test]
    fn the_cluster_id_verifies_what_the_cluster_signs() {
        let secret = ClusterSecret::from_bytes([3; 32]);
        let signature = secret.signing_key_pair().sign(b"message");
        let public_key = UnparsedPublicKey::new(&ED25519, *secret.cluster_id().as_bytes());
        assert!(public_key.verify(b"message", signature.as_ref()).is_ok());
        assert!(public_key.verify(b"massage", signature.as_ref()).is_err());
    }

    #[test]
    fn derived_keys_differ_from_each_other_and_from_the_secret() {
        let secret = ClusterSecret::from_bytes([3; 32]);
        let infos: [&[&[u8]]; 6] = [
            &[b"sign"],
            &[b"kek", &[0, 0, 0, 1]],
            &[b"kek", &[0, 0, 0, 2]],
            &[b"piece-id"],
            &[b"grant"],
            &[b"snapshot"],
        ];
        let mut keys: Vec<[u8; 32]> = infos.iter().map(|info| *secret.key(info)).collect();
        keys.push(*secret.expose());
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 7);
        assert_eq!(secret.grant_root().expose(), &*secret.key(&[b"grant"]));
        assert_eq!(secret.snapshot_key().expose(), &*secret.key(&[b"snapshot"]));
    }

    /// Changing a derivation would lock everyone out of what they stored.
    #[test]
    fn derivations_stay_as_they_are() {
        let id = ClusterSecret::from_bytes([3; 32]).cluster_id();
        assert_eq!(id.to_string(), "911dd1505102e6a74f61f688eb5e1ca2a453b267ace739b1fc1e456ec82417a1");
    }
}
