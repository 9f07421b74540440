//! What is said once S3 can be used: lines for programs on stdout and in
//! `s3.env`, a banner for people on stderr.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::data_dir::S3_ENVIRONMENT;
use super::settings::LogFormat;
use super::{Config, Credentials, DataDir, Failure, say};

/// Says that S3 is served on `address`: to `s3.env` first, so that whoever has
/// read stdout finds the file. `nodes` says where the nodes are.
///
/// # Errors
/// When `s3.env` cannot be written. A broken stdout is only warned about.
pub(super) fn announce(
    config: &Config,
    directory: &DataDir,
    root: &Credentials,
    address: SocketAddr,
    nodes: &str,
) -> Result<(), Failure> {
    let url = endpoint(config, address);
    let lines = environment(&url, root, config.region.as_str());
    directory.write_secret(S3_ENVIRONMENT, lines.as_bytes())?;
    banner(config, directory, &url, nodes);
    // Who brought the keys knows them, and stdout may be a container's log.
    let told = if config.root.is_some() { without_keys(&lines) } else { lines };
    if let Err(error) = print(&told, &mut io::stdout().lock()) {
        tracing::warn!(%error, "stdout could not be written; the same lines are in s3.env");
    }
    Ok(())
}

fn without_keys(lines: &str) -> String {
    lines.lines().filter(|line| !line.contains("_KEY")).map(|line| format!("{line}\n")).collect()
}

/// The URL of what this listener serves, if the system tells its address.
pub(super) fn url(config: &Config, listener: &TcpListener) -> Option<String> {
    listener.local_addr().ok().map(|address| endpoint(config, address))
}

fn print(lines: &str, stdout: &mut dyn Write) -> io::Result<()> {
    stdout.write_all(lines.as_bytes())?;
    stdout.flush()
}

fn environment(url: &str, root: &Credentials, region: &str) -> String {
    format!(
        "AWS_ENDPOINT_URL={url}\nAWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\nAWS_REGION={region}\n",
        root.access_key,
        root.secret_key.expose()
    )
}

/// Where a client on this machine reaches S3. A certificate is rarely made out
/// to an address, so with TLS a domain goes first.
fn endpoint(config: &Config, address: SocketAddr) -> String {
    let tls = config.tls_cert.is_some();
    let scheme = if tls { "https" } else { "http" };
    match config.domains.as_slice() {
        [domain, ..] if tls => format!("{scheme}://{domain}:{}", address.port()),
        _ => format!("{scheme}://{}", reachable(address)),
    }
}

/// "Every address" is none that a client could call.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn banner(config: &Config, directory: &DataDir, url: &str, nodes: &str) {
    let version = env!("CARGO_PKG_VERSION");
    let env = directory.path().join(S3_ENVIRONMENT);
    if config.log_format == LogFormat::Json {
        return tracing::info!(version, url, nodes, data = %directory.path().display(), "ready");
    }
    // The shell looks a bare name up in PATH, not in the current directory.
    let dot = if env.components().count() == 2 && env.is_relative() && !env.starts_with(".") { "./" } else { "" };
    say(&format!(
        "\nCairn {version} serves S3 on {url}\n  data     {}\n  nodes    {nodes}\n  use it   set -a; . {dot}{}; set +a; aws s3 ls\n  stop it  Ctrl-C\n",
        directory.path().display(),
        env.display(),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_lines_are_what_shells_and_sdks_read() {
        let root = Credentials::new("CAIRNX".into(), "secret-key".into()).unwrap();
        assert_eq!(
            environment("http://127.0.0.1:9000", &root, "us-east-1"),
            "AWS_ENDPOINT_URL=http://127.0.0.1:9000\nAWS_ACCESS_KEY_ID=CAIRNX\nAWS_SECRET_ACCESS_KEY=secret-key\nAWS_REGION=us-east-1\n"
        );
    }

    #[test]
    fn keys_that_were_given_are_not_printed() {
        let root = Credentials::new("CAIRNX".into(), "secret-key".into()).unwrap();
        let lines = environment("http://127.0.0.1:9000", &root, "us-east-1");
        assert_eq!(without_keys(&lines), "AWS_ENDPOINT_URL=http://127.0.0.1:9000\nAWS_REGION=us-east-1\n");
    }

    #[test]
    fn a_client_gets_an_address_that_it_can_call() {
        for (bound, called) in
            [("0.0.0.0:9000", "127.0.0.1:9000"), ("[::]:9000", "[::1]:9000"), ("10.1.2.3:80", "10.1.2.3:80")]
        {
            assert_eq!(reachable(bound.parse().unwrap()), called.parse().unwrap());
        }
    }

    #[test]
    fn a_closed_stdout_is_an_error_and_not_a_panic() {
        assert!(print("x", &mut Closed).is_err());
    }
}
