//! The root key pair as the environment gives it, or files that settings name.
//! A secret stands in no flag, which every user of the machine could read, and
//! in no configuration file.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{Environment, Failure, Origin, Origins};
use crate::cli::secret_file;

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

/// One key of the pair.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// As the environment has it.
    Value(Secret),
    /// In this file.
    File(PathBuf),
}

/// Where both keys of the pair are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPair {
    access_key: Key,
    secret_key: Key,
}

impl RootPair {
    /// Both keys or none, each from the environment or from a file. No file is
    /// read yet.
    pub(super) fn of(
        [access_key, secret_key]: [Option<Secret>; 2],
        [access_file, secret_file]: [Option<PathBuf>; 2],
    ) -> Result<Option<Self>, Failure> {
        let keys = [key(access_key, access_file, "ACCESS")?, key(secret_key, secret_file, "SECRET")?];
        let pair = match keys {
            [None, None] => return Ok(None),
            [Some(access_key), Some(secret_key)] => Self { access_key, secret_key },
            [given, _] => return Err(half(given.is_some())),
        };
        if let (Key::Value(_), Key::Value(_)) = (&pair.access_key, &pair.secret_key) {
            pair.read()?;
        }
        Ok(Some(pair))
    }

    /// The pair itself.
    ///
    /// # Errors
    /// A file that cannot be read, or keys that cannot be used.
    pub fn read(&self) -> Result<Credentials, Failure> {
        let access_key = self.access_key.read("the file with the root access key")?;
        let secret_key = self.secret_key.read("the file with the root secret key")?;
        let pair = Credentials::new(access_key.expose().to_owned(), secret_key.expose().to_owned());
        pair.map_err(|wrong| {
            Failure::start(format!(
                "the root key pair in {} and {} is not usable: {wrong}",
                self.access_key.place("ACCESS"),
                self.secret_key.place("SECRET"),
            ))
        })
    }
}

impl Key {
    fn read(&self, what: &str) -> Result<Secret, Failure> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(file) => secret_file::text(what, file),
        }
    }

    fn place(&self, which: &str) -> String {
        match self {
            Self::Value(_) => format!("CAIRN_ROOT_{which}_KEY"),
            Self::File(file) => file.display().to_string(),
        }
    }
}

fn key(value: Option<Secret>, file: Option<PathBuf>, which: &str) -> Result<Option<Key>, Failure> {
    match (value, file) {
        (Some(_), Some(_)) => Err(Failure::start(format!(
            "CAIRN_ROOT_{which}_KEY is set, and so is root_{}_key_file: set one of them",
            which.to_ascii_lowercase()
        ))),
        (value, file) => Ok(value.map(Key::Value).or(file.map(Key::File))),
    }
}

/// Access key and secret key, where the environment gives them.
pub(super) fn from_environment(environment: &Environment, origins: &mut Origins) -> [Option<Secret>; 2] {
    [ACCESS_KEY, SECRET_KEY].map(|name| {
        let value = environment.value(name)?;
        origins.note(name, Origin::Environment(name));
        Some(Secret::new(value.to_owned()))
    })
}

fn half(access_key_given: bool) -> Failure {
    let mut names = ["CAIRN_ROOT_ACCESS_KEY", "CAIRN_ROOT_SECRET_KEY"];
    if !access_key_given {
        names.reverse();
    }
    Failure::start(format!(
        "{} is set (or its file) but {} is not: set both, or neither to use the cluster's own pair",
        names[0], names[1]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Option<RootPair>, String> {
        let given = from_environment(&Environment::from_pairs(pairs), &mut Origins::default());
        RootPair::of(given, [None, None]).map_err(|failure| failure.to_string())
    }

    #[test]
    fn each_key_comes_from_one_place() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "hunter2hunter2\n").unwrap();
        let value = |text: &str| Some(Secret::new(text.to_owned()));
        let mixed = RootPair::of([value("root"), None], [None, Some(file.clone())]).unwrap().unwrap();
        assert_eq!(mixed.read().unwrap().secret_key.expose(), "hunter2hunter2");
        let both = RootPair::of([value("root"), value("x")], [None, Some(file.clone())]).unwrap_err().to_string();
        assert!(both.contains("CAIRN_ROOT_SECRET_KEY is set, and so is root_secret_key_file"), "{both}");
        std::fs::write(&file, "two words\n").unwrap();
        let odd = mixed.read().unwrap_err().to_string();
        assert!(odd.contains(file.to_str().unwrap()) && !odd.contains("two words"), "{odd}");
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
