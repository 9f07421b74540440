//! This process's node door, as the cluster's nodes are told of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::settings::{Config, DoorNames, door};
use super::{Failure, machine};
use crate::env::{Env, Shutdown};
use crate::metadata::{CloseDoor, Holder, Metadata, MetadataError, RegisterDoor};

/// How often a door is registered again; a small part of the time after which
/// it is forgotten.
const REGISTER_EVERY: Duration = Duration::from_secs(60);

/// The names under which nodes reach a door: those that were configured, or
/// the address itself where it is one that can be dialled.
///
/// # Errors
/// A name with a place for this machine's address, where it has none.
pub(super) fn names(config: &Config, bound: SocketAddr) -> Result<Vec<String>, Failure> {
    Ok(match config.door_name.as_slice() {
        [] if bound.ip().is_unspecified() => {
            tracing::info!(
                "join tokens need a name of the node door: start with --door-name HOST:PORT as volunteers reach it"
            );
            Vec::new()
        }
        [] => vec![bound.to_string()],
        names => names.iter().map(|name| own_name(name)).collect::<Result<_, _>>()?,
    })
}

/// The name with what this machine is called, and where it is.
fn own_name(name: &str) -> Result<String, Failure> {
    let [hostname, address] = DoorNames::PLACEHOLDERS;
    let mut filled = name.to_owned();
    if filled.contains(hostname) {
        filled = filled.replace(hostname, &machine::hostname());
    }
    if filled.contains(address) {
        let found = machine::address().ok_or_else(|| {
            Failure::start(format!(
                "door_name is {name}, and this machine has no address but loopback: connect it to a network, or write its \
                 name into door_name"
            ))
        })?;
        filled = filled.replace(address, &in_a_name(found));
    }
    door(&filled).map_err(|expected| Failure::start(format!("door_name {name} becomes '{filled}' here; {expected}")))
}

fn in_a_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_this_machine_is() {
        assert_eq!(own_name("door.example.org:9100").unwrap(), "door.example.org:9100");
        let hostname = machine::hostname();
        assert_eq!(own_name("{hostname}.cairn:9100").unwrap(), format!("{hostname}.cairn:9100").to_lowercase());
        assert_eq!(in_a_name("fd00::1".parse().unwrap()), "[fd00::1]");
    }
}
