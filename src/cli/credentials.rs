//! The root key pair: the one that was given, else one that a former version kept in
//! the data directory, else the cluster's own.

use serde::Deserialize;

use super::data_dir::ROOT_KEY_PAIR;
use super::{Credentials, DataDir, Failure};
use crate::seal::ClusterSecret;

/// How the pair was kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    access_key: String,
    secret_key: String,
}

/// The pair that was given, else the one that is kept, else the
/// one that follows from the cluster's secret, which is the same for all of its
/// gateways.
///
/// # Errors
/// A kept pair that cannot be read, that others may read, or that is damaged.
pub(super) fn root(
    given: Option<&Credentials>,
    directory: &DataDir,
    secret: &ClusterSecret,
) -> Result<Credentials, Failure> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    match directory.read_secret(ROOT_KEY_PAIR)? {
        Some(bytes) => kept(&bytes, directory),
        None => {
            let (access_key, secret_key) = secret.root_key_pair();
            Ok(Credentials::new(access_key, secret_key.to_string()).expect("base32 and base64url are allowed letters"))
        }
    }
}

fn kept(bytes: &[u8], directory: &DataDir) -> Result<Credentials, Failure> {
    let kept: Option<Kept> = std::str::from_utf8(bytes).ok().and_then(|text| toml::from_str(text).ok());
    kept.and_then(|kept| Credentials::new(kept.access_key, kept.secret_key).ok()).ok_or_else(|| {
        Failure::start(format!(
            "the root key pair in {} is damaged: restore the file, or remove it to have a new pair made",
            directory.path().join(ROOT_KEY_PAIR).display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir) {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(&parent.path().join("data")).unwrap();
        (parent, directory)
    }

    #[test]
    fn the_pair_is_the_clusters_own_unless_another_is_given_or_kept() {
        let (_parent, directory) = directory();
        let secret = ClusterSecret::from_bytes([7; 32]);
        let own = root(None, &directory, &secret).unwrap();
        assert_eq!((own.access_key.len(), own.secret_key.expose().len()), (20, 43));
        assert!(own.access_key.starts_with("CAIRN"));
        assert!(own.access_key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
        assert_eq!(root(None, &directory, &secret).unwrap(), own);
        assert_ne!(root(None, &directory, &ClusterSecret::from_bytes([8; 32])).unwrap(), own);

        let given = Credentials::new("given".into(), "from-the-environment".into()).unwrap();
        assert_eq!(root(Some(&given), &directory, &secret).unwrap(), given);
        directory
            .write_secret(ROOT_KEY_PAIR, b"access_key = \"KEPT\"\nsecret_key = \"kept-by-a-former-version\"\n")
            .unwrap();
        assert_eq!(root(None, &directory, &secret).unwrap().access_key, "KEPT");
    }

    #[test]
    fn a_damaged_or_readable_pair_is_refused() {
        let (_parent, directory) = directory();
        let path = directory.path().join(ROOT_KEY_PAIR);
        for content in [&b"access_key = \"CAIRN\"\n"[..], b"", b"\xff\xfe"] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let failure = root(None, &directory, &ClusterSecret::from_bytes([7; 32])).unwrap_err().to_string();
            assert!(failure.contains("is damaged"), "{failure}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let failure = root(None, &directory, &ClusterSecret::from_bytes([7; 32])).unwrap_err().to_string();
        assert!(failure.contains("every user of this machine"), "{failure}");
    }
}
