//! The gateway's certificate: read from PEM files, and read again when they
//! change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why the files cannot serve TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not hold what it should.
    #[error("cannot read {what} from {path}: {reason}")]
    File {
        /// `a certificate` or `a private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("the certificate in {certificate} and the key in {key} cannot be used together: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        reason: rustls::Error,
    },
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then those that signed it.
    pub certificate: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// When both files were changed last, as far as can be told.
type Changed = [Option<SystemTime>; 2];

/// A certificate and key in use.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<(Arc<ServerConfig>, Changed)>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let changed = files.changed();
        let config = files.read()?;
        Ok(Self { files, current: RwLock::new((config, changed)) })
    }

    /// What makes TLS of the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(current.0.clone())
    }

    /// Reads the files again if they changed. A pair that cannot be used leaves
    /// the one before in use.
    ///
    /// # Errors
    /// Those of [`Tls::load`], once for each change.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let changed = self.files.changed();
        if self.current.read().unwrap_or_else(PoisonError::into_inner).1 == changed {
            return Ok(false);
        }
        let config = self.files.read();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.1 = changed;
        current.0 = config?;
        Ok(true)
    }
}

impl TlsFiles {
    fn changed(&self) -> Changed {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).and_then(|data| data.modified()).ok())
    }

    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let file_error = |what, path: &Path, reason: String| TlsError::File { what, path: path.to_owned(), reason };
        let certificate_error = |reason| file_error("a certificate", &self.certificate, reason);
        let certificates = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| certificate_error(error.to_string()))?;
        if certificates.is_empty() {
            return Err(certificate_error("there is none in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| file_error("a private key", &self.key, error.to_string()))?;
        let pair_error =
            |reason| TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), reason };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair_error)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(pair_error)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Looks at the files now and then until it is stopped.
pub(super) async fn watch_files(tls: Arc<Tls>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        match tls.refresh() {
            Ok(true) => tracing::info!("the TLS certificate was read again"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the changed TLS certificate is not used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path) -> TlsFiles {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
        files
    }

    /// Makes sure that the change shows in the file's time.
    fn touch(path: &Path, seconds: u64) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn a_changed_pair_is_used_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = write_pair(folder.path());
        let tls = Tls::load(files.clone()).unwrap();
        let in_use = || tls.current.read().unwrap().0.clone();
        let first = in_use();
        assert!(!tls.refresh().unwrap());

        std::fs::write(&files.key, "no key").unwrap();
        touch(&files.key, 10);
        assert!(matches!(tls.refresh(), Err(TlsError::File { what: "a private key", .. })));
        assert!(!tls.refresh().unwrap(), "said once for each change");
        assert!(Arc::ptr_eq(&first, &in_use()));

        write_pair(folder.path());
        touch(&files.key, 20);
        assert!(tls.refresh().unwrap());
        assert!(!Arc::ptr_eq(&first, &in_use()));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (write_pair(one.path()), write_pair(two.path()));
        let mixed = TlsFiles { certificate: first.certificate.clone(), key: second.key };
        assert!(matches!(Tls::load(mixed), Err(TlsError::Pair { .. })));
        let swapped = TlsFiles { certificate: first.key.clone(), key: first.certificate };
        assert!(matches!(Tls::load(swapped), Err(TlsError::File { what: "a certificate", .. })));
        let missing = TlsFiles { certificate: one.path().join("none"), key: first.key };
        assert!(matches!(Tls::load(missing), Err(TlsError::File { .. })));
    }
}
