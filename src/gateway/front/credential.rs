//! Access keys: who may sign, and with which secret.

use zeroize::Zeroizing;

/// What a request says about who signed it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The access key id from the credential scope.
    pub access_key_id: &'a str,
    /// The session token (`x-amz-security-token`), where one was sent.
    pub session_token: Option<&'a str>,
}

/// Why there is no secret for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Nobody has that access key id.
    #[error("The AWS access key ID that you provided does not exist in our records.")]
    UnknownKey,
    /// The session token does not belong to the access key, or is not one.
    #[error("The provided token is malformed or otherwise not valid.")]
    InvalidToken,
    /// The session token's time is over.
    #[error("The provided token has expired.")]
    ExpiredToken,
}

/// Finds secret keys. Called once for each request, before its body is read.
pub trait Credentials: Send + Sync {
    /// The secret that the request must have been signed with.
    fn secret_key(&self, asked: Asked<'_>) -> Result<Zeroizing<String>, CredentialError>;
}

/// The one ordinary key pair that a cluster starts with. It has no session
/// tokens, so a request that brings one is refused.
pub struct RootCredentials {
    access_key_id: String,
    secret_key: Zeroizing<String>,
}

impl RootCredentials {
    /// A key pair.
    pub fn new(access_key_id: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key_id: access_key_id.into(), secret_key: Zeroizing::new(secret_key.into()) }
    }
}

impl Credentials for RootCredentials {
    fn secret_key(&self, asked: Asked<'_>) -> Result<Zeroizing<String>, CredentialError> {
        if asked.access_key_id != self.access_key_id {
            return Err(CredentialError::UnknownKey);
        }
        match asked.session_token {
            None => Ok(self.secret_key.clone()),
            Some(_) => Err(CredentialError::InvalidToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pair_itself_is_known() {
        let root = RootCredentials::new("AK", "SK");
        let ask = |access_key_id, session_token| root.secret_key(Asked { access_key_id, session_token });
        assert_eq!(ask("AK", None).unwrap().as_str(), "SK");
        assert_eq!(ask("ak", None), Err(CredentialError::UnknownKey));
        assert_eq!(ask("AK", Some("t")), Err(CredentialError::InvalidToken));
    }
}
