//! Those who watch the one walk over all segments: each page of rows is read
//! once and shown to all of them.

use async_trait::async_trait;

use super::report::HealthWatch;
use crate::env::Env;
use crate::metadata::{Metadata, MetadataError, SegmentRow};
use crate::transfer::Transfer;

/// What observers work with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) metadata: Metadata,
    pub(super) transfer: Transfer,
    pub(super) watch: HealthWatch,
    pub(super) env: Env,
    /// Whether somebody waits for this pass and wants every share looked at.
    pub(super) thorough: bool,
}

/// What an observer wishes when a pass has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wish {
    /// The next pass shall come soon.
    pub(super) soon: bool,
    /// Another process shall walk next, which may be connected to other nodes.
    pub(super) elsewhere: bool,
}

/// Watches passes. Of several processes the one that walks has observers, and
/// its lease may be over at any moment: whatever must not be done twice is
/// decided in a transaction, as ever.
#[async_trait]
pub(super) trait Observer: Send + Sync {
    /// A pass begins; what is left of the one before is forgotten.
    async fn begin(&mut self, scene: &Scene) -> Result<(), MetadataError>;

    /// Some segments, each once in a pass, before they are judged. Answers
    /// whether pieces were found lost that were not known to be.
    async fn page(&mut self, scene: &Scene, rows: &[SegmentRow]) -> Result<bool, MetadataError>;

    /// The pass has shown all segments that were there when it began and are
    /// there still. A pass that fails or is cut off ends without this.
    async fn end(&mut self, scene: &Scene) -> Result<Wish, MetadataError>;

    /// The pass does not go on.
    fn cut_off(&mut self) {}

    /// Whether it still works on what the last pass has shown.
    fn is_busy(&self) -> bool {
        false
    }
}
