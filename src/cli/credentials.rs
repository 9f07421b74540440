//! The root key pair: the environment's, else one that is made once and kept.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::data_dir::ROOT_KEY_PAIR;
use super::{Credentials, DataDir, Failure};
use crate::env::Env;

/// The 32 letters of RFC 4648's base32: upper case, and no digit that looks
/// like one of them.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// How the pair is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    access_key: String,
    secret_key: String,
}

/// The pair that the environment gives, else the one that is kept, else a new
/// one, which is durable before it is returned.
///
/// # Errors
/// A kept pair that cannot be read, that others may read, or that is damaged.
pub(super) fn root(given: Option<&Credentials>, directory: &DataDir, env: &Env) -> Result<Credentials, Failure> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    match directory.read_secret(ROOT_KEY_PAIR)? {
        Some(bytes) => kept(&bytes, directory),
        None => {
            let made = make(env);
            directory.write_secret(ROOT_KEY_PAIR, written(&made).as_bytes())?;
            Ok(made)
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

fn written(pair: &Credentials) -> String {
    format!("access_key = \"{}\"\nsecret_key = \"{}\"\n", pair.access_key, pair.secret_key.expose())
}

/// An access key id of 20 upper-case letters and digits, and a secret key of
/// 40 letters with 240 bits of chance.
fn make(env: &Env) -> Credentials {
    let letters = env.random::<15>().map(|byte| char::from(BASE32[usize::from(byte) % BASE32.len()]));
    let access_key = format!("CAIRN{}", letters.iter().collect::<String>());
    let secret_key = URL_SAFE_NO_PAD.encode(env.random::<30>());
    Credentials::new(access_key, secret_key).expect("base32 and base64url are allowed letters")
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
    fn a_pair_is_made_once_and_kept() {
        let (_parent, directory) = directory();
        let made = root(None, &directory, &Env::real()).unwrap();
        assert_eq!((made.access_key.len(), made.secret_key.expose().len()), (20, 40));
        assert!(made.access_key.starts_with("CAIRN"));
        assert!(made.access_key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
        assert_eq!(root(None, &directory, &Env::real()).unwrap(), made);

        let given = Credentials::new("given".into(), "from-the-environment".into()).unwrap();
        assert_eq!(root(Some(&given), &directory, &Env::real()).unwrap(), given);
        assert_eq!(root(None, &directory, &Env::real()).unwrap(), made, "the kept pair stays");
    }

    #[test]
    fn a_damaged_or_readable_pair_is_refused() {
        let (_parent, directory) = directory();
        let path = directory.path().join(ROOT_KEY_PAIR);
        for content in [&b"access_key = \"CAIRN\"\n"[..], b"", b"\xff\xfe"] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let failure = root(None, &directory, &Env::real()).unwrap_err().to_string();
            assert!(failure.contains("is damaged"), "{failure}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let failure = root(None, &directory, &Env::real()).unwrap_err().to_string();
        assert!(failure.contains("every user of this machine"), "{failure}");
    }
}
