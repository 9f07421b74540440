//! This process's node door, as the cluster's nodes are told of it.

use std::net::SocketAddr;
use std::time::Duration;

use super::settings::Config;
use crate::env::{Env, Shutdown};
use crate::metadata::{CloseDoor, Holder, Metadata, MetadataError, RegisterDoor};

/// How often a door is registered again; a small part of the time after which
/// it is forgotten.
const REGISTER_EVERY: Duration = Duration::from_secs(60);

/// The names under which nodes reach a door: those that were configured, or
/// the address itself where it is one that can be dialled.
pub(super) fn names(config: &Config, bound: SocketAddr) -> Vec<String> {
    match config.door_name.as_slice() {
        [] if bound.ip().is_unspecified() => {
            tracing::info!(
                "join tokens need a name of the node door: start with --door-name HOST:PORT as volunteers reach it"
            );
            Vec::new()
        }
        [] => vec![bound.to_string()],
        names => names.to_vec(),
    }
}

/// A door that is registered in the database.
pub(super) struct Registration {
    metadata: Metadata,
    register: RegisterDoor,
}

impl Registration {
    /// Registers the door under these names.
    pub(super) async fn begin(metadata: Metadata, env: &Env, names: &[String]) -> Result<Self, MetadataError> {
        let register = RegisterDoor { holder: Holder(env.random()), addresses: names.to_vec() };
        let registration = Self { metadata, register };
        registration.repeat().await?;
        Ok(registration)
    }

    /// Keeps it registered until the order to stop.
    pub(super) async fn keep(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                () = tokio::time::sleep(REGISTER_EVERY) => {}
            }
            if let Err(error) = self.repeat().await {
                tracing::warn!(%error, "the node door could not be registered again; trying again");
            }
        }
        // Left registered, it is forgotten after a while.
        let _ = self.metadata.write(CloseDoor { holder: self.register.holder }).await;
    }

    async fn repeat(&self) -> Result<(), MetadataError> {
        let RegisterDoor { holder, addresses } = &self.register;
        self.metadata.write(RegisterDoor { holder: *holder, addresses: addresses.clone() }).await
    }
}
