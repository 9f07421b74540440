//! What each client test gets: the shared server, a bucket name, a folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::cairn::{Access, Server, Shared, tell};
use crate::support::process::{Invocation, User};
use crate::support::workdir::WorkDir;

/// One client's visit to the server.
pub struct Visit {
    /// Its own folder, gone afterwards. Before the server, so that mounts go
    /// while the server still answers.
    pub work: WorkDir,
    /// A bucket name that no other test uses. The bucket is not created.
    pub bucket: String,
    server: Arc<Server>,
}

impl Visit {
    /// To the server that speaks plain HTTP.
    pub fn new(name: &str) -> Self {
        static SHARED: Shared = Shared::new();
        Self::to(SHARED.get(|| Server::start(&[])), name)
    }

    /// To the one that speaks TLS.
    pub fn over_tls(name: &str) -> Self {
        static SHARED: Shared = Shared::new();
        Self::to(SHARED.get(start_with_tls), name)
    }

    fn to(server: Arc<Server>, name: &str) -> Self {
        let number = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros() % 1_000_000_000);
        Self { work: WorkDir::new(name), bucket: format!("{name}-{number}"), server }
    }

    /// Endpoint and keys.
    pub fn access(&self) -> &Access {
        self.server.access()
    }

    /// The server's certificate, where it speaks TLS.
    pub fn certificate(&self) -> PathBuf {
        self.server.work().join("cert.pem")
    }

    /// Call `program` with endpoint, keys and region in its environment, as
    /// after `. cairn-data/s3.env`.
    pub fn call(&self, program: &str) -> Invocation {
        self.call_as(program, User::Own)
    }

    /// The same as another user.
    pub fn call_as(&self, program: &str, user: User) -> Invocation {
        let access = self.access();
        let call = Invocation::for_user(installed(program), self.work.path(), user);
        let call =
            if access.endpoint.starts_with("https") { call.env("AWS_CA_BUNDLE", self.certificate()) } else { call };
        call.env("AWS_ENDPOINT_URL", &access.endpoint)
            .env("AWS_ACCESS_KEY_ID", &access.key)
            .env("AWS_SECRET_ACCESS_KEY", &access.secret)
            .env("AWS_REGION", &access.region)
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }

    /// Call `program` with nothing of the server in its environment.
    pub fn bare_call(&self, program: impl AsRef<OsStr>) -> Invocation {
        Invocation::new(program, self.work.path())
    }

    /// The server's data directory.
    pub fn data(&self) -> PathBuf {
        self.server.data()
    }

    /// Make the bucket, with the AWS CLI.
    pub fn make_bucket(&self) {
        self.aws(&["s3api", "create-bucket", "--bucket", &self.bucket]);
    }

    /// Call the AWS CLI and return what it printed.
    pub fn aws(&self, arguments: &[&str]) -> String {
        self.call(VENV_AWS).args(arguments).limit_seconds(300).run().text()
    }

    /// Names and sizes of all objects below `prefix`, as the AWS CLI lists them.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let text = self.aws(&[
            "s3api",
            "list-objects-v2",
            "--bucket",
            &self.bucket,
            "--prefix",
            prefix,
            "--query",
            "Contents[].Key",
            "--output",
            "json",
        ]);
        serde_json::from_str::<Option<Vec<String>>>(&text).expect("the AWS CLI prints JSON").unwrap_or_default()
    }
}

/// Debian's rclone.
pub const RCLONE_OLD: &str = "rclone";

/// The rclone of the Python environment.
pub const RCLONE_NEW: &str = "venv:rclone";

/// Call rclone with the server as the remote `cairn:`, configured as in the
/// README.
pub fn rclone(visit: &Visit, program: &str) -> Invocation {
    let access = visit.access();
    visit
        .call(program)
        .env("RCLONE_CONFIG_CAIRN_TYPE", "s3")
        .env("RCLONE_CONFIG_CAIRN_PROVIDER", "Other")
        .env("RCLONE_CONFIG_CAIRN_ENDPOINT", &access.endpoint)
        .env("RCLONE_CONFIG_CAIRN_REGION", &access.region)
        .env("RCLONE_CONFIG_CAIRN_ACCESS_KEY_ID", &access.key)
        .env("RCLONE_CONFIG_CAIRN_SECRET_ACCESS_KEY", &access.secret)
        .env("RCLONE_CONFIG", visit.work.join("rclone.conf"))
        .limit_seconds(180)
}

/// A server with a certificate that it signed itself, made by openssl as a
/// newcomer would.
fn start_with_tls() -> Server {
    let work = WorkDir::new("tls");
    let (cert, key) = (work.join("cert.pem"), work.join("key.pem"));
    Invocation::new(installed("openssl"), work.path())
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .run();
    let arguments = ["--tls-cert".as_ref(), cert.as_os_str(), "--tls-key".as_ref(), key.as_os_str()];
    Server::start_on(work, &arguments)
}

impl Drop for Visit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (bucket, trouble) = (&self.bucket, self.server.trouble());
            tell(&format!("the bucket was {bucket}; the server has reported until now:\n{trouble}"));
        }
    }
}

/// The AWS CLI of the Python environment (v1).
pub const VENV_AWS: &str = "venv:aws";

/// Where a program is. `venv:NAME` is one that `tests/install-clients` put
/// into the Python environment, a path is taken as it is, any other name comes
/// from Debian's packages.
pub fn installed(program: &str) -> PathBuf {
    let path = match program.strip_prefix("venv:") {
        Some(name) => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/venv/bin").join(name),
        None if program.starts_with('/') => PathBuf::from(program),
        None => Path::new("/usr/bin").join(program),
    };
    assert!(path.exists(), "{} is missing: run tests/install-clients", path.display());
    path
}
