//! Bucket names and object keys, checked when they are made.

use std::fmt;
use std::net::Ipv4Addr;

use super::limits::KEY_BYTES_MAX;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The bucket name breaks one of S3's naming rules; says which.
    #[error("the bucket name is not valid: {0}")]
    Bucket(&'static str),
    /// An empty key.
    #[error("the key is empty")]
    EmptyKey,
    /// A key of more than 1,024 bytes.
    #[error("the key is {0} bytes long; the longest possible is {KEY_BYTES_MAX}")]
    KeyTooLong(usize),
}

/// The name of a bucket, under the rules of
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check_bucket(&name).map_err(NameError::Bucket)?;
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_bucket(name: &str) -> Result<(), &'static str> {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| edge(byte) || byte == b'-' || byte == b'.';
    let bytes = name.as_bytes();
    if !(3..=63).contains(&bytes.len()) {
        return Err("it must have 3 to 63 characters");
    }
    if !bytes.iter().all(|&byte| inner(byte)) {
        return Err("only lower-case letters, digits, '-' and '.' are possible");
    }
    if !edge(bytes[0]) || !edge(bytes[bytes.len() - 1]) {
        return Err("it must begin and end with a letter or a digit");
    }
    if name.contains("..") {
        return Err("two dots may not stand side by side");
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return Err("it may not look like an IP address");
    }
    if ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix)) {
        return Err("it begins with a prefix that S3 reserves");
    }
    if ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|suffix| name.ends_with(suffix)) {
        return Err("it ends with a suffix that S3 reserves");
    }
    Ok(())
}

/// An object's key: 1 to 1,024 bytes of UTF-8, kept exactly as they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks and takes a key.
    pub fn new(key: impl Into<String>) -> Result<Self, NameError> {
        let key = key.into();
        match key.len() {
            0 => Err(NameError::EmptyKey),
            1..=KEY_BYTES_MAX => Ok(Self(key)),
            length => Err(NameError::KeyTooLong(length)),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as bytes: what S3 orders by.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_s3() {
        for good in ["abc", "a.b-c", "0ab", &"a".repeat(63), "1.2.3.4.5"] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            &"a".repeat(64),
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "a..b",
            "1.2.3.4",
            "xn--abc",
            "amzn-s3-demo-abc",
            "abc--x-s3",
            "b/c",
            "ünï",
        ] {
            assert!(BucketName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_kept_exactly() {
        for key in ["a", "..", "a//b", "a+b %2F", "\u{1}\u{7f}", "é", &"k".repeat(1024)] {
            assert_eq!(ObjectKey::new(key).unwrap().as_str(), key);
        }
        assert_eq!(ObjectKey::new(""), Err(NameError::EmptyKey));
        assert_eq!(ObjectKey::new("é".repeat(513)), Err(NameError::KeyTooLong(1026)));
    }
}
