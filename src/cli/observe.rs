//! The observe address of a process, where one is configured.

use std::io;

use tokio::net::TcpListener;

use super::Failure;
use super::failure::reason;
use super::settings::Config;
use crate::admin::{Stage, observe};

/// Answers there from now on, until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) async fn open(config: &Config, stage: &Stage) -> Result<(), Failure> {
    let Some(address) = config.observe else { return Ok(()) };
    let failed = |error: io::Error| {
        let (address, origin) = (address.0, config.origin("observe"));
        let reason = reason(&error).replace("--listen", "--observe");
        Failure::start(format!("cannot listen for observers on {address} ({origin}): {reason}"))
    };
    let listener = TcpListener::bind(address.0).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!("health and metrics are told on http://{bound}");
    tokio::spawn(observe(listener, stage.clone()));
    Ok(())
}
