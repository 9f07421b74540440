//! Audits: do nodes still have what they were given? In every pass over the
//! segments some shares are drawn and asked for afterwards, one share from one
//! node at a time; a thorough pass asks for every share of every piece as it
//! comes by.
//!
//! What is drawn and what may be concluded stands in the room `audit`, which is
//! pure; here nodes are asked, and what they answered is written down.

mod asking;
mod inspect;
mod line;
mod observer;
mod queue;
mod tally;

pub(super) use observer::Auditor;
pub use tally::NodeTally;
pub(super) use tally::Tally;
