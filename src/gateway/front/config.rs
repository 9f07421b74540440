//! What the front is told once, when it is built.

use std::sync::Arc;
use std::time::SystemTime;

use super::credential::Credentials;
use super::host::Domains;
use crate::gateway::Meter;

/// Where the front takes the time of day from.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Where the front takes request ids from.
pub type Dice = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Settings and seams of the front.
#[derive(Clone)]
pub struct FrontConfig {
    /// The region that signatures must be scoped to, e.g. `us-east-1`.
    pub region: String,
    /// Base domains of virtual-host style requests.
    pub domains: Domains,
    /// The id of the one who owns all buckets, as ACLs show it.
    pub owner_id: String,
    /// Whose signatures are accepted.
    pub credentials: Arc<dyn Credentials>,
    /// The time of day, for signatures and `Date`.
    pub clock: Clock,
    /// Random numbers, for request ids only.
    pub dice: Dice,
    /// Where requests are counted.
    pub meter: Meter,
}

impl FrontConfig {
    /// The settings with the system's clock and random numbers.
    pub fn new(
        region: impl Into<String>,
        domains: Domains,
        owner_id: impl Into<String>,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        Self {
            region: region.into(),
            domains,
            owner_id: owner_id.into(),
            credentials,
            clock: Arc::new(SystemTime::now),
            dice: Arc::new(system_dice),
            meter: Meter::default(),
        }
    }
}

fn system_dice() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers ids would repeat, which harms nothing but search.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
