//! Why a segment could not be moved.

use std::collections::BTreeSet;

use super::BudgetError;
use crate::metadata::MetadataError;
use crate::types::SegmentId;

/// Why a segment could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Nothing can be written yet, or now; the sentence is for people. Try
    /// again later.
    #[error("{0}")]
    NotReady(String),
    /// Not enough nodes took their pieces. Nothing was kept; try again later.
    #[error("{needed} storage nodes must take the data and {available} can")]
    TooFewNodes {
        /// Nodes that must acknowledge.
        needed: usize,
        /// Nodes that would.
        available: usize,
    },
    /// The memory for transfers is spent; try again.
    #[error(transparent)]
    Busy(#[from] BudgetError),
    /// Fewer than `required` pieces can be read now.
    #[error("segment {segment}: {readable} of the {required} pieces that it takes can be read")]
    Unreadable {
        /// The segment.
        segment: SegmentId,
        /// Pieces that gave good shares.
        readable: usize,
        /// Pieces that are necessary.
        required: usize,
    },
    /// Fewer than `required` good shares of a stripe were found, and they were
    /// looked for everywhere.
    #[error("segment {segment}: {readable} of the {required} shares that a stripe takes are good")]
    TooFewShares {
        /// The segment.
        segment: SegmentId,
        /// Good shares of that stripe.
        readable: usize,
        /// Shares that are necessary.
        required: usize,
        /// The nodes, by number, that have answered for all of their piece:
        /// more is not to be had from them.
        answered: BTreeSet<u32>,
    },
    /// What is recorded of the segment makes no sense.
    #[error("segment {segment}: {reason}")]
    Corrupt {
        /// The segment.
        segment: SegmentId,
        /// What does not fit.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A computation was cut off because the process ends.
    #[error("the process is shutting down")]
    Closing,
}
