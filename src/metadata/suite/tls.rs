//! Encrypted lines to PostgreSQL: each `sslmode` lets in whom it should.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::server::{PASSWORD, Server};
use crate::metadata::*;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose certificate is for `localhost`, and the files of its
/// authority and of another one.
fn encrypted() -> (Server, String, String) {
    let (known, other) = (authority("known"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &known).unwrap();
    let server = Server::start("");
    server.put("data/server.crt", &certificate.pem());
    server.put("data/server.key", &key.serialize_pem());
    server.put("data/port.conf", &format!("port = {}\nssl = on\n", server.port()));
    server.control(&["restart"]);
    let known = server.put("known.pem", &known.pem());
    let other = server.put("other.pem", &other.pem());
    (server, known.display().to_string(), other.display().to_string())
}

/// Whether a line with this mode is encrypted; none if there is none.
async fn line(server: &Server, host: &str, mode: &str) -> Option<bool> {
    let password = PASSWORD.replace(' ', "%20");
    let url =
        format!("postgres://postgres:{password}@{host}:{}/postgres?sslmode={mode}&application_name=tls", server.port());
    let opened = Metadata::open_postgres(PostgresOptions::new(PostgresAddress::parse(&url).unwrap())).await;
    let metadata = opened.inspect_err(|error| assert!(matches!(error, MetadataError::Unusable(_)))).ok()?;
    metadata.read(ListNodes).await.unwrap();
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tls'";
    let encrypted = server.sql("postgres", sql) == "t";
    metadata.close().await;
    Some(encrypted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_lets_in_whom_it_should() {
    let (server, known, other) = tokio::task::spawn_blocking(encrypted).await.unwrap();
    assert_eq!(line(&server, "127.0.0.1", "disable").await, Some(false));
    assert_eq!(line(&server, "127.0.0.1", "prefer").await, Some(true));
    assert_eq!(line(&server, "127.0.0.1", "require").await, Some(true));
    assert_eq!(line(&server, "127.0.0.1", &format!("require&sslrootcert={other}")).await, None, "libpq looks, too");
    assert_eq!(line(&server, "127.0.0.1", &format!("verify-ca&sslrootcert={known}")).await, Some(true));
    assert_eq!(line(&server, "127.0.0.1", &format!("verify-ca&sslrootcert={other}")).await, None);
    assert_eq!(line(&server, "127.0.0.1", "verify-ca&sslrootcert=system").await, None);
    assert_eq!(line(&server, "127.0.0.1", &format!("verify-full&sslrootcert={known}")).await, None, "another name");
    assert_eq!(line(&server, "localhost", &format!("verify-full&sslrootcert={known}")).await, Some(true));
    assert_eq!(line(&server, "localhost", &format!("verify-full&sslrootcert={other}")).await, None);
}
