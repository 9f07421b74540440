//! What the suites that start programs share: processes that end with the
//! test, a real `cairn up`, data to store and digests to compare.
#![allow(dead_code, reason = "each suite is a binary of its own and uses a part of this")]

pub mod cairn;
pub mod client;
pub mod community;
pub mod data;
pub mod disk;
pub mod http;
pub mod ledger;
pub mod load;
pub mod mount;
pub mod process;
pub mod workdir;

pub use process::free_port;

use std::time::{Duration, Instant};

/// Ask `ready` every `pause` until it answers with something or `limit` has
/// passed. None after the limit.
pub fn poll<T>(limit: Duration, pause: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = ready() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(pause);
    }
}

/// The seed of a drill's dice: `CAIRN_TEST_SEED`, or a fresh one; it is printed.
pub fn seed(drill: &str) -> u64 {
    let set = std::env::var("CAIRN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = set.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    cairn::tell(&format!("{drill}: CAIRN_TEST_SEED={seed}"));
    seed
}

/// How many rounds a drill goes: what the variable says, else `few`, which a
/// run of all tests has time for.
pub fn rounds(variable: &str, few: u32) -> u32 {
    std::env::var(variable).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(few)
}
