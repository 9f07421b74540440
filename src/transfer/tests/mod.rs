//! Segments over real sockets, with nodes that misbehave.

mod readiness;
mod reads;
mod rebuild;
mod uploads;
mod world;

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use self::world::{Manner, World};
use super::{SegmentReader, TransferError};
use crate::metadata::{CondemnedPiece, NewSegment};
use crate::types::Epoch;

fn ciphertext(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

impl World {
    async fn store(&self, bytes: &[u8]) -> Result<NewSegment, TransferError> {
        self.transfer.store(self.transfer.plan(), bytes.to_vec(), Epoch(1)).await
    }

    async fn read(&self, row: &NewSegment) -> Result<Vec<u8>, TransferError> {
        let reader = SegmentReader::new(self.transfer.clone(), row.clone())?;
        let length = reader.layout.length();
        reader.read(0..length).await
    }

    /// Waits until what is condemned in the background is.
    async fn until_condemned(&self, is_so: impl Fn(&[CondemnedPiece]) -> bool) {
        let begun = Instant::now();
        loop {
            let condemned = self.condemned().await;
            if is_so(&condemned) {
                return;
            }
            assert!(begun.elapsed() < SOON, "{condemned:?}");
            tokio::time::sleep(secs(0.05)).await;
        }
    }

    /// So that the cluster knows what is usual.
    async fn practise(&self) {
        for seed in 0..6 {
            let bytes = ciphertext(400_000, seed);
            let row = self.store(&bytes).await.unwrap();
            assert_eq!(self.read(&row).await.unwrap(), bytes);
        }
    }
}

/// For whatever comes by itself.
const SOON: Duration = Duration::from_secs(60);

fn secs(seconds: f32) -> Duration {
    Duration::from_secs_f32(seconds)
}
