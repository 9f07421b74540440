//! What audits ask and what may be concluded from the answers, as pure
//! functions: which shares are drawn (`sample`), what a node's record is and
//! when it costs the node its standing (`record`), how many may be judged at once
//! (`brake`), and how likely nodes are to be lost (`risk`).
//!
//! Knows no node, no clock and no database: whoever asks passes in what was
//! answered and the randomness, a simulation as well as a worker.

mod brake;
mod record;
mod risk;
mod sample;

pub use brake::held_back;
pub use record::{Answer, Record, Verdict};
pub use risk::{Life, loss_per_day, steady_millionths};
pub use sample::{Draw, Sampler};
