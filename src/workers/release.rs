//! Garbage: streams that nothing refers to any more give their segments back.

use std::time::Duration;

use async_trait::async_trait;

use super::{Step, Worker};
use crate::metadata::{Metadata, MetadataError, ReleaseGarbage};

/// How long garbage stays as it is: whoever began to read a large object
/// before it was overwritten looks its later parts up while reading.
const READERS_TIME: Duration = Duration::from_secs(3600);
/// Extents that one transaction gives back; writers wait for it.
const EXTENTS_AT_ONCE: usize = 500;

/// Gives garbage back. Several at once take rows of their own.
pub struct ReleaseWorker {
    metadata: Metadata,
}

impl ReleaseWorker {
    /// Gives back what this database says is garbage.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata }
    }
}

#[async_trait]
impl Worker for ReleaseWorker {
    fn name(&self) -> &'static str {
        "release"
    }

    async fn step(&mut self) -> Result<Step, MetadataError> {
        let older_than_ms = READERS_TIME.as_millis() as u64;
        let found = self.metadata.write(ReleaseGarbage { older_than_ms, extents: EXTENTS_AT_ONCE }).await?;
        Ok(if found { Step::Busy } else { Step::Idle })
    }
}
