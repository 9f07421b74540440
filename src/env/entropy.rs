//! Where unpredictable bytes come from.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// A source of bytes. Clones draw from the same source.
#[derive(Clone)]
pub struct Entropy(Source);

#[derive(Clone)]
enum Source {
    System(SystemRandom),
    Seeded(Arc<Mutex<StdRng>>),
}

impl Entropy {
    /// The operating system's randomness: fit for keys.
    pub fn system() -> Self {
        Self(Source::System(SystemRandom::new()))
    }

    /// The same bytes again for the same seed: for tests and simulations only.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// Overwrites `bytes` with unpredictable ones.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: going on would
    /// mean keys that can be guessed.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            Source::System(system) => system.fill(bytes).expect("the system's randomness does not fail once seeded"),
            Source::Seeded(dice) => dice.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes),
        }
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System(_) => "Entropy(system)",
            Source::Seeded(_) => "Entropy(seeded)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_bytes_differ_each_time() {
        let entropy = Entropy::system();
        let (mut one, mut two) = ([0; 32], [0; 32]);
        entropy.fill(&mut one);
        entropy.fill(&mut two);
        assert_ne!(one, two);
        assert_ne!(one, [0; 32]);
    }
}
