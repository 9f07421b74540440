//! The root key pair as the environment gives it. A secret stands in no flag,
//! which every user of the machine could read, and in no configuration file.

use std::fmt;

use zeroize::Zeroizing;

use super::{Environment, Failure, Origin, Origins};

/// The setting that holds the root access key id.
pub(super) const ACCESS_KEY: &str = "root_access_key";
/// The setting that holds the root secret key.
pub(super) const SECRET_KEY: &str = "root_secret_key";

/// Text that is wiped from memory when it is dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An S3 key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id, which is no secret.
    pub access_key: String,
    /// The secret key.
    pub secret_key: Secret,
}

impl Credentials {
    /// Checks and takes a pair. Only letters that no shell and no signature
    /// scope gives a meaning to: the pair is printed as `NAME=value` lines.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn new(access_key: String, secret_key: String) -> Result<Self, &'static str> {
        let common = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !(3..=128).contains(&access_key.len()) || !access_key.bytes().all(common) {
            return Err("the access key needs 3 to 128 letters, digits, '_', '-' and '.'");
        }
        if !(8..=128).contains(&secret_key.len())
            || !secret_key.bytes().all(|byte| common(byte) || b"+/=".contains(&byte))
        {
            return Err("the secret key needs 8 to 128 letters, digits, '_', '-', '.', '+', '/' and '='");
        }
        Ok(Self { access_key, secret_key: Secret::new(secret_key) })
    }
}

/// The pair that the environment gives, if it does.
pub(super) fn from_environment(
    environment: &Environment,
    origins: &mut Origins,
) -> Result<Option<Credentials>, Failure> {
    let pair = [ACCESS_KEY, SECRET_KEY].map(|name| environment.value(name));
    let (access_key, secret_key) = match pair {
        [None, None] => return Ok(None),
        [Some(access_key), Some(secret_key)] => (access_key, secret_key),
        [given, _] => return Err(half(given.is_some())),
    };
    let credentials = Credentials::new(access_key.to_owned(), secret_key.to_owned()).map_err(|wrong| {
        Failure::start(format!(
            "the root key pair in CAIRN_ROOT_ACCESS_KEY and CAIRN_ROOT_SECRET_KEY is not usable: {wrong}"
        ))
    })?;
    for name in [ACCESS_KEY, SECRET_KEY] {
        origins.note(name, Origin::Environment(name));
    }
    Ok(Some(credentials))
}

fn half(access_key_given: bool) -> Failure {
    let mut names = ["CAIRN_ROOT_ACCESS_KEY", "CAIRN_ROOT_SECRET_KEY"];
    if !access_key_given {
        names.reverse();
    }
    Failure::start(format!(
        "{} is set in the environment but {} is not: set both, or neither to have a pair made and kept",
        names[0], names[1]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Option<Credentials>, String> {
        from_environment(&Environment::from_pairs(pairs), &mut Origins::default())
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn half_a_pair_is_named() {
        assert_eq!(load(&[]), Ok(None));
        let failure = load(&[("CAIRN_ROOT_SECRET_KEY", "hunter2hunter2")]).unwrap_err();
        assert!(failure.starts_with("CAIRN_ROOT_SECRET_KEY is set"), "{failure}");
        assert!(!failure.contains("hunter2"));
        let failure = load(&[("CAIRN_ROOT_ACCESS_KEY", "root"), ("CAIRN_ROOT_SECRET_KEY", "")]).unwrap_err();
        assert!(failure.starts_with("CAIRN_ROOT_ACCESS_KEY is set"), "{failure}");
    }

    #[test]
    fn letters_that_a_shell_would_act_on_are_refused_and_not_repeated() {
        for secret in ["with space", "$(reboot)", "semi;colon", "quote'quote", "short"] {
            let failure = load(&[("CAIRN_ROOT_ACCESS_KEY", "root"), ("CAIRN_ROOT_SECRET_KEY", secret)]).unwrap_err();
            assert!(!failure.contains(secret), "{failure}");
        }
        assert!(Credentials::new("a/b/c".into(), "longenough".into()).is_err());
        let pair = Credentials::new("AKIA".into(), "wJalrXUtnFEMI/K7MDENG+bPxRfiCY=".into()).unwrap();
        assert!(!format!("{pair:?}").contains("wJal"));
    }
}
