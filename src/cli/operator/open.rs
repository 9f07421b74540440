//! Opens the operator's doors of a process that serves: the socket in its data
//! directory and, where one is configured, the admin address.

use std::io;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::cluster::Kind;
use super::super::failure::reason;
use super::super::settings::Config;
use super::super::{DataDir, Failure};
use super::admin_token;
use crate::admin::{Operator, serve_tcp, serve_unix};
use crate::env::{Env, Shutdown};

/// Opens them; what answers there runs in `background` until the order to
/// stop.
///
/// # Errors
/// When the address cannot be listened on.
pub(in crate::cli) async fn open_doors(
    config: &Config,
    kind: Kind,
    layout: &DataDir,
    env: &Env,
    operator: Operator,
    shutdown: &Shutdown,
    background: &mut JoinSet<()>,
) -> Result<(), Failure> {
    match serve_unix(layout.path(), operator.clone(), shutdown.clone()) {
        Ok(serving) => drop(background.spawn(serving)),
        // Some file systems have no sockets; S3 can be served all the same.
        Err(error) => {
            tracing::warn!(%error, "the operator's socket could not be made: only --admin reaches this process")
        }
    }
    // To `cairn up` the setting says nothing: it is there for who asks elsewhere.
    let Some(address) = config.admin.as_ref().filter(|_| kind != Kind::Up) else { return Ok(()) };
    let address = address.as_str();
    let failed = |error: io::Error| {
        let origin = config.origin("admin");
        Failure::start(format!("cannot listen for operators on {address} ({origin}): {}", why(&error)))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    if !bound.ip().is_loopback() {
        tracing::warn!("operators are served on {bound} without TLS: let only an internal network reach it");
    }
    let token = admin_token(layout, env)?;
    background.spawn(serve_tcp(listener, token, operator, shutdown.clone()));
    Ok(())
}

/// The advice of `reason` on ports is about the port for S3.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses this port; choose another with --admin".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose another with --admin".to_owned(),
        _ => reason(error),
    }
}
